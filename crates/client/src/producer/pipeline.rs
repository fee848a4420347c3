//! Decides what is sent when, without I/O: batching, the window, sequence numbers, what a reply means.
//!
//! A batch goes `open` → `ready` → `sent` → done. A reply that asks for a repetition, or a broken connection, moves it
//! to `held`; held batches are sent again, in order and under the same sequence numbers, before anything new.
//!
//! A batch that fails for good leaves a hole in the sequence of its partition. Everything behind it in that partition
//! is then refused, so it is held; once the outcome of every batch is certain the producer takes its next epoch and
//! numbers what is held from 0. Certainty comes first: a batch that is stored under the old epoch would be stored twice.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use runnel_proto::produce::v1::append_outcome::Outcome;
use runnel_proto::produce::v1::append_session_response::Ack;
use runnel_proto::produce::v1::{AppendBatch, AppendCredit, ProducerIdentity, ProducerSequence};
use tokio::time::{Duration, Instant};

use super::batch::{BATCH_OVERHEAD, Batch, Entry, Sequence};
use super::{ProducerOptions, Topic};
use crate::backoff::Backoff;
use crate::{Error, ErrorKind};

/// Batches of one partition that may be unanswered: as many as a broker remembers of a producer.
const IN_FLIGHT: usize = 5;

/// What a partition's records are waiting for.
#[derive(Debug, Default)]
struct Queue {
    open: Option<Batch>,
    ready: VecDeque<Batch>,
    /// Of the next batch that is sent for the first time.
    next_sequence: i32,
    /// Batches that are sent or held.
    in_flight: usize,
    /// A batch was refused: those sent behind it will be refused as out of order.
    broken: bool,
}

type Key = (Arc<str>, i32);

/// The state of a producer.
#[derive(Debug)]
pub(super) struct Pipeline {
    options: ProducerOptions,
    queues: BTreeMap<Key, Queue>,
    /// The partition that keyless records of a topic go to at present.
    sticky: BTreeMap<Arc<str>, i32>,
    first_partition: i32,
    next_id: u64,
    next_order: u64,
    flush_upto: u64,
    /// The queue that is looked at first, for fairness.
    turn: Option<Key>,
    identity: Option<ProducerIdentity>,
    window: AppendCredit,
    /// In the order of the session.
    sent: VecDeque<(u64, Batch)>,
    /// Number, in the session, of the first of `sent`.
    answered: u64,
    /// By the order in which they were sent first.
    held: BTreeMap<u64, Batch>,
    /// Nothing is sent until every reply is there.
    settling: bool,
    /// Numbers must start anew.
    renumber: bool,
    retry_at: Option<Instant>,
    backoff: Backoff,
}

impl Pipeline {
    /// `first_partition` is where keyless records begin, modulo the number of partitions.
    pub(super) fn new(options: ProducerOptions, first_partition: i32) -> Self {
        Self {
            options,
            queues: BTreeMap::new(),
            sticky: BTreeMap::new(),
            first_partition,
            next_id: 0,
            next_order: 0,
            flush_upto: 0,
            turn: None,
            identity: None,
            window: AppendCredit::default(),
            sent: VecDeque::new(),
            answered: 0,
            held: BTreeMap::new(),
            settling: false,
            renumber: false,
            retry_at: None,
            backoff: Backoff::default(),
        }
    }

    /// Takes in a record.
    pub(super) fn push(&mut self, now: Instant, topic: &Topic, partition: Option<i32>, entry: Entry) {
        let limit = self.options.batch_bytes.min(topic.max_batch_bytes.saturating_sub(BATCH_OVERHEAD));
        let partition = partition.unwrap_or_else(|| self.sticky(topic, entry.bytes, limit));
        let name = &topic.name;
        let queue = self.queues.entry((Arc::clone(name), partition)).or_default();
        if let Some(full) = queue.open.take_if(|open| open.bytes + entry.bytes > limit) {
            queue.ready.push_back(full);
        }
        let open = queue.open.get_or_insert_with(|| {
            self.next_id += 1;
            Batch::new(self.next_id - 1, Arc::clone(name), partition, now)
        });
        open.push(entry);
        if let Some(full) = queue.open.take_if(|open| open.bytes >= limit) {
            queue.ready.push_back(full);
        }
    }

    /// The partition of a keyless record: the same until the batch there is full or sent, then the next.
    fn sticky(&mut self, topic: &Topic, bytes: usize, limit: usize) -> i32 {
        let partition = self.sticky.entry(Arc::clone(&topic.name)).or_insert(self.first_partition);
        let queue = self.queues.get_mut(&(Arc::clone(&topic.name), *partition));
        let has_room = |open: &Batch| open.bytes + bytes <= limit && open.partition < topic.partitions;
        match queue {
            Some(queue) if queue.open.as_ref().is_some_and(has_room) => {}
            queue => {
                if let Some(queue) = queue {
                    queue.ready.extend(queue.open.take());
                }
                *partition = partition.wrapping_add(1).rem_euclid(topic.partitions.max(1));
            }
        }
        *partition
    }

    /// From now on no batch begun so far waits for company; what they must be past is returned.
    pub(super) fn flush(&mut self) -> u64 {
        self.flush_upto = self.next_id;
        self.next_id
    }

    /// Whether every batch begun before `id` is done.
    pub(super) fn is_done_before(&self, id: u64) -> bool {
        !self.batches().any(|batch| batch.id < id)
    }

    /// Whether nothing waits for anything.
    pub(super) fn is_empty(&self) -> bool {
        self.batches().next().is_none()
    }

    fn batches(&self) -> impl Iterator<Item = &Batch> {
        let queued = self.queues.values().flat_map(|queue| queue.ready.iter().chain(&queue.open));
        self.sent.iter().map(|(_, batch)| batch).chain(self.held.values()).chain(queued)
    }

    /// Whether replies are outstanding.
    pub(super) fn is_waiting(&self) -> bool {
        !self.sent.is_empty()
    }

    /// The identity, once there is one.
    pub(super) fn identity(&self) -> Option<ProducerIdentity> {
        self.identity
    }

    /// A session was opened.
    pub(super) fn on_opened(&mut self, window: AppendCredit, producer: Option<ProducerIdentity>) {
        self.window = window;
        self.identity = self.identity.or(producer);
        self.answered = 0;
    }

    /// The next batch to send, if there is one that may be sent.
    pub(super) fn take(&mut self, now: Instant) -> Option<AppendBatch> {
        let identity = self.identity?;
        if self.settling || self.retry_at.is_some_and(|at| at > now) {
            return None;
        }
        self.retry_at = None;
        // While numbers are to start anew only what is uncertain is worth asking about.
        if let Some(order) =
            self.held.iter().find(|(_, batch)| !self.renumber || batch.uncertain).map(|(order, _)| *order)
        {
            if !self.fits(self.held.get(&order)?) {
                return None;
            }
            return self.held.remove(&order).map(|batch| self.send(order, batch));
        }
        if self.renumber || !self.held.is_empty() {
            return None;
        }
        let key = self.next_queue(now)?;
        let queue = self.queues.get_mut(&key)?;
        let mut batch = queue.ready.pop_front().or_else(|| queue.open.take())?;
        let count = i32::try_from(batch.records.len()).unwrap_or(i32::MAX);
        batch.sequence = Some(Sequence { producer: identity, base: queue.next_sequence });
        queue.next_sequence = advance(queue.next_sequence, count);
        queue.in_flight += 1;
        self.turn = Some(key);
        self.next_order += 1;
        Some(self.send(self.next_order, batch))
    }

    /// The queue after the last one that was served whose first batch may be sent.
    fn next_queue(&self, now: Instant) -> Option<Key> {
        let may = |(key, queue): (&Key, &Queue)| {
            let due = |open: &&Batch| open.begun + self.options.linger <= now || open.id < self.flush_upto;
            let first = queue.ready.front().or_else(|| queue.open.as_ref().filter(due))?;
            (queue.in_flight < IN_FLIGHT && self.fits(first)).then(|| key.clone())
        };
        use std::ops::Bound::{Excluded, Unbounded};
        match &self.turn {
            Some(turn) => {
                let after = self.queues.range((Excluded(turn.clone()), Unbounded));
                after.chain(self.queues.range(..=turn.clone())).find_map(may)
            }
            None => self.queues.iter().find_map(may),
        }
    }

    /// Whether the window has room: always for a batch that travels alone.
    fn fits(&self, batch: &Batch) -> bool {
        let (records, bytes) = self.sent.iter().fold((0, 0), |(records, bytes), (_, sent)| {
            (records + sent.records.len() as u64, bytes + sent.bytes as u64)
        });
        self.sent.is_empty()
            || (records + batch.records.len() as u64 <= self.window.records
                && bytes + batch.bytes as u64 <= self.window.bytes)
    }

    fn send(&mut self, order: u64, batch: Batch) -> AppendBatch {
        let sequence = batch.sequence.map(|s| ProducerSequence { producer: Some(s.producer), base_sequence: s.base });
        let message = AppendBatch {
            topic: batch.topic.to_string(),
            partition: Some(batch.partition),
            records: batch.records.clone(),
            compression: self.options.compression.into(),
            expected_offset: None,
            sequence,
        };
        self.sent.push_back((order, batch));
        message
    }

    /// The broker answered a batch. An error is a broken session: it must be closed.
    pub(super) fn on_ack(&mut self, now: Instant, ack: Ack) -> Result<(), Error> {
        let expected = self.answered;
        let outcome = ack.outcomes.into_iter().next().and_then(|outcome| outcome.outcome);
        let (true, Some(outcome)) = (ack.batch == expected, outcome) else {
            return Err(protocol(format!("reply {} instead of {expected}", ack.batch)));
        };
        let (order, batch) = self.sent.pop_front().ok_or_else(|| protocol("a reply to nothing".to_owned()))?;
        self.answered += 1;
        match outcome {
            Outcome::Appended(appended) => {
                self.backoff.reset();
                self.done(&batch);
                batch.stored(Some(&appended));
            }
            Outcome::Error(error) => self.refused(now, order, batch, Error::from(error)),
        }
        if self.sent.is_empty() {
            self.settled();
        }
        Ok(())
    }

    fn refused(&mut self, now: Instant, order: u64, mut batch: Batch, error: Error) {
        let behind = self.queue(&batch).is_some_and(|queue| queue.broken) || self.renumber;
        match error.reason() {
            // An earlier attempt stored it, and it is committed.
            "DUPLICATE_SEQUENCE" => {
                self.done(&batch);
                return batch.stored(None);
            }
            "OUT_OF_ORDER_SEQUENCE" if behind => batch.uncertain = false,
            _ if error.is_retryable() || error.kind() == ErrorKind::Timeout => {
                batch.uncertain |= error.kind() != ErrorKind::Throttled;
                let at = now + self.backoff.next(error.retry_after());
                self.retry_at = self.retry_at.max(Some(at));
            }
            _ => {
                self.break_queue(&batch);
                self.done(&batch);
                self.renumber = true;
                self.settling = true;
                return batch.failed(&error);
            }
        }
        self.break_queue(&batch);
        self.settling = true;
        self.held.insert(order, batch);
    }

    fn settled(&mut self) {
        self.settling = false;
        self.queues.values_mut().for_each(|queue| queue.broken = false);
    }

    fn queue(&mut self, batch: &Batch) -> Option<&mut Queue> {
        self.queues.get_mut(&(Arc::clone(&batch.topic), batch.partition))
    }

    fn break_queue(&mut self, batch: &Batch) {
        if let Some(queue) = self.queue(batch) {
            queue.broken = true;
        }
    }

    /// A batch that was sent is no longer of concern.
    fn done(&mut self, batch: &Batch) {
        if let Some(queue) = self.queue(batch) {
            queue.in_flight = queue.in_flight.saturating_sub(1);
        }
    }

    /// Whether the next epoch is needed now: [`Self::on_identity`] must follow before anything new is sent.
    pub(super) fn needs_identity(&self) -> bool {
        self.renumber && self.sent.is_empty() && !self.held.values().any(|batch| batch.uncertain)
    }

    /// A new identity: everything is numbered from 0.
    pub(super) fn on_identity(&mut self, producer: ProducerIdentity) {
        self.identity = Some(producer);
        self.renumber = false;
        self.queues.values_mut().for_each(|queue| queue.next_sequence = 0);
        for batch in self.held.values_mut() {
            if let Some(queue) = self.queues.get_mut(&(Arc::clone(&batch.topic), batch.partition)) {
                batch.sequence = Some(Sequence { producer, base: queue.next_sequence });
                let count = i32::try_from(batch.records.len()).unwrap_or(i32::MAX);
                queue.next_sequence = advance(queue.next_sequence, count);
            }
        }
    }

    /// The session is gone: what was not answered may or may not be stored.
    pub(super) fn on_disconnected(&mut self) {
        for (order, mut batch) in std::mem::take(&mut self.sent) {
            batch.uncertain = true;
            self.held.insert(order, batch);
        }
        self.retry_at = None;
        self.settled();
    }

    /// Fails what has waited too long. `last` is why it could not be stored.
    pub(super) fn expire(&mut self, now: Instant, last: Option<&Error>) {
        let timeout = self.options.delivery_timeout;
        let late = |batch: &Batch| batch.begun + timeout <= now;
        for queue in self.queues.values_mut() {
            // They have no number yet, so they leave no hole.
            while let Some(batch) = queue.ready.pop_front_if(|batch| late(batch)) {
                batch.failed(&expired(ErrorKind::Timeout, timeout, last));
            }
            if let Some(batch) = queue.open.take_if(|batch| late(batch)) {
                batch.failed(&expired(ErrorKind::Timeout, timeout, last));
            }
        }
        if self.held.values().any(late) {
            // What is uncertain fails along: it could not be numbered anew.
            for (order, batch) in std::mem::take(&mut self.held) {
                if late(&batch) || batch.uncertain {
                    let kind = if batch.uncertain { ErrorKind::OutcomeUnknown } else { ErrorKind::Timeout };
                    self.done(&batch);
                    batch.failed(&expired(kind, timeout, last));
                } else {
                    self.held.insert(order, batch);
                }
            }
            self.renumber = true;
        }
    }

    /// Gives up: everything fails with `error`. The next session brings a new identity.
    pub(super) fn fail(&mut self, error: &Error) {
        let sent = std::mem::take(&mut self.sent).into_iter().map(|(_, batch)| batch);
        let held = std::mem::take(&mut self.held).into_values();
        let queued = std::mem::take(&mut self.queues).into_values().flat_map(|q| q.ready.into_iter().chain(q.open));
        sent.chain(held).chain(queued).for_each(|batch| batch.failed(error));
        self.identity = None;
        self.renumber = false;
        self.settling = false;
    }

    /// When to look again though nothing came in.
    pub(super) fn wake_at(&self, now: Instant) -> Option<Instant> {
        let linger =
            self.queues.values().filter_map(|queue| queue.open.as_ref()).map(|b| b.begun + self.options.linger);
        let oldest = self.batches().map(|batch| batch.begun + self.options.delivery_timeout);
        linger.chain(self.retry_at).chain(oldest).filter(|at| *at > now).min()
    }
}

fn expired(kind: ErrorKind, timeout: Duration, last: Option<&Error>) -> Error {
    let why = last.map(|error| format!(": {error}")).unwrap_or_default();
    Error::new(kind, format!("the record could not be stored within {timeout:?}{why}"))
}

fn protocol(what: String) -> Error {
    Error::new(ErrorKind::Internal, format!("the broker broke the rules of the session: {what}"))
}

/// Sequence numbers run from 0 to 2³¹ − 1, then from 0 again.
fn advance(sequence: i32, by: i32) -> i32 {
    sequence.wrapping_add(by) & i32::MAX
}
