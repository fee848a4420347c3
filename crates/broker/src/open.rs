//! Opening a partition (protocol §5, embedded as in design §5): the last root, the inherited tail, a new epoch made
//! durable, then serving.
//!
//! The root comes from the bucket when it answers and from the metadata store's copy when not. A bucket root that this
//! disk cannot have written means that an old image of the disk came back: the partition does not open.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use runnel_api::{Error, ErrorKind, TopicKey};
use runnel_format::manifest::{EpochStart, ProducerState, Root};
use runnel_format::meta::PartitionRecord;
use runnel_format::producer::ProducerSnapshot;
use runnel_metastore::{Compare, Op, Versioned};
use runnel_partition::{BatchFacts, Options as MachineOptions, Partition as Machine, ProducerLimits, Start};
use runnel_record::{LeaderEpoch, Offset, TopicPartition};
use runnel_segment::manifest::Manifest;
use runnel_wal::{Recovered, TailEntry};

use crate::Broker;
use crate::error::{damaged, machine_error, metadata_error, segment_error};
use crate::home::Agreement;
use crate::partition::{Driver, Partition, spawn};
use crate::topics::Topic;

/// What the log held when the broker started.
#[derive(Debug, Default)]
pub(crate) struct Inherited {
    tails: Mutex<BTreeMap<TopicPartition, Arc<[TailEntry]>>>,
    corrupt: BTreeMap<TopicPartition, Range<Offset>>,
}

impl Inherited {
    pub(crate) fn new(recovered: Recovered) -> Self {
        let mut corrupt: BTreeMap<TopicPartition, Range<Offset>> = BTreeMap::new();
        for range in recovered.corrupt {
            tracing::error!(partition = %range.tp, from = %range.from, to = ?range.to, "the log is corrupt here");
            let to = range.to.unwrap_or(Offset(i64::MAX));
            let known = corrupt.entry(range.tp).or_insert(range.from..to);
            *known = known.start.min(range.from)..known.end.max(to);
        }
        let tails = recovered.tails.into_iter().map(|(tp, tail)| (tp, tail.into())).collect();
        Self { tails: Mutex::new(tails), corrupt }
    }

    /// Every partition that the log holds something of.
    pub(crate) fn partitions(&self) -> Vec<TopicPartition> {
        self.tails.lock().unwrap_or_else(PoisonError::into_inner).keys().copied().collect()
    }

    fn tail(&self, tp: TopicPartition) -> Arc<[TailEntry]> {
        self.tails.lock().unwrap_or_else(PoisonError::into_inner).get(&tp).cloned().unwrap_or_default()
    }

    /// The partition is open and keeps what it needs itself.
    fn taken(&self, tp: TopicPartition) {
        self.tails.lock().unwrap_or_else(PoisonError::into_inner).remove(&tp);
    }
}

/// Key of a partition in the metadata store.
pub(crate) fn partition_key(tp: TopicPartition) -> String {
    format!("p/{}/{}", tp.topic, tp.partition)
}

impl Broker {
    /// The open partition, opening it if it is not.
    pub(crate) async fn open_partition(&self, topic: &TopicKey, partition: i32) -> Result<Arc<Partition>, Error> {
        let topic = self.topics.get(topic)?;
        self.open_in(&topic, partition).await
    }

    /// As [`Broker::open_partition`], for a topic in hand.
    pub(crate) async fn open_in(&self, topic: &Arc<Topic>, partition: i32) -> Result<Arc<Partition>, Error> {
        let slot = topic.slot(partition).ok_or_else(|| {
            let count = topic.partition_count();
            Error::new(
                ErrorKind::UnknownPartition,
                format!("topic `{}` has partitions 0 to {}, not {partition}", topic.name, count.saturating_sub(1)),
            )
        })?;
        slot.get_or_try_init(|| self.open(topic, topic.tp(partition))).await.cloned()
    }

    async fn open(&self, topic: &Topic, tp: TopicPartition) -> Result<Arc<Partition>, Error> {
        let label = format!("{}-{}", topic.name, tp.partition);
        let opened = self.try_open(topic, tp).await;
        opened.inspect_err(|error| tracing::error!(partition = label, %error, "a partition does not open"))
    }

    async fn try_open(&self, topic: &Topic, tp: TopicPartition) -> Result<Arc<Partition>, Error> {
        let key = partition_key(tp);
        let stored = self.meta.get(&key).await.map_err(|e| metadata_error(&e))?;
        let record = stored.as_ref().map(|s| PartitionRecord::decode(&s.value)).transpose().map_err(|e| damaged(&e))?;
        let tail = self.inherited.tail(tp);
        let facts: Vec<BatchFacts> =
            tail.iter().map(|e| BatchFacts::from_header(&e.header, e.body_len, e.append_time)).collect();
        let tail_end = facts.last().map(|batch| batch.next);
        let manifest = self.find_root(topic, tp, record.as_ref(), tail_end).await?;
        let (facts, blocked) = self.cut_at_corruption(tp, facts);

        let root = manifest.root();
        let epoch = next_epoch(root, record.as_ref(), &facts);
        let start = Start {
            epoch,
            log_start: root.log_start,
            epochs: known_epochs(root, record.as_ref()),
            producers: self.producers_of(&manifest).await?,
        };
        let options = MachineOptions { segment: topic.config().segment_limits(), producers: ProducerLimits::default() };
        let machine = Machine::open(options, &start, facts).map_err(|e| machine_error(&e))?;
        self.store_opening(&key, stored, record, &machine, root).await?;
        self.pass("open.recorded")?;
        self.inherited.taken(tp);
        tracing::debug!(
            partition = format!("{}-{}", topic.name, tp.partition), %epoch, shipped = %root.end,
            high_watermark = %machine.high_watermark(), "opened a partition"
        );
        let driver = Driver {
            machine,
            manifest,
            topic_name: topic.name.clone(),
            tp,
            log: self.log.clone(),
            clock: Arc::clone(&self.ports.clock),
            tails: Arc::clone(&self.tails),
            blocked,
        };
        Ok(spawn(driver, &self.stop_signal))
    }

    /// The root to open from: the bucket's, if it fits this disk, else the copy on this disk.
    async fn find_root(
        &self,
        topic: &Topic,
        tp: TopicPartition,
        record: Option<&PartitionRecord>,
        tail_end: Option<Offset>,
    ) -> Result<Manifest, Error> {
        let cached = record.and_then(|r| r.last_root.as_ref());
        let cached = cached.map(|(root, version)| Manifest::from_cached(&topic.name, root, version)).transpose();
        let cached = cached.map_err(|e| segment_error(&e))?.unwrap_or_else(|| Manifest::empty(tp, &topic.name));
        let agreed = *self.bucket_agreed.borrow() == Agreement::Agreed;
        if !agreed {
            return Ok(cached);
        }
        match Manifest::load(&self.bucket, tp, &topic.name).await {
            Ok(found) => {
                check_root(cached.root(), found.root(), record, tail_end)?;
                Ok(found)
            }
            Err(error) if error.is_unavailable() => Ok(cached),
            Err(error) => Err(segment_error(&error)),
        }
    }

    /// A partition opens up to a corrupt range of the log, not past it.
    fn cut_at_corruption(&self, tp: TopicPartition, mut facts: Vec<BatchFacts>) -> (Vec<BatchFacts>, Option<Error>) {
        let Some(range) = self.inherited.corrupt.get(&tp) else { return (facts, None) };
        facts.retain(|batch| batch.next <= range.start);
        let message = format!(
            "the log of partition {} is corrupt from offset {} on: reads below it go on, writes are refused. Restore the \
             disk, or accept the loss with `runnel wal accept-loss`",
            tp.partition, range.start
        );
        (facts, Some(Error::new(ErrorKind::Corrupt, message)))
    }

    async fn producers_of(&self, manifest: &Manifest) -> Result<ProducerSnapshot, Error> {
        let root = manifest.root();
        let bytes: Bytes = match &root.producers {
            ProducerState::Inline(bytes) => bytes.clone(),
            ProducerState::Stored { .. } => manifest.producers(&self.bucket).await.map_err(|e| segment_error(&e))?,
        };
        if bytes.is_empty() {
            return Ok(ProducerSnapshot { offset: root.end, ..ProducerSnapshot::empty() });
        }
        ProducerSnapshot::decode(&bytes).map_err(|e| damaged(&e))
    }

    /// P7: the new epoch is durable before anything is served in it.
    async fn store_opening(
        &self,
        key: &str,
        stored: Option<Versioned>,
        record: Option<PartitionRecord>,
        machine: &Machine,
        root: &Root,
    ) -> Result<(), Error> {
        let opened = PartitionRecord {
            epoch: machine.epoch(),
            never_shipped: root.version == 0,
            starts: machine.epochs().to_vec(),
            last_root: record.and_then(|r| r.last_root),
        };
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

/// One above every epoch that was ever handed out; 0 for a new partition, as in Kafka.
fn next_epoch(root: &Root, record: Option<&PartitionRecord>, tail: &[BatchFacts]) -> LeaderEpoch {
    let in_root = (root.version > 0).then_some(root.epoch);
    let in_tail = tail.iter().map(|batch| batch.epoch).max();
    [in_root, record.map(|r| r.epoch), in_tail].into_iter().flatten().max().map_or(LeaderEpoch::ZERO, |e| LeaderEpoch(e.0 + 1))
}

/// The epochs of root and partition record. The record is the newer one wherever both know an epoch.
fn known_epochs(root: &Root, record: Option<&PartitionRecord>) -> Vec<EpochStart> {
    let recorded = record.map(|r| r.starts.as_slice()).unwrap_or_default();
    let mut starts: BTreeMap<LeaderEpoch, Offset> = root.epochs.iter().map(|e| (e.epoch, e.start)).collect();
    starts.extend(recorded.iter().map(|e| (e.epoch, e.start)));
    starts.into_iter().map(|(epoch, start)| EpochStart { epoch, start }).collect()
}

/// Whether the bucket's root can be what this disk's own sessions left: the same as the copy, or one commit of the
/// last session ahead of it (a crash came between the root CAS and the copy), in which case the log still holds all
/// that the commit shipped.
fn check_root(
    cached: &Root,
    found: &Root,
    record: Option<&PartitionRecord>,
    tail_end: Option<Offset>,
) -> Result<(), Error> {
    let refuse = |kind, why: String| Err(Error::new(kind, why));
    if found.version < cached.version {
        return refuse(
            ErrorKind::Corrupt,
            format!(
                "the bucket's root has version {}, this disk saw version {}: the bucket was rolled back or emptied",
                found.version, cached.version
            ),
        );
    }
    if found.version == cached.version {
        return Ok(());
    }
    let known_epoch = record.map(|r| r.epoch);
    let foreign = known_epoch.is_some_and(|known| found.epoch > known);
    let beyond = record.is_some() && found.end > tail_end.unwrap_or(Offset::ZERO).max(cached.end);
    if foreign || beyond {
        return refuse(
            ErrorKind::Corrupt,
            format!(
                "the bucket has a newer root (epoch {}, end {}) than this disk can have written: an old image of the disk \
                 came back. Use the newer disk",
                found.epoch, found.end
            ),
        );
    }
    Ok(())
}
