//! Shipping: build → PUT → root CAS → copy of the root in the metadata store → trim (protocol §6).
//!
//! One loop looks at all partitions, a few ships run at once. A crash at any arrow loses nothing: what is not in the
//! root is in the log, and the log is trimmed last.

mod under_way;
mod waits;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use runnel_api::{Error, ErrorKind};
use runnel_blob::Key;
use runnel_format::meta::PartitionRecord;
use runnel_guard::{Guard, holds};
use runnel_metastore::{Compare, Op};
use runnel_partition::{SegmentLimits, append_day};
use runnel_record::{TimestampMs, TopicPartition};
use runnel_runtime::simulation::{blocking, random_id};
use runnel_runtime::{Chore, Reuse, background};
use runnel_segment::manifest::{Commit, Manifest};
use runnel_segment::{EncodeOptions, Encoded, ParquetCodec, SourceBatch, encode, find_orphans, sweep_orphans, verify};
use tokio::time::Instant;
use tracing::Instrument;

use self::under_way::{Due, UnderWay};
use self::waits::Waits;
use crate::Broker;
use crate::error::{bucket_error, damaged, lane_error, metadata_error, segment_error};
use crate::home::Agreement;
use crate::open::{partition_key, tail};
use crate::partition::{Partition, ShipPlan};
use crate::tail::TailRead;

/// Segments that are encoded at once at the priority of those who wait for an answer; the rest of the processor is theirs.
pub(crate) const ENCODERS: usize = 2;

/// How often the loop looks for segments that are due.
const LOOK: Duration = Duration::from_millis(100);

/// Waiting times after a failure: doubled each time, up to the second.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));

/// Bytes read from tail or log at once while a segment is collected.
const COLLECT_BYTES: usize = 8 << 20;

/// How much it matters that a segment is shipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Haste {
    /// If its size or its age says so; those who produce and consume come first.
    Due,
    /// Whatever the wall clock says of its age; they still come first.
    Overdue,
    /// Somebody waits for it.
    Urgent,
}

/// A segment that is due, as of `now`.
struct DueShip {
    partition: Arc<Partition>,
    now: TimestampMs,
    haste: Haste,
}

impl Broker {
    /// Removes what a crash of an earlier epoch left between a PUT and its root commit. The root is taken over by this
    /// epoch first, only if there is something to remove: before that, a delayed commit could still refer to it.
    pub(crate) async fn sweep(&self, partition: &Arc<Partition>) {
        let mut manifest = partition.manifest.lock().await;
        match self.try_sweep(partition, &mut manifest).await {
            Ok(0) => {}
            Ok(count) => tracing::info!(partition = partition.label(), count, "removed orphans of an earlier crash"),
            Err(error) => tracing::warn!(partition = partition.label(), %error, "cannot look for orphans now"),
        }
    }

    async fn try_sweep(&self, partition: &Partition, manifest: &mut Manifest) -> Result<usize, Error> {
        self.catch_up(partition, manifest).await?;
        let orphans = find_orphans(&manifest.snapshot(), partition.epoch).await.map_err(|e| segment_error(&e))?;
        if orphans.is_empty() {
            return Ok(0);
        }
        if manifest.root().epoch != partition.epoch {
            let commit = Commit::trim(partition.epoch, manifest.root(), manifest.root().log_start);
            self.committed(partition, manifest.commit(&commit).await)?;
            self.finish(partition, manifest).await?;
        }
        let swept = sweep_orphans(&manifest.snapshot(), partition.epoch).await.map_err(|e| segment_error(&e))?;
        partition.retired().note_objects(swept.replaced, TimestampMs(self.ports.clock.now_ms()));
        Ok(swept.unseen.len())
    }

    /// The loop. Ends with the broker. It does not wait for one segment before it looks for others: an encoder may take a
    /// second for a large one, in which a log under pressure fills up.
    pub(crate) async fn ship_loop(self: Arc<Self>) {
        let (mut under_way, mut waits, mut pause) = (UnderWay::default(), Waits::default(), BACKOFF.0);
        loop {
            under_way.expect(self.due(&mut waits, false));
            under_way.begin(|one| Arc::clone(&self).ship_due(one));
            let mut next_look = Instant::now() + LOOK;
            let (mut succeeded, mut failed) = (false, false);
            loop {
                tokio::select! {
                    biased;
                    () = self.stop_signal.triggered() => return,
                    () = tokio::time::sleep_until(next_look) => break,
                    Some(is_done) = under_way.ended() => {
                        if is_done {
                            succeeded = true;
                        } else if !failed {
                            // Once for all that fail together.
                            failed = true;
                            next_look = Instant::now() + pause;
                            pause = (pause * 2).min(BACKOFF.1);
                        }
                        if !failed {
                            under_way.begin(|one| Arc::clone(&self).ship_due(one));
                        }
                    }
                }
            }
            if succeeded && !failed {
                pause = BACKOFF.0;
            }
        }
    }

    /// Ships everything that is committed, for a clean stop. Returns the partitions that still hold something.
    pub(crate) async fn ship_everything(self: &Arc<Self>, until: Instant) -> usize {
        let mut waits = Waits::default();
        loop {
            let unshipped = self.unshipped_partitions();
            let left = unshipped.len();
            if unshipped.iter().all(|p| p.is_blocked()) || Instant::now() >= until || !self.may_ship() {
                return left;
            }
            let standing = || unshipped.iter().map(|partition| partition.shipped()).collect::<Vec<_>>();
            let before = standing();
            let mut under_way = UnderWay::default();
            under_way.expect(self.due(&mut waits, true));
            let mut failed = false;
            let round = async {
                loop {
                    under_way.begin(|one| Arc::clone(self).ship_due(one));
                    let Some(is_done) = under_way.ended().await else { return };
                    failed |= !is_done;
                }
            };
            // What is on its way when the time is over goes on for as long as the process does.
            drop(tokio::time::timeout_at(until, round).await);
            // Somebody else may be at it: nothing fails then, and nothing comes of asking at once.
            if failed || standing() == before {
                tokio::time::sleep_until((Instant::now() + BACKOFF.0).min(until)).await;
            }
        }
    }

    pub(crate) fn may_ship(&self) -> bool {
        *self.bucket_agreed.borrow() == Agreement::Agreed
    }

    fn unshipped_partitions(&self) -> Vec<Arc<Partition>> {
        let topics = self.topics.all();
        let open = topics.iter().flat_map(|topic| topic.open_partitions());
        open.filter(|p| p.unshipped().is_some()).collect()
    }

    /// What is due now by size, age or lane pressure; everything with `force`.
    fn due(&self, waits: &mut Waits, force: bool) -> Vec<Due<DueShip>> {
        if !self.may_ship() {
            return Vec::new();
        }
        let (now, moment) = (TimestampMs(self.ports.clock.now_ms()), Instant::now());
        let unshipped = self.unshipped_partitions();
        waits.note(moment, unshipped.iter().map(|partition| (partition.tp, partition.shipped())));
        // Lane pressure (design §6).
        let pressing: BTreeSet<TopicPartition> = self.log.pressing().into_iter().map(|(tp, _)| tp).collect();
        let mut due = Vec::new();
        for partition in unshipped.into_iter().filter(|p| !p.is_blocked()) {
            let limits = self.segment_limits(&partition);
            let is_wanted = force || partition.is_seal_asked() || pressing.contains(&partition.tp);
            let haste = haste(is_wanted, waits.of(moment, partition.tp), limits.max_age);
            let Some((bytes, seal_at)) = partition.unshipped() else { continue };
            if haste != Haste::Due || bytes >= limits.max_bytes || seal_at <= now {
                due.push(Due { tp: partition.tp, bytes, what: DueShip { partition, now, haste } });
            }
        }
        due
    }

    /// Whether it was shipped.
    async fn ship_due(self: Arc<Self>, due: DueShip) -> bool {
        self.ship(&due.partition, due.now, due.haste).await.is_ok()
    }

    /// Those of the topic; of one that is gone nothing is due.
    fn segment_limits(&self, partition: &Partition) -> SegmentLimits {
        let topic = self.topics.find(&runnel_api::TopicKey::Id(partition.tp.topic));
        let none = SegmentLimits { max_bytes: u64::MAX, max_age: Duration::MAX };
        topic.map_or(none, |topic| topic.config().segment_limits())
    }

    /// Ships one segment of one partition; with [`Haste::Due`] only if one is due.
    pub(crate) async fn ship(&self, partition: &Arc<Partition>, now: TimestampMs, haste: Haste) -> Result<(), Error> {
        // Whoever holds the manifest ships; a second ship of the partition has nothing to add.
        let Ok(mut manifest) = partition.manifest.try_lock() else { return Ok(()) };
        let span = tracing::debug_span!("ship", partition = partition.label());
        let shipped = self.ship_one(partition, &mut manifest, now, haste).instrument(span).await;
        match &shipped {
            Ok(()) => {}
            Err(error) if error.kind == ErrorKind::NotLeader => {
                tracing::info!(partition = partition.label(), "the partition closed while it was shipped");
            }
            Err(error) if error.kind == ErrorKind::Corrupt => {
                tracing::error!(partition = partition.label(), %error, "cannot ship; writes are refused from here on");
                partition.block(error.clone()).await;
            }
            Err(error) if error.kind == ErrorKind::Internal => {
                tracing::error!(partition = partition.label(), %error, "cannot ship");
            }
            Err(error) => tracing::warn!(partition = partition.label(), %error, "cannot ship now; it is tried again"),
        }
        metrics::counter!("runnel_ship_total", "outcome" => if shipped.is_ok() { "ok" } else { "failed" }).increment(1);
        shipped
    }

    async fn ship_one(
        &self,
        partition: &Partition,
        manifest: &mut Manifest,
        now: TimestampMs,
        haste: Haste,
    ) -> Result<(), Error> {
        if self.catch_up(partition, manifest).await? {
            return Ok(());
        }
        let Some(plan) = partition.plan_ship(now, haste != Haste::Due).await? else { return Ok(()) };
        let started = Instant::now();
        let batches = self.collect(partition, &plan).await?;
        let encoded = self.build(partition, batches, haste == Haste::Urgent).await?;
        self.pass("ship.built")?;
        let day = append_day(encoded.first_append_time);
        let reference = encoded.reference(partition.epoch, random_id(), day);
        let (next, bytes) = (reference.next, reference.bytes);
        self.put(&partition.segment_key(&reference), encoded).await?;
        self.pass("ship.put")?;
        if !holds(Guard::TrimAfterRoot) {
            self.log.shipped(partition.tp, next);
        }
        let producers = partition.producers_at(next).await?.encode();
        let commit = Commit::new(partition.epoch, vec![reference], next, plan.epochs, producers);
        self.committed(partition, manifest.commit(&commit).await)?;
        self.pass("ship.committed")?;
        self.finish(partition, manifest).await?;
        metrics::histogram!("runnel_segment_write_seconds").record(started.elapsed().as_secs_f64());
        metrics::counter!("runnel_segment_bytes_total").increment(bytes);
        tracing::debug!(partition = partition.label(), base = %plan.base, %next, bytes, "shipped a segment");
        Ok(())
    }

    /// After an unclear answer the commit before may turn out to be in the bucket: then it is finished. Whether it was.
    pub(crate) async fn catch_up(&self, partition: &Partition, manifest: &mut Manifest) -> Result<bool, Error> {
        self.committed(partition, manifest.verify().await)?;
        let (tp, mine, found) = (partition.tp, partition.epoch, manifest.root().epoch);
        if found > mine {
            // What a later leader ships is cut into other batches than what this one has, and is not its to show.
            self.committed(partition, Err(runnel_segment::Error::Fenced { tp, mine, found }))?;
        }
        let behind = manifest.root().version > partition.snapshot().root().version;
        if behind {
            self.finish(partition, manifest).await?;
        }
        Ok(behind)
    }

    /// Everything after the root CAS: copy, readers, machine, trim.
    pub(crate) async fn finish(&self, partition: &Partition, manifest: &Manifest) -> Result<(), Error> {
        self.keep_root(partition, manifest).await?;
        self.pass("ship.root_kept")?;
        let (end, log_start) = (manifest.root().end, manifest.root().log_start);
        partition.publish(manifest.snapshot());
        partition.mark_committed(end, log_start).await?;
        self.log.shipped(partition.tp, end);
        Ok(())
    }

    /// A later leader in the root means that this broker was replaced: a single node must end. A root that this disk cannot have
    /// written means that an old image of the disk came back: the partition must close.
    pub(crate) fn committed(
        &self,
        partition: &Partition,
        outcome: Result<(), runnel_segment::Error>,
    ) -> Result<(), Error> {
        outcome.map_err(|error| {
            let told = segment_error(&error);
            if error.kind() == runnel_segment::ErrorKind::Fenced && !self.is_alone() {
                // It was handed over while this was under way, or this session was ended, which shows elsewhere.
                tracing::info!(partition = partition.label(), %error, "another broker leads a partition");
            } else if error.kind() == runnel_segment::ErrorKind::Fenced {
                self.fail(format!("{}: {error}", partition.label()));
            } else if matches!(error, runnel_segment::Error::OldDisk { .. }) {
                tracing::error!(partition = partition.label(), %error, "closed a partition");
                partition.refuse(told.clone());
            }
            told
        })
    }

    /// The batches of the plan, from memory where they still are, else from the log.
    async fn collect(&self, partition: &Partition, plan: &ShipPlan) -> Result<Vec<SourceBatch>, Error> {
        let (mut at, mut batches) = (plan.base, Vec::new());
        while at < plan.next {
            let read = match partition.tail.read(at, plan.next, COLLECT_BYTES) {
                TailRead::Found(found) => found,
                TailRead::Older => {
                    let stored = self.log.read(partition.tp, at, plan.next, COLLECT_BYTES, Reuse::Unlikely).await;
                    let stored = stored.map_err(|e| lane_error(&e))?;
                    stored.into_iter().map(|s| SourceBatch { batch: s.batch, append_time: s.append_time }).collect()
                }
            };
            // Invariant 20: what goes into the segment is contiguous and begins where the root ends.
            if read.first().is_none_or(|b| b.batch.base_offset() != at) {
                let what = format!("offset {at} of {} is missing from the log", partition.label());
                return Err(Error::new(ErrorKind::Corrupt, what));
            }
            at = read.last().map_or(at, |b| b.batch.next_offset());
            batches.extend(read);
        }
        Ok(batches)
    }

    /// Encodes and checks the result against its source, off the async threads. A segment that nobody waits for gives way
    /// to those who produce and consume.
    async fn build(&self, partition: &Partition, batches: Vec<SourceBatch>, is_urgent: bool) -> Result<Encoded, Error> {
        let options = encode_options(partition);
        let work = move || {
            let encoded = encode(&batches, &options)?;
            verify(&encoded, batches.get(..encoded.batches).unwrap_or_default())?;
            Ok::<_, runnel_segment::Error>(encoded)
        };
        let built = if is_urgent {
            let _slot = self.encoders.acquire().await;
            blocking(work).await
        } else {
            background(Chore::Encode, work).await
        };
        let built = built.map_err(|e| Error::new(ErrorKind::Internal, format!("the encoder ended: {e}")))?;
        built.map_err(|e| segment_error(&e))
    }

    async fn put(&self, key: &Key, encoded: Encoded) -> Result<(), Error> {
        self.bucket.put(key, encoded.bytes).await.map_err(|e| bucket_error(&e))
    }

    /// Copies the new root to the metadata store, before the log is trimmed: a restart without the bucket opens from
    /// the copy and must not find a gap behind it.
    async fn keep_root(&self, partition: &Partition, manifest: &Manifest) -> Result<(), Error> {
        if self.member.is_some() {
            // A partition of a cluster opens from the bucket alone.
            return Ok(());
        }
        self.keep_producers(manifest).await?;
        let key = partition_key(partition.tp);
        let found = self.meta.get(&key).await.map_err(|e| metadata_error(&e))?;
        let Some(found) = found else {
            return Err(Error::new(ErrorKind::NotLeader, "the partition's record is gone: its topic was deleted"));
        };
        let record = PartitionRecord::decode(&found.value).map_err(|e| damaged(&e))?;
        let tail = tail::without_shipped(record.tail, manifest.root().end);
        let record = PartitionRecord { never_shipped: false, last_root: kept(manifest), tail, ..record };
        let put = Op::Put(key.clone(), record.encode(), None);
        let txn = self.meta.txn(vec![Compare::Revision(key, found.revision)], vec![put]);
        if txn.await.map_err(|e| metadata_error(&e))?.is_committed() {
            Ok(())
        } else {
            Err(Error::new(ErrorKind::NotLeader, "the partition's record changed while it was shipped"))
        }
    }
}

/// A partition that has waited for its age since it was last shipped is overdue; one that has waited twice as long on a machine
/// that has no time for it (ADR 0043) is not put off any more.
fn haste(is_wanted: bool, waited: Duration, max_age: Duration) -> Haste {
    if is_wanted || waited >= max_age.saturating_mul(2) {
        Haste::Urgent
    } else if waited >= max_age {
        Haste::Overdue
    } else {
        Haste::Due
    }
}

/// The root and its version, as the metadata store keeps them.
pub(crate) fn kept(manifest: &Manifest) -> Option<(Bytes, String)> {
    Some((manifest.root().encode(), manifest.version()?.to_string()))
}

pub(crate) const fn encode_options(partition: &Partition) -> EncodeOptions {
    let (topic, compression) = (partition.tp.topic, ParquetCodec::Zstd(1));
    EncodeOptions { topic, partition: partition.tp.partition, compression }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_due_is_not_urgent_before_it_has_waited_twice_its_age() {
        let (age, second) = (Duration::from_secs(60), Duration::from_secs(1));
        assert_eq!(haste(false, age - second, age), Haste::Due);
        assert_eq!(haste(false, age, age), Haste::Overdue);
        assert_eq!(haste(false, age * 2 - second, age), Haste::Overdue);
        assert_eq!(haste(false, age * 2, age), Haste::Urgent);
        assert_eq!(haste(true, Duration::ZERO, age), Haste::Urgent);
        assert_eq!(haste(false, age, Duration::MAX), Haste::Due);
    }
}
