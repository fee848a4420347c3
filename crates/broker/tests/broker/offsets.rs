//! Finding offsets by name, by time and by epoch, wherever the records are.

use runnel_api::{EpochEnd, Isolation, ListedOffset, OffsetSpec, Offsets};
use runnel_record::{Codec, LeaderEpoch, Offset, TimestampMs};

use crate::support::client::name;
use crate::support::{Content, NOON, Node, World, batch, batch_of, values};

/// A batch of records at these times.
fn timed(times: &[i64], codec: Codec) -> bytes::Bytes {
    let records: Vec<(i64, &[u8])> = times.iter().map(|time| (NOON + time, b"value".as_slice())).collect();
    batch_of(&Content { records: &records, producer: None, codec })
}

fn by_time(node: &Node, time: i64) -> Option<(i64, i64)> {
    let found = node.list("t", 0, OffsetSpec::Timestamp(TimestampMs(NOON + time))).unwrap();
    found.map(|found| (found.offset.0, found.timestamp.0 - NOON))
}

fn max_timestamp(node: &Node) -> Option<(i64, i64)> {
    let found = node.list("t", 0, OffsetSpec::MaxTimestamp).unwrap();
    found.map(|found| (found.offset.0, found.timestamp.0 - NOON))
}

/// Times of the log that most tests here use; not in order, as clients' clocks are not.
const BATCHES: [&[i64]; 6] =
    [&[-900, -700, -800], &[-500], &[-600, -100, -300], &[-400, -50], &[-90], &[-70, -60, -60]];

/// The answer by looking at every record.
fn expected(time: i64) -> Option<(i64, i64)> {
    let all = BATCHES.iter().flat_map(|batch| batch.iter().copied());
    (0..).zip(all).find(|(_, at)| *at >= time)
}

fn check_times(node: &Node, when: &str) {
    for time in (-1_000..=0).step_by(10) {
        assert_eq!(by_time(node, time), expected(time), "{time} {when}");
    }
    assert_eq!(max_timestamp(node), Some((8, -50)), "{when}");
    let named = |spec| node.list("t", 0, spec).unwrap().map(|found| found.offset.0);
    assert_eq!(named(OffsetSpec::Earliest), Some(0), "{when}");
    assert_eq!(named(OffsetSpec::Latest), Some(13), "{when}");
}

#[test]
fn times_are_found_across_segments_log_and_memory_in_any_codec() {
    for codec in [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        // The first so many batches are shipped.
        for shipped in [0, 1, 3, 6] {
            let mut world = World::new();
            let node = world.start();
            node.create("t", 1, &[]);
            assert_eq!((max_timestamp(&node), by_time(&node, 0)), (None, None), "an empty log has no times");
            for (i, times) in (1..).zip(BATCHES) {
                node.append("t", 0, timed(times, codec));
                if i == shipped {
                    world.age();
                    node.wait_shipped("t", 0, node.log_end("t", 0));
                }
            }
            check_times(&node, &format!("{codec:?}, {shipped} shipped"));
            let tiered = node.list("t", 0, OffsetSpec::LatestTiered).unwrap().map(|found| found.offset.0);
            assert_eq!(tiered, [None, Some(2), None, Some(6), None, None, Some(12)][shipped]);
            world.kill(node);
            let node = world.start();
            check_times(&node, &format!("{codec:?}, {shipped} shipped, restarted"));
            node.stop();
        }
    }
}

#[test]
fn many_segments_are_searched() {
    let mut world = World::new();
    let node = world.start();
    node.create("t", 1, &[]);
    for times in BATCHES {
        node.append("t", 0, timed(times, Codec::Zstd));
        world.age();
        node.wait_shipped("t", 0, node.log_end("t", 0));
    }
    check_times(&node, "six segments");
    world.kill(node);
    check_times(&world.start(), "six segments, restarted");
}

#[test]
fn log_append_time_is_the_time_of_every_record() {
    let world = World::new();
    let node = world.start();
    node.create("t", 1, &[("message.timestamp.type", "LogAppendTime")]);
    for _ in 0..3 {
        node.append("t", 0, timed(&[-5_000, -4_000], Codec::Gzip));
        world.clock.advance(100);
    }
    let check = |node: &Node| {
        assert_eq!(by_time(node, -4_500), Some((0, 0)));
        assert_eq!(by_time(node, 1), Some((2, 100)));
        assert_eq!(by_time(node, 200), Some((4, 200)));
        assert_eq!(by_time(node, 201), None);
        assert_eq!(max_timestamp(node), Some((4, 200)));
    };
    check(&node);
    world.age();
    node.wait_shipped("t", 0, 6);
    check(&node);
    node.stop();
}

#[test]
fn equal_times_give_the_first_offset() {
    let world = World::new();
    let node = world.start();
    node.create("t", 1, &[]);
    node.append("t", 0, timed(&[-10, -10], Codec::None));
    world.age();
    node.wait_shipped("t", 0, 2);
    node.append("t", 0, timed(&[-10, -10], Codec::None));
    assert_eq!(max_timestamp(&node), Some((0, -10)));
    assert_eq!(by_time(&node, -10), Some((0, -10)));
    node.stop();
}

#[test]
fn times_are_found_while_records_move_into_the_bucket() {
    let world = World::new();
    let node = world.start();
    node.create("t", 1, &[("runnel.segment.max_bytes", "1024")]);
    let broker = node.broker();
    let writer = node.spawn(async move {
        for i in 0..150 {
            let records: Vec<(i64, &[u8])> = vec![(NOON + i, &[7; 300])];
            let records = batch_of(&Content { records: &records, producer: None, codec: Codec::None });
            crate::support::client::produce(&broker, name("t"), 0, records, crate::support::PATIENCE).await.unwrap();
        }
    });
    while !writer.is_finished() {
        let end = node.log_end("t", 0);
        if end == 0 {
            continue;
        }
        for time in [0, end / 2, end - 1] {
            assert_eq!(by_time(&node, time), Some((time, time)), "of {end}");
        }
        let (offset, time) = max_timestamp(&node).unwrap();
        assert!(offset == time && offset >= end - 1, "{offset} at {time}, of {end}");
    }
    node.run(writer).unwrap();
    node.stop();
}

#[test]
fn every_restart_is_an_epoch_with_its_own_end() {
    let mut world = World::new();
    let mut node = world.start();
    node.create("t", 1, &[]);
    let mut ends = Vec::new();
    for epoch in 0..5 {
        let produced = node.produce("t", 0, batch(&values("a", 2, 20))).unwrap();
        assert_eq!(produced.leader_epoch, LeaderEpoch(epoch));
        ends.push(node.log_end("t", 0));
        if epoch % 2 == 1 {
            world.age();
            node.wait_shipped("t", 0, ends[ends.len() - 1]);
        }
        if epoch == 2 {
            node.stop();
        } else {
            world.kill(node);
        }
        if epoch == 3 {
            world.lose_metadata();
        }
        node = world.start();
    }
    let broker = node.broker();
    let end_of = |epoch| node.run(broker.epoch_end(&name("t"), 0, LeaderEpoch(epoch), None)).unwrap();
    for (epoch, end) in (0..).zip(&ends) {
        let expected = EpochEnd { epoch: LeaderEpoch(epoch), end_offset: Offset(*end) };
        assert_eq!(end_of(epoch), Some(expected));
    }
    let current = node.produce("t", 0, batch(&["last"])).unwrap().leader_epoch;
    assert_eq!(current, LeaderEpoch(5));
    assert_eq!(end_of(5), Some(EpochEnd { epoch: current, end_offset: Offset(11) }));
    assert_eq!(end_of(6), None, "an epoch that was never handed out");
    let listed =
        node.run(broker.list_offset(&name("t"), 0, OffsetSpec::Latest, Isolation::ReadCommitted, Some(current)));
    let expected =
        ListedOffset { offset: Offset(11), timestamp: TimestampMs::NONE, leader_epoch: Some(LeaderEpoch(5)) };
    assert_eq!(listed.unwrap(), Some(expected));
    drop(broker);
    node.stop();
}

#[test]
fn a_position_behind_the_end_of_its_epoch_diverges() {
    let mut world = World::new();
    let node = world.start();
    node.create("t", 1, &[]);
    node.append("t", 0, batch(&values("a", 3, 20)));
    world.kill(node);
    let node = world.start();
    node.append("t", 0, batch(&values("b", 3, 20)));
    let ask = |epoch: i32, offset: i64| {
        let mut request = crate::support::FetchFrom { topic: "t", partition: 0, offset, max_bytes: 1 << 20 }.request();
        request.partitions[0].last_fetched_epoch = Some(LeaderEpoch(epoch));
        let fetched = node.fetch(request).unwrap();
        assert!(fetched.diverging.is_none() || fetched.batches.is_empty());
        fetched.diverging.map(|diverging| (diverging.epoch.0, diverging.end_offset.0))
    };
    assert_eq!(ask(0, 3), None);
    assert_eq!(ask(0, 5), Some((0, 3)), "epoch 0 ended at 3");
    assert_eq!(ask(1, 6), None);
    node.stop();
}
