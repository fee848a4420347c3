//! What is asked for by request: to ship before size or age make it due, to give records up, to say where they are.

use std::time::Duration;

use async_trait::async_trait;
use runnel_api::{Error, ErrorKind, LogDir, Sealed, Segments, TopicKey};
use runnel_record::Offset;
use tokio::time::Instant;

use crate::Broker;
use crate::partition::Partition;

#[async_trait]
impl Segments for Broker {
    async fn seal(&self, topic: &TopicKey, partition: i32, wait: Duration) -> Result<Sealed, Error> {
        let partition = self.open_partition(topic, partition).await?;
        let sealed = partition.watermark.get();
        // The shipping loop does the rest: it owns the order of ships, and a failure is tried again there.
        partition.seal_upto(sealed);
        let waited = tokio::time::timeout_at(Instant::now() + wait, partition.wait_shipped(sealed)).await;
        waited.unwrap_or(Ok(()))?;
        Ok(Sealed { sealed, shipped: partition.shipped() })
    }

    async fn delete_records(
        &self,
        topic: &TopicKey,
        partition: i32,
        before: Option<Offset>,
        wait: Duration,
    ) -> Result<Offset, Error> {
        self.refuse_when_stopping()?;
        self.refuse_internal(topic, ErrorKind::InvalidTopicName, "delete groups or their offsets instead")?;
        self.trim(topic, partition, before, wait).await
    }

    async fn log_dirs(&self, topics: Option<&[String]>) -> Vec<LogDir> {
        self.measure(topics).await
    }
}

impl Partition {
    /// Resolves when everything below `upto` is in the bucket; an error if that cannot happen any more.
    pub(crate) async fn wait_shipped(&self, upto: Offset) -> Result<(), Error> {
        loop {
            let moved = self.shipping_moved();
            let mut moved = std::pin::pin!(moved);
            moved.as_mut().enable();
            if self.shipped() >= upto {
                return Ok(());
            }
            if let Some(refusal) = self.refusal() {
                return Err(refusal.clone());
            }
            if self.is_blocked() {
                let why = format!("partition {} cannot be shipped: stored bytes are damaged", self.label());
                return Err(Error::new(ErrorKind::Corrupt, why));
            }
            self.until_closed(moved).await?;
        }
    }
}
