//! Appending: judge a batch, give it an offset and an append time, hand it to the lane.

use runnel_record::{Batch, Offset, ProducerId, TimestampMs};

use crate::acks::Pending;
use crate::producers::{Producers, Verdict, ends_before};
use crate::{BatchFacts, Effect, Error, Partition, Produced, ProducerBatch, RequestId, sequence};

const CONTROL: i16 = 1 << 5;
const TRANSACTIONAL: i16 = 1 << 4;

/// What is to be done with a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// The batch is stamped. Hand it to the lane, then call [`Partition::appended`] or [`Partition::refused`].
    Append {
        /// The offset it got.
        base_offset: Offset,
        /// The append time it got.
        append_time: TimestampMs,
    },
    /// It is committed already: answer now.
    Duplicate(Produced),
    /// It is on its way already: its reply comes with that of the original.
    Joined,
}

/// What the topic and the request ask of an append, besides its bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Terms {
    /// The batch's timestamps become the append time (the topic's `message.timestamp.type`).
    pub log_append_time: bool,
    /// The batch is only taken if this is the offset that it gets.
    pub expected_offset: Option<Offset>,
}

/// An append that the lane has not answered yet.
#[derive(Debug, Clone)]
pub(crate) struct Staged {
    token: RequestId,
    facts: BatchFacts,
    /// Nothing is known of its producer.
    unknown_producer: bool,
}

impl Partition {
    /// Judges `batch`, which passed the validation of its bytes. `now` is the wall clock; the append time is the
    /// later of it and the partition's last append time.
    ///
    /// Nothing changes yet: the append counts from [`Partition::appended`] on.
    ///
    /// # Errors
    /// A refusal may be sent at once: the batch is neither in the log nor on its way there. [`Error::Closed`] after
    /// a failure; [`Error::Invariant`] if the lane's answer to the append before is missing.
    pub fn append(
        &mut self,
        now: TimestampMs,
        token: RequestId,
        terms: Terms,
        batch: &mut Batch,
    ) -> Result<Decision, Error> {
        if self.closed {
            return Err(Error::Closed);
        }
        if self.staged.is_some() {
            return Err(self.broken("an append was judged before the lane answered the one before"));
        }
        check_attributes(batch)?;
        let append_time = now.max(self.last_append_time());
        let mut unknown_producer = false;
        if let Some(producer) = ProducerBatch::of(batch) {
            match self.judge(&producer, append_time)? {
                Judged::New { unknown } => unknown_producer = unknown,
                Judged::Committed(produced) => return Ok(Decision::Duplicate(produced)),
                Judged::Waiting(base) => return self.join(base, token),
            }
        }
        // After the dedup: a retry of what is stored is answered with where it stands.
        if let Some(expected) = terms.expected_offset.filter(|expected| *expected != self.log_end()) {
            return Err(Error::OffsetMismatch { expected, next: self.log_end() });
        }
        batch.assign(self.log_end(), self.epoch);
        if terms.log_append_time {
            batch.set_log_append_time(append_time);
        }
        let facts = BatchFacts::of(batch, append_time);
        self.staged = Some(Staged { token, facts, unknown_producer });
        Ok(Decision::Append { base_offset: facts.base, append_time })
    }

    fn join(&mut self, base: Offset, token: RequestId) -> Result<Decision, Error> {
        if self.acks.join(base, token) {
            Ok(Decision::Joined)
        } else {
            Err(self.broken("a batch above the high watermark waits for durability"))
        }
    }

    fn judge(&self, producer: &ProducerBatch, append_time: TimestampMs) -> Result<Judged, Error> {
        let verdict = self.latest.check(producer, append_time);
        match verdict {
            Ok(Verdict::Next) => return Ok(Judged::New { unknown: false }),
            Ok(Verdict::Duplicate(original)) if original.base_offset < self.high_watermark => {
                let produced = self.produced(original.base_offset, original.append_time);
                return Ok(Judged::Committed(produced));
            }
            Ok(Verdict::Duplicate(original)) => return Ok(Judged::Waiting(original.base_offset)),
            Ok(Verdict::Unknown) | Err(_) => {}
        }
        // The rare cases. What is on its way is never refused and never appended again, even if more than the
        // remembered batches, a newer epoch or the limits on producers have pushed it out of the state since.
        if let Some(original) = self.waiting().find(|batch| batch.producer == Some(*producer)) {
            return Ok(Judged::Waiting(original.base));
        }
        match verdict.and_then(|_| self.check_by_waiting(producer, append_time)) {
            Ok(Verdict::Unknown) => self.refused.admit(producer).map(|()| Judged::New { unknown: true }),
            Ok(Verdict::Next) => Ok(Judged::New { unknown: false }),
            Ok(Verdict::Duplicate(original)) => Ok(Judged::Waiting(original.base_offset)),
            Err(Error::DuplicateSequence { .. }) => Err(self.old_duplicate(producer)),
            Err(refusal) => Err(refusal),
        }
    }

    /// A producer that the limits have pushed out is still known by what it has on its way.
    fn check_by_waiting(&self, producer: &ProducerBatch, append_time: TimestampMs) -> Result<Verdict, Error> {
        let mut state = Producers::unlimited();
        self.waiting_of(producer.id).for_each(|(batch, _)| state.apply(batch));
        state.check(producer, append_time)
    }

    /// The answer to a batch that repeats sequence numbers older than the remembered ones. Clients take
    /// DuplicateSequence as success, so it may only be said of what is committed.
    fn old_duplicate(&self, producer: &ProducerBatch) -> Error {
        let &ProducerBatch { id, epoch, first_sequence: found, .. } = producer;
        let mut own = self.waiting_of(id).map(|(_, part)| part).filter(|part| part.epoch == epoch);
        match own.next() {
            Some(first) if !ends_before(producer, first.first_sequence) => {
                let last = own.last().unwrap_or(first);
                Error::OutOfOrderSequence { id, expected: sequence::advance(last.last_sequence, 1), found }
            }
            _ => Error::DuplicateSequence { id, found },
        }
    }

    fn waiting_of(&self, id: ProducerId) -> impl Iterator<Item = (&BatchFacts, ProducerBatch)> {
        self.waiting().filter_map(move |batch| batch.producer.filter(|part| part.id == id).map(|part| (batch, part)))
    }

    pub(crate) fn produced(&self, base_offset: Offset, append_time: TimestampMs) -> Produced {
        let oldest_known = || self.epochs().first().map_or(self.epoch, |oldest| oldest.epoch);
        let leader_epoch = self.epoch_at(base_offset).unwrap_or_else(oldest_known);
        Produced { base_offset, append_time, leader_epoch }
    }

    /// The lane took the append of `token` as its entry `lane_seq`. From here on the append counts, and its reply
    /// comes as an effect: at once if the lane has reported `lane_seq` durable already.
    ///
    /// # Errors
    /// [`Error::Invariant`] if this is not the append judged last, or if `lane_seq` does not rise.
    pub fn appended(&mut self, token: RequestId, lane_seq: u64, effects: &mut Vec<Effect>) -> Result<(), Error> {
        let staged = self.take_staged(token)?;
        let BatchFacts { base, next, append_time, bytes, .. } = staged.facts;
        let pending = Pending { base, next, lane_seq, append_time, bytes, token, joined: Vec::new() };
        if let Err(error) = self.acks.push(pending) {
            // The entry is in the lane and may become durable: its request is answered with the others.
            self.staged = Some(staged);
            self.closed = true;
            return Err(error);
        }
        self.latest.apply(&staged.facts);
        self.facts.push_back(staged.facts);
        if let Some(producer) = staged.facts.producer {
            self.refused.clear(producer.id);
        }
        self.commit(effects);
        Ok(())
    }

    /// From here on appends go to another lane, whose sequence numbers begin anew. Only between appends, when all that
    /// was appended is durable.
    ///
    /// # Errors
    /// [`Error::Invariant`] if something is on its way to the present lane.
    pub fn lane_changed(&mut self) -> Result<(), Error> {
        if self.staged.is_none() && self.acks.change_lane() {
            return Ok(());
        }
        Err(self.broken("a lane is left while something is on its way to it"))
    }

    /// The lane refused the append of `token` (full, throttled, closed): it never happened, and its offset goes to
    /// the next one. The caller answers the request itself, with a retriable error.
    ///
    /// # Errors
    /// [`Error::Invariant`] if this is not the append judged last.
    pub fn refused(&mut self, token: RequestId) -> Result<(), Error> {
        let staged = self.take_staged(token)?;
        if let (true, Some(producer)) = (staged.unknown_producer, staged.facts.producer) {
            self.refused.note(&producer);
        }
        Ok(())
    }

    fn take_staged(&mut self, token: RequestId) -> Result<Staged, Error> {
        match self.staged.take() {
            Some(staged) if staged.token == token => Ok(staged),
            other => {
                self.staged = other;
                Err(self.broken("the lane answered for an append that was not judged last"))
            }
        }
    }

    /// The request whose append the lane has not answered.
    pub(crate) fn take_staged_token(&mut self) -> Option<RequestId> {
        self.staged.take().map(|staged| staged.token)
    }
}

enum Judged {
    New { unknown: bool },
    Committed(Produced),
    Waiting(Offset),
}

fn check_attributes(batch: &Batch) -> Result<(), Error> {
    if batch.attributes() & CONTROL != 0 {
        return Err(Error::ControlBatch);
    }
    if batch.attributes() & TRANSACTIONAL != 0 {
        return Err(Error::Transactional);
    }
    if batch.last_offset_delta() < 0 {
        return Err(Error::EmptyBatch);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
