//! Appending records.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use runnel_record::{LeaderEpoch, Offset, ProducerId, TimestampMs};

use crate::TopicKey;
use crate::error::Result;

/// How much the producer wants to hear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acks {
    /// No reply is sent. The request is otherwise handled the same way.
    None,
    /// As [`Acks::All`]: nothing is acknowledged before it is durable.
    Leader,
    /// Durable at the topic's level.
    All,
}

/// A produce request, decoded as far as record data.
#[derive(Debug, Clone)]
pub struct ProduceRequest {
    /// What the producer wants to hear.
    pub acks: Acks,
    /// How long the producer waits; past it the outcome is [`crate::ErrorKind::TimedOut`].
    pub timeout: Duration,
    /// One entry per partition, in request order; a partition appears once.
    pub partitions: Vec<ProducePartition>,
}

/// Record data for one partition.
#[derive(Debug, Clone)]
pub struct ProducePartition {
    /// The topic.
    pub topic: TopicKey,
    /// Partition number.
    pub partition: i32,
    /// The records as they came: exactly one RecordBatch v2 in a valid request. Shared, not copied.
    pub records: Bytes,
    /// Store the records only if the first of them gets this offset, else [`crate::ErrorKind::OffsetMismatch`].
    /// A retry of what is stored already is recognised as such first.
    pub expected_offset: Option<Offset>,
}

/// What became of one partition's records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProducedPartition {
    /// The topic, as the request named it.
    pub topic: TopicKey,
    /// Partition number.
    pub partition: i32,
    /// Where the records stand, or why they do not.
    pub outcome: Result<Produced>,
}

/// Where acknowledged records stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Produced {
    /// Offset of the first record; for a retried batch the original one.
    pub base_offset: Offset,
    /// The append time where the topic uses log-append time, else [`TimestampMs::NONE`].
    pub log_append_time: TimestampMs,
    /// First offset that the partition still has.
    pub log_start: Offset,
    /// Epoch that wrote them.
    pub leader_epoch: LeaderEpoch,
    /// What the acknowledgement promises.
    pub durability: Durability,
}

/// What survives with an acknowledged record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// It is synced to the disk of the broker: a crash does not lose it, the loss of the disk may.
    Local,
    /// It is in the bucket.
    Object,
}

/// A producer identity handed out by InitProducerId (KIP-98).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerIdentity {
    /// The producer id.
    pub id: ProducerId,
    /// Its epoch.
    pub epoch: i16,
}

/// An idempotent producer that a partition remembers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ActiveProducer {
    /// Who it is.
    pub identity: ProducerIdentity,
    /// Sequence number of its last record.
    pub last_sequence: i32,
    /// When its last batch was appended.
    pub last_append: TimestampMs,
}

/// Appends records and hands out producer identities.
#[async_trait]
pub trait Produce: Send + Sync + 'static {
    /// Appends to each partition independently; results in request order. Resolves once every part is durable or
    /// has failed. Dropping the future does not undo an append. The order of calls made without awaiting in
    /// between is the order of appends per partition *as soon as the future is first polled*: a front door that
    /// pipelines must poll in order.
    async fn produce(&self, request: ProduceRequest) -> Vec<ProducedPartition>;

    /// A fresh identity, or the next epoch of `current` (KIP-360).
    async fn init_producer_id(&self, current: Option<ProducerIdentity>) -> Result<ProducerIdentity>;

    /// The idempotent producers that a partition remembers, by id.
    async fn active_producers(&self, topic: &TopicKey, partition: i32) -> Result<Vec<ActiveProducer>>;
}
