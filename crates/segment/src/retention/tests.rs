#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeSet;

use bytes::Bytes;
use runnel_format::manifest::SegmentRef;
use runnel_record::ids::{LeaderEpoch, TopicId, TopicPartition};
use uuid::Uuid;

use super::*;
use crate::find_orphans;
use crate::manifest::tests::{TP, World, commit, segment};
use crate::manifest::{Commit, Manifest};

/// A log of segments of ten offsets and 1,000 bytes each, whose timestamps are their offsets.
async fn log(w: &World, segments: i64) -> Manifest {
    let mut m = w.load().await;
    let mut left = segments;
    while left > 0 {
        let now = left.min(140);
        m.commit(&commit(1, m.root(), now)).await.unwrap();
        left -= now;
    }
    m
}

async fn expired(m: &Manifest, ms: Option<u64>, bytes: Option<u64>, now: i64) -> Option<i64> {
    let found = m.snapshot().expired_upto(Policy { ms, bytes }, TimestampMs(now)).await.unwrap();
    found.map(|upto| upto.0)
}

#[tokio::test]
async fn segments_go_by_age_from_the_head() {
    let w = World::new();
    let m = log(&w, 5).await;
    for (now, expected) in [(0, None), (109, None), (110, Some(10)), (129, Some(20)), (149, Some(40)), (1000, Some(50))]
    {
        assert_eq!(expired(&m, Some(100), None, now).await, expected, "at {now}");
    }
    assert_eq!(expired(&m, None, None, 1_000_000).await, None);
}

#[tokio::test]
async fn one_young_segment_keeps_what_follows_it() {
    let w = World::new();
    let mut m = w.load().await;
    let mut c = commit(1, m.root(), 3);
    c.segments[1].max_timestamp = TimestampMs(1_000_000);
    m.commit(&c).await.unwrap();
    assert_eq!(expired(&m, Some(1), None, 500).await, Some(10));
    // Without timestamps the time of the append counts.
    let mut m = World::new().load().await;
    let mut c = commit(1, m.root(), 1);
    (c.segments[0].min_timestamp, c.segments[0].max_timestamp) = (TimestampMs::NONE, TimestampMs::NONE);
    let appended = c.segments[0].last_append_time.0;
    m.commit(&c).await.unwrap();
    assert_eq!(expired(&m, Some(10), None, appended + 10).await, None);
    assert_eq!(expired(&m, Some(10), None, appended + 11).await, Some(10));
}

#[tokio::test]
async fn old_timestamps_do_not_speak_for_segments_without_any() {
    let w = World::new();
    let mut m = w.load().await;
    for _ in 0..3 {
        // Of each chunk, the first segment has a timestamp, which is old; the others were appended late.
        let mut c = commit(1, m.root(), 140);
        for segment in &mut c.segments[1..] {
            (segment.min_timestamp, segment.max_timestamp) = (TimestampMs::NONE, TimestampMs::NONE);
            (segment.first_append_time, segment.last_append_time) = (TimestampMs(1_000_000), TimestampMs(1_000_000));
        }
        m.commit(&c).await.unwrap();
    }
    assert_eq!(expired(&m, Some(10), None, 1_000_000).await, Some(10));
    assert_eq!(expired(&m, Some(10), None, 1_000_011).await, Some(4200));
}

#[tokio::test]
async fn at_least_so_many_bytes_stay() {
    let w = World::new();
    let m = log(&w, 5).await;
    let cases = [
        (5000, None),
        (4001, None),
        (4000, Some(10)),
        (3999, Some(10)),
        (2500, Some(20)),
        (1, Some(40)),
        (0, Some(50)),
    ];
    for (bytes, expected) in cases {
        assert_eq!(expired(&m, None, Some(bytes), 0).await, expected, "{bytes} bytes");
    }
}

/// Rolled into chunks the answer is the same, also where the log start lies inside of one.
#[tokio::test]
async fn chunks_make_no_difference() {
    let w = World::new();
    let mut m = log(&w, 700).await;
    assert!(m.root().chunks.len() > 1);
    for start in [0, 5, 10, 735, 3000] {
        m.commit(&Commit::trim(LeaderEpoch(1), m.root(), Offset(start))).await.unwrap();
        let first_live = start / 10;
        for kept in [1, 64, 65, 200, 500, 640] {
            let dead = (700 - kept).max(first_live);
            let expected = (dead > first_live).then_some(dead * 10);
            let bytes = u64::try_from(kept * 1000).unwrap();
            assert_eq!(expired(&m, None, Some(bytes), 0).await, expected, "start {start}, {kept} kept");
            let now = dead * 10 + 100;
            assert_eq!(expired(&m, Some(100), None, now).await, expected, "start {start}, {kept} kept");
        }
    }
}

#[tokio::test]
async fn a_trim_moves_the_start_and_drops_what_lies_below() {
    let w = World::new();
    let mut m = log(&w, 300).await;
    let (before, producers) = (m.snapshot(), m.snapshot().producers().await.unwrap());
    let chunk = before.root().chunks[0].clone();
    // Inside of the first chunk nothing can leave, behind it the chunk goes.
    m.commit(&Commit::trim(LeaderEpoch(1), m.root(), chunk.next.plus(-1))).await.unwrap();
    assert_eq!(m.root().chunks, before.root().chunks);
    assert_eq!(retired_chunks(&before, m.root()).await.unwrap(), []);
    m.commit(&Commit::trim(LeaderEpoch(1), m.root(), chunk.next)).await.unwrap();
    assert_eq!(m.root().chunks, before.root().chunks[1..]);
    let gone = Key::Chunk { tp: TP, epoch: chunk.epoch, id: chunk.id };
    assert_eq!(retired_chunks(&before, m.root()).await.unwrap(), [gone]);
    assert_eq!(m.snapshot().producers().await.unwrap(), producers);
    // An earlier start changes nothing; the end of the log is as far as it goes.
    m.commit(&Commit::trim(LeaderEpoch(1), m.root(), Offset(3))).await.unwrap();
    assert_eq!(m.root().log_start, chunk.next);
    let end = m.root().end;
    let beyond = m.commit(&Commit::trim(LeaderEpoch(1), m.root(), end.plus(1))).await;
    assert!(matches!(beyond, Err(Error::Manifest { .. })), "{beyond:?}");
    m.commit(&Commit::trim(LeaderEpoch(1), m.root(), end)).await.unwrap();
    assert_eq!((m.root().chunks.len(), m.root().segments.len(), m.root().log_start), (0, 0, end));
    // And the log goes on.
    m.commit(&commit(1, m.root(), 2)).await.unwrap();
    assert_eq!(w.load().await.root(), m.root());
    assert_eq!(m.snapshot().all_segments().await.unwrap().len(), 2);
}

/// 5,500 segments make chunks of chunks; dropping one names everything below it.
#[tokio::test]
async fn chunks_of_a_dropped_chunk_are_named() {
    let w = World::new();
    let mut m = log(&w, 5500).await;
    let before = m.snapshot();
    assert_eq!(before.root().chunks[0].level, 1);
    let start = before.root().chunks[0].next;
    m.commit(&Commit::trim(LeaderEpoch(1), m.root(), start)).await.unwrap();
    let keys = retired_chunks(&before, m.root()).await.unwrap();
    assert_eq!(keys.iter().map(Key::path).collect::<BTreeSet<_>>().len(), 33);
    for key in &keys {
        assert!(w.bucket.get(key).await.unwrap().is_some(), "{key:?}");
        w.bucket.delete(key).await.unwrap();
    }
    assert_eq!(w.load().await.snapshot().all_segments().await.unwrap()[0].base, start);
}

async fn upload(w: &World, m: &Manifest, segment: &SegmentRef) -> Key {
    let key = m.snapshot().key(segment);
    w.bucket.put(&key, vec![Bytes::from_static(b"parquet")]).await.unwrap();
    key
}

#[tokio::test]
async fn retired_is_what_ends_below_the_start_and_nothing_else() {
    let w = World::new();
    let mut m = w.load().await;
    let c = commit(1, m.root(), 4);
    let mut keys = Vec::new();
    for segment in &c.segments {
        keys.push(upload(&w, &m, segment).await);
    }
    m.commit(&c).await.unwrap();
    // Another incarnation of the topic, another partition, an orphan beyond the end.
    for tp in [TopicPartition { topic: TopicId(Uuid::from_u128(0xcd)), ..TP }, TopicPartition { partition: 30, ..TP }] {
        let s = segment(1, 0, 10);
        let (topic_name, day, base, last) = (m.snapshot().topic_name().to_owned(), s.day, s.base, s.next.plus(-1));
        let key = Key::Segment { topic_name, tp, day, base, last, epoch: s.epoch, id: s.id };
        w.bucket.put(&key, vec![Bytes::from_static(b"x")]).await.unwrap();
    }
    let orphan = upload(&w, &m, &segment(1, 40, 10)).await;
    for (below, expected) in [(0, 0), (9, 0), (10, 1), (19, 1), (20, 2), (39, 3), (40, 4)] {
        assert_eq!(find_retired(&m.snapshot(), Offset(below)).await.unwrap(), keys[..expected], "below {below}");
    }
    // The sweep of a later epoch leaves them to retention, and takes the orphan.
    m.commit(&Commit::trim(LeaderEpoch(2), m.root(), Offset(20))).await.unwrap();
    assert_eq!(find_orphans(&m.snapshot(), LeaderEpoch(2)).await.unwrap().unseen, [orphan]);
}

#[tokio::test]
async fn a_great_many_are_found_by_and_by() {
    let w = World::new();
    let m = w.load().await;
    for i in 0..2500 {
        upload(&w, &m, &segment(1, i * 10, 10)).await;
    }
    let mut found = 0;
    loop {
        let keys = find_retired(&m.snapshot(), Offset(24_000)).await.unwrap();
        if keys.is_empty() {
            break;
        }
        for key in &keys {
            w.bucket.delete(key).await.unwrap();
        }
        found += keys.len();
    }
    assert_eq!((found, w.bucket.list("topics").await.unwrap().len()), (2400, 100));
}
