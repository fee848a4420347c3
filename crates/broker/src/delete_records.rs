//! DeleteRecords: the log start moves where a client wants it.

use std::sync::Arc;
use std::time::Duration;

use runnel_api::{Error, ErrorKind, TopicKey};
use runnel_record::{Offset, TimestampMs};
use tokio::time::Instant;

use crate::Broker;
use crate::produce::stopping;

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
        let (broker, moving) = (self.me.upgrade().ok_or_else(stopping)?, Arc::clone(&partition));
        // Goes on when its caller has lost patience: what a commit is followed by must not be left out.
        let moved = tokio::spawn(async move {
            let mut manifest = moving.manifest.lock().await;
            broker.catch_up(&moving, &mut manifest).await?;
            if manifest.root().log_start < before {
                let now = TimestampMs(broker.ports.clock.now_ms());
                broker.move_log_start(&moving, &mut manifest, before, now).await?;
                tracing::info!(partition = moving.label(), log_start = %before, "records were deleted on request");
            }
            Ok::<_, Error>(())
        });
        let moved = tokio::time::timeout_at(deadline, moved).await.map_err(late)?;
        moved.map_err(|e| Error::new(ErrorKind::Internal, format!("moving the log start failed: {e}")))??;
        Ok(partition.log_start())
    }
}
