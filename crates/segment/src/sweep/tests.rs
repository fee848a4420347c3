#![allow(clippy::unwrap_used, clippy::panic)]

use bytes::Bytes;
use runnel_format::manifest::{MAX_INLINE_PRODUCERS, SegmentRef};
use runnel_record::ids::{Offset, TopicId, TopicPartition};

use super::*;
use crate::manifest::tests::{TOPIC, TP, World, commit, segment};
use crate::manifest::{Commit, Merged};

async fn upload(w: &World, snapshot: &Snapshot, segment: &SegmentRef) -> String {
    let key = snapshot.key(segment);
    w.bucket.put(&key, vec![Bytes::from_static(b"parquet")]).await.unwrap();
    key.path()
}

async fn names(w: &World) -> BTreeSet<String> {
    w.bucket.list("topics").await.unwrap().into_iter().map(|l| l.path).collect()
}

#[tokio::test]
async fn only_orphans_of_earlier_epochs_go() {
    let w = World::new();
    let mut m = w.load().await;
    let first = commit(1, m.root(), 140);
    let mut kept = BTreeSet::new();
    for segment in &first.segments {
        kept.insert(upload(&w, &m.snapshot(), segment).await);
    }
    m.commit(&first).await.unwrap();
    let orphan = upload(&w, &m.snapshot(), &segment(1, 1400, 10)).await;
    let second = commit(2, m.root(), 1);
    kept.insert(upload(&w, &m.snapshot(), &second.segments[0]).await);
    m.commit(&second).await.unwrap();
    // Of this epoch and not committed (yet): its uploader may be about to.
    kept.insert(upload(&w, &m.snapshot(), &segment(2, 1410, 10)).await);
    // A name that we would not write, in the same folder.
    let (topic_name, s) = (format!("{TOPIC}/partition=3/copy"), segment(1, 0, 10));
    let odd = Key::Segment { topic_name, tp: TP, day: 0, base: s.base, last: s.next, epoch: s.epoch, id: s.id };
    w.bucket.put(&odd, vec![Bytes::from_static(b"x")]).await.unwrap();
    kept.insert(odd.path());
    assert_eq!(unseen(&sweep_orphans(&m.snapshot(), LeaderEpoch(2)).await.unwrap()), [orphan]);
    assert_eq!(names(&w).await, kept);
    assert_eq!(sweep_orphans(&m.snapshot(), LeaderEpoch(2)).await.unwrap(), Orphans::default());
}

#[tokio::test]
async fn other_incarnations_and_partitions_are_not_touched() {
    let w = World::new();
    let mut m = w.load().await;
    let mut kept = BTreeSet::new();
    for tp in [TopicPartition { topic: TopicId(Uuid::from_u128(0xcd)), ..TP }, TopicPartition { partition: 30, ..TP }] {
        let s = segment(1, 0, 10);
        let (topic_name, day, base, last) = (m.snapshot().topic_name().to_owned(), s.day, s.base, s.next.plus(-1));
        let key = Key::Segment { topic_name, tp, day, base, last, epoch: s.epoch, id: s.id };
        w.bucket.put(&key, vec![Bytes::from_static(b"x")]).await.unwrap();
        kept.insert(key.path());
    }
    m.commit(&commit(5, m.root(), 0)).await.unwrap();
    assert_eq!(sweep_orphans(&m.snapshot(), LeaderEpoch(5)).await.unwrap(), Orphans::default());
    assert_eq!(names(&w).await, kept);
}

#[tokio::test]
async fn a_sweep_before_the_root_is_of_the_sweepers_epoch_is_refused() {
    let w = World::new();
    let mut old = w.load().await;
    old.commit(&commit(1, old.root(), 1)).await.unwrap();
    // The old leader has uploaded and will commit; the new one has not taken the root over yet.
    let pending = commit(1, old.root(), 1);
    let path = upload(&w, &old.snapshot(), &pending.segments[0]).await;
    let new = w.load().await;
    let error = sweep_orphans(&new.snapshot(), LeaderEpoch(2)).await.unwrap_err();
    assert!(matches!(error, Error::SweepTooEarly { .. }), "{error:?}");
    old.commit(&pending).await.unwrap();
    assert_eq!(names(&w).await, BTreeSet::from([path]));
}

#[tokio::test]
async fn the_sweep_of_a_zombie_is_harmless() {
    let w = World::new();
    let mut zombie = w.load().await;
    zombie.commit(&commit(1, zombie.root(), 1)).await.unwrap();
    zombie.commit(&commit(2, zombie.root(), 1)).await.unwrap();
    let asleep = zombie.snapshot();

    // A later leader commits, rolls chunks and stores snapshots; one of its segments is not committed yet.
    let mut leader = w.load().await;
    let mut c = commit(3, leader.root(), 140);
    c.producers = Some(Bytes::from(vec![1; MAX_INLINE_PRODUCERS + 1]));
    for segment in &c.segments {
        upload(&w, &asleep, segment).await;
    }
    leader.commit(&c).await.unwrap();
    let next = commit(3, leader.root(), 1);
    upload(&w, &asleep, &next.segments[0]).await;

    let before = w.bucket.list("").await.unwrap();
    assert_eq!(sweep_orphans(&asleep, LeaderEpoch(2)).await.unwrap(), Orphans::default());
    assert_eq!(w.bucket.list("").await.unwrap(), before);
    leader.commit(&next).await.unwrap();
    for segment in leader.snapshot().all_segments().await.unwrap().iter().filter(|s| s.epoch.0 == 3) {
        assert!(w.bucket.get(&asleep.key(segment)).await.unwrap().is_some());
    }
    assert_eq!(w.load().await.snapshot().producers().await.unwrap(), "producers");
}

#[tokio::test]
async fn a_long_listing_is_swept_page_by_page() {
    let w = World::new();
    let mut m = w.load().await;
    let orphans = PAGE + 500;
    for i in 0..orphans {
        upload(&w, &m.snapshot(), &segment(1, i64::try_from(i).unwrap() * 10, 10)).await;
    }
    m.commit(&commit(2, m.root(), 0)).await.unwrap();
    assert_eq!(sweep_orphans(&m.snapshot(), LeaderEpoch(2)).await.unwrap().unseen.len(), orphans);
    assert_eq!(names(&w).await, BTreeSet::new());
}

#[tokio::test]
async fn what_a_merge_replaced_is_told_apart_and_keeps_its_grace() {
    let w = World::new();
    let mut m = w.load().await;
    let first = commit(1, m.root(), 3);
    m.commit(&first).await.unwrap();
    let mut kept = BTreeSet::new();
    for segment in &first.segments {
        kept.insert(upload(&w, &m.snapshot(), segment).await);
    }
    // Never committed: nobody ever saw it, though its offsets are among those of the merged segment as well.
    let twin = SegmentRef { id: Uuid::new_v4(), next: Offset(30), ..first.segments[0].clone() };
    let twin = upload(&w, &m.snapshot(), &twin).await;
    let into = segment(1, 0, 30);
    kept.insert(upload(&w, &m.snapshot(), &into).await);
    let sources = first.segments.iter().map(|segment| segment.id).collect();
    m.commit(&Commit::merge(LeaderEpoch(1), m.root(), Merged { sources, into })).await.unwrap();
    m.commit(&commit(2, m.root(), 0)).await.unwrap();
    let swept = sweep_orphans(&m.snapshot(), LeaderEpoch(2)).await.unwrap();
    assert_eq!((unseen(&swept), swept.replaced.len()), (vec![twin], 3));
    assert_eq!(names(&w).await, kept);
}

fn unseen(orphans: &Orphans) -> Vec<String> {
    assert!(orphans.unseen.is_sorted());
    orphans.unseen.iter().map(Key::path).collect()
}
