//! The pipeline against replies made by hand.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use runnel_proto::error::v1 as wire;
use runnel_proto::produce::v1::append_outcome::Outcome;
use runnel_proto::produce::v1::append_session_response::Ack;
use runnel_proto::produce::v1::{AppendBatch, AppendCredit, AppendOutcome, Appended, ProducerIdentity};
use runnel_proto::record::v1::Record;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::Instant;

use super::batch::{Entry, size_of};
use super::pipeline::Pipeline;
use super::{Delivered, ProducerOptions, Topic};
use crate::{Error, ErrorKind, Result};

const IDENTITY: ProducerIdentity = ProducerIdentity { id: 7, epoch: 0 };
const WINDOW: AppendCredit = AppendCredit { records: 1000, bytes: 1 << 20 };

/// A pipeline in an open session, at a time that only the test moves. Every record is a batch of its own.
struct Rig {
    pipeline: Pipeline,
    now: Instant,
    answered: u64,
    buffer: Arc<Semaphore>,
    topic: Topic,
    deliveries: Vec<oneshot::Receiver<Result<Delivered>>>,
}

fn rig() -> Rig {
    let options = ProducerOptions { batch_bytes: 1, ..ProducerOptions::default() };
    let mut pipeline = Pipeline::new(options, 0);
    pipeline.on_opened(WINDOW, Some(IDENTITY));
    Rig {
        pipeline,
        now: Instant::now(),
        answered: 0,
        buffer: Arc::new(Semaphore::new(100)),
        topic: Topic { name: "t".into(), partitions: 3, max_batch_bytes: usize::MAX },
        deliveries: Vec::new(),
    }
}

impl Rig {
    fn push(&mut self, partition: Option<i32>, value: &str) {
        let record = Record { value: Some(value.to_owned().into()), ..Record::default() };
        let (reply, delivery) = oneshot::channel();
        let room = Arc::clone(&self.buffer).try_acquire_owned().unwrap();
        let entry = Entry { bytes: size_of(&record), record, reply, room };
        self.pipeline.push(self.now, &self.topic, partition, entry);
        self.deliveries.push(delivery);
    }

    fn push_all<const N: usize>(&mut self, values: [&str; N]) {
        values.iter().for_each(|value| self.push(Some(0), value));
    }

    /// What is sent now: (value, epoch, sequence).
    fn sent(&mut self) -> Vec<(String, i32, i32)> {
        std::iter::from_fn(|| self.pipeline.take(self.now)).map(|batch| brief(&batch)).collect()
    }

    fn reply(&mut self, outcome: Outcome) {
        let outcome = AppendOutcome { outcome: Some(outcome), ..AppendOutcome::default() };
        let ack = Ack { batch: self.answered, outcomes: vec![outcome], freed: None };
        self.answered += 1;
        self.pipeline.on_ack(self.now, ack).unwrap();
    }

    fn stored(&mut self, base_offset: i64) {
        self.reply(Outcome::Appended(Appended { base_offset, ..Appended::default() }));
    }

    fn error(&mut self, code: tonic::Code, reason: &str, retry_after_ms: Option<u32>) {
        let reason = reason.to_owned();
        self.reply(Outcome::Error(wire::Error { code: code.into(), reason, retry_after_ms, ..wire::Error::default() }));
    }

    fn out_of_order(&mut self) {
        self.error(tonic::Code::Aborted, "OUT_OF_ORDER_SEQUENCE", None);
    }

    fn reopen(&mut self) {
        self.pipeline.on_disconnected();
        self.pipeline.on_opened(WINDOW, None);
        self.answered = 0;
    }

    /// The outcome of the `n`th record pushed: its offset, or why it failed; nothing yet.
    fn outcome(&mut self, n: usize) -> Option<std::result::Result<Option<i64>, ErrorKind>> {
        let outcome = self.deliveries[n].try_recv().ok()?;
        Some(outcome.map(|delivered| delivered.offset).map_err(|error: Error| error.kind()))
    }
}

fn brief(batch: &AppendBatch) -> (String, i32, i32) {
    let value = batch.records[0].value.as_ref().unwrap();
    let sequence = batch.sequence.unwrap();
    (String::from_utf8(value.to_vec()).unwrap(), sequence.producer.unwrap().epoch, sequence.base_sequence)
}

fn batches(list: &[(&str, i32, i32)]) -> Vec<(String, i32, i32)> {
    list.iter().map(|(value, epoch, sequence)| ((*value).to_owned(), *epoch, *sequence)).collect()
}

#[test]
fn five_batches_of_a_partition_travel_at_once_in_order() {
    let mut rig = rig();
    rig.push_all(["a", "b", "c", "d", "e", "f"]);
    rig.push(Some(1), "x");
    let sent = rig.sent();
    let (others, zero): (Vec<_>, Vec<_>) = sent.into_iter().partition(|(value, ..)| value == "x");
    assert_eq!(others, batches(&[("x", 0, 0)]));
    assert_eq!(zero, batches(&[("a", 0, 0), ("b", 0, 1), ("c", 0, 2), ("d", 0, 3), ("e", 0, 4)]));
    rig.stored(40);
    assert_eq!(rig.outcome(0), Some(Ok(Some(40))));
    assert_eq!(rig.sent(), batches(&[("f", 0, 5)]));
}

#[test]
fn a_lost_session_is_repeated_before_anything_new() {
    let mut rig = rig();
    rig.push_all(["a", "b", "c"]);
    rig.sent();
    rig.stored(0);
    rig.push_all(["d"]);
    rig.reopen();
    assert_eq!(rig.sent(), batches(&[("b", 0, 1), ("c", 0, 2), ("d", 0, 3)]));
    (1..4).for_each(|offset| rig.stored(offset));
    assert_eq!([1, 2, 3].map(|n| rig.outcome(n)), [1, 2, 3].map(|offset| Some(Ok(Some(offset)))));
    assert!(rig.pipeline.is_empty());
}

#[test]
fn a_refusal_to_be_repeated_holds_back_what_is_behind_it() {
    let mut rig = rig();
    rig.push_all(["a", "b"]);
    rig.sent();
    rig.error(tonic::Code::ResourceExhausted, "THROTTLED", Some(500));
    rig.push_all(["c"]);
    assert_eq!(rig.sent(), [], "b is not answered yet");
    rig.out_of_order();
    assert_eq!(rig.sent(), [], "the broker asked to wait");
    assert_eq!(rig.pipeline.wake_at(rig.now), Some(rig.now + Duration::from_millis(500)));
    rig.now += Duration::from_millis(500);
    assert_eq!(rig.sent(), batches(&[("a", 0, 0), ("b", 0, 1), ("c", 0, 2)]));
}

#[test]
fn after_a_failure_the_rest_is_numbered_anew() {
    let mut rig = rig();
    rig.push_all(["too large", "b", "c"]);
    rig.push(Some(1), "x");
    let order: Vec<_> = rig.sent().into_iter().map(|(value, ..)| value).collect();
    for value in order {
        match value.as_str() {
            "too large" => rig.error(tonic::Code::InvalidArgument, "MESSAGE_TOO_LARGE", None),
            "x" => rig.stored(9),
            _ => rig.out_of_order(),
        }
    }
    assert_eq!(rig.outcome(0), Some(Err(ErrorKind::Invalid)));
    assert_eq!(rig.sent(), []);
    assert!(rig.pipeline.needs_identity());
    rig.pipeline.on_identity(ProducerIdentity { epoch: 1, ..IDENTITY });
    rig.push(Some(1), "y");
    let mut sent = rig.sent();
    sent.sort();
    assert_eq!(sent, batches(&[("b", 1, 0), ("c", 1, 1), ("y", 1, 0)]));
}

#[test]
fn what_may_be_stored_is_settled_under_the_old_epoch_first() {
    let mut rig = rig();
    rig.push(Some(0), "bad");
    rig.push(Some(1), "perhaps");
    let order: Vec<_> = rig.sent().into_iter().map(|(value, ..)| value).collect();
    for value in order {
        match value.as_str() {
            "bad" => rig.error(tonic::Code::InvalidArgument, "INVALID_RECORD", None),
            _ => rig.error(tonic::Code::Unavailable, "OUTCOME_UNKNOWN", Some(0)),
        }
    }
    assert!(!rig.pipeline.needs_identity());
    rig.now += Duration::from_secs(1);
    assert_eq!(rig.sent(), batches(&[("perhaps", 0, 0)]));
    rig.stored(3);
    assert_eq!(rig.outcome(1), Some(Ok(Some(3))));
    assert!(rig.pipeline.needs_identity());
}

#[test]
fn an_old_duplicate_is_stored_at_an_unknown_offset() {
    let mut rig = rig();
    rig.push_all(["a"]);
    rig.sent();
    rig.reopen();
    rig.sent();
    rig.error(tonic::Code::Aborted, "DUPLICATE_SEQUENCE", None);
    assert_eq!(rig.outcome(0), Some(Ok(None)));
}

#[test]
fn what_waits_too_long_fails_and_nothing_uncertain_gets_a_new_number() {
    let mut rig = rig();
    rig.push_all(["a"]);
    rig.sent();
    rig.pipeline.on_disconnected();
    rig.now += Duration::from_secs(119);
    rig.push_all(["b"]);
    rig.now += Duration::from_secs(1);
    rig.pipeline.expire(rig.now, None);
    assert_eq!([rig.outcome(0), rig.outcome(1)], [Some(Err(ErrorKind::OutcomeUnknown)), None]);
    rig.pipeline.on_opened(WINDOW, None);
    rig.answered = 0;
    assert!(rig.pipeline.needs_identity());
    rig.pipeline.on_identity(ProducerIdentity { epoch: 1, ..IDENTITY });
    assert_eq!(rig.sent(), batches(&[("b", 1, 0)]));
}

#[test]
fn keyless_records_move_on_with_each_batch() {
    let mut rig = rig();
    let options = ProducerOptions { batch_bytes: 120, linger: Duration::ZERO, ..ProducerOptions::default() };
    rig.pipeline = Pipeline::new(options, 0);
    rig.pipeline.on_opened(WINDOW, Some(IDENTITY));
    let value = "x".repeat(20);
    (0..6).for_each(|_| rig.push(None, &value));
    let sent = std::iter::from_fn(|| rig.pipeline.take(rig.now)).map(|b| (b.partition, b.records.len()));
    let mut sent: Vec<_> = sent.collect();
    sent.sort();
    assert_eq!(sent, [(Some(0), 2), (Some(1), 2), (Some(2), 2)]);
}

#[test]
fn the_window_bounds_what_travels_but_never_stops_a_lone_batch() {
    let mut rig = rig();
    rig.pipeline.on_opened(AppendCredit { records: 2, bytes: 1 << 20 }, None);
    rig.push_all(["a", "b", "c"]);
    assert_eq!(rig.sent().len(), 2);
    rig.stored(0);
    assert_eq!(rig.sent().len(), 1);
    let mut small = self::rig();
    small.pipeline.on_opened(AppendCredit { records: 1, bytes: 1 }, None);
    small.push_all(["a", "b"]);
    assert_eq!(small.sent(), batches(&[("a", 0, 0)]));
}

#[test]
fn a_flush_waits_for_what_came_before_it() {
    let mut rig = rig();
    let options = ProducerOptions { linger: Duration::from_secs(60), ..ProducerOptions::default() };
    rig.pipeline = Pipeline::new(options, 0);
    rig.pipeline.on_opened(WINDOW, Some(IDENTITY));
    rig.push_all(["a"]);
    assert_eq!(rig.sent(), [], "it waits for company");
    let flushed = rig.pipeline.flush();
    assert_eq!(rig.sent(), batches(&[("a", 0, 0)]));
    assert!(!rig.pipeline.is_done_before(flushed));
    rig.push_all(["b"]);
    rig.stored(0);
    assert!(rig.pipeline.is_done_before(flushed) && !rig.pipeline.is_empty());
}

#[test]
fn a_reply_out_of_turn_breaks_the_session() {
    let mut rig = rig();
    rig.push_all(["a"]);
    rig.sent();
    let ack = Ack { batch: 1, ..Ack::default() };
    assert_eq!(rig.pipeline.on_ack(rig.now, ack).unwrap_err().kind(), ErrorKind::Internal);
}

#[test]
fn no_batch_is_larger_than_its_topic_takes() {
    let mut rig = rig();
    rig.pipeline = Pipeline::new(ProducerOptions { linger: Duration::ZERO, ..ProducerOptions::default() }, 0);
    rig.pipeline.on_opened(WINDOW, Some(IDENTITY));
    rig.topic.max_batch_bytes = 200;
    let value = "x".repeat(20);
    (0..5).for_each(|_| rig.push(Some(0), &value));
    let sent = std::iter::from_fn(|| rig.pipeline.take(rig.now)).map(|batch| batch.records.len());
    assert_eq!(sent.collect::<Vec<_>>(), [2, 2, 1]);
}
