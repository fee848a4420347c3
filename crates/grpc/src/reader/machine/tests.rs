#![allow(clippy::unwrap_used, clippy::panic)]

use futures::executor::block_on;
use runnel_record::{Batch as RecordBatch, LeaderEpoch, Offset, TimestampMs};
use runnel_testkit::{BatchSpec, batch};

use super::*;
use crate::records::unpack;

/// A batch of `count` records of `bytes` bytes at `base`.
fn unpacked(base: i64, count: usize, bytes: usize, timestamp: i64) -> Unpacked {
    let value = vec![b'v'; bytes];
    let records = vec![(None, Some(&value[..])); count];
    let timestamp = TimestampMs(timestamp);
    let (mut batch, _) =
        RecordBatch::parse(batch(&BatchSpec { records: &records, timestamp, ..BatchSpec::default() })).unwrap();
    batch.assign(Offset(base), LeaderEpoch(1));
    block_on(unpack(batch)).unwrap()
}

fn goal(partition: i32) -> Goal {
    Goal { topic: "t".to_owned(), partition, high_watermark: 1000, ..Goal::default() }
}

/// Without credit.
fn framed(goals: Vec<Goal>, max_frame: usize) -> Machine {
    let mut machine = Machine::new(max_frame);
    goals.into_iter().for_each(|goal| machine.add(goal));
    machine
}

fn machine(goals: Vec<Goal>) -> Machine {
    let mut machine = framed(goals, 1 << 20);
    machine.credit.add(1_000_000, 1 << 30);
    machine
}

/// What is sent now, in short: `b0:0..3` is a batch of partition 0, `g` a gap, `c` caught up.
fn sent(machine: &mut Machine) -> Vec<String> {
    let next = || machine.next().unwrap();
    let short = |message| match message {
        Message::Batch(b) => {
            let first = b.records.first().unwrap().offset;
            assert_eq!(b.records.last().unwrap().offset + 1, b.next_offset);
            format!("b{}:{first}..{}", b.partition, b.next_offset)
        }
        Message::Gap(g) => format!("g{}:{}..{}", g.partition, g.from_offset, g.to_offset),
        Message::CaughtUp(c) => format!("c{}:{}", c.partition, c.next_offset),
        other => panic!("{other:?}"),
    };
    std::iter::from_fn(next).map(short).collect()
}

#[test]
fn a_start_in_the_middle_of_a_batch_shows_no_earlier_records() {
    let mut m = machine(vec![Goal { start: 12, ..goal(0) }]);
    m.fetched(0, vec![unpacked(10, 5, 10, 0), unpacked(15, 2, 10, 0)], 17);
    assert_eq!(sent(&mut m), ["b0:12..17"], "1000 was the watermark, which never falls");
    let mut m = machine(vec![Goal { start: 12, high_watermark: 17, ..goal(0) }]);
    m.fetched(0, vec![unpacked(10, 5, 10, 0), unpacked(15, 2, 10, 0)], 17);
    assert_eq!(sent(&mut m), ["b0:12..17", "c0:17"]);
    m.fetched(0, vec![unpacked(17, 1, 10, 0)], 18);
    assert_eq!(sent(&mut m), ["b0:17..18"], "caught up is said once");
}

#[test]
fn credit_is_spent_to_the_last_record_which_may_go_past_its_bytes() {
    let mut m = framed(vec![goal(0)], 1 << 20);
    m.fetched(0, vec![unpacked(0, 10, 100, 0)], 1000);
    assert_eq!(sent(&mut m), [""; 0], "no credit, nothing sent");
    m.credit.add(3, 1000);
    assert_eq!(sent(&mut m), ["b0:0..3"]);
    m.credit.add(100, 0);
    assert_eq!(sent(&mut m), ["b0:3..10"], "700 bytes were left");
    m.fetched(0, vec![unpacked(10, 3, 100, 0)], 1000);
    assert_eq!(m.wanted(), [], "not before what is there is sent");
    assert_eq!(sent(&mut m), [""; 0]);
    m.credit.add(0, 150);
    assert_eq!(sent(&mut m), ["b0:10..12"]);
    m.credit.add(0, 50);
    assert_eq!(sent(&mut m), [""; 0], "the debt is paid first");
    m.credit.add(0, 1);
    assert_eq!(sent(&mut m), ["b0:12..13"]);
}

#[test]
fn frames_stay_within_their_limit() {
    let mut m = framed(vec![goal(0)], 1024);
    m.credit.add(1000, 1 << 20);
    m.fetched(0, vec![unpacked(0, 10, 400, 0)], 1000);
    assert_eq!(sent(&mut m), ["b0:0..2", "b0:2..4", "b0:4..6", "b0:6..8", "b0:8..10"]);
    m.fetched(0, vec![unpacked(10, 1, 10, 0), unpacked(11, 1, 1000, 0)], 1000);
    let Message::Batch(before) = m.next().unwrap().unwrap() else { panic!("not a batch") };
    assert_eq!(before.next_offset, 11, "what fits is sent first");
    let failure = m.next().unwrap_err();
    assert_eq!(failure.reason, "FRAME_TOO_SMALL");
    assert!(failure.metadata.contains(&("offset", "11".to_owned())), "{:?}", failure.metadata);
}

#[test]
fn partitions_take_turns() {
    let mut m = framed(vec![goal(0), goal(1), goal(2)], 1024);
    m.credit.add(1000, 1 << 20);
    for at in 0..3 {
        m.fetched(at, vec![unpacked(0, 4, 400, 0)], 1000);
    }
    assert_eq!(sent(&mut m), ["b0:0..2", "b1:0..2", "b2:0..2", "b0:2..4", "b1:2..4", "b2:2..4"]);
    m.fetched(0, vec![unpacked(4, 1, 1, 0)], 1000);
    sent(&mut m);
    let order: Vec<_> = m.wanted().into_iter().map(|(at, _)| at).collect();
    assert_eq!(order, [1, 2, 0], "who got something comes last");
}

#[test]
fn a_stop_ends_the_partition_and_the_last_the_session() {
    let stops = [
        Goal { stop: Some(3), ..goal(0) },
        Goal { max_records: Some(2), ..goal(1) },
        Goal { stop_time_ms: Some(50), ..goal(2) },
        Goal { start: 7, stop: Some(7), high_watermark: 7, ..goal(3) },
        Goal { max_records: Some(0), ..goal(4) },
    ];
    let mut m = machine(stops.to_vec());
    for at in [0, 1] {
        m.fetched(at, vec![unpacked(0, 5, 10, 0)], 1000);
    }
    m.fetched(2, vec![unpacked(0, 2, 10, 49), unpacked(2, 2, 10, 50)], 1000);
    let mut all = sent(&mut m);
    all.sort();
    assert_eq!(all, ["b0:0..3", "b1:0..2", "b2:0..2", "c3:7"]);
    assert!(m.finished() && m.wanted().is_empty());
}

#[test]
fn what_holds_no_records_is_passed_over_with_a_gap() {
    let mut m = machine(vec![Goal { start: 5, wanted: Some(2), ..goal(0) }]);
    m.fetched(0, vec![unpacked(5, 1, 10, 0), unpacked(9, 2, 10, 0)], 1000);
    assert_eq!(sent(&mut m), ["g0:2..5", "b0:5..6", "g0:6..9", "b0:9..11"]);
    m.restart(0, 20);
    m.fetched(0, vec![unpacked(20, 1, 10, 0)], 1000);
    assert_eq!(sent(&mut m), ["g0:11..20", "b0:20..21"]);
}

#[test]
fn tails_tell_of_what_is_still_read() {
    let mut m = machine(vec![goal(0), Goal { stop: Some(0), ..goal(1) }]);
    sent(&mut m);
    let tails: Vec<_> = m.tails().into_iter().map(|(_, t)| (t.partition, t.next_offset, t.high_watermark)).collect();
    assert_eq!(tails, [(0, 0, 1000)]);
}

#[test]
fn partitions_come_and_go_and_the_turn_stays_with_whose_it_is() {
    let mut m = machine(vec![goal(0), goal(1), goal(2)]);
    m.fetched(1, vec![unpacked(0, 2, 10, 0)], 2);
    m.remove(0);
    assert_eq!(m.wanted(), [], "something is still to be sent");
    assert_eq!(sent(&mut m), ["b1:0..2"]);
    assert_eq!(m.wanted(), [(1, 0), (0, 2)], "partition 2, then 1, which had its turn");
    m.add(Goal { start: 5, ..goal(3) });
    m.remove(0);
    assert_eq!([m.name(0), m.name(1)], [("t", 2), ("t", 3)]);
    m.fetched(1, vec![unpacked(5, 1, 10, 0)], 6);
    assert_eq!(sent(&mut m), ["b3:5..6"]);
    m.fetched(0, vec![unpacked(0, 1, 10, 0)], 1);
    m.remove(0);
    assert_eq!(sent(&mut m), [] as [&str; 0], "what was fetched of it is not sent");
    m.finish(0);
    assert!(m.finished());
}
