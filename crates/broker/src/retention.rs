//! Retention: what has had its time leaves the root by compare-and-swap, and its objects go after a grace period.
//!
//! One loop looks at all partitions. A crash at any step loses nothing: the log start is in the root before a reader
//! hears of it, and what may be deleted follows from the root alone ([`runnel_segment::find_retired`]), so a deletion
//! that was cut off is found again. The grace is for those who hold a list of files; it starts anew with the process.

use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use runnel_api::Error;
use runnel_blob::Key;
use runnel_record::{Offset, TimestampMs};
use runnel_segment::manifest::{Commit, Manifest, Snapshot};
use runnel_segment::{Policy, find_retired, retired_chunks};

use crate::Broker;
use crate::error::{bucket_error, segment_error};
use crate::partition::Partition;
use crate::topics::{Topic, is_internal};

/// Partitions that are looked at side by side.
const AT_ONCE: usize = 8;

/// Deletions of one partition or topic that are under way at once.
const DELETIONS_AT_ONCE: usize = 16;

/// What a partition gave up and has not deleted yet.
#[derive(Debug)]
pub(crate) struct Retired {
    /// Below this offset everything was deleted by this process.
    done: Offset,
    /// What goes next: everything below the offset, once the time is long enough ago.
    next: Option<(Offset, TimestampMs)>,
    /// Objects that no root refers to any more, whatever their offsets, and since when.
    objects: Vec<(TimestampMs, Key)>,
}

impl Retired {
    /// When a partition opens: an earlier process may have left something below its log start.
    pub(crate) fn at_open(log_start: Offset, now: TimestampMs) -> Self {
        let mut retired = Self { done: Offset::ZERO, next: None, objects: Vec::new() };
        retired.note(log_start, now);
        retired
    }

    /// The log starts at `log_start` now: the grace of what lies below begins, unless an earlier one has to end first.
    fn note(&mut self, log_start: Offset, now: TimestampMs) {
        if self.next.is_none() && log_start > self.done {
            self.next = Some((log_start, now));
        }
    }

    /// The root refers to `objects` no more: their grace begins. One that is not deleted after all, because something
    /// fails or the process ends, is an orphan of this epoch: the next one's sweep finds it.
    pub(crate) fn note_objects(&mut self, objects: impl IntoIterator<Item = Key>, now: TimestampMs) {
        self.objects.extend(objects.into_iter().map(|key| (now, key)));
    }

    /// The objects whose grace is over.
    fn take_due_objects(&mut self, now: TimestampMs, grace: Duration) -> Vec<Key> {
        let due = self.objects.extract_if(.., |(since, _)| is_over(*since, now, grace));
        due.map(|(_, key)| key).collect()
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
                biased;
                () = self.stop_signal.triggered() => return,
                () = tokio::time::sleep(self.options.topics.retention_check) => {}
            }
            if !self.may_ship() {
                continue;
            }
            let now = TimestampMs(self.ports.clock.now_ms());
            let passes = futures::stream::iter(self.topics.open_partitions()).take_until(self.stop_signal.triggered());
            passes.for_each_concurrent(AT_ONCE, |(topic, partition)| self.retain_or_warn(topic, partition, now)).await;
            self.delete_again().await;
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
        if partition.is_blocked() {
            return Ok(());
        }
        let config = topic.config();
        // What a coordinator reads at its start has no time that could be over: it says itself what it needs no more.
        let policy = if is_internal(&topic.name) { Policy::default() } else { config.retention };
        if expired_upto(partition, &partition.snapshot(), policy, now).await?.is_some() {
            let mut manifest = partition.manifest.lock().await;
            self.catch_up(partition, &mut manifest).await?;
            // The root may have grown while the lock was waited for.
            if let Some(upto) = expired_upto(partition, &manifest.snapshot(), policy, now).await? {
                let from = partition.log_start();
                self.move_log_start(partition, &mut manifest, upto, now).await?;
                tracing::info!(partition = partition.label(), %from, log_start = %upto, "gave up old records");
            }
        }
        let due = partition.retired().take_due_objects(now, config.delete_delay);
        self.delete_objects(due, "retention.deleted").await?;
        partition.retired().note(partition.log_start(), now);
        let is_due = partition.retired().is_due(now, config.delete_delay);
        if is_due {
            self.delete_retired(partition, now).await?;
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
        let chunks = retired_chunks(&before, manifest.root()).await.map_err(|e| segment_error(&e))?;
        partition.retired().note_objects(chunks, now);
        Ok(())
    }

    /// Deletes what had its grace below the log start. What was given up since then waits for its own.
    async fn delete_retired(&self, partition: &Partition, now: TimestampMs) -> Result<(), Error> {
        let Some((below, _)) = partition.retired().next else { return Ok(()) };
        let snapshot = partition.snapshot();
        let mut count = 0;
        loop {
            let keys = find_retired(&snapshot, below).await.map_err(|e| segment_error(&e))?;
            if keys.is_empty() {
                break;
            }
            count += keys.len();
            self.delete_objects(keys, "retention.deleted").await?;
        }
        metrics::counter!("runnel_retention_deleted_segments_total").increment(count as u64);
        if count > 0 {
            tracing::info!(partition = partition.label(), count, "deleted segments below the log start");
        }
        let mut retired = partition.retired();
        (retired.done, retired.next) = (below, None);
        retired.note(partition.log_start(), now);
        Ok(())
    }

    /// Deletes objects, some at a time, and passes the fail point `point` after each.
    pub(crate) async fn delete_objects(&self, keys: Vec<Key>, point: &'static str) -> Result<(), Error> {
        let deletions = futures::stream::iter(keys).map(|key| async move {
            self.bucket.delete(&key).await.map_err(|e| bucket_error(&e))?;
            self.pass(point)
        });
        deletions.buffer_unordered(DELETIONS_AT_ONCE).try_collect().await
    }
}

/// Where the log should start, if not where it does: behind what has had its time, and behind what was given up and is
/// shipped.
async fn expired_upto(
    partition: &Partition,
    snapshot: &Snapshot,
    policy: Policy,
    now: TimestampMs,
) -> Result<Option<Offset>, Error> {
    let expired = snapshot.expired_upto(policy, now).await.map_err(|e| segment_error(&e))?;
    let (root, given_up) = (snapshot.root(), partition.given_up());
    let needless = (given_up > root.log_start && given_up <= root.end).then_some(given_up);
    Ok(expired.max(needless))
}

impl Partition {
    pub(crate) fn retired(&self) -> MutexGuard<'_, Retired> {
        self.retired.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
