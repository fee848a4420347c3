//! What of a partition is in the bucket.

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

/// Ships before it is due.
#[async_trait]
pub trait Segments: Send + Sync + 'static {
    /// Makes everything that is committed now due for shipping. Resolves once it is in the bucket, or when `wait` is
    /// over: shipping goes on then, and `shipped` tells how far it came. Cancel-safe.
    async fn seal(&self, topic: &TopicKey, partition: i32, wait: Duration) -> Result<Sealed>;
}
