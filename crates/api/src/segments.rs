//! Where the records of a partition are: in the bucket, on a disk, or given up.

use std::time::Duration;

use async_trait::async_trait;
use runnel_record::Offset;

use crate::TopicKey;
use crate::error::Result;

/// How far a partition is committed and shipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sealed {
    /// The high watermark when the request came.
    pub sealed: Offset,
    /// End of what is in the bucket now.
    pub shipped: Offset,
}

/// A place where records are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogDir {
    /// Where it is.
    pub path: String,
    /// Bytes that are free there, if that is known.
    pub usable_bytes: Option<u64>,
    /// What it holds: topic, partition, bytes. By topic and partition.
    pub partitions: Vec<(String, i32, u64)>,
}

/// What the broker that leads a partition does with records that are stored.
#[async_trait]
pub trait Segments: Send + Sync + 'static {
    /// Makes everything that is committed now due for shipping. Resolves once it is in the bucket, or when `wait` is
    /// over: shipping goes on then, and `shipped` tells how far it came. Cancel-safe.
    async fn seal(&self, topic: &TopicKey, partition: i32, wait: Duration) -> Result<Sealed>;

    /// Gives up the records of a partition below `before` (`None`: all that are committed) and returns the first offset
    /// that it still has; durable once it resolves with `Ok`. Waits at most `wait`.
    async fn delete_records(
        &self,
        topic: &TopicKey,
        partition: i32,
        before: Option<Offset>,
        wait: Duration,
    ) -> Result<Offset>;

    /// Where the records of the topics named (`None`: of all topics) are kept, and how many bytes they take; of the
    /// partitions that are led from here.
    async fn log_dirs(&self, topics: Option<&[String]>) -> Vec<LogDir>;
}
