//! Retention: what has had its time leaves the root by compare-and-swap, and its objects go after a grace period.
//!
//! One loop looks at all partitions. A crash at any step loses nothing: the log start is in the root before a reader
//! hears of it, and what may be deleted follows from the root alone ([`runnel_segment::find_retired`]), so a deletion
//! that was cut off is found again. The grace is for those who hold a list of files; it starts anew with the process.

use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use runnel_api::Error;
use runnel_blob::Key;
use runnel_record::{Offset, TimestampMs};
use runnel_segment::manifest::{Commit, Manifest};
use runnel_segment::{find_retired, retired_chunks};

use crate::Broker;
use crate::error::{bucket_error, segment_error};
use crate::partition::Partition;
use crate::topics::{Topic, is_internal};

/// Partitions that are looked at side by side.
const AT_ONCE: usize = 8;

/// What a partition gave up and has not deleted yet.
#[derive(Debug)]
pub(crate) struct Retired {
    /// Below this offset everything was deleted by this process.
    done: Offset,
    /// What goes next: everything below the offset, once the time is long enough ago.
    next: Option<(Offset, TimestampMs)>,
    /// Chunks of the manifest that no root refers to any more, and since when.
    chunks: Vec<(TimestampMs, Key)>,
}

impl Retired {
    /// When a partition opens: an earlier process may have left something below its log start.
    pub(crate) fn at_open(log_start: Offset, now: TimestampMs) -> Self {
        let mut retired = Self { done: Offset::ZERO, next: None, chunks: Vec::new() };
        retired.note(log_start, now);
        retired
    }

    /// The log starts at `log_start` now: the grace of what lies below begins, unless an earlier one has to end first.
    fn note(&mut self, log_start: Offset, now: TimestampMs) {
        if self.next.is_none() && log_start > self.done {
            self.next = Some((log_start, now));
        }
    }

    /// Whether the grace of something is over.
    fn is_due(&self, now: TimestampMs, grace: Duration) -> bool {
        self.next.is_some_and(|(_, since)| is_over(since, now, grace))
    }
}

fn is_over(since: TimestampMs, now: TimestampMs, grace: Duration) -> bool {
    now.0.saturating_sub(since.0) >= millis(grace)
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

impl Broker {
    /// The loop. Ends with the broker.
    pub(crate) async fn retention_loop(self: Arc<Self>) {
        while !self.stop_signal.is_triggered() {
            tokio::select! {
                () = tokio::time::sleep(self.options.topics.retention_check) => {}
                () = self.stop_signal.triggered() => return,
            }
            if !self.may_ship() {
                continue;
            }
            let now = TimestampMs(self.ports.clock.now_ms());
            let open: Vec<_> = self
                .topics
                .all()
                .into_iter()
                .flat_map(|topic| topic.open_partitions().cloned().map(|p| (Arc::clone(&topic), p)).collect::<Vec<_>>())
                .collect();
            let passes = futures::stream::iter(open).take_until(self.stop_signal.triggered());
            passes.for_each_concurrent(AT_ONCE, |(topic, partition)| self.retain_or_warn(topic, partition, now)).await;
            self.bury_topics(now).await;
        }
    }

    async fn retain_or_warn(&self, topic: Arc<Topic>, partition: Arc<Partition>, now: TimestampMs) {
        if let Err(error) = self.retain(&topic, &partition, now).await {
            tracing::warn!(partition = partition.label(), %error, "retention has to wait; it is tried again");
        }
    }

    /// One pass over one partition.
    async fn retain(&self, topic: &Topic, partition: &Partition, now: TimestampMs) -> Result<(), Error> {
        // What a coordinator reads at its start has no time that could be over.
        if partition.is_blocked() || is_internal(&topic.name) {
            return Ok(());
        }
        let config = topic.config();
        let expired = partition.snapshot().expired_upto(config.retention, now).await.map_err(|e| segment_error(&e))?;
        if expired.is_some() {
            let mut manifest = partition.manifest.lock().await;
            self.catch_up(partition, &mut manifest).await?;
            // The root may have grown while the lock was waited for.
            let expired =
                manifest.snapshot().expired_upto(config.retention, now).await.map_err(|e| segment_error(&e))?;
            if let Some(upto) = expired {
                let from = partition.log_start();
                self.move_log_start(partition, &mut manifest, upto, now).await?;
                tracing::info!(partition = partition.label(), %from, log_start = %upto, "gave up old records");
            }
        }
        partition.retired().note(partition.log_start(), now);
        let is_due = partition.retired().is_due(now, config.delete_delay);
        if is_due {
            self.delete_retired(partition, now, config.delete_delay).await?;
        }
        Ok(())
    }

    /// Moves the log start to `upto`, which is not above the end of the root: durable once this returns `Ok`.
    pub(crate) async fn move_log_start(
        &self,
        partition: &Partition,
        manifest: &mut Manifest,
        upto: Offset,
        now: TimestampMs,
    ) -> Result<(), Error> {
        let before = manifest.snapshot();
        let commit = Commit::trim(partition.epoch, manifest.root(), upto);
        self.committed(partition, manifest.commit(&commit).await)?;
        self.pass("retention.committed")?;
        self.finish(partition, manifest).await?;
        partition.retired().note(partition.log_start(), now);
        self.pass("retention.root_kept")?;
        // A chunk that is not named here because something failed is an orphan of this epoch: the next one's sweep.
        let chunks = retired_chunks(&before, manifest.root()).await.map_err(|e| segment_error(&e))?;
        partition.retired().chunks.extend(chunks.into_iter().map(|key| (now, key)));
        Ok(())
    }

    /// Deletes what had its grace. What was given up since then waits for its own.
    async fn delete_retired(&self, partition: &Partition, now: TimestampMs, grace: Duration) -> Result<(), Error> {
        let Some((below, _)) = partition.retired().next else { return Ok(()) };
        let snapshot = partition.snapshot();
        let mut count = 0;
        loop {
            let keys = find_retired(&snapshot, below).await.map_err(|e| segment_error(&e))?;
            if keys.is_empty() {
                break;
            }
            for key in keys {
                self.bucket.delete(&key).await.map_err(|e| bucket_error(&e))?;
                self.pass("retention.deleted")?;
                count += 1;
            }
        }
        let over = |(since, _): &(TimestampMs, Key)| is_over(*since, now, grace);
        let chunks: Vec<Key> =
            partition.retired().chunks.extract_if(.., |chunk| over(chunk)).map(|(_, key)| key).collect();
        for key in chunks {
            // One that stays because of an error is an orphan of this epoch: the next one's sweep takes it.
            self.bucket.delete(&key).await.map_err(|e| bucket_error(&e))?;
        }
        metrics::counter!("runnel_retention_deleted_segments_total").increment(count);
        if count > 0 {
            tracing::info!(partition = partition.label(), count, "deleted segments below the log start");
        }
        let mut retired = partition.retired();
        (retired.done, retired.next) = (below, None);
        retired.note(partition.log_start(), now);
        Ok(())
    }
}

impl Partition {
    fn retired(&self) -> MutexGuard<'_, Retired> {
        self.retired.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
