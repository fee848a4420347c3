//! What a broker can do for partitions that others lead, and what it tells the others of its own.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use runnel_record::{Batch, LeaderEpoch, Offset, TopicPartition};

use crate::error::Result;
use crate::{Node, Room, TopicKey};

/// Who leads a partition, as far as a broker knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Led {
    /// The partition.
    pub tp: TopicPartition,
    /// The leader's epoch.
    pub epoch: LeaderEpoch,
    /// The leader; without addresses if it is the broker that was asked.
    pub leader: Node,
}

/// What a broker knows of partitions that others lead, and can read of them by itself.
#[async_trait]
pub trait Nearby: Send + Sync + 'static {
    /// Who leads a partition. An error while nobody does, or this broker cannot know.
    fn led(&self, topic: &TopicKey, partition: i32) -> Result<Led>;

    /// Reads what is shipped of a partition, without its leader.
    fn archive(&self, tp: TopicPartition) -> Result<Arc<dyn Archive>>;
}

/// What has gone through a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flow {
    /// The partition.
    pub tp: TopicPartition,
    /// Its leader's epoch.
    pub epoch: LeaderEpoch,
    /// Bytes of records that clients have appended and read since its leader opened it.
    pub bytes: u64,
}

/// Tells what goes through partitions.
#[async_trait]
pub trait Traffic: Send + Sync + 'static {
    /// What has gone through each partition that this broker leads.
    async fn traffic(&self) -> Result<Vec<Flow>>;
}

/// What a broker does with that if it is the controller, which weighs by it.
pub trait Weigh: Traffic {
    /// The brokers whose traffic it wants to know of, itself among them, without addresses. None, unless it is the controller.
    fn weighed(&self) -> Vec<Node>;

    /// Takes in what they said, by their numbers. Whoever is left out did not answer.
    fn weigh(&self, told: BTreeMap<i32, Vec<Flow>>);
}

/// What is shipped of one partition.
#[async_trait]
pub trait Archive: Send + Sync + 'static {
    /// Reads whole batches from the one that holds `from`, at most about `max_bytes` of them, at least one, and none that
    /// ends above `upto`. `upto` must be shipped, as the leader said; `from` lies below. Without `wait` there may be none,
    /// for lack of room. [`crate::ErrorKind::OffsetOutOfRange`] if `from` is not in the log any more.
    async fn read(&self, from: Offset, upto: Offset, max_bytes: usize, wait: bool) -> Result<(Vec<Batch>, Room)>;
}
