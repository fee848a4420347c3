#![allow(clippy::unwrap_used, clippy::panic)]

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::testing::facts;

const HOUR: i64 = 60 * 60 * 1000;

fn limits(expiration_ms: u64, max: usize) -> ProducerLimits {
    ProducerLimits { expiration: Duration::from_millis(expiration_ms), max }
}

fn state_with(limits: ProducerLimits, log: &[BatchFacts]) -> Producers {
    let mut state = Producers::restore(&ProducerSnapshot::empty(), limits).unwrap();
    log.iter().for_each(|batch| state.apply(batch));
    state
}

fn state(log: &[BatchFacts]) -> Producers {
    state_with(ProducerLimits::default(), log)
}

/// What a batch of `records` from producer 7 is, one hour into the log.
fn check(state: &Producers, epoch: i16, first: i32, records: i64) -> String {
    check_at(state, epoch, first, records, HOUR)
}

fn check_at(state: &Producers, epoch: i16, first: i32, records: i64, time: i64) -> String {
    let batch = facts(1, 0, records, 0).by(7, epoch, first).producer.unwrap();
    match state.check(&batch, TimestampMs(time)) {
        Ok(Verdict::Next) => "next".into(),
        Ok(Verdict::Unknown) => "unknown".into(),
        Ok(Verdict::Duplicate(original)) => format!("duplicate of {}", original.base_offset),
        Err(Error::OutOfOrderSequence { expected, .. }) => format!("out of order, expected {expected}"),
        Err(Error::DuplicateSequence { .. }) => "old duplicate".into(),
        Err(Error::InvalidProducerEpoch { current, .. }) => format!("fenced by {current}"),
        Err(Error::InvalidProducer { .. }) => "invalid".into(),
        Err(other) => panic!("{other}"),
    }
}

/// `count` batches of ten records of producer 7, epoch 2, from sequence `first` on.
fn tens(count: i64, first: i32) -> Vec<BatchFacts> {
    (0..count).map(|i| facts(1, 10 * i, 10, 0).by(7, 2, sequence::advance(first, 10 * i))).collect()
}

/// KIP-360, `ProducerAppendInfo.checkSequence`: without state any sequence number and epoch will do.
#[test]
fn an_unknown_producer_may_start_anywhere() {
    assert_eq!(check(&state(&[]), 0, 0, 10), "unknown");
    assert_eq!(check(&state(&[]), 5, 1234, 10), "unknown");
    assert_eq!(check(&state(&[facts(1, 0, 10, 0)]), 0, 77, 10), "unknown");
}

#[test]
fn negative_epoch_or_sequence_is_invalid() {
    assert_eq!(check(&state(&[]), -1, 0, 1), "invalid");
    assert_eq!(check(&state(&[]), 0, -1, 1), "invalid");
}

/// `ProducerStateEntry.findDuplicateBatch`: the same epoch and exactly the same range, among the last five.
#[test]
fn the_last_five_batches_are_recognised() {
    let seven = state(&tens(7, 0));
    for (first, base) in [(20, 20), (30, 30), (40, 40), (50, 50), (60, 60)] {
        assert_eq!(check(&seven, 2, first, 10), format!("duplicate of {base}"));
    }
    assert_eq!(check(&seven, 2, 70, 10), "next");
    assert_eq!(check(&seven, 2, 60, 9), "out of order, expected 70", "other boundaries");
    assert_eq!(check(&seven, 2, 61, 10), "out of order, expected 70", "other boundaries");
}

/// Old duplicates are reported as such (clients take that as success), but only if they are in the log for certain.
#[test]
fn an_old_duplicate_is_told_from_a_batch_never_seen() {
    let seven = state(&tens(7, 0));
    assert_eq!(check(&seven, 2, 0, 10), "old duplicate");
    assert_eq!(check(&seven, 2, 10, 10), "old duplicate");
    assert_eq!(check(&seven, 2, 3, 4), "old duplicate");
    assert_eq!(check(&seven, 2, 15, 10), "out of order, expected 70", "reaches into what is remembered");
    // Known from sequence 100 on only: what lies below was perhaps never written.
    let late = state(&tens(7, 100));
    assert_eq!(check(&late, 2, 100, 10), "old duplicate");
    assert_eq!(check(&late, 2, 99, 10), "out of order, expected 170");
    assert_eq!(check(&late, 2, 90, 10), "out of order, expected 170");
}

/// `ProducerAppendInfo.inSequence`.
#[test]
fn a_gap_is_out_of_order() {
    let two = state(&tens(2, 0));
    assert_eq!(check(&two, 2, 20, 5), "next");
    assert_eq!(check(&two, 2, 21, 5), "out of order, expected 20");
    assert_eq!(check(&two, 2, 1_000_000, 5), "out of order, expected 20");
    assert_eq!(check(&two, 2, i32::MAX, 5), "out of order, expected 20");
}

/// `ProducerAppendInfo.checkProducerEpoch`.
#[test]
fn an_older_epoch_is_fenced() {
    let two = state(&tens(2, 0));
    assert_eq!(check(&two, 1, 20, 5), "fenced by 2");
    assert_eq!(check(&two, 1, 0, 10), "fenced by 2", "even the retry of a batch of that epoch");
}

/// `ProducerAppendInfo.checkSequence`: a new epoch begins at 0, and forgets the batches of the old one
/// (`ProducerStateEntry.maybeUpdateProducerEpoch`).
#[test]
fn a_newer_epoch_begins_at_zero() {
    let mut two = state(&tens(2, 0));
    assert_eq!(check(&two, 3, 0, 10), "next");
    assert_eq!(check(&two, 3, 20, 10), "out of order, expected 0");
    two.apply(&facts(1, 20, 10, 0).by(7, 3, 0));
    assert_eq!(check(&two, 3, 0, 10), "duplicate of 20");
    assert_eq!(check(&two, 2, 0, 10), "fenced by 3");
    assert_eq!(check(&two, 3, 10, 1), "next");
}

/// `DefaultRecordBatch.incrementSequence`: 2³¹ − 1 is followed by 0, between batches and inside one.
#[test]
fn sequence_numbers_wrap() {
    let at_end = state(&tens(1, i32::MAX - 9));
    assert_eq!(check(&at_end, 2, 0, 10), "next");
    assert_eq!(check(&at_end, 2, 1, 10), "out of order, expected 0");
    assert_eq!(check(&at_end, 2, i32::MAX - 9, 10), "duplicate of 0");
    let across = state(&tens(7, i32::MAX - 14));
    assert_eq!(check(&across, 2, 55, 10), "next");
    assert_eq!(check(&across, 2, i32::MAX - 4, 10), "old duplicate", "a batch across the end");
    assert_eq!(check(&across, 2, i32::MAX - 14, 10), "old duplicate");
    assert_eq!(check(&across, 2, i32::MAX - 15, 10), "out of order, expected 55");
    assert_eq!(check(&across, 2, 5, 10), "duplicate of 20");
}

/// The new epoch's 0 is not the number after the old epoch's 2³¹ − 1.
#[test]
fn a_newer_epoch_is_no_wrap() {
    let state = state(&[facts(1, 0, 10, 0).by(7, 2, i32::MAX - 9), facts(1, 10, 10, 0).by(7, 3, 0)]);
    let producer = &state.snapshot().producers[0];
    assert_eq!((producer.epoch, producer.written, producer.batches.len()), (3, 10, 1));
    assert_eq!(check(&state, 3, i32::MAX - 9, 10), "out of order, expected 10");
}

/// `ProducerStateManager.isProducerExpired`, but by append time: as of the log, and as of the batch at hand.
#[test]
fn producers_expire_by_append_time() {
    let day = limits(24 * HOUR as u64, 100);
    let mut log = vec![facts(1, 0, 10, 0).by(7, 2, 0), facts(1, 10, 10, HOUR).by(8, 0, 0)];
    log.push(facts(1, 20, 1, 24 * HOUR - 1));
    let before = state_with(day, &log);
    assert_eq!(before.len(), 2);
    assert_eq!(check_at(&before, 2, 11, 1, 24 * HOUR - 1), "out of order, expected 10");
    // The batch at hand would expire its own producer, so any sequence and epoch will do; a retry is still known.
    assert_eq!(check_at(&before, 2, 11, 1, 24 * HOUR), "unknown");
    assert_eq!(check_at(&before, 1, 11, 1, 24 * HOUR), "unknown");
    assert_eq!(check_at(&before, 2, 0, 10, 48 * HOUR), "duplicate of 0");
    // Anybody's batch expires it, also one that is not idempotent.
    log.push(facts(1, 21, 1, 24 * HOUR));
    let after = state_with(day, &log);
    assert_eq!(after.snapshot().producers.iter().map(|p| p.id.0).collect::<Vec<_>>(), [8]);
    assert_eq!(check_at(&after, 2, 0, 10, 24 * HOUR), "unknown");
}

/// A record's own timestamp has no say: a client that replays old records is not forgotten.
#[test]
fn record_timestamps_do_not_expire_producers() {
    let mut old = facts(1, 0, 10, 100 * HOUR).by(7, 2, 0);
    old.max_timestamp = TimestampMs(0);
    let mut future = facts(1, 10, 1, 100 * HOUR);
    future.max_timestamp = TimestampMs(1_000_000 * HOUR);
    assert_eq!(check_at(&state(&[old, future]), 2, 0, 10, 100 * HOUR), "duplicate of 0");
}

#[test]
fn the_least_recently_appended_producer_makes_room() {
    let log = [
        facts(1, 0, 1, 0).by(1, 0, 0),
        facts(1, 1, 1, 0).by(2, 0, 0),
        facts(1, 2, 1, 0).by(3, 0, 0),
        facts(1, 3, 1, 0).by(1, 0, 1),
        facts(1, 4, 1, 0).by(4, 0, 0),
    ];
    let state = state_with(limits(1_000, 3), &log);
    assert_eq!(state.snapshot().producers.iter().map(|p| p.id.0).collect::<Vec<_>>(), [1, 3, 4]);
}

#[test]
fn a_snapshot_over_the_limit_shrinks_at_the_next_batch() {
    let log: Vec<_> = (0..5).map(|i| facts(1, i, 1, 0).by(i, 0, 0)).collect();
    let snapshot = state_with(limits(1_000, 5), &log).snapshot();
    let mut smaller = Producers::restore(&snapshot, limits(1_000, 2)).unwrap();
    assert_eq!(smaller.snapshot(), snapshot);
    smaller.apply(&facts(1, 5, 1, 0).by(9, 0, 0));
    assert_eq!(smaller.snapshot().producers.iter().map(|p| p.id.0).collect::<Vec<_>>(), [4, 9]);
}

/// What the log holds is taken as it is. A gap that is there (nobody of ours writes one) begins a new run, so that
/// nothing is ever called an old duplicate that is not in the log.
#[test]
fn a_gap_in_the_log_begins_a_new_run() {
    let state = state(&[facts(1, 0, 10, 0).by(7, 2, 0), facts(1, 10, 10, 0).by(7, 2, 50)]);
    assert_eq!(check(&state, 2, 60, 1), "next");
    assert_eq!(check(&state, 2, 0, 10), "out of order, expected 60");
    assert_eq!(check(&state, 2, 20, 10), "out of order, expected 60");
}

#[test]
fn snapshots_that_contradict_themselves_are_refused() {
    let mut snapshot = state(&[facts(1, 0, 1, 0).by(1, 0, 0), facts(1, 1, 1, 0).by(2, 0, 0)]).snapshot();
    snapshot.producers[1].batches[0].base_offset = Offset(0);
    assert!(matches!(Producers::restore(&snapshot, ProducerLimits::default()), Err(Error::Corrupt(_))));
    snapshot.producers[1].batches[0].base_offset = Offset(2);
    assert!(matches!(Producers::restore(&snapshot, ProducerLimits::default()), Err(Error::Snapshot(_))));
}

fn any_log() -> impl Strategy<Value = Vec<BatchFacts>> {
    let step = (-1i64..6, 0i16..3, prop_oneof![0i32..40, i32::MAX - 20..=i32::MAX], 1i64..12, 0i64..40);
    proptest::collection::vec(step, 0..60).prop_map(|steps| {
        let (mut base, mut time) = (0, 0);
        let log = steps.into_iter().map(|(id, epoch, first, records, later)| {
            time += later;
            let batch = facts(1, base, records, time);
            base += records;
            if id < 0 { batch } else { batch.by(id, epoch, first) }
        });
        log.collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    /// Invariant 27 on logs of any content, legal or not: a snapshot, through its stored bytes, plus the rest of the
    /// log is the whole log.
    #[test]
    fn snapshot_and_rest_equal_the_whole(log in any_log(), cut in any::<prop::sample::Index>(), max in 1usize..5) {
        let limits = limits(200, max);
        let whole = state_with(limits, &log);
        let (head, rest) = log.split_at(cut.index(log.len() + 1));
        let stored = state_with(limits, head).snapshot().encode();
        let mut resumed = Producers::restore(&ProducerSnapshot::decode(&stored).unwrap(), limits).unwrap();
        rest.iter().for_each(|batch| resumed.apply(batch));
        prop_assert_eq!(&resumed, &whole);
        prop_assert!(whole.len() <= max);
        prop_assert_eq!(whole.entries.len(), whole.by_last_append.len());
    }
}
