//! Shipping: the root takes over, facts are dropped.

use runnel_format::producer::ProducerSnapshot;
use runnel_record::Offset;

use crate::{Error, Partition, SegmentLimits};

/// Spare room for facts that is kept after a ship.
const SPARE: usize = 1024;

impl Partition {
    /// The dedup state of the log below `offset`: what the root commit of a segment that ends there carries. Equal
    /// to replaying the log to `offset`. `offset` is a batch boundary from the shipped end to the high watermark.
    ///
    /// # Errors
    /// [`Error::Invariant`] for any other offset.
    pub fn snapshot_at(&self, offset: Offset) -> Result<ProducerSnapshot, Error> {
        let upto = self.shippable(offset)?;
        let mut state = self.at_shipped.clone();
        self.facts.range(..upto).for_each(|batch| state.apply(batch));
        Ok(state.snapshot())
    }

    /// The root holds everything below `next`. The facts below are dropped.
    ///
    /// # Errors
    /// [`Error::Invariant`], and the machine closes, if `next` is not a batch boundary from the shipped end to the
    /// high watermark: the root would hold what is not committed, or have shrunk.
    pub fn shipped(&mut self, next: Offset) -> Result<(), Error> {
        let upto = self.shippable(next).inspect_err(|_| self.closed = true)?;
        for batch in self.facts.drain(..upto) {
            self.at_shipped.apply(&batch);
            self.committed_bytes -= u64::from(batch.bytes);
        }
        if self.facts.capacity() > 4 * self.facts.len() + SPARE {
            self.facts.shrink_to(self.facts.len() + SPARE);
        }
        self.drop_old_epochs();
        Ok(())
    }

    /// The log now starts at `offset` (retention, DeleteRecords). An offset below the current start changes nothing.
    ///
    /// # Errors
    /// [`Error::Invariant`], and the machine closes, for an offset above the high watermark.
    pub fn advance_log_start(&mut self, offset: Offset) -> Result<(), Error> {
        if offset > self.high_watermark {
            return Err(self.broken("the log starts at or below the high watermark"));
        }
        self.log_start = self.log_start.max(offset);
        self.drop_old_epochs();
        Ok(())
    }

    /// The topic's segment limits changed.
    pub const fn set_segment_limits(&mut self, limits: SegmentLimits) {
        self.options.segment = limits;
    }

    /// Epochs of unshipped batches stay, so that a reopen recognises them.
    fn drop_old_epochs(&mut self) {
        self.epochs.truncate_below(self.log_start.min(self.shipped_end()));
    }

    /// The number of facts below `offset`, if that is a place where a segment may end.
    fn shippable(&self, offset: Offset) -> Result<usize, Error> {
        let upto = self.index_of(offset);
        let end = upto.checked_sub(1).and_then(|at| self.facts.get(at)).map_or(self.shipped_end(), |last| last.next);
        if end == offset && offset <= self.high_watermark {
            Ok(upto)
        } else {
            Err(Error::Invariant("a segment ends between batches, at or below the high watermark"))
        }
    }
}

#[cfg(test)]
mod tests;
