//! Merging: small segments of one partition and day become large ones in the background, since files in great number
//! are what analysts suffer most from.
//!
//! One merge runs at a time, for about half of its time, and gives way when the log waits for the bucket. The order of
//! its steps is that of a ship: PUT → check → root CAS → copy of the root in the metadata store; the objects that were
//! replaced go after the grace of the topic. A crash at any arrow leaves an object that nothing refers to, before the
//! CAS the new one and after it the old ones: the sweep of the next epoch finds them.

use std::sync::Arc;
use std::time::Duration;

use runnel_api::{Error, ErrorKind};
use runnel_blob::Key;
use runnel_format::manifest::SegmentRef;
use runnel_record::{Offset, TimestampMs};
use runnel_segment::manifest::{Commit, Merged};
use runnel_segment::{Merge, MergePolicy, Readback, replaced_chunks};
use tokio::time::Instant;

use crate::Broker;
use crate::configs::TopicConfig;
use crate::error::segment_error;
use crate::partition::Partition;
use crate::ship::encode_options;
use crate::topics::Topic;

/// How often is looked for segments to merge: so many times before one is old enough, within these bounds.
const LOOKS: u32 = 4;
const LOOK: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(30));

/// A merged object spans at most this part of the time, and holds at most this part of the bytes, that the topic keeps.
const RETENTION_MS_PART: u64 = 4;
const RETENTION_BYTES_PART: u64 = 8;

impl Broker {
    /// The loop. Ends with the broker.
    pub(crate) async fn merge_loop(self: Arc<Self>) {
        if self.options.segment.merge_bytes == 0 {
            return;
        }
        let look = (self.options.segment.merge_after / LOOKS).clamp(LOOK.0, LOOK.1);
        while !self.stop_signal.is_triggered() {
            self.pause_merging(look).await;
            self.merge_round().await;
        }
    }

    /// Merges what there is, partition by partition. A bucket that fails ends the round.
    async fn merge_round(&self) {
        for (topic, partition) in self.topics.open_partitions() {
            while self.may_merge(&partition) {
                let merged = self.merge(&topic, &partition).await;
                let outcome = match &merged {
                    Ok(false) => break,
                    Ok(true) => "ok",
                    Err(error) => {
                        let partition = partition.label();
                        tracing::warn!(partition, %error, "cannot merge segments; they stay as they are");
                        "failed"
                    }
                };
                metrics::counter!("runnel_merge_total", "outcome" => outcome).increment(1);
                match merged {
                    Err(error) if error.kind == ErrorKind::StorageError => return,
                    Err(_) => break,
                    Ok(_) => {}
                }
            }
        }
    }

    async fn pause_merging(&self, pause: Duration) {
        tokio::select! {
            biased;
            () = self.stop_signal.triggered() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }

    /// Whether nothing more urgent waits for the bucket.
    fn may_merge(&self, partition: &Partition) -> bool {
        let goes_on = !self.stop_signal.is_triggered() && !partition.is_closed() && !partition.is_blocked();
        goes_on && self.may_ship() && self.log.pressing().is_empty()
    }

    /// Merges the next neighbours of a partition, if there are any.
    async fn merge(&self, topic: &Topic, partition: &Partition) -> Result<bool, Error> {
        let _merging = partition.merging.lock().await;
        let (policy, now) = (self.merge_policy(&topic.config()), TimestampMs(self.ports.clock.now_ms()));
        let snapshot = partition.snapshot();
        let found = snapshot.find_mergeable(&policy, partition.merge_from(), now).await;
        let Some(sources) = found.map_err(|e| segment_error(&e))? else { return Ok(false) };
        let upto = sources.last().map_or(Offset::ZERO, |last| last.next);
        let merge = Merge::new(&snapshot, sources.clone(), partition.epoch, &encode_options(partition));
        let Some(merge) = merge else { return Ok(false) };
        let merged = async {
            let Some((into, readback)) = self.write_merged(partition, merge).await? else { return Ok(false) };
            self.pass("merge.put")?;
            let key = partition.segment_key(&into);
            let committed = match self.check_merged(partition, readback).await {
                Ok(true) => self.replace(partition, &sources, into).await?,
                Ok(false) => false,
                Err(error) => {
                    self.abandon(&key).await;
                    return Err(error);
                }
            };
            if !committed {
                self.abandon(&key).await;
            }
            Ok(committed)
        };
        // What is damaged or does not fit is not tried again and again.
        merged.await.inspect_err(|error: &Error| {
            if matches!(error.kind, ErrorKind::Corrupt | ErrorKind::Internal) {
                partition.set_merge_from(upto);
            }
        })
    }

    fn merge_policy(&self, config: &TopicConfig) -> MergePolicy {
        let (segment, kept) = (&self.options.segment, config.retention);
        MergePolicy {
            target: kept.bytes.map_or(segment.merge_bytes, |kept| segment.merge_bytes.min(kept / RETENTION_BYTES_PART)),
            after_ms: u64::try_from(segment.merge_after.as_millis()).unwrap_or(u64::MAX),
            span_ms: kept.ms.map(|kept| kept / RETENTION_MS_PART),
        }
    }

    /// Writes the merged object; `None` if something more urgent came up.
    async fn write_merged(
        &self,
        partition: &Partition,
        mut merge: Merge,
    ) -> Result<Option<(SegmentRef, Readback)>, Error> {
        loop {
            if !self.may_merge(partition) {
                merge.abort().await;
                return Ok(None);
            }
            let started = Instant::now();
            match merge.step().await {
                Ok(true) => self.pause_merging(started.elapsed()).await,
                Ok(false) => return merge.finish().await.map(Some).map_err(|e| segment_error(&e)),
                Err(error) => {
                    merge.abort().await;
                    return Err(segment_error(&error));
                }
            }
        }
    }

    /// Reads the merged object back; `false` if something more urgent came up.
    async fn check_merged(&self, partition: &Partition, mut readback: Readback) -> Result<bool, Error> {
        while self.may_merge(partition) {
            let started = Instant::now();
            if !readback.step().await.map_err(|e| segment_error(&e))? {
                return Ok(true);
            }
            self.pause_merging(started.elapsed()).await;
        }
        Ok(false)
    }

    /// Swaps the references; `false`: the sources are not there any more, because retention was faster.
    async fn replace(&self, partition: &Partition, sources: &[SegmentRef], into: SegmentRef) -> Result<bool, Error> {
        let mut manifest = partition.manifest.lock().await;
        self.catch_up(partition, &mut manifest).await?;
        let before = manifest.root().clone();
        let (bytes, base, next) = (into.bytes, into.base, into.next);
        let merged = Merged { sources: sources.iter().map(|source| source.id).collect(), into };
        let outcome = manifest.commit(&Commit::merge(partition.epoch, &before, merged)).await;
        if matches!(outcome, Err(runnel_segment::Error::SourcesGone { .. })) {
            return Ok(false);
        }
        self.committed(partition, outcome)?;
        self.pass("merge.committed")?;
        self.finish(partition, &manifest).await?;
        self.pass("merge.root_kept")?;
        let replaced = sources.iter().map(|source| partition.segment_key(source));
        let replaced = replaced.chain(replaced_chunks(&before, manifest.root()));
        partition.retired().note_objects(replaced, TimestampMs(self.ports.clock.now_ms()));
        metrics::counter!("runnel_merge_bytes_total").increment(bytes);
        metrics::counter!("runnel_merge_segments_total").increment(sources.len() as u64);
        let count = sources.len();
        tracing::info!(partition = partition.label(), count, %base, %next, bytes, "merged small segments");
        Ok(true)
    }

    /// Deletes a merged object that no commit was tried for.
    async fn abandon(&self, key: &Key) {
        if let Err(error) = self.bucket.delete(key).await {
            tracing::debug!(object = key.path(), %error, "an abandoned object stays until the next sweep");
        }
    }
}
