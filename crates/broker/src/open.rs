//! Opening a partition (protocol §5, embedded as in design §5): the last root, the inherited tail, a new epoch made
//! durable, then serving.
//!
//! The root comes from the bucket when it answers and from the metadata store's copy when not. A bucket root that this
//! disk cannot have written means that an old image of the disk came back: the partition does not open.

pub(crate) mod tail;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use runnel_api::{Error, ErrorKind, TopicKey};
use runnel_blob::Version;
use runnel_format::manifest::{EpochStart, Root};
use runnel_format::meta::{Durability, PartitionRecord, TailSession};
use runnel_metastore::{Compare, Op, Versioned};
use runnel_partition::{BatchFacts, Options as MachineOptions, Partition as Machine, ProducerLimits, Start};
use runnel_record::{LeaderEpoch, Offset, TopicId, TopicPartition};
use runnel_segment::manifest::{IfAbsent, Known, Manifest};
use runnel_wal::{CorruptRange, Recovered, TailEntry};
use tracing::Instrument;

use crate::error::{damaged, machine_error, metadata_error, segment_error};
use crate::home::Agreement;
use crate::partition::{Driver, Partition, spawn};
use crate::ship::kept;
use crate::topics::{Topic, created_key};
use crate::{BUCKET_PATIENCE, Broker};

/// What the log held when the broker started.
#[derive(Debug, Default)]
pub(crate) struct Inherited {
    tails: Mutex<BTreeMap<TopicPartition, Arc<[TailEntry]>>>,
    corrupt: BTreeMap<TopicPartition, Vec<CorruptRange>>,
    /// There is damage that hides whom it hit: whoever had a log and has nothing of it now may have lost records.
    blind: bool,
}

impl Inherited {
    pub(crate) fn new(recovered: Recovered) -> Self {
        let mut corrupt: BTreeMap<TopicPartition, Vec<CorruptRange>> = BTreeMap::new();
        for damage in &recovered.unattributed {
            tracing::error!(damage, "the log is damaged, and nothing tells which partitions it hit");
        }
        for lane in &recovered.foreign {
            tracing::warn!(lane = %lane.display(), "left a lane of another disk alone");
        }
        if recovered.torn_bytes > 0 {
            tracing::info!(
                bytes = recovered.torn_bytes,
                "cut a write that the last crash interrupted; none of it was acknowledged"
            );
        }
        for range in recovered.corrupt {
            // Whether it matters shows when the partition opens: what is in the bucket needs no log.
            tracing::info!(partition = %range.tp, from = %range.from, upto = ?range.upto, "the log has nothing here");
            corrupt.entry(range.tp).or_default().push(range);
        }
        let blind = !recovered.unattributed.is_empty();
        let tails = recovered.tails.into_iter().map(|(tp, tail)| (tp, tail.into())).collect();
        Self { tails: Mutex::new(tails), corrupt, blind }
    }

    /// Every partition that the log holds something of.
    pub(crate) fn partitions(&self) -> Vec<TopicPartition> {
        self.tails.lock().unwrap_or_else(PoisonError::into_inner).keys().copied().collect()
    }

    pub(crate) fn tail(&self, tp: TopicPartition) -> Arc<[TailEntry]> {
        self.tails.lock().unwrap_or_else(PoisonError::into_inner).get(&tp).cloned().unwrap_or_default()
    }

    /// What of a partition cannot be read.
    pub(crate) fn damage(&self, tp: TopicPartition) -> Vec<CorruptRange> {
        self.corrupt.get(&tp).cloned().unwrap_or_default()
    }

    /// Whether the log holds, or held, something of a partition from `offset` on.
    pub(crate) fn goes_beyond(&self, tp: TopicPartition, offset: Offset) -> bool {
        let damaged = self.damage(tp).iter().any(|range| range.upto.is_none_or(|upto| upto > offset));
        damaged || tail::end(&self.tail(tp)).is_some_and(|end| end > offset)
    }

    /// Whether whoever had a log and has nothing of it now may have lost records.
    pub(crate) fn is_blind(&self) -> bool {
        self.blind
    }

    /// The partition is open and keeps what it needs itself.
    pub(crate) fn taken(&self, tp: TopicPartition) {
        self.tails.lock().unwrap_or_else(PoisonError::into_inner).remove(&tp);
    }
}

/// What the record of a partition says of the session that opens it.
struct Opening {
    epoch: LeaderEpoch,
    /// Where the session begins to write.
    start: Offset,
    starts: Vec<EpochStart>,
    durability: Durability,
    /// Nothing is appended: the damage stands where it stood.
    is_blocked: bool,
}

/// Key of a partition in the metadata store.
pub(crate) fn partition_key(tp: TopicPartition) -> String {
    format!("{}{}", partitions_key(tp.topic), tp.partition)
}

/// Prefix of the keys of a topic's partitions.
pub(crate) fn partitions_key(topic: TopicId) -> String {
    format!("{PARTITIONS}{topic}/")
}

/// The partition of a key.
pub(crate) fn partition_of(key: &str) -> Option<TopicPartition> {
    let (topic, partition) = key.strip_prefix(PARTITIONS)?.split_once('/')?;
    Some(TopicPartition { topic: topic.parse().ok()?, partition: partition.parse().ok()? })
}

/// Prefix of the keys of partitions.
pub(crate) const PARTITIONS: &str = "p/";

/// Pause before a record that changed meanwhile is read again; what else was compared may be on its way here.
const RECORD_AGAIN: Duration = Duration::from_millis(20);

/// How long a request waits for a partition that is being opened or handed over. Clients ask again.
const TURN_PATIENCE: Duration = Duration::from_secs(5);

impl Broker {
    /// The open partition, opening it if it is not.
    pub(crate) async fn open_partition(&self, topic: &TopicKey, partition: i32) -> Result<Arc<Partition>, Error> {
        let topic = self.find_topic(topic).await?;
        self.open_in(&topic, partition).await
    }

    /// As [`Broker::open_partition`], for a topic in hand.
    pub(crate) async fn open_in(&self, topic: &Arc<Topic>, partition: i32) -> Result<Arc<Partition>, Error> {
        let slot = topic.existing(partition)?;
        let open = match slot.partition() {
            Some(open) => open,
            // Before anything is waited for: most who ask the wrong broker have old metadata.
            None if !self.leads(topic.tp(partition)) => {
                return Err(self.led_elsewhere(topic, topic.tp(partition)));
            }
            None => {
                let turning = tokio::time::timeout(TURN_PATIENCE, slot.turning.lock()).await;
                let _turning = turning.map_err(|_| turns(&topic.label(topic.tp(partition))))?;
                match slot.partition() {
                    Some(open) => open,
                    None if !self.leads(topic.tp(partition)) => {
                        return Err(self.led_elsewhere(topic, topic.tp(partition)));
                    }
                    None => {
                        let opened = self.open(topic, topic.tp(partition)).await?;
                        slot.set(Some(Arc::clone(&opened)));
                        opened
                    }
                }
            }
        };
        match open.refusal() {
            None => Ok(open),
            Some(refusal) => Err(refusal.clone()),
        }
    }

    async fn open(&self, topic: &Topic, tp: TopicPartition) -> Result<Arc<Partition>, Error> {
        let label = topic.label(tp);
        let span = tracing::debug_span!("open", partition = label);
        let opened = if self.member.is_some() {
            self.open_led(topic, tp).instrument(span).await
        } else {
            self.try_open(topic, tp).instrument(span).await
        };
        opened.inspect_err(|error| match error.kind {
            // It became somebody else's at this moment.
            ErrorKind::NotLeader | ErrorKind::LeaderNotAvailable => {}
            // Every fetch would say so.
            ErrorKind::StorageError if !self.has_inherited() => {}
            ErrorKind::StorageError => tracing::warn!(partition = label, %error, "a partition does not open yet"),
            _ => tracing::error!(partition = label, %error, "a partition does not open"),
        })
    }

    async fn try_open(&self, topic: &Topic, tp: TopicPartition) -> Result<Arc<Partition>, Error> {
        let key = partition_key(tp);
        let stored = self.meta.get(&key).await.map_err(|e| metadata_error(&e))?;
        let record = stored.as_ref().map(|s| PartitionRecord::decode(&s.value)).transpose().map_err(|e| damaged(&e))?;
        let on_disk = self.inherited.tail(tp);
        self.wait_for_lanes(topic, tp, record.as_ref()).await?;
        let in_bucket = self.log.inherited_tail(tp);
        let facts = tail::in_order(on_disk.iter().chain(&in_bucket));
        let tail_end = facts.iter().map(|batch| batch.next).max();
        let manifest = self.find_root(topic, tp, record.as_ref(), tail_end).await?;
        let root = manifest.root();
        let damage = self.damage_in_bucket(tp, record.as_ref(), root.end).await?;
        let may_have_lost = self.inherited.blind && on_disk.is_empty() && record.is_some();
        let (facts, blocked) = self.cut_at_corruption(tp, root.end, facts, &self.inherited.damage(tp), &damage);
        let blocked = blocked.or_else(|| may_have_lost.then(|| hidden_damage(&topic.label(tp))));
        let epoch = next_epoch(root, record.as_ref(), &facts);
        let start = Start {
            epoch,
            log_start: root.log_start,
            epochs: known_epochs(root, record.as_ref()),
            producers: self.producers_at_end(&manifest).await?,
        };
        let machine = self.machine(topic, &start, facts)?;
        // An epoch that begins at damage is not recorded as a part of the log: it would replace what lies behind the
        // damage for ever, also once the disk is mended or the loss accepted.
        let starts = match (&blocked, &record) {
            (None, _) => machine.epochs().to_vec(),
            (Some(_), record) => record.as_ref().map(|record| record.starts.clone()).unwrap_or_default(),
        };
        // What was acknowledged on this disk alone is shipped before the partition promises more (design §5).
        let mut durability = topic.config().durability;
        // Entries that are shipped stay in the log for a while and say nothing.
        if tail::end(&on_disk).is_some_and(|end| end > root.end) {
            durability = Durability::Local;
        }
        let is_blocked = blocked.is_some();
        if is_blocked {
            metrics::counter!("runnel_damage_total", "where" => "log").increment(1);
        }
        let opening =
            Opening { epoch: machine.epoch(), start: machine.high_watermark(), starts, durability, is_blocked };
        self.store_opening(&key, stored, record, opening, &manifest).await?;
        self.pass("open.recorded")?;
        self.inherited.taken(tp);
        self.log.taken(tp);
        // A crash between the root and the trim left this in the log, and perhaps nothing will be shipped that trims it.
        self.log.shipped(tp, root.end);
        tracing::debug!(
            partition = topic.label(tp), %epoch, shipped = %root.end,
            high_watermark = %machine.high_watermark(), "opened a partition"
        );
        let inherited_end = machine.high_watermark();
        let partition = self.serve(topic, machine, manifest, durability, blocked)?;
        if !in_bucket.is_empty() {
            // So that the lane of the earlier session can go.
            partition.seal_upto(inherited_end);
        }
        Ok(partition)
    }

    pub(crate) fn machine(&self, topic: &Topic, start: &Start, tail: Vec<BatchFacts>) -> Result<Machine, Error> {
        let expiration = self.options.topics.producer_expiration;
        let producers = ProducerLimits { expiration, ..ProducerLimits::default() };
        let options = MachineOptions { segment: topic.config().segment_limits(), producers };
        Machine::open(options, start, tail).map_err(|e| machine_error(&e))
    }

    /// Starts the task of a partition whose opening is recorded.
    pub(crate) fn serve(
        &self,
        topic: &Topic,
        machine: Machine,
        manifest: Manifest,
        durability: Durability,
        blocked: Option<Error>,
    ) -> Result<Arc<Partition>, Error> {
        let tp = manifest.root().tp;
        let driver = Driver {
            machine,
            topic_name: topic.name.clone(),
            tp,
            entrance: Arc::clone(&topic.existing(tp.partition)?.entrance),
            manifest,
            log: self.log.clone(),
            durability,
            clock: Arc::clone(&self.ports.clock),
            tails: Arc::clone(&self.tails),
            blocked,
            failure: self.failure.clone(),
        };
        Ok(spawn(driver, &self.stop_signal))
    }

    /// A partition whose newest records may be in a lane in the bucket does not open before that is known.
    async fn wait_for_lanes(
        &self,
        topic: &Topic,
        tp: TopicPartition,
        record: Option<&PartitionRecord>,
    ) -> Result<(), Error> {
        if self.has_inherited() {
            return Ok(());
        }
        let may_be_there = match record {
            Some(record) => {
                let root = record.last_root.as_ref().map(kept_root).transpose()?;
                tail::may_be_in_bucket(&record.tail, root.map_or(Offset::ZERO, |(root, _)| root.end))
            }
            // Its record went with the metadata store, unless it never had one.
            None => !self.was_created_here(tp).await?,
        };
        if !may_be_there {
            return Ok(());
        }
        let label = topic.label(tp);
        let what = format!("lanes in the bucket may hold records of {label}, and are not taken over yet: retry later");
        Err(Error::new(ErrorKind::StorageError, what))
    }

    /// What of a partition cannot be read, or may have been lost, in lanes that it wrote to as far as anybody knows.
    pub(crate) async fn damage_in_bucket(
        &self,
        tp: TopicPartition,
        record: Option<&PartitionRecord>,
        shipped: Offset,
    ) -> Result<Vec<CorruptRange>, Error> {
        let Some(record) = record else {
            if self.was_created_here(tp).await? {
                return Ok(Vec::new());
            }
            // The record went with the metadata store: any session may have led it.
            return Ok(self.log.sessions().into_iter().flat_map(|session| self.log.damage(tp, session)).collect());
        };
        let parts = record.tail.iter().filter(|part| tail::may_be_in_bucket(std::slice::from_ref(part), shipped));
        let of = |part: &TailSession| {
            let damage = self.log.damage(tp, part.session).into_iter();
            damage.filter_map(|range| tail::clipped(range, part)).collect::<Vec<_>>()
        };
        Ok(parts.flat_map(of).collect())
    }

    /// From here on lanes of this class may hold what this session appends to a partition.
    pub(crate) async fn record_class(&self, tp: TopicPartition, durability: Durability) -> Result<(), Error> {
        let key = partition_key(tp);
        let gone = || Error::new(ErrorKind::NotLeader, "the partition's record is gone: its topic was deleted");
        loop {
            let found = self.meta.get(&key).await.map_err(|e| metadata_error(&e))?.ok_or_else(gone)?;
            let record = PartitionRecord::decode(&found.value).map_err(|e| damaged(&e))?;
            let tail = if self.is_alone() && durability == Durability::Object {
                tail::promoted(record.tail.clone(), self.home.session)
            } else if self.is_alone() {
                return Ok(());
            } else {
                tail::also(record.tail.clone(), self.home.session, durability)
            };
            if tail == record.tail {
                return Ok(());
            }
            let put = Op::Put(key.clone(), PartitionRecord { tail, ..record }.encode(), None);
            let mut compare = vec![Compare::Revision(key.clone(), found.revision)];
            if !self.is_alone() {
                compare.extend(self.own_session_is_active()?);
            }
            let outcome = self.meta.txn(compare, vec![put]).await.map_err(|e| metadata_error(&e))?;
            if outcome.is_committed() {
                return Ok(());
            }
            tokio::time::sleep(RECORD_AGAIN).await;
        }
    }

    /// The root to open from: the bucket's, if it fits this disk, else the copy on this disk.
    async fn find_root(
        &self,
        topic: &Topic,
        tp: TopicPartition,
        record: Option<&PartitionRecord>,
        tail_end: Option<Offset>,
    ) -> Result<Manifest, Error> {
        let (bucket, fail) = (&self.bucket, self.ports.fail.clone());
        let agreed = *self.bucket_agreed.borrow() == Agreement::Agreed;
        // The epoch before the first one: a partition that is new here is new everywhere.
        let last_epoch = match record {
            Some(record) => record.epoch,
            None if self.was_created_here(tp).await? => LeaderEpoch(-1),
            None => {
                // Taken over from the bucket, as after the loss of the metadata store.
                let found = Manifest::load(bucket, tp, &topic.name, IfAbsent::Empty, fail).await;
                return found.map_err(|e| segment_error(&e));
            }
        };
        let kept = record.and_then(|record| record.last_root.as_ref()).map(kept_root).transpose()?;
        let kept_end = kept.as_ref().map_or(Offset::ZERO, |(root, _)| root.end);
        let known = Known { epoch: last_epoch, end: tail_end.map_or(kept_end, |end| end.max(kept_end)) };
        let cached = Manifest::from_cached(bucket, tp, &topic.name, kept, known, fail);
        let mut manifest = cached.map_err(|e| segment_error(&e))?;
        if agreed {
            // Without an answer the copy is what there is; it is compared before anything is shipped.
            match tokio::time::timeout(BUCKET_PATIENCE, manifest.verify()).await {
                Ok(Ok(())) | Err(_) => {}
                Ok(Err(error)) if error.kind() == runnel_segment::ErrorKind::Storage => {}
                Ok(Err(error)) => return Err(segment_error(&error)),
            }
        }
        Ok(manifest)
    }

    async fn was_created_here(&self, tp: TopicPartition) -> Result<bool, Error> {
        let found = self.meta.get(&created_key(tp.topic)).await;
        Ok(found.map_err(|e| metadata_error(&e))?.is_some())
    }

    /// Partitions that nobody opened in this session and whose records are not all in the bucket.
    pub(crate) async fn unopened_and_unshipped(&self) -> usize {
        let mut count = 0;
        for tp in self.inherited.partitions() {
            let tail = self.inherited.tail(tp);
            let end = tail::end(&tail);
            let stored = self.meta.get(&partition_key(tp)).await.ok().flatten();
            let record = stored.and_then(|stored| PartitionRecord::decode(&stored.value).ok());
            let kept = record.and_then(|record| record.last_root).and_then(|root| kept_root(&root).ok());
            let exists = self.topics.find(&TopicKey::Id(tp.topic)).is_some();
            count += usize::from(exists && end > kept.map(|(root, _)| root.end));
        }
        count
    }

    /// A partition opens up to a corrupt range of the log, not past it. What is in the bucket needs no log.
    pub(crate) fn cut_at_corruption(
        &self,
        tp: TopicPartition,
        shipped: Offset,
        mut facts: Vec<BatchFacts>,
        on_disk: &[CorruptRange],
        in_bucket: &[CorruptRange],
    ) -> (Vec<BatchFacts>, Option<Error>) {
        let first = |ranges: &[CorruptRange]| {
            let matters = ranges.iter().filter(|range| range.upto.is_none_or(|upto| upto > shipped));
            matters.map(|range| range.from.max(shipped)).min()
        };
        let (on_disk, in_bucket) = (first(on_disk), first(in_bucket));
        let Some(from) = on_disk.into_iter().chain(in_bucket).min() else { return (facts, None) };
        facts.retain(|batch| batch.next <= from);
        tracing::error!(partition = %tp, %from, "the log is corrupt here");
        if in_bucket == Some(from) {
            let message = format!(
                "objects of a lane in the bucket are damaged or gone, and with them partition {} from offset {from} on: reads \
                 below it go on, writes are refused. Restore the objects below `wal/`",
                tp.partition
            );
            return (facts, Some(Error::new(ErrorKind::Corrupt, message)));
        }
        let way_out = if self.is_alone() {
            "accept the loss with `runnel topic accept-loss`"
        } else {
            "stop this broker and give up what its disk holds of the partition with `runnel topic accept-loss --lost-disk`"
        };
        let message = format!(
            "the log of partition {} is corrupt from offset {} on: reads below it go on, writes are refused. Restore the \
             disk, or {way_out}",
            tp.partition, from
        );
        (facts, Some(Error::new(ErrorKind::Corrupt, message)))
    }

    /// P7: the new epoch is durable before anything is served in it.
    async fn store_opening(
        &self,
        key: &str,
        stored: Option<Versioned>,
        record: Option<PartitionRecord>,
        opening: Opening,
        manifest: &Manifest,
    ) -> Result<(), Error> {
        let last_root = kept(manifest);
        if last_root.as_ref().map(|(_, version)| version) != record_version(record.as_ref()) {
            // The root came from the bucket: a crash or the loss of this store left the copy behind it.
            self.keep_producers(manifest).await?;
        }
        let Opening { epoch, start, starts, durability, is_blocked } = opening;
        let (tp, shipped) = (manifest.root().tp, manifest.root().end);
        let before = record.map(|record| record.tail).unwrap_or_default();
        let before = tail::completed(before, &self.log.sessions_with(tp, shipped), shipped, start);
        let own = TailSession { session: self.home.session, durability, from: start, to: None };
        let tail = if is_blocked { before } else { tail::continued(before, shipped, own) };
        let opened =
            PartitionRecord { epoch, leader: None, never_shipped: last_root.is_none(), starts, last_root, tail };
        let compare = match stored {
            None => Compare::Absent(key.to_owned()),
            Some(found) => Compare::Revision(key.to_owned(), found.revision),
        };
        let put = Op::Put(key.to_owned(), opened.encode(), None);
        let outcome = self.meta.txn(vec![compare], vec![put]).await.map_err(|e| metadata_error(&e))?;
        if outcome.is_committed() {
            Ok(())
        } else {
            Err(Error::new(ErrorKind::NotLeader, "the partition was opened by someone else at this moment: retry"))
        }
    }
}

/// That a partition is being opened, or handed over.
pub(crate) fn turns(label: &str) -> Error {
    Error::new(ErrorKind::LeaderNotAvailable, format!("{label} is being opened or handed over: retry"))
}

pub(crate) fn hidden_damage(label: &str) -> Error {
    Error::new(
        ErrorKind::Corrupt,
        format!(
            "the log is damaged where it may have held records of {label}: what is shipped can be read, writes are refused. \
             Restore the disk, or accept the loss: create the file `wal/loss-accepted` and restart"
        ),
    )
}

/// One above every epoch that was ever handed out; 0 for a new partition, as in Kafka.
fn next_epoch(root: &Root, record: Option<&PartitionRecord>, tail: &[BatchFacts]) -> LeaderEpoch {
    let in_root = (root.version > 0).then_some(root.epoch);
    let in_tail = tail.iter().map(|batch| batch.epoch).max();
    [in_root, record.map(|r| r.epoch), in_tail]
        .into_iter()
        .flatten()
        .max()
        .map_or(LeaderEpoch::ZERO, |e| LeaderEpoch(e.0 + 1))
}

/// The epochs of the log. Every open records all that it knows, so the record is the newer one; the root may still name
/// epochs that an accepted loss has ended.
pub(crate) fn known_epochs(root: &Root, record: Option<&PartitionRecord>) -> Vec<EpochStart> {
    let recorded = record.map(|r| r.starts.as_slice()).filter(|starts| !starts.is_empty());
    recorded.unwrap_or(&root.epochs).to_vec()
}

/// The version of the root that the record has a copy of.
fn record_version(record: Option<&PartitionRecord>) -> Option<&String> {
    record?.last_root.as_ref().map(|(_, version)| version)
}

fn kept_root((root, version): &(Bytes, String)) -> Result<(Root, Version), Error> {
    let version = version.parse().map_err(|_| Error::new(ErrorKind::Corrupt, "the kept root has no version"))?;
    Ok((Root::decode(root).map_err(|e| damaged(&e))?, version))
}
