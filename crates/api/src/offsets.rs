//! Finding offsets.

use std::cmp::Ordering;

use async_trait::async_trait;
use runnel_record::{LeaderEpoch, Offset, TimestampMs};

use crate::TopicKey;
use crate::error::{Error, ErrorKind, Result};
use crate::fetch::{DivergingEpoch, Isolation};

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

/// Where a partition stands, as its leader sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// First offset that the partition still has.
    pub log_start: Offset,
    /// End of what any broker can read without the leader.
    pub shipped: Offset,
    /// End of what is committed.
    pub high_watermark: Offset,
}

/// Whether a client that names a leader epoch names the current one (KIP-320).
///
/// # Errors
/// It names an older one, or a newer one.
pub fn check_epoch(current: LeaderEpoch, client: Option<LeaderEpoch>) -> Result<()> {
    let Some(client) = client.filter(|epoch| epoch.0 >= 0) else { return Ok(()) };
    let (kind, what) = match client.cmp(&current) {
        Ordering::Equal => return Ok(()),
        Ordering::Less => (ErrorKind::FencedLeaderEpoch, "older"),
        Ordering::Greater => (ErrorKind::UnknownLeaderEpoch, "newer"),
    };
    Err(Error::new(kind, format!("leader epoch {client} is {what} than the current one, {current}")))
}

/// Where the epoch of a client's last record ends, if that is before the client's position: its log diverges from this one.
pub fn diverging(last: LeaderEpoch, end: EpochEnd, position: Offset) -> Option<DivergingEpoch> {
    let diverges = end.epoch < last || end.end_offset < position;
    diverges.then_some(DivergingEpoch { epoch: end.epoch, end_offset: end.end_offset })
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

    /// Where a partition stands that this broker leads in `epoch`; in another it says nothing. Another broker asks, for the
    /// consumers of its zone.
    async fn standing(&self, topic: &TopicKey, partition: i32, epoch: LeaderEpoch) -> Result<Standing>;

    /// The ends of many partitions, in their order; `None` where it is not known at this moment. For those who look often:
    /// nothing is opened, and nothing is waited for.
    async fn ends(&self, partitions: &[(TopicKey, i32)]) -> Vec<Option<Offset>>;
}
