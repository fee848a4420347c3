//! DeleteRecords: the log start moves where a client wants it.

use std::time::Duration;

use runnel_api::{Error, ErrorKind, TopicKey};
use runnel_record::{Offset, TimestampMs};
use tokio::time::Instant;

use crate::Broker;

impl Broker {
    /// Gives up the records below `before` (`None`: everything that is committed) and returns the log start, which is
    /// durable then. What is not shipped is shipped first: a root cannot start behind its end, and a log that is
    /// trimmed before its root says so would be a gap.
    pub(crate) async fn trim(
        &self,
        topic: &TopicKey,
        partition: i32,
        before: Option<Offset>,
        wait: Duration,
    ) -> Result<Offset, Error> {
        let partition = self.open_partition(topic, partition).await?;
        let high_watermark = partition.watermark.get();
        let before = before.unwrap_or(high_watermark);
        if before < Offset::ZERO || before > high_watermark {
            let what = format!("offset {before} of {} is above the high watermark {high_watermark}", partition.label());
            return Err(Error::new(ErrorKind::OffsetOutOfRange, what));
        }
        if before <= partition.log_start() {
            return Ok(partition.log_start());
        }
        let deadline = Instant::now() + wait;
        let late = |_| {
            let what = "the log start was not moved in time: the bucket is slow or away; it may still move: retry";
            Error::new(ErrorKind::TimedOut, what)
        };
        partition.seal_upto(before);
        tokio::time::timeout_at(deadline, partition.wait_shipped(before)).await.map_err(late)??;
        let moved = async {
            let mut manifest = partition.manifest.lock().await;
            self.catch_up(&partition, &mut manifest).await?;
            if manifest.root().log_start < before {
                let now = TimestampMs(self.ports.clock.now_ms());
                self.move_log_start(&partition, &mut manifest, before, now).await?;
                tracing::info!(partition = partition.label(), log_start = %before, "records were deleted on request");
            }
            Ok::<_, Error>(())
        };
        tokio::time::timeout_at(deadline, moved).await.map_err(late)??;
        Ok(partition.log_start())
    }
}
