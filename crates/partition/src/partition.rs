//! The machine's state, and what can be asked of it.

use std::collections::VecDeque;

use runnel_format::manifest::EpochStart;
use runnel_record::{LeaderEpoch, Offset, TimestampMs};

use crate::acks::PendingAcks;
use crate::append::Staged;
use crate::epochs::Epochs;
use crate::producers::Producers;
use crate::refused::Refused;
use crate::{BatchFacts, EpochEnd, Error, Options};

/// One open partition at one leader epoch. See the crate's documentation for its life.
#[derive(Debug, Clone)]
pub struct Partition {
    pub(crate) epoch: LeaderEpoch,
    pub(crate) options: Options,
    pub(crate) log_start: Offset,
    pub(crate) high_watermark: Offset,
    pub(crate) epochs: Epochs,
    /// Every batch that is not shipped, in flight included: contiguous from the shipped end to the log end.
    pub(crate) facts: VecDeque<BatchFacts>,
    /// Bytes of the batches in `facts` below the high watermark.
    pub(crate) committed_bytes: u64,
    /// Dedup state at the shipped end: where snapshots start from.
    pub(crate) at_shipped: Producers,
    /// Dedup state at the log end, in flight included: what new batches are judged by.
    pub(crate) latest: Producers,
    pub(crate) acks: PendingAcks,
    /// The append that the lane has not answered yet.
    pub(crate) staged: Option<Staged>,
    pub(crate) refused: Refused,
    pub(crate) closed: bool,
}

impl Partition {
    /// The leader epoch that this machine serves.
    pub const fn epoch(&self) -> LeaderEpoch {
        self.epoch
    }

    /// The first offset that the partition still has.
    pub const fn log_start(&self) -> Offset {
        self.log_start
    }

    /// End of what the root holds. Batches from here on are known by their facts.
    pub const fn shipped_end(&self) -> Offset {
        self.at_shipped.offset()
    }

    /// End of what is committed: acknowledged and readable.
    pub const fn high_watermark(&self) -> Offset {
        self.high_watermark
    }

    /// End of what a read_committed reader sees. Without transactions this is the high watermark.
    pub const fn last_stable_offset(&self) -> Offset {
        self.high_watermark
    }

    /// End of what has been given an offset; the offset of the next append.
    pub const fn log_end(&self) -> Offset {
        self.latest.offset()
    }

    /// Append time of the newest batch; the next one gets no earlier time.
    pub const fn last_append_time(&self) -> TimestampMs {
        self.latest.last_append_time()
    }

    /// Whether no append is taken any more.
    pub const fn is_closed(&self) -> bool {
        self.closed
    }

    /// Appends that wait for durability.
    pub fn in_flight(&self) -> usize {
        self.acks.len()
    }

    /// Batches whose facts are kept because they are not shipped; for metrics and backpressure.
    pub fn unshipped_batches(&self) -> usize {
        self.facts.len()
    }

    /// Bytes that are committed and not shipped.
    pub const fn unshipped_bytes(&self) -> u64 {
        self.committed_bytes
    }

    /// Idempotent producers remembered; for metrics.
    pub fn producers(&self) -> usize {
        self.latest.len()
    }

    /// Epochs with their start offsets, for the root and the partition record.
    pub fn epochs(&self) -> &[EpochStart] {
        self.epochs.as_slice()
    }

    /// The epoch that wrote `offset`; `None` where it is no longer known.
    pub fn epoch_at(&self, offset: Offset) -> Option<LeaderEpoch> {
        self.epochs.at(offset)
    }

    /// Where `epoch` ends (OffsetForLeaderEpoch, KIP-320). The current epoch ends at the high watermark: what lies
    /// above may still be lost, and nobody has read it. `None` for an epoch larger than every known one.
    pub fn epoch_end(&self, epoch: LeaderEpoch) -> Option<EpochEnd> {
        self.epochs.end_of(epoch, self.high_watermark)
    }

    /// Closes the machine because an input broke its contract; the caller follows up with [`Partition::failed`].
    pub(crate) fn broken(&mut self, what: &'static str) -> Error {
        self.closed = true;
        Error::Invariant(what)
    }

    /// Index in `facts` of the first batch at or above `offset`, for an `offset` between batches.
    pub(crate) fn index_of(&self, offset: Offset) -> usize {
        self.facts.partition_point(|batch| batch.next <= offset)
    }

    /// What is committed and not shipped, in order.
    pub(crate) fn committed(&self) -> impl Iterator<Item = &BatchFacts> {
        self.facts.range(..self.index_of(self.high_watermark))
    }

    /// What is waiting for durability, in order.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = &BatchFacts> {
        self.facts.range(self.index_of(self.high_watermark)..)
    }
}
