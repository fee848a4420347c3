//! Lookups by timestamp over what is committed and not shipped; the root's references answer for the rest.

use runnel_record::{Offset, TimestampMs};

use crate::{BatchFacts, Partition};

/// A batch found by timestamp. Which of its records it is, only the records tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimedBatch {
    /// Offset of the first record slot.
    pub base: Offset,
    /// Offset after the last record slot.
    pub next: Offset,
    /// Largest timestamp of the batch.
    pub max_timestamp: TimestampMs,
}

impl TimedBatch {
    const fn of(batch: &BatchFacts) -> Self {
        Self { base: batch.base, next: batch.next, max_timestamp: batch.max_timestamp }
    }
}

impl Partition {
    /// The first batch with a record at or after `time` (ListOffsets by timestamp).
    pub fn batch_at_time(&self, time: TimestampMs) -> Option<TimedBatch> {
        self.readable().find(|batch| batch.max_timestamp >= time).map(TimedBatch::of)
    }

    /// The first batch that holds the largest timestamp (ListOffsets with MAX_TIMESTAMP, KIP-734); `None` if no
    /// record has one.
    pub fn batch_of_max_timestamp(&self) -> Option<TimedBatch> {
        let timed = self.readable().filter(|batch| batch.max_timestamp > TimestampMs::NONE);
        timed
            .reduce(|best, batch| if batch.max_timestamp > best.max_timestamp { batch } else { best })
            .map(TimedBatch::of)
    }

    fn readable(&self) -> impl Iterator<Item = &BatchFacts> {
        self.committed().filter(|batch| batch.next > self.log_start)
    }
}

#[cfg(test)]
mod tests;
