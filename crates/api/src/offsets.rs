//! Finding offsets.

use async_trait::async_trait;
use runnel_record::{LeaderEpoch, Offset, TimestampMs};

use crate::TopicKey;
use crate::error::Result;
use crate::fetch::Isolation;

/// Which offset is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OffsetSpec {
    /// First offset that the partition still has (−2 on the wire; also −4, earliest local: there is one log).
    Earliest,
    /// The end of what the isolation level allows (−1).
    Latest,
    /// The record with the largest timestamp (−3).
    MaxTimestamp,
    /// The end of what has been shipped to the bucket (−5, KIP-1005 "latest tiered").
    LatestTiered,
    /// The first record whose timestamp is at or after this one.
    Timestamp(TimestampMs),
}

/// An offset that was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListedOffset {
    /// The offset.
    pub offset: Offset,
    /// Timestamp of the record there; [`TimestampMs::NONE`] for earliest and latest.
    pub timestamp: TimestampMs,
    /// Epoch of the record there, or the current one.
    pub leader_epoch: Option<LeaderEpoch>,
}

/// Where an epoch ends (KIP-320).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochEnd {
    /// The largest epoch known that is not above the one asked for.
    pub epoch: LeaderEpoch,
    /// Its end, exclusive.
    pub end_offset: Offset,
}

/// Answers questions about offsets.
#[async_trait]
pub trait Offsets: Send + Sync + 'static {
    /// Finds an offset; `None` when no record matches (timestamp lookups).
    async fn list_offset(
        &self,
        topic: &TopicKey,
        partition: i32,
        spec: OffsetSpec,
        isolation: Isolation,
        current_leader_epoch: Option<LeaderEpoch>,
    ) -> Result<Option<ListedOffset>>;

    /// Finds where `epoch` ends; `None` when it is above every epoch known.
    async fn epoch_end(
        &self,
        topic: &TopicKey,
        partition: i32,
        epoch: LeaderEpoch,
        current_leader_epoch: Option<LeaderEpoch>,
    ) -> Result<Option<EpochEnd>>;
}
