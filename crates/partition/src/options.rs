//! Limits of one partition.

use std::time::Duration;

/// Limits of one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options {
    /// When a segment is sealed.
    pub segment: SegmentLimits,
    /// How much is remembered of producers.
    pub producers: ProducerLimits,
}

/// When a segment is sealed. May change while the partition is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentLimits {
    /// Bytes of batches, as they were appended, after which a segment is sealed. The batch that reaches the limit is
    /// the segment's last.
    pub max_bytes: u64,
    /// How long the first unshipped batch may wait.
    pub max_age: Duration,
}

impl Default for SegmentLimits {
    fn default() -> Self {
        Self { max_bytes: 64 << 20, max_age: Duration::from_secs(60) }
    }
}

/// How much is remembered of producers. Part of the function from log to dedup state: a cluster that changes these
/// limits changes what is remembered from that point of the log on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerLimits {
    /// A producer is forgotten when a batch of anyone is appended this long after its own last one (Kafka's
    /// `producer.id.expiration.ms`, by append time only).
    pub expiration: Duration,
    /// Producers remembered; beyond it the least recently appended one is forgotten. At least 1.
    pub max: usize,
}

impl Default for ProducerLimits {
    fn default() -> Self {
        Self { expiration: Duration::from_secs(24 * 60 * 60), max: 10_000 }
    }
}
