//! Where a segment ends.

use std::ops::Range;

use runnel_record::{Offset, TimestampMs};

use crate::{BatchFacts, Partition};

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// The UTC day of an append time, in days since 1970-01-01; decides a segment's `date=` folder.
pub fn append_day(time: TimestampMs) -> i32 {
    i32::try_from(time.0.div_euclid(DAY_MS)).unwrap_or(if time.0 < 0 { i32::MIN } else { i32::MAX })
}

impl Partition {
    /// The offsets of the next segment, if one is due: from the shipped end, at batch boundaries, below the high
    /// watermark, of one UTC append day, and up to the batch that reaches `max_bytes`. Where it ends depends on the
    /// log and the limits alone, except that age or force may end it early.
    ///
    /// Due when `max_bytes` are committed and unshipped, when the first of them was appended `max_age` ago, or with
    /// `force` (lane pressure, a stop) as soon as there is anything. A day's end closes a segment but does not make
    /// it due: the uploads of many partitions at midnight spread over `max_age`. One segment is shipped at a time:
    /// ask again after [`Partition::shipped`].
    pub fn seal_candidate(&self, now: TimestampMs, force: bool) -> Option<Range<Offset>> {
        let full = self.committed_bytes >= self.options.segment.max_bytes;
        let old = self.next_seal_at().is_some_and(|due| due <= now);
        (force || full || old).then(|| segment(self.committed(), self.options.segment.max_bytes)).flatten()
    }

    /// When age alone makes a segment due; `None` while nothing is committed and unshipped.
    pub fn next_seal_at(&self) -> Option<TimestampMs> {
        let max_age = i64::try_from(self.options.segment.max_age.as_millis()).unwrap_or(i64::MAX);
        let first = self.facts.front().filter(|first| first.next <= self.high_watermark)?;
        Some(TimestampMs(first.append_time.0.saturating_add(max_age)))
    }
}

fn segment<'a>(batches: impl Iterator<Item = &'a BatchFacts>, max_bytes: u64) -> Option<Range<Offset>> {
    let mut batches = batches.peekable();
    let first = batches.peek().copied()?;
    let mut next = first.base;
    let mut bytes = 0;
    for batch in batches {
        if append_day(batch.append_time) != append_day(first.append_time) {
            break;
        }
        next = batch.next;
        bytes += u64::from(batch.bytes);
        if bytes >= max_bytes {
            break;
        }
    }
    Some(first.base..next)
}

#[cfg(test)]
mod tests;
