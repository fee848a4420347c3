//! What a read session sends next: credits, turns, stops. No I/O, no clock.

use std::collections::VecDeque;

use runnel_proto::consume::v1::read_session_response::{Batch, CaughtUp, Gap, Message, Tail};
use runnel_proto::record::v1::StoredRecord;
use runnel_record::Mark;
use tonic::Code;

use crate::error::{FRAME_TOO_SMALL, Failure};
use crate::records::{Unpacked, framed_len, payload};

/// Bytes of a batch message besides its records and the name of the topic, at most.
const ENVELOPE: usize = 64;

/// Records in one message: an in-memory record is larger than its bytes.
const MAX_RECORDS: usize = 8192;

/// What a client can take.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Credit {
    records: u64,
    /// The last record may have gone past it.
    bytes: i64,
}

impl Credit {
    pub(crate) fn add(&mut self, records: u64, bytes: u64) {
        self.records = self.records.saturating_add(records);
        self.bytes = self.bytes.saturating_add_unsigned(bytes);
    }

    /// Whether a record may be sent.
    pub(crate) const fn any(self) -> bool {
        self.records > 0 && self.bytes > 0
    }

    pub(crate) const fn bytes(self) -> i64 {
        self.bytes
    }

    fn spend(&mut self, bytes: u64) {
        self.records -= 1;
        self.bytes = self.bytes.saturating_sub_unsigned(bytes);
    }
}

/// Where one partition is to be read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Goal {
    pub(crate) topic: String,
    pub(crate) partition: i32,
    pub(crate) start: i64,
    /// Where the client wanted to start, if the log begins later.
    pub(crate) wanted: Option<i64>,
    /// Exclusive.
    pub(crate) stop: Option<i64>,
    /// Ends before the first record at or after this time.
    pub(crate) stop_time_ms: Option<i64>,
    pub(crate) max_records: Option<u64>,
    /// End of what is committed.
    pub(crate) high_watermark: i64,
}

/// One partition on its way.
#[derive(Debug)]
struct Part {
    goal: Goal,
    /// The next offset to send.
    position: i64,
    /// Records that may still be sent.
    left: u64,
    gap_from: Option<i64>,
    caught_up: bool,
    /// It has reached its stop.
    done: bool,
    /// Fetched and not sent yet.
    ready: VecDeque<Unpacked>,
    /// Where the walk over the first of them stands.
    mark: Mark,
}

/// The session.
#[derive(Debug)]
pub(crate) struct Machine {
    parts: Vec<Part>,
    /// Whose turn it is.
    turn: usize,
    pub(crate) credit: Credit,
    max_frame: usize,
}

impl Machine {
    /// A session without partitions, whose messages have at most `max_frame` bytes.
    pub(crate) fn new(max_frame: usize) -> Self {
        Self { parts: Vec::new(), turn: 0, credit: Credit::default(), max_frame }
    }

    /// One partition more, with the next index.
    pub(crate) fn add(&mut self, goal: Goal) {
        self.parts.push(Part {
            position: goal.start,
            left: goal.max_records.unwrap_or(u64::MAX),
            gap_from: goal.wanted,
            caught_up: false,
            done: false,
            ready: VecDeque::new(),
            mark: Mark::default(),
            goal,
        });
    }

    /// Nothing more is sent of the partition at an index; those behind it move up.
    pub(crate) fn remove(&mut self, at: usize) {
        self.parts.remove(at);
        if at < self.turn {
            self.turn -= 1;
        }
    }

    /// Nothing more is read of the partition at an index.
    pub(crate) fn finish(&mut self, at: usize) {
        self.parts[at].finish();
    }

    /// The next message that may be sent now; the turn passes on with each.
    pub(crate) fn next(&mut self) -> Result<Option<Message>, Failure> {
        for step in 0..self.parts.len() {
            let at = (self.turn + step) % self.parts.len();
            if let Some(message) = self.parts[at].next(&mut self.credit, self.max_frame)? {
                self.turn = at + 1;
                return Ok(Some(message));
            }
        }
        Ok(None)
    }

    /// Whether every partition has reached its stop.
    pub(crate) fn finished(&self) -> bool {
        self.parts.iter().all(|part| part.done)
    }

    /// Positions to fetch from, by index and fairly in turn: none while something fetched is still to be sent, or
    /// without credit.
    pub(crate) fn wanted(&self) -> Vec<(usize, i64)> {
        if !self.credit.any() || self.parts.iter().any(|part| !part.ready.is_empty()) {
            return Vec::new();
        }
        let count = self.parts.len();
        let order = (0..count).map(|step| (self.turn + step) % count);
        order.filter(|at| !self.parts[*at].done).map(|at| (at, self.parts[at].position)).collect()
    }

    /// A partition gave batches; perhaps none.
    pub(crate) fn fetched(&mut self, at: usize, batches: Vec<Unpacked>, high_watermark: i64) {
        let part = &mut self.parts[at];
        part.goal.high_watermark = part.goal.high_watermark.max(high_watermark);
        if !batches.is_empty() {
            // Who got something comes last the next time.
            self.turn = at + 1;
        }
        part.ready.extend(batches);
    }

    /// The log moved past the position: goes on at `start`.
    pub(crate) fn restart(&mut self, at: usize, start: i64) {
        let part = &mut self.parts[at];
        part.gap_from = Some(part.position).filter(|from| *from < start);
        part.position = start;
    }

    /// The next offset to send of the partition at an index.
    pub(crate) fn position(&self, at: usize) -> i64 {
        self.parts[at].position
    }

    /// Topic and partition at an index.
    pub(crate) fn name(&self, at: usize) -> (&str, i32) {
        (&self.parts[at].goal.topic, self.parts[at].goal.partition)
    }

    /// Where every partition stands that is still read.
    pub(crate) fn tails(&self) -> Vec<(usize, Tail)> {
        let tail = |part: &Part| Tail {
            topic: part.goal.topic.clone(),
            partition: part.goal.partition,
            next_offset: part.position,
            high_watermark: part.goal.high_watermark,
        };
        self.parts.iter().enumerate().filter(|(_, p)| !p.done).map(|(at, part)| (at, tail(part))).collect()
    }

    /// Bytes that are fetched and not sent.
    pub(crate) fn held(&self) -> usize {
        self.parts.iter().flat_map(|part| &part.ready).map(Unpacked::held).sum()
    }
}

impl Part {
    fn next(&mut self, credit: &mut Credit, max_frame: usize) -> Result<Option<Message>, Failure> {
        if self.done {
            return Ok(None);
        }
        if let Some(from) = self.gap_from.take() {
            return Ok(Some(self.gap(from, "these records are not in the log any more")));
        }
        let room = max_frame.saturating_sub(ENVELOPE + self.goal.topic.len());
        let (mut records, mut bytes) = (Vec::new(), 0);
        while let Some(first) = self.ready.front() {
            let Some((record, after)) = first.next(self.mark, self.position)? else {
                let end = first.next_offset();
                self.ready.pop_front();
                self.mark = Mark::default();
                if end <= self.position {
                    continue;
                }
                if records.is_empty() {
                    return Ok(Some(self.pass(end)));
                }
                // The gap comes by itself: the next batch begins behind it.
                break;
            };
            if self.is_past_stop(&record) {
                self.finish();
                break;
            }
            if record.offset > self.position {
                if records.is_empty() {
                    return Ok(Some(self.pass(record.offset)));
                }
                break;
            }
            let len = framed_len(&record);
            if len > room {
                if records.is_empty() {
                    return Err(self.too_small(&record, len, max_frame));
                }
                break;
            }
            bytes += len;
            if !credit.any() || bytes > room || records.len() == MAX_RECORDS {
                break;
            }
            credit.spend(payload(&record));
            (self.position, self.mark) = (record.offset + 1, after);
            self.left -= 1;
            records.push(record);
        }
        if !records.is_empty() {
            return Ok(Some(self.batch(records)));
        }
        if self.ready.is_empty() && !self.caught_up && self.position >= self.goal.high_watermark {
            self.caught_up = true;
            return Ok(Some(Message::CaughtUp(CaughtUp {
                topic: self.goal.topic.clone(),
                partition: self.goal.partition,
                next_offset: self.position,
            })));
        }
        if self.left == 0 || self.goal.stop.is_some_and(|stop| self.position >= stop) {
            self.finish();
        }
        Ok(None)
    }

    fn is_past_stop(&self, record: &StoredRecord) -> bool {
        self.left == 0
            || self.goal.stop.is_some_and(|stop| record.offset >= stop)
            || self.goal.stop_time_ms.is_some_and(|stop| record.timestamp_ms >= stop)
    }

    fn finish(&mut self) {
        self.done = true;
        self.ready.clear();
    }

    /// Passes over offsets that hold no records.
    fn pass(&mut self, to: i64) -> Message {
        let from = std::mem::replace(&mut self.position, to);
        self.gap(from, "these offsets hold no records")
    }

    fn gap(&self, from: i64, reason: &str) -> Message {
        Message::Gap(Gap {
            topic: self.goal.topic.clone(),
            partition: self.goal.partition,
            from_offset: from,
            to_offset: self.position,
            reason: reason.to_owned(),
        })
    }

    fn batch(&self, records: Vec<StoredRecord>) -> Message {
        Message::Batch(Batch {
            topic: self.goal.topic.clone(),
            partition: self.goal.partition,
            records,
            next_offset: self.position,
            high_watermark: self.goal.high_watermark,
        })
    }

    fn too_small(&self, record: &StoredRecord, len: usize, max_frame: usize) -> Failure {
        let why = format!(
            "the record at offset {} does not fit into max_frame_bytes = {max_frame}: open the session with more",
            record.offset
        );
        Failure::new(Code::FailedPrecondition, FRAME_TOO_SMALL, why)
            .at(&self.goal.topic, self.goal.partition)
            .with("offset", record.offset)
            .with("needed_bytes", len + ENVELOPE + self.goal.topic.len())
    }
}

#[cfg(test)]
mod tests;
