//! Idempotent producers (KIP-98, KIP-360): which batch is new, which is a retry, which leaves a gap.
//!
//! [`Producers`] is a fold over the log: [`Producers::apply`] takes every batch in offset order and nothing else
//! changes it, so the state is a pure function of the log prefix and of the limits. In particular a producer expires
//! by the append times in the log, never by a clock and never by record timestamps.
//!
//! Rules of [`Producers::check`], in order, as Kafka 4 applies them (`UnifiedLog.analyzeAndValidateProducerState`,
//! `ProducerStateEntry.findDuplicateBatch`, `ProducerAppendInfo.checkProducerEpoch` and `checkSequence`):
//!
//! | state of the producer | batch | answer |
//! |---|---|---|
//! | unknown, or expired at the batch's append time | any epoch, any sequence | new |
//! | known | the epoch and sequence range of one of its last five batches | duplicate of that one |
//! | known | an older epoch | InvalidProducerEpoch |
//! | known | a newer epoch, sequence 0 | new |
//! | known | a newer epoch, another sequence | OutOfOrderSequence |
//! | known | the sequence after the last | new |
//! | known | wholly before the five, and in the log | DuplicateSequence |
//! | known | anything else | OutOfOrderSequence |
//!
//! The last but one differs: Kafka 4 answers OUT_OF_ORDER_SEQUENCE_NUMBER there. Clients take
//! DUPLICATE_SEQUENCE_NUMBER as success, which is the truth: `written` proves that the records are stored.
//! UNKNOWN_PRODUCER_ID is never the answer: since KIP-360 a broker without state accepts any sequence number.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use runnel_format::producer::{BATCHES_KEPT, ProducerEntry, ProducerSnapshot, RememberedBatch};
use runnel_record::{Offset, ProducerId, TimestampMs};

use crate::facts::{BatchFacts, ProducerBatch};
use crate::options::ProducerLimits;
use crate::{Error, sequence};

/// Past half of the sequence space "behind" and "ahead" cannot be told apart.
const HALF_SPACE: i64 = 1 << 30;

/// The dedup state as of a log offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Producers {
    limits: ProducerLimits,
    offset: Offset,
    last_append_time: TimestampMs,
    entries: BTreeMap<ProducerId, Entry>,
    /// Producers by the base offset of their last batch: the least recently appended one comes first.
    by_last_append: BTreeMap<Offset, ProducerId>,
}

/// One producer. Always holds at least one batch.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    epoch: i16,
    written: i64,
    earlier: VecDeque<RememberedBatch>,
    last: RememberedBatch,
}

/// What a batch is to the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It continues a known producer.
    Next,
    /// Nothing is known of its producer.
    Unknown,
    /// It is one of the remembered batches.
    Duplicate(RememberedBatch),
}

impl Producers {
    /// The state of an empty log, which nothing is pushed out of.
    pub(crate) const fn unlimited() -> Self {
        Self {
            limits: ProducerLimits { expiration: Duration::MAX, max: usize::MAX },
            offset: Offset::ZERO,
            last_append_time: TimestampMs::NONE,
            entries: BTreeMap::new(),
            by_last_append: BTreeMap::new(),
        }
    }

    /// The state that a snapshot holds. A snapshot with more producers than the limit shrinks at the next batch.
    pub(crate) fn restore(snapshot: &ProducerSnapshot, limits: ProducerLimits) -> Result<Self, Error> {
        snapshot.check()?;
        let mut state =
            Self { limits, offset: snapshot.offset, last_append_time: snapshot.last_append_time, ..Self::unlimited() };
        for producer in &snapshot.producers {
            let mut earlier: VecDeque<_> = producer.batches.iter().copied().collect();
            let Some(last) = earlier.pop_back() else {
                return Err(Error::Corrupt("a producer without batches"));
            };
            let entry = Entry { epoch: producer.epoch, written: producer.written, earlier, last };
            state.entries.insert(producer.id, entry);
            if state.by_last_append.insert(last.base_offset, producer.id).is_some() {
                return Err(Error::Corrupt("two producers wrote the same offset"));
            }
        }
        Ok(state)
    }

    /// The state as data, by producer id.
    pub(crate) fn snapshot(&self) -> ProducerSnapshot {
        let producers = self.entries.iter().map(|(id, entry)| ProducerEntry {
            id: *id,
            epoch: entry.epoch,
            written: entry.written,
            batches: entry.batches().copied().collect(),
        });
        ProducerSnapshot {
            offset: self.offset,
            last_append_time: self.last_append_time,
            producers: producers.collect(),
        }
    }

    /// End of the log that is accounted for.
    pub(crate) const fn offset(&self) -> Offset {
        self.offset
    }

    /// Append time of the last batch that is accounted for.
    pub(crate) const fn last_append_time(&self) -> TimestampMs {
        self.last_append_time
    }

    /// Number of producers remembered.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Accounts for the next batch of the log. Total: what the log holds is a fact, and is not judged again.
    pub(crate) fn apply(&mut self, batch: &BatchFacts) {
        self.offset = batch.next;
        self.last_append_time = batch.append_time;
        self.expire(batch.append_time);
        if let Some(producer) = batch.producer {
            self.remember(&producer, batch);
        }
    }

    fn remember(&mut self, producer: &ProducerBatch, batch: &BatchFacts) {
        let last = RememberedBatch {
            first_sequence: producer.first_sequence,
            last_sequence: producer.last_sequence,
            base_offset: batch.base,
            append_time: batch.append_time,
        };
        let mut entry = Entry { epoch: producer.epoch, written: producer.count(), earlier: VecDeque::new(), last };
        if let Some(before) = self.forget(producer.id)
            && before.epoch == producer.epoch
            && before.expected() == producer.first_sequence
        {
            entry.written = entry.written.saturating_add(before.written);
            entry.earlier = before.earlier;
            entry.earlier.push_back(before.last);
            if entry.earlier.len() == BATCHES_KEPT {
                entry.earlier.pop_front();
            }
        }
        self.entries.insert(producer.id, entry);
        self.by_last_append.insert(batch.base, producer.id);
        while self.entries.len() > self.limits.max.max(1) {
            self.forget_oldest();
        }
    }

    /// Forgets every producer whose last batch is too old at the time `now` of the batch being applied.
    fn expire(&mut self, now: TimestampMs) {
        while let Some((_, id)) = self.by_last_append.first_key_value()
            && self.entries.get(id).is_none_or(|entry| self.is_expired(entry, now))
        {
            self.forget_oldest();
        }
    }

    fn is_expired(&self, entry: &Entry, now: TimestampMs) -> bool {
        let expiration = i64::try_from(self.limits.expiration.as_millis()).unwrap_or(i64::MAX);
        now.0.saturating_sub(entry.last.append_time.0) >= expiration
    }

    fn forget_oldest(&mut self) {
        if let Some((_, id)) = self.by_last_append.pop_first() {
            self.entries.remove(&id);
        }
    }

    fn forget(&mut self, id: ProducerId) -> Option<Entry> {
        let entry = self.entries.remove(&id)?;
        self.by_last_append.remove(&entry.last.base_offset);
        Some(entry)
    }

    /// Judges a batch that would be appended at `append_time`; see the table above.
    ///
    /// # Errors
    /// The refusals of the table, and [`Error::InvalidProducer`] for a negative epoch or sequence number.
    pub(crate) fn check(&self, batch: &ProducerBatch, append_time: TimestampMs) -> Result<Verdict, Error> {
        let &ProducerBatch { id, epoch, first_sequence: found, .. } = batch;
        if epoch < 0 || found < 0 {
            return Err(Error::InvalidProducer { id, epoch, first_sequence: found });
        }
        let Some(entry) = self.entries.get(&id) else { return Ok(Verdict::Unknown) };
        if let Some(original) = entry.find(batch) {
            return Ok(Verdict::Duplicate(original));
        }
        if self.is_expired(entry, append_time) {
            // Appending the batch would expire its own producer first.
            return Ok(Verdict::Unknown);
        }
        if epoch < entry.epoch {
            return Err(Error::InvalidProducerEpoch { id, epoch, current: entry.epoch });
        }
        let expected = if epoch == entry.epoch { entry.expected() } else { 0 };
        if found == expected {
            Ok(Verdict::Next)
        } else if epoch == entry.epoch && entry.wrote_before_remembered(batch) {
            Err(Error::DuplicateSequence { id, found })
        } else {
            Err(Error::OutOfOrderSequence { id, expected, found })
        }
    }
}

impl Entry {
    fn batches(&self) -> impl Iterator<Item = &RememberedBatch> {
        self.earlier.iter().chain([&self.last])
    }

    fn expected(&self) -> i32 {
        sequence::advance(self.last.last_sequence, 1)
    }

    fn find(&self, batch: &ProducerBatch) -> Option<RememberedBatch> {
        let range = (batch.first_sequence, batch.last_sequence);
        let same = |known: &&RememberedBatch| (known.first_sequence, known.last_sequence) == range;
        (self.epoch == batch.epoch).then(|| self.batches().find(same).copied()).flatten()
    }

    /// Whether every record of `batch` is in the log, before the oldest remembered batch.
    fn wrote_before_remembered(&self, batch: &ProducerBatch) -> bool {
        let oldest = self.earlier.front().unwrap_or(&self.last);
        let behind = sequence::distance(batch.first_sequence, self.expected());
        behind <= self.written.min(HALF_SPACE) && ends_before(batch, oldest.first_sequence)
    }
}

/// Whether `batch` ends before the sequence number `start`, which lies less than half the space after its first.
pub(crate) fn ends_before(batch: &ProducerBatch, start: i32) -> bool {
    let ahead = sequence::distance(batch.first_sequence, start);
    batch.count() <= ahead && ahead <= HALF_SPACE
}

#[cfg(test)]
mod tests;
