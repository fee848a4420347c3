//! What the machine asks its driver to do.

use runnel_record::{LeaderEpoch, Offset, TimestampMs};

use crate::Error;

/// Names a produce request, so that its reply finds its way. Chosen by the caller; unique among those waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// Where an acknowledged batch stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Produced {
    /// Offset of its first record; for a retry the original one.
    pub base_offset: Offset,
    /// When it was appended; for a retry the original time.
    pub append_time: TimestampMs,
    /// The epoch that wrote it; for a retry of something old, the oldest epoch that is still known.
    pub leader_epoch: LeaderEpoch,
}

/// To be carried out in the order given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Offsets below this one are now readable. Comes before the replies that it makes possible, so that a producer
    /// reads its own write.
    HighWatermark(Offset),
    /// The one answer to a request whose decision was to append or to join.
    Reply {
        /// The request.
        token: RequestId,
        /// Where the batch stands, or [`Error::OutcomeUnknown`].
        outcome: Result<Produced, Error>,
    },
}
