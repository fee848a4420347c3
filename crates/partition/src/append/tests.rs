#![allow(clippy::unwrap_used, clippy::panic)]

use std::time::Duration;

use runnel_record::{LeaderEpoch, ProducerId};

use super::*;
use crate::testing::{NOW, Rig, Sent, idempotent, plain, replies};
use crate::{Options, ProducerLimits};

fn rig() -> Rig {
    Rig::new(Options::default())
}

#[test]
fn an_append_is_stamped() {
    let mut rig = rig();
    rig.commit(plain(3));
    let mut batch = plain(4).batch();
    let token = rig.next_token();
    let decision = rig.partition.append(TimestampMs(NOW.0 + 5), token, Terms::default(), &mut batch).unwrap();
    assert_eq!(decision, Decision::Append { base_offset: Offset(3), append_time: TimestampMs(NOW.0 + 5) });
    assert_eq!((batch.base_offset(), batch.next_offset()), (Offset(3), Offset(7)));
    assert_eq!(batch.leader_epoch(), LeaderEpoch(1));
    assert_eq!(batch.max_timestamp(), NOW, "the record timestamps stay");
    assert_eq!(rig.partition.log_end(), Offset(3), "nothing changed yet");
}

#[test]
fn append_times_never_fall() {
    let mut rig = rig();
    rig.commit(plain(1));
    rig.now = TimestampMs(NOW.0 - 60_000);
    let (_, decision) = rig.send(plain(1));
    assert_eq!(decision, Ok(Decision::Append { base_offset: Offset(1), append_time: NOW }));
    assert_eq!(rig.partition.last_append_time(), NOW);
}

#[test]
fn log_append_time_replaces_the_timestamps() {
    let mut rig = rig();
    let mut batch = plain(1).batch();
    let token = rig.next_token();
    let later = TimestampMs(NOW.0 + 99);
    rig.partition.append(later, token, Terms { log_append_time: true, ..Terms::default() }, &mut batch).unwrap();
    assert_eq!(batch.max_timestamp(), later);
    assert_eq!(batch.attributes() & (1 << 3), 1 << 3);
    rig.partition.appended(token, 1, &mut Vec::new()).unwrap();
    rig.durable(1);
    assert_eq!(rig.partition.batch_of_max_timestamp().unwrap().max_timestamp, later);
}

#[test]
fn an_expected_offset_is_compared_with_the_one_that_the_batch_would_get() {
    let mut rig = rig();
    let token = RequestId(1_000);
    let at = |offset| Terms { expected_offset: Some(Offset(offset)), ..Terms::default() };
    rig.append(idempotent(7, 0, 0, 5));
    // On its way counts, though it is not durable yet.
    let early = rig.partition.append(NOW, token, at(0), &mut plain(1).batch());
    assert_eq!(early, Err(Error::OffsetMismatch { expected: Offset(0), next: Offset(5) }));
    let retry = rig.partition.append(NOW, token, at(0), &mut idempotent(7, 0, 0, 5).batch());
    assert_eq!(retry, Ok(Decision::Joined), "a retry is known before offsets are compared");
    let fits = rig.partition.append(NOW, token, at(5), &mut plain(1).batch());
    assert!(matches!(fits, Ok(Decision::Append { base_offset: Offset(5), .. })), "{fits:?}");
}

#[test]
fn what_clients_may_not_send() {
    let mut rig = rig();
    assert_eq!(rig.send(Sent { attributes: 1 << 5, ..plain(1) }).1, Err(Error::ControlBatch));
    assert_eq!(rig.send(Sent { attributes: 1 << 4, ..plain(1) }).1, Err(Error::Transactional));
    assert_eq!(rig.send(plain(0)).1, Err(Error::EmptyBatch));
    assert_eq!(rig.append(plain(1)), 0, "a refusal leaves the machine as it was");
}

#[test]
fn a_retry_of_a_committed_batch_gets_the_original_answer() {
    let mut rig = rig();
    rig.commit(plain(5));
    rig.commit(idempotent(7, 0, 0, 2));
    rig.now = TimestampMs(NOW.0 + 1_000);
    rig.commit(idempotent(7, 0, 2, 2));
    let original = Produced { base_offset: Offset(5), append_time: NOW, leader_epoch: LeaderEpoch(1) };
    assert_eq!(rig.send(idempotent(7, 0, 0, 2)).1, Ok(Decision::Duplicate(original)));
    assert_eq!(rig.partition.log_end(), Offset(9));
}

#[test]
fn a_retry_of_a_batch_in_flight_joins_its_outcome() {
    let mut rig = rig();
    let (first, _) = rig.send(idempotent(7, 0, 0, 2));
    let (second, _) = rig.send(idempotent(7, 0, 2, 2));
    let (retry, decision) = rig.send(idempotent(7, 0, 0, 2));
    assert_eq!(decision, Ok(Decision::Joined));
    assert_eq!(rig.partition.log_end(), Offset(4));
    assert_eq!(replies(&rig.durable(1)), [(first.0, Some(0)), (retry.0, Some(0))]);
    assert_eq!(rig.send(idempotent(7, 0, 2, 2)).1, Ok(Decision::Joined));
    assert_eq!(replies(&rig.fail()), [(second.0, None), (4, None)]);
}

/// More in flight than the five that are remembered: still joined, never refused and never appended twice.
#[test]
fn a_retry_joins_however_many_are_in_flight() {
    let mut rig = rig();
    for i in 0..8 {
        rig.append(idempotent(7, 0, 10 * i, 10));
    }
    for i in 0..8 {
        assert_eq!(rig.send(idempotent(7, 0, 10 * i, 10)).1, Ok(Decision::Joined), "batch {i}");
    }
    rig.send(idempotent(7, 1, 0, 10)).1.unwrap();
    assert_eq!(rig.send(idempotent(7, 0, 10, 10)).1, Ok(Decision::Joined), "its epoch was replaced meanwhile");
    assert_eq!(rig.partition.log_end(), Offset(90));
}

/// The cap may push a producer out of the state while its batch is in flight.
#[test]
fn a_retry_joins_after_its_producer_was_forgotten() {
    let producers = ProducerLimits { expiration: Duration::from_secs(60), max: 1 };
    let mut rig = Rig::new(Options { producers, ..Options::default() });
    rig.append(idempotent(7, 0, 0, 1));
    rig.append(idempotent(8, 0, 0, 1));
    assert_eq!(rig.partition.producers(), 1);
    assert_eq!(rig.send(idempotent(7, 0, 0, 1)).1, Ok(Decision::Joined));
}

/// Nor does it lose its place: what follows must follow what is in flight.
#[test]
fn a_forgotten_producer_is_known_by_what_it_has_in_flight() {
    let producers = ProducerLimits { expiration: Duration::from_secs(60), max: 1 };
    let mut rig = Rig::new(Options { producers, ..Options::default() });
    rig.append(idempotent(7, 3, 0, 2));
    rig.append(idempotent(8, 0, 0, 1));
    let gap = Error::OutOfOrderSequence { id: ProducerId(7), expected: 2, found: 5 };
    assert_eq!(rig.send(idempotent(7, 3, 5, 1)).1, Err(gap));
    let fenced = Error::InvalidProducerEpoch { id: ProducerId(7), epoch: 2, current: 3 };
    assert_eq!(rig.send(idempotent(7, 2, 0, 1)).1, Err(fenced));
    rig.now = TimestampMs(NOW.0 + 60_000);
    assert_eq!(rig.append(idempotent(7, 3, 2, 1)), 3);
}

#[test]
fn a_predecessor_in_flight_is_no_gap() {
    let mut rig = rig();
    rig.append(idempotent(7, 0, 0, 2));
    rig.append(idempotent(7, 0, 2, 2));
    let gap = Error::OutOfOrderSequence { id: ProducerId(7), expected: 4, found: 6 };
    assert_eq!(rig.send(idempotent(7, 0, 6, 2)).1, Err(gap));
    assert_eq!(rig.append(idempotent(7, 0, 4, 2)), 4);
    assert_eq!(rig.append(idempotent(7, 0, 6, 2)), 6);
}

/// Clients take DuplicateSequence as success, so it must not be said of what may still be lost.
#[test]
fn an_old_duplicate_is_reported_only_once_committed() {
    let mut rig = rig();
    for i in 0..8 {
        rig.append(idempotent(7, 0, 10 * i, 10));
    }
    let other_boundaries = idempotent(7, 0, 12, 5);
    let refusal = Error::OutOfOrderSequence { id: ProducerId(7), expected: 80, found: 12 };
    assert_eq!(rig.send(other_boundaries).1, Err(refusal.clone()), "all in flight");
    rig.durable(1);
    assert_eq!(rig.send(other_boundaries).1, Err(refusal), "it is part of the first in flight");
    rig.durable(2);
    let duplicate = Error::DuplicateSequence { id: ProducerId(7), found: 12 };
    assert_eq!(rig.send(other_boundaries).1, Err(duplicate.clone()), "committed");
    rig.sync();
    assert_eq!(rig.send(other_boundaries).1, Err(duplicate));
}

#[test]
fn a_refused_append_never_happened() {
    let mut rig = rig();
    let token = rig.next_token();
    rig.partition.append(NOW, token, Terms::default(), &mut idempotent(7, 0, 0, 5).batch()).unwrap();
    rig.partition.refused(token).unwrap();
    assert_eq!((rig.partition.log_end(), rig.partition.producers()), (Offset(0), 0));
    assert_eq!(rig.append(plain(1)), 0, "the offset goes to the next");
    assert_eq!(rig.append(idempotent(7, 0, 0, 5)), 1, "the retry is new");
}

/// The pipelined successors of a refused first batch must not overtake it.
#[test]
fn a_refused_first_batch_is_not_overtaken() {
    let mut rig = rig();
    let token = rig.next_token();
    rig.partition.append(NOW, token, Terms::default(), &mut idempotent(7, 0, 0, 5).batch()).unwrap();
    rig.partition.refused(token).unwrap();
    let gap = Error::OutOfOrderSequence { id: ProducerId(7), expected: 0, found: 5 };
    assert_eq!(rig.send(idempotent(7, 0, 5, 5)).1, Err(gap));
    assert_eq!(rig.append(idempotent(7, 0, 0, 5)), 0);
    assert_eq!(rig.append(idempotent(7, 0, 5, 5)), 5);
}

/// News of durability may overtake the lane's answer.
#[test]
fn an_append_that_is_durable_already_is_answered_at_once() {
    let mut rig = rig();
    let token = rig.next_token();
    assert_eq!(rig.durable(7), []);
    rig.partition.append(NOW, token, Terms::default(), &mut plain(2).batch()).unwrap();
    let mut effects = Vec::new();
    rig.partition.appended(token, 7, &mut effects).unwrap();
    assert_eq!(effects[0], Effect::HighWatermark(Offset(2)));
    assert_eq!(replies(&effects), [(token.0, Some(0))]);
}

#[test]
fn a_caller_that_breaks_the_contract_closes_the_machine() {
    fn check(what: &str, misuse: impl Fn(&mut Rig) -> Result<(), Error>) {
        let mut rig = rig();
        let (waiting, _) = rig.send(plain(1));
        let (staged, mut batch) = (rig.next_token(), plain(1).batch());
        rig.partition.append(NOW, staged, Terms::default(), &mut batch).unwrap();
        assert!(matches!(misuse(&mut rig), Err(Error::Invariant(_))), "{what}");
        assert!(rig.partition.is_closed(), "{what}");
        assert_eq!(rig.durable(99), [], "{what}: nothing is acknowledged any more");
        assert_eq!(replies(&rig.fail()), [(waiting.0, None), (staged.0, None)], "{what}: everyone is answered");
        assert_eq!(rig.send(plain(1)).1, Err(Error::Closed), "{what}");
    }
    check("another append before the lane's answer", |rig| {
        rig.partition.append(NOW, RequestId(50), Terms::default(), &mut plain(1).batch()).map(|_| ())
    });
    check("appended for a stranger", |rig| rig.partition.appended(RequestId(50), 2, &mut Vec::new()));
    check("refused for a stranger", |rig| rig.partition.refused(RequestId(50)));
    check("a lane sequence number that falls", |rig| rig.partition.appended(RequestId(2), 1, &mut Vec::new()));
}
