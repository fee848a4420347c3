#![allow(clippy::unwrap_used, clippy::panic)]

use runnel_format::producer::{ProducerEntry, RememberedBatch};
use runnel_record::{ProducerId, TimestampMs};

use super::*;
use crate::testing::{facts, idempotent};
use crate::{Decision, RequestId, Terms};

fn starts(list: &[(i32, i64)]) -> Vec<EpochStart> {
    list.iter().map(|&(epoch, start)| EpochStart { epoch: LeaderEpoch(epoch), start: Offset(start) }).collect()
}

/// Shipped up to 10 by epoch 1, at time 100.
fn start(epoch: i32, epochs: &[(i32, i64)]) -> Start {
    let producers = ProducerSnapshot { offset: Offset(10), last_append_time: TimestampMs(100), producers: vec![] };
    Start { epoch: LeaderEpoch(epoch), log_start: Offset(0), epochs: starts(epochs), producers }
}

fn open(start: &Start, tail: &[BatchFacts]) -> Result<Partition, Error> {
    Partition::open(Options::default(), start, tail.iter().copied())
}

#[test]
fn a_new_partition_is_empty() {
    let p = open(&Start::never_shipped(LeaderEpoch(0)), &[]).unwrap();
    assert_eq!(
        (p.log_start(), p.shipped_end(), p.high_watermark(), p.log_end()),
        (Offset(0), Offset(0), Offset(0), Offset(0))
    );
    assert_eq!(p.epochs(), starts(&[(0, 0)]));
    assert_eq!(p.last_append_time(), TimestampMs::NONE);
}

#[test]
fn the_tail_is_committed_and_the_epoch_begins_after_it() {
    let p = open(&start(4, &[(1, 0)]), &[facts(1, 10, 5, 100), facts(1, 15, 1, 130)]).unwrap();
    assert_eq!((p.shipped_end(), p.high_watermark(), p.log_end()), (Offset(10), Offset(16), Offset(16)));
    assert_eq!(p.epochs(), starts(&[(1, 0), (4, 16)]));
    assert_eq!((p.unshipped_batches(), p.unshipped_bytes()), (2, 200));
    assert_eq!(p.last_append_time(), TimestampMs(130));
}

#[test]
fn a_retry_of_a_recovered_batch_is_a_duplicate() {
    let tail = facts(1, 10, 5, 100).by(7, 0, 0);
    let mut p = open(&start(4, &[(1, 0)]), &[tail]).unwrap();
    let decision =
        p.append(TimestampMs(200), RequestId(1), Terms::default(), &mut idempotent(7, 0, 0, 5).batch()).unwrap();
    let Decision::Duplicate(produced) = decision else { panic!("{decision:?}") };
    assert_eq!((produced.base_offset, produced.leader_epoch), (Offset(10), LeaderEpoch(1)));
}

#[test]
fn the_snapshot_carries_producers_over() {
    let mut start = start(4, &[(1, 0)]);
    let batch =
        RememberedBatch { first_sequence: 3, last_sequence: 4, base_offset: Offset(8), append_time: TimestampMs(100) };
    start.producers.producers = vec![ProducerEntry { id: ProducerId(7), epoch: 0, written: 2, batches: vec![batch] }];
    let mut p = open(&start, &[]).unwrap();
    let decision =
        p.append(TimestampMs(200), RequestId(1), Terms::default(), &mut idempotent(7, 0, 3, 2).batch()).unwrap();
    assert!(matches!(decision, Decision::Duplicate(produced) if produced.base_offset == Offset(8)), "{decision:?}");
}

/// The clock may have been set back while the partition was closed and its lanes empty.
#[test]
fn append_times_do_not_fall_across_a_reopen() {
    let mut p = open(&start(4, &[(1, 0)]), &[]).unwrap();
    let decision =
        p.append(TimestampMs(5), RequestId(1), Terms::default(), &mut idempotent(7, 0, 3, 2).batch()).unwrap();
    assert_eq!(decision, Decision::Append { base_offset: Offset(10), append_time: TimestampMs(100) });
}

#[test]
fn what_the_lanes_hold_below_the_shipped_end_is_skipped() {
    let p = open(&start(4, &[(1, 0)]), &[facts(1, 0, 6, 10), facts(1, 6, 4, 100), facts(1, 10, 2, 100)]).unwrap();
    assert_eq!((p.shipped_end(), p.log_end(), p.unshipped_batches()), (Offset(10), Offset(12), 1));
}

/// An entry of an epoch counts only below the start of the next epoch.
#[test]
fn entries_of_a_replaced_epoch_are_skipped() {
    let stale = facts(1, 12, 9, 500);
    let tail = [facts(1, 10, 2, 100), stale, facts(3, 12, 1, 110)];
    for known in [starts(&[(1, 0), (3, 12)]), starts(&[(1, 0)])] {
        let start = Start { epochs: known, ..start(4, &[]) };
        let p = open(&start, &tail).unwrap();
        assert_eq!(p.log_end(), Offset(13));
        assert_eq!(p.epochs(), starts(&[(1, 0), (3, 12), (4, 13)]));
        assert_eq!(p.epoch_at(Offset(12)), Some(LeaderEpoch(3)));
    }
}

/// A list of epochs that was thinned out must not cost an entry.
#[test]
fn entries_of_an_epoch_missing_from_the_list_count() {
    let p = open(&start(9, &[(1, 0), (5, 12)]), &[facts(3, 10, 2, 100), facts(5, 12, 1, 110)]).unwrap();
    assert_eq!(p.log_end(), Offset(13));
}

/// A lane roll appends what is not acknowledged again, elsewhere.
#[test]
fn repeated_entries_count_once() {
    let (a, b) = (facts(1, 10, 2, 100), facts(1, 12, 1, 100));
    let p = open(&start(4, &[(1, 0)]), &[a, b, a, b, facts(1, 13, 1, 100)]).unwrap();
    assert_eq!((p.log_end(), p.unshipped_batches()), (Offset(14), 3));
}

#[test]
fn a_tail_that_contradicts_itself_is_refused() {
    let check = |tail: &[BatchFacts], expected: Error| {
        assert_eq!(open(&start(4, &[(1, 0)]), tail).unwrap_err(), expected, "{tail:?}");
    };
    let gap = |expected, found| Error::Gap { expected: Offset(expected), found: Offset(found) };
    let overlap = |expected, found| Error::Overlap { expected: Offset(expected), found: Offset(found) };
    check(&[facts(1, 11, 1, 100)], gap(10, 11));
    check(&[facts(1, 10, 2, 100), facts(1, 13, 1, 100)], gap(12, 13));
    check(&[facts(1, 8, 5, 100)], overlap(10, 8));
    check(&[facts(1, 10, 5, 100), facts(1, 12, 5, 100)], overlap(15, 12));
    check(&[facts(1, 10, 5, 100), facts(1, 10, 5, 101)], overlap(15, 10));
    check(&[facts(1, 10, 5, 99)], Error::Corrupt("append times fall"));
    check(&[facts(1, 10, 0, 100)], Error::Corrupt("a batch without offsets or epoch"));
    check(&[facts(-1, 10, 1, 100)], Error::Corrupt("a batch without offsets or epoch"));
    let sequences = Error::Corrupt("sequence numbers do not fit the batch");
    check(&[facts(1, 10, 5, 100).by(7, -1, 0)], sequences.clone());
    let mut short = facts(1, 10, 5, 100).by(7, 0, 0);
    short.next = Offset(14);
    check(&[short], sequences);
}

#[test]
fn an_epoch_is_served_once() {
    let stale = |opened, known| Error::StaleEpoch { opened: LeaderEpoch(opened), known: LeaderEpoch(known) };
    assert_eq!(open(&start(4, &[(1, 0), (4, 10)]), &[]).unwrap_err(), stale(4, 4));
    assert_eq!(open(&start(4, &[(1, 0), (5, 10)]), &[]).unwrap_err(), stale(4, 5));
    assert_eq!(open(&start(4, &[(1, 0)]), &[facts(6, 10, 1, 100)]).unwrap_err(), stale(4, 6));
}

#[test]
fn the_log_start_lies_within_the_log() {
    let at = |log_start| open(&Start { log_start: Offset(log_start), ..start(4, &[(1, 0)]) }, &[facts(1, 10, 2, 100)]);
    assert_eq!(at(12).unwrap().log_start(), Offset(12));
    assert!(matches!(at(13), Err(Error::Corrupt(_))));
    assert!(matches!(at(-1), Err(Error::Corrupt(_))));
}
