//! Reading records.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use runnel_record::{Batch, LeaderEpoch, Offset};

use crate::TopicKey;
use crate::error::Result;

/// Which records a reader may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    /// Everything below the high watermark.
    ReadUncommitted,
    /// Everything below the last stable offset. Equal to the high watermark while there are no transactions.
    ReadCommitted,
}

/// A fetch over any number of partitions.
#[derive(Debug, Clone)]
pub struct FetchRequest {
    /// How long to wait for `min_bytes`.
    pub max_wait: Duration,
    /// Reply as soon as this many bytes are there (or any partition has an error).
    pub min_bytes: usize,
    /// Stop adding batches past this; the first batch is always returned whole (KIP-74).
    pub max_bytes: usize,
    /// What may be seen.
    pub isolation: Isolation,
    /// The partitions, in the order to fill.
    pub partitions: Vec<FetchPartition>,
}

/// A position in one partition.
#[derive(Debug, Clone)]
pub struct FetchPartition {
    /// The topic.
    pub topic: TopicKey,
    /// Partition number.
    pub partition: i32,
    /// Offset wanted.
    pub offset: Offset,
    /// Soft limit for this partition; a first batch larger than it is returned whole.
    pub max_bytes: usize,
    /// Leader epoch the client believes in (KIP-320), checked when given.
    pub current_leader_epoch: Option<LeaderEpoch>,
    /// Epoch of the last record that the client has (KIP-595), for divergence detection when given.
    pub last_fetched_epoch: Option<LeaderEpoch>,
    /// The consumer's zone, if it may be sent to a broker there (KIP-392).
    pub zone: Option<Arc<str>>,
}

/// What one partition answered.
#[derive(Debug, Clone)]
pub struct FetchedPartition {
    /// The topic, as the request named it.
    pub topic: TopicKey,
    /// Partition number.
    pub partition: i32,
    /// The data, or why there is none.
    pub outcome: Result<Fetched>,
}

/// The client's log diverges from this one: it must truncate to `end_offset` of `epoch`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DivergingEpoch {
    /// Largest epoch known that is not above the client's.
    pub epoch: LeaderEpoch,
    /// Where that epoch ends here.
    pub end_offset: Offset,
}

/// Data of one partition.
#[derive(Debug, Clone)]
pub struct Fetched {
    /// Whole batches in offset order; the first may begin below the offset asked for. Empty when nothing is there.
    pub batches: Vec<Batch>,
    /// End of what is committed.
    pub high_watermark: Offset,
    /// End of what is stable.
    pub last_stable_offset: Offset,
    /// First offset that the partition still has.
    pub log_start: Offset,
    /// Set when the client's log diverges.
    pub diverging: Option<DivergingEpoch>,
    /// The broker in the consumer's zone that it should ask instead. Then nothing was read.
    pub reader: Option<i32>,
    /// Memory that the batches take up. A front door drops it once it counts them as its own.
    pub room: Room,
}

/// Memory set aside for data that was read from disk or bucket; given back when the last clone is dropped.
#[derive(Clone, Default)]
pub struct Room(Option<Arc<dyn Any + Send + Sync>>);

impl Room {
    /// Gives `claim` back, by dropping it, when this is dropped.
    pub fn new(claim: impl Any + Send + Sync) -> Self {
        Self(Some(Arc::new(claim)))
    }

    /// Whether it holds a claim: what it belongs to was read from somewhere, and not found in memory.
    pub const fn is_taken(&self) -> bool {
        self.0.is_some()
    }
}

impl std::fmt::Debug for Room {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_some() { "Room(taken)" } else { "Room(none)" })
    }
}

/// Serves reads.
#[async_trait]
pub trait Fetch: Send + Sync + 'static {
    /// Reads every partition, waiting up to `max_wait` for `min_bytes`; results in request order. Cancel-safe.
    async fn fetch(&self, request: FetchRequest) -> Vec<FetchedPartition>;
}
