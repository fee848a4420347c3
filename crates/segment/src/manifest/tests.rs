#![allow(clippy::unwrap_used, clippy::panic)]

use proptest::prelude::*;
use runnel_blob::Options;
use runnel_blob::testing::{Fault, Faults, Op};
use runnel_format::manifest::MAX_INLINE_SEGMENTS;
use runnel_record::ids::{TimestampMs, TopicId};
use runnel_runtime::FailAction;

use super::*;

mod merging;
mod twin;

pub(crate) const TP: TopicPartition = TopicPartition { topic: TopicId(Uuid::from_u128(0xab)), partition: 3 };
pub(crate) const TOPIC: &str = "flights";

/// A bucket in memory with faults, and what a leader needs beside it.
pub(crate) struct World {
    pub(crate) bucket: Bucket,
    pub(crate) faults: Faults,
    pub(crate) fail: FailPoints,
}

impl World {
    pub(crate) fn new() -> Self {
        let (faults, fail) = (Faults::new(), FailPoints::default());
        let bucket = Bucket::open_with_faults(&Options::new("memory:"), fail.clone(), &faults).unwrap();
        Self { bucket, faults, fail }
    }

    pub(crate) async fn load(&self) -> Manifest {
        Manifest::load(&self.bucket, TP, TOPIC, IfAbsent::Empty, self.fail.clone()).await.unwrap()
    }

    fn cached(&self, kept: Option<(Root, Version)>, epoch: i32, end: i64) -> Manifest {
        let known = Known { epoch: LeaderEpoch(epoch), end: Offset(end) };
        Manifest::from_cached(&self.bucket, TP, TOPIC, kept, known, self.fail.clone()).unwrap()
    }
}

/// A segment of `count` offsets; its timestamps follow from its place.
pub(crate) fn segment(epoch: i32, base: i64, count: i64) -> SegmentRef {
    SegmentRef {
        base: Offset(base),
        next: Offset(base + count),
        epoch: LeaderEpoch(epoch),
        id: Uuid::new_v4(),
        day: 20_000,
        bytes: 1000,
        crc32c: 7,
        records: u32::try_from(count).unwrap(),
        min_timestamp: TimestampMs(base),
        max_timestamp: TimestampMs(base + count - 1),
        max_timestamp_offset: Offset(base + count - 1),
        first_append_time: TimestampMs(20_000 * 86_400_000),
        last_append_time: TimestampMs(20_000 * 86_400_000 + 1),
    }
}

/// A commit of `segments` segments of ten offsets each behind `root`.
pub(crate) fn commit(epoch: i32, root: &Root, segments: i64) -> Commit {
    let base = root.end.0;
    let refs: Vec<_> = (0..segments).map(|i| segment(epoch, base + i * 10, 10)).collect();
    let mut epochs = root.epochs.clone();
    if epochs.last().is_none_or(|e| e.epoch.0 < epoch) {
        epochs.push(EpochStart { epoch: LeaderEpoch(epoch), start: root.end });
    }
    Commit::new(LeaderEpoch(epoch), refs, Offset(base + segments * 10), epochs, Bytes::from_static(b"producers"))
}

#[tokio::test]
async fn the_first_commit_creates_the_root() {
    let w = World::new();
    let mut m = w.load().await;
    assert_eq!((m.root(), m.version()), (&Root::empty(TP), None));
    let first = commit(1, m.root(), 2);
    m.commit(&first).await.unwrap();
    assert_eq!((m.root().version, m.root().epoch, m.root().end), (1, LeaderEpoch(1), Offset(20)));
    assert_eq!(m.root().segments, first.segments);
    let again = w.load().await;
    assert_eq!((again.root(), again.version().is_some()), (m.root(), true));
    assert_eq!(again.snapshot().producers().await.unwrap(), "producers");
}

#[tokio::test]
async fn an_absent_root_is_empty_only_if_the_record_says_so() {
    let w = World::new();
    let error = Manifest::load(&w.bucket, TP, TOPIC, IfAbsent::Corrupt, w.fail.clone()).await.unwrap_err();
    assert!(matches!(error, Error::RootMissing { tp: TP }), "{error:?}");

    let mut m = w.load().await;
    m.commit(&commit(1, &Root::empty(TP), 1)).await.unwrap();
    w.bucket.delete(&Key::Root(TP)).await.unwrap();
    let error = m.commit(&commit(1, m.root(), 1)).await.unwrap_err();
    assert!(matches!(error, Error::RootMissing { .. }), "a root that vanished is not created anew: {error:?}");
}

#[tokio::test]
async fn a_takeover_keeps_earlier_leaders_out_and_is_made_once() {
    let w = World::new();
    let mut old = w.load().await;
    old.commit(&commit(1, old.root(), 1)).await.unwrap();
    let (mut mine, id) = (w.load().await, Uuid::new_v4());
    // The leader is faster with one more; what it committed stays.
    old.commit(&commit(1, old.root(), 1)).await.unwrap();
    mine.fence(id, |root| LeaderEpoch(root.epoch.0 + 100)).await.unwrap();
    let taken = mine.root().clone();
    assert_eq!((taken.epoch, taken.end, taken.version), (LeaderEpoch(101), Offset(20), 3));
    assert_eq!((&taken.segments, &taken.epochs), (&old.root().segments, &old.root().epochs));
    let error = old.commit(&commit(1, old.root(), 1)).await.unwrap_err();
    assert!(matches!(error, Error::Fenced { found: LeaderEpoch(101), .. }), "{error}");
    let mut again = w.load().await;
    again.fence(id, |root| LeaderEpoch(root.epoch.0 + 100)).await.unwrap();
    assert_eq!(again.root(), &taken);
    let error = again.fence(Uuid::new_v4(), |root| root.epoch).await.unwrap_err();
    assert!(matches!(error, Error::Fenced { .. }), "{error}");
}

#[tokio::test]
async fn everything_that_a_root_refers_to_is_named() {
    let w = World::new();
    let mut m = w.load().await;
    let large = Bytes::from(vec![7; MAX_INLINE_PRODUCERS + 1]);
    for _ in 0..2 {
        let more = commit(1, m.root(), MAX_INLINE_SEGMENTS as i64);
        m.commit(&Commit { producers: Some(large.clone()), ..more }).await.unwrap();
    }
    m.commit(&Commit::trim(LeaderEpoch(1), m.root(), Offset(15))).await.unwrap();
    let references = m.snapshot().references().await.unwrap();
    let ids: BTreeSet<Uuid> = references.iter().map(|one| one.id).collect();
    assert_eq!(ids, m.snapshot().referenced_ids().await.unwrap().into_iter().collect());
    let readable: Vec<_> =
        references.iter().filter(|one| one.is_needed).filter_map(|one| one.segment.clone()).collect();
    assert_eq!(readable, m.snapshot().all_segments().await.unwrap());
    let states = references.iter().filter(|one| matches!(one.key, Key::ProducerState { .. }));
    let sizes: Vec<_> = states.map(|one| (one.is_needed, one.bytes)).collect();
    assert_eq!(sizes, [(false, None), (true, Some(large.len() as u64))]);
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_to_a_commit_is_no_second_commit() {
    for (op, fault) in
        [(Op::Create, Fault::LoseAnswer), (Op::Replace, Fault::LoseAnswer), (Op::Replace, Fault::HangAfter)]
    {
        let w = World::new();
        let mut m = w.load().await;
        if op == Op::Replace {
            m.commit(&commit(1, m.root(), 1)).await.unwrap();
        }
        // Nor can it be read back: the outcome stays unknown for this call.
        w.faults.once(op, "root", fault);
        w.faults.always(Op::Get, "root", Fault::FailBefore);
        w.faults.always(Op::Create, "root", Fault::FailBefore);
        w.faults.always(Op::Replace, "root", Fault::FailBefore);
        let (before, c) = (m.root().clone(), commit(1, m.root(), 2));
        let error = m.commit(&c).await.unwrap_err();
        assert_eq!((error.kind(), m.root()), (crate::ErrorKind::Storage, &before), "{error:?}");
        w.faults.clear();
        m.verify().await.unwrap();
        assert_eq!(m.root().end, before.end.plus(20), "what a look at the bucket shows already");
        m.commit(&c).await.unwrap();
        assert_eq!((m.root().version, m.root().end), (before.version + 1, before.end.plus(20)), "{op:?} {fault:?}");
        assert_eq!(w.load().await.root(), m.root());
    }
}

#[tokio::test]
async fn a_commit_that_is_in_the_root_already_is_done_though_a_later_leader_built_on_it() {
    let w = World::new();
    let mut old = w.load().await;
    let c = commit(1, old.root(), 1);
    w.fail.arm("ship.after_root_cas", FailAction::Error);
    assert!(matches!(old.commit(&c).await, Err(Error::Injected(_))));
    let mut new = w.load().await;
    new.commit(&commit(2, new.root(), 1)).await.unwrap();
    old.commit(&c).await.unwrap();
    let error = old.commit(&commit(1, old.root(), 1)).await.unwrap_err();
    assert!(matches!(error, Error::Fenced { mine: LeaderEpoch(1), found: LeaderEpoch(2), .. }), "{error:?}");
}

#[tokio::test]
async fn a_new_segment_list_after_an_unnoticed_commit_is_not_added_twice() {
    let w = World::new();
    let mut m = w.load().await;
    w.fail.arm("ship.after_root_cas", FailAction::Error);
    assert!(m.commit(&commit(1, &Root::empty(TP), 1)).await.is_err());
    // Cut anew from the same log: another commit of the same offsets.
    let error = m.commit(&commit(1, &Root::empty(TP), 1)).await.unwrap_err();
    assert!(matches!(error, Error::NotNext { end: Offset(10), base: Offset(0), .. }), "{error:?}");
    assert_eq!(m.root().end, Offset(10), "and the caller sees what is there");
}

#[tokio::test]
async fn the_older_of_two_leaders_is_fenced() {
    let w = World::new();
    let mut old = w.load().await;
    old.commit(&commit(1, old.root(), 1)).await.unwrap();
    let mut new = w.load().await;
    // Taking over ships nothing.
    new.commit(&commit(2, new.root(), 0)).await.unwrap();
    let late = commit(1, old.root(), 1);
    let error = old.commit(&late).await.unwrap_err();
    assert!(matches!(error, Error::Fenced { .. }), "{error:?}");
    assert_eq!(error.kind(), crate::ErrorKind::Fenced);
    assert!(matches!(old.commit(&late).await, Err(Error::Fenced { .. })), "for good");
    assert_eq!(w.load().await.root(), new.root());
}

#[tokio::test]
async fn a_race_of_two_leaders_leaves_one_contiguous_log() {
    for round in 0..20 {
        let w = World::new();
        let (mut old, mut new) = (w.load().await, w.load().await);
        let (c_old, c_new) = (commit(1, old.root(), 1), commit(2, new.root(), 1));
        let (first, second) = tokio::join!(old.commit(&c_old), async {
            for _ in 0..round % 5 {
                tokio::task::yield_now().await;
            }
            new.commit(&c_new).await
        });
        let end = w.load().await;
        end.root().check().unwrap();
        match (first, second) {
            (Err(Error::Fenced { .. }), Ok(())) => assert_eq!(end.root().segments, c_new.segments),
            // The old one came first: the new one sees that its offsets are taken, and takes over behind them.
            (Ok(()), Err(Error::NotNext { .. })) => {
                assert_eq!(end.root().segments, c_old.segments);
                new.commit(&commit(2, new.root(), 1)).await.unwrap();
                assert!(matches!(old.commit(&commit(1, old.root(), 1)).await, Err(Error::Fenced { .. })));
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn commits_that_would_break_the_log_are_refused() {
    let w = World::new();
    let mut m = w.load().await;
    m.commit(&commit(2, m.root(), 1)).await.unwrap();
    let mut gap = commit(2, m.root(), 2);
    gap.segments.remove(0);
    let mut short = commit(2, m.root(), 2);
    short.end = short.end.plus(1);
    let mut foreign = commit(2, m.root(), 1);
    foreign.segments[0].epoch = LeaderEpoch(1);
    let mut no_epoch = commit(2, m.root(), 1);
    no_epoch.epochs.push(EpochStart { epoch: LeaderEpoch(3), start: Offset(20) });
    let before = m.root().clone();
    for (name, bad) in [("gap", gap), ("end", short), ("foreign segment", foreign), ("younger epoch", no_epoch)] {
        assert!(m.commit(&bad).await.is_err(), "{name}");
        assert_eq!(w.load().await.root(), &before, "{name}");
    }
}

#[tokio::test]
async fn a_root_that_went_back_is_not_built_upon() {
    let w = World::new();
    let mut m = w.load().await;
    m.commit(&commit(1, m.root(), 1)).await.unwrap();
    let old = w.bucket.read_register(&Key::Root(TP)).await.unwrap().unwrap().payload;
    m.commit(&commit(1, m.root(), 1)).await.unwrap();
    // Someone restores the bucket's older state under the running broker.
    let version = m.version().unwrap().clone();
    w.bucket.replace_register(&Key::Root(TP), &version, old).await.unwrap();
    let error = m.commit(&commit(1, m.root(), 1)).await.unwrap_err();
    assert!(matches!(&error, Error::Manifest { what, .. } if what.contains("went back")), "{error:?}");
}

#[tokio::test]
async fn a_crash_at_every_point_of_a_commit_loses_nothing() {
    // A state in which one commit passes every point: 128 inline references, a snapshot of its own.
    for point in ["ship.after_producers", "ship.after_chunk", "ship.after_root_cas"] {
        let w = World::new();
        let mut m = w.load().await;
        m.commit(&commit(1, m.root(), 128)).await.unwrap();
        let mut c = commit(1, m.root(), 1);
        c.producers = Some(Bytes::from(vec![1; MAX_INLINE_PRODUCERS + 1]));
        w.fail.arm(point, FailAction::Error);
        let error = m.commit(&c).await.unwrap_err();
        assert!(matches!(error, Error::Injected(_)), "{point}: {error:?}");

        // The process died: what is in the bucket is all there is.
        let mut after = w.load().await;
        let (shipped, segments) = (point == "ship.after_root_cas", after.snapshot().all_segments().await.unwrap());
        assert_eq!(segments.len(), if shipped { 129 } else { 128 }, "{point}");
        assert_eq!(after.root().end, Offset(if shipped { 1290 } else { 1280 }), "{point}");
        let next = commit(2, after.root(), 2);
        after.commit(&next).await.unwrap();
        crate::sweep_orphans(&after.snapshot(), LeaderEpoch(2)).await.unwrap();
        let left = w.bucket.list(&runnel_blob::partition_prefix(TP)).await.unwrap().len();
        // The root and one chunk, and the snapshot of the commit that went through, now waiting for its deletion.
        assert_eq!(left, if shipped { 3 } else { 2 }, "{point}: orphans are gone");

        // The process lived on instead: the same commit again.
        let w = World::new();
        let mut m = w.load().await;
        m.commit(&commit(1, m.root(), 128)).await.unwrap();
        let mut c = commit(1, m.root(), 1);
        c.producers = Some(Bytes::from(vec![1; MAX_INLINE_PRODUCERS + 1]));
        w.fail.arm(point, FailAction::Error);
        assert!(m.commit(&c).await.is_err());
        m.commit(&c).await.unwrap();
        assert_eq!((m.root().version, m.root().end), (2, Offset(1290)), "{point}");
        assert_eq!(m.snapshot().all_segments().await.unwrap().len(), 129, "{point}");
        assert_eq!(Some(w.load().await.snapshot().producers().await.unwrap()), c.producers, "{point}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_commit_repeated_through_an_outage_writes_its_chunk_once() {
    let w = World::new();
    let mut m = w.load().await;
    m.commit(&commit(1, m.root(), 128)).await.unwrap();
    let c = commit(1, m.root(), 1);
    w.faults.always(Op::Replace, "root", Fault::FailBefore);
    for _ in 0..3 {
        assert!(m.commit(&c).await.is_err());
    }
    w.faults.clear();
    m.commit(&c).await.unwrap();
    let chunks = w.faults.requests().into_iter().filter(|(op, path)| *op == Op::Put && path.contains("/c/"));
    assert_eq!(chunks.count(), 1);
}

#[tokio::test]
async fn superseded_snapshots_go_one_commit_later() {
    let w = World::new();
    let mut m = w.load().await;
    let snapshots = async || w.bucket.list(&runnel_blob::producer_prefix(TP)).await.unwrap().len();
    let mut seen = Vec::new();
    for i in 0..5 {
        let mut c = commit(1, m.root(), 1);
        c.producers = Some(Bytes::from(vec![i; MAX_INLINE_PRODUCERS + 1 + usize::from(i)]));
        m.commit(&c).await.unwrap();
        assert_eq!(Some(m.snapshot().producers().await.unwrap()), c.producers);
        seen.push((snapshots().await, m.root().pending_delete.len()));
    }
    assert_eq!(seen, [(1, 0), (2, 1), (2, 2), (2, 2), (2, 2)]);
    // After a restart the pending ones are known from the root.
    let mut m = w.load().await;
    m.commit(&commit(2, m.root(), 1)).await.unwrap();
    m.commit(&commit(2, m.root(), 1)).await.unwrap();
    assert_eq!((snapshots().await, m.root().pending_delete.len()), (0, 1));
    m.commit(&commit(2, m.root(), 1)).await.unwrap();
    assert_eq!(m.root().pending_delete, Vec::new());
}

#[tokio::test]
async fn a_deep_history_is_found_through_chunks_of_chunks() {
    let w = World::new();
    let mut m = w.load().await;
    let mut all = Vec::new();
    while all.len() < 3000 {
        let c = commit(1, m.root(), 65);
        all.extend(c.segments.clone());
        m.commit(&c).await.unwrap();
        assert!(m.root().segments.len() <= MAX_INLINE_SEGMENTS);
    }
    let levels: BTreeSet<u8> = m.root().chunks.iter().map(|c| c.level).collect();
    assert_eq!(levels, BTreeSet::from([0, 1]));
    assert_eq!(
        m.root().chunks.iter().map(|c| c.segments).sum::<u64>() + m.root().segments.len() as u64,
        all.len() as u64
    );

    let s = w.load().await.snapshot();
    assert_eq!(s.all_segments().await.unwrap(), all);
    for (i, expected) in all.iter().enumerate().step_by(7) {
        let base = i64::try_from(i).unwrap() * 10;
        for offset in [base, base + 9] {
            assert_eq!(s.find(Offset(offset)).await.unwrap().as_ref(), Some(expected));
        }
        assert_eq!(s.find_by_timestamp(TimestampMs(base)).await.unwrap().as_ref(), Some(expected));
    }
    assert_eq!(s.find(Offset(-1)).await.unwrap(), None);
    assert_eq!(s.find(s.root().end).await.unwrap(), None);
    assert_eq!(s.find_by_timestamp(TimestampMs(i64::MAX)).await.unwrap(), None);
    assert_eq!(s.find_by_timestamp(TimestampMs(i64::MIN)).await.unwrap().as_ref(), all.first());
    assert_eq!(s.max_timestamp().await.unwrap().as_ref(), all.last());
}

#[tokio::test]
async fn a_damaged_or_missing_chunk_is_reported() {
    let w = World::new();
    let mut m = w.load().await;
    m.commit(&commit(1, m.root(), 129)).await.unwrap();
    let reference = m.root().chunks[0].clone();
    let key = Key::Chunk { tp: TP, epoch: reference.epoch, id: reference.id };
    let good = w.bucket.get(&key).await.unwrap().unwrap();
    let mut flipped = good.to_vec();
    flipped[50] ^= 1;
    for bad in [Bytes::from(flipped), good.slice(..good.len() - 1), Bytes::new()] {
        w.bucket.put(&key, vec![bad]).await.unwrap();
        let error = w.load().await.snapshot().find(Offset(0)).await.unwrap_err();
        assert_eq!(error.kind(), crate::ErrorKind::Corrupt, "{error:?}");
    }
    w.bucket.delete(&key).await.unwrap();
    let fresh = w.load().await.snapshot();
    assert!(fresh.find(Offset(0)).await.is_err());
    assert!(fresh.find(Offset(1280)).await.unwrap().is_some(), "what is inline is still served");
    assert!(m.snapshot().find(Offset(0)).await.is_err(), "never read, so not in memory either");
}

#[tokio::test]
async fn a_damaged_producer_snapshot_is_reported() {
    let w = World::new();
    let mut m = w.load().await;
    let mut c = commit(1, m.root(), 1);
    let producers = Bytes::from(vec![1; MAX_INLINE_PRODUCERS + 1]);
    c.producers = Some(producers.clone());
    m.commit(&c).await.unwrap();
    let ProducerState::Stored { id, epoch, .. } = m.root().producers else { panic!("it is too large to be inline") };
    let mut flipped = producers.to_vec();
    flipped[100] ^= 1;
    let key = Key::ProducerState { tp: TP, epoch, id };
    for bad in [Bytes::from(flipped), producers.slice(1..)] {
        w.bucket.put(&key, vec![bad]).await.unwrap();
        let error = m.snapshot().producers().await.unwrap_err();
        assert_eq!(error.kind(), crate::ErrorKind::Corrupt, "{error:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_partition_opens_from_the_kept_root_while_the_bucket_is_down() {
    let w = World::new();
    let mut m = w.load().await;
    m.commit(&commit(1, m.root(), 1)).await.unwrap();
    let kept = (m.root().clone(), m.version().unwrap().to_string().parse().unwrap());
    w.faults.outage(true);
    let mut m = w.cached(Some(kept), 1, 15);
    assert!(m.snapshot().find(Offset(3)).await.unwrap().is_some());
    let c = commit(2, m.root(), 1);
    assert_eq!(m.commit(&c).await.unwrap_err().kind(), crate::ErrorKind::Storage);
    w.faults.outage(false);
    m.commit(&c).await.unwrap();
    assert_eq!(w.load().await.root().end, Offset(20));
}

#[tokio::test]
async fn an_own_commit_that_was_not_noted_down_is_taken_over_and_an_old_disk_is_refused() {
    let w = World::new();
    let mut m = w.load().await;
    m.commit(&commit(1, m.root(), 1)).await.unwrap();
    let kept = (m.root().clone(), m.version().unwrap().clone());
    m.commit(&commit(1, m.root(), 1)).await.unwrap();

    // Killed between the swap and the note: the lane still reaches beyond the root's end.
    let mut own = w.cached(Some(kept.clone()), 1, 25);
    own.verify().await.unwrap();
    assert_eq!(own.root().end, Offset(20));

    // The log of this disk ends before what the bucket has, or the bucket has seen a later epoch.
    let mut image = w.cached(Some(kept.clone()), 1, 15);
    assert!(matches!(image.verify().await, Err(Error::OldDisk { .. })));
    m.commit(&commit(2, m.root(), 0)).await.unwrap();
    let mut image = w.cached(Some(kept), 1, 25);
    let error = image.commit(&commit(3, image.root(), 1)).await.unwrap_err();
    assert!(matches!(error, Error::OldDisk { .. }), "{error:?}");
    assert_eq!(error.kind(), crate::ErrorKind::Conflict);
    assert!(image.commit(&commit(3, image.root(), 1)).await.is_err(), "until told otherwise");
    assert_eq!(w.load().await.root(), m.root());

    // A disk that thinks that nothing was ever shipped.
    let mut fresh = w.cached(None, 0, 0);
    assert!(matches!(fresh.verify().await, Err(Error::OldDisk { .. })));
}

#[tokio::test]
async fn a_kept_root_newer_than_the_bucket_means_that_the_bucket_went_back() {
    let w = World::new();
    let mut m = w.load().await;
    m.commit(&commit(1, m.root(), 1)).await.unwrap();
    let mut newer = m.root().clone();
    newer.version += 1;
    let mut cached = w.cached(Some((newer, m.version().unwrap().clone())), 1, 10);
    assert!(matches!(cached.verify().await, Err(Error::Manifest { .. })));
    w.bucket.delete(&Key::Root(TP)).await.unwrap();
    let mut cached = w.cached(Some((m.root().clone(), m.version().unwrap().clone())), 1, 10);
    assert!(matches!(cached.verify().await, Err(Error::RootMissing { .. })));
}
