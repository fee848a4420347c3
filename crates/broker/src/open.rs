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
use runnel_blob::Version;
use runnel_format::manifest::{EpochStart, Root};
use runnel_format::meta::PartitionRecord;
use runnel_metastore::{Compare, Op, Versioned};
use runnel_partition::{BatchFacts, Options as MachineOptions, Partition as Machine, ProducerLimits, Start};
use runnel_record::{LeaderEpoch, Offset, TopicId, TopicPartition};
use runnel_segment::manifest::{IfAbsent, Known, Manifest};
use runnel_wal::{Recovered, TailEntry};
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
    corrupt: BTreeMap<TopicPartition, Vec<Range<Offset>>>,
    /// There is damage that hides whom it hit: whoever had a log and has nothing of it now may have lost records.
    blind: bool,
}

impl Inherited {
    pub(crate) fn new(recovered: Recovered) -> Self {
        let mut corrupt: BTreeMap<TopicPartition, Vec<Range<Offset>>> = BTreeMap::new();
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
            tracing::error!(partition = %range.tp, from = %range.from, upto = ?range.upto, "the log is corrupt here");
            corrupt.entry(range.tp).or_default().push(range.from..range.upto.unwrap_or(Offset(i64::MAX)));
        }
        let blind = !recovered.unattributed.is_empty();
        let tails = recovered.tails.into_iter().map(|(tp, tail)| (tp, tail.into())).collect();
        Self { tails: Mutex::new(tails), corrupt, blind }
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
    format!("{}{}", partitions_key(tp.topic), tp.partition)
}

/// Prefix of the keys of a topic's partitions.
pub(crate) fn partitions_key(topic: TopicId) -> String {
    format!("p/{topic}/")
}

impl Broker {
    /// The open partition, opening it if it is not.
    pub(crate) async fn open_partition(&self, topic: &TopicKey, partition: i32) -> Result<Arc<Partition>, Error> {
        let topic = self.topics.get(topic)?;
        self.open_in(&topic, partition).await
    }

    /// As [`Broker::open_partition`], for a topic in hand.
    pub(crate) async fn open_in(&self, topic: &Arc<Topic>, partition: i32) -> Result<Arc<Partition>, Error> {
        let slot = topic.existing(partition)?;
        let open = slot.cell.get_or_try_init(|| self.open(topic, topic.tp(partition))).await?;
        open.refusal().map_or_else(|| Ok(Arc::clone(open)), |refusal| Err(refusal.clone()))
    }

    async fn open(&self, topic: &Topic, tp: TopicPartition) -> Result<Arc<Partition>, Error> {
        let label = label_of(topic, tp);
        let span = tracing::debug_span!("open", partition = label);
        let opened = self.try_open(topic, tp).instrument(span).await;
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
        let root = manifest.root();
        let may_have_lost = self.inherited.blind && tail.is_empty() && record.is_some();
        let (facts, blocked) = self.cut_at_corruption(tp, root.end, facts);
        let blocked = blocked.or_else(|| may_have_lost.then(|| hidden_damage(&label_of(topic, tp))));
        let epoch = next_epoch(root, record.as_ref(), &facts);
        let start = Start {
            epoch,
            log_start: root.log_start,
            epochs: known_epochs(root, record.as_ref()),
            producers: self.producers_at_end(&manifest).await?,
        };
        let expiration = self.options.topics.producer_expiration;
        let producers = ProducerLimits { expiration, ..ProducerLimits::default() };
        let options = MachineOptions { segment: topic.config().segment_limits(), producers };
        let machine = Machine::open(options, &start, facts).map_err(|e| machine_error(&e))?;
        // An epoch that begins at damage is not recorded as a part of the log: it would replace what lies behind the
        // damage for ever, also once the disk is mended or the loss accepted.
        let starts = match (&blocked, &record) {
            (None, _) => machine.epochs().to_vec(),
            (Some(_), record) => record.as_ref().map(|record| record.starts.clone()).unwrap_or_default(),
        };
        self.store_opening(&key, stored, record, machine.epoch(), starts, &manifest).await?;
        self.pass("open.recorded")?;
        self.inherited.taken(tp);
        // A crash between the root and the trim left this in the log, and perhaps nothing will be shipped that trims it.
        self.log.shipped(tp, root.end);
        tracing::debug!(
            partition = label_of(topic, tp), %epoch, shipped = %root.end,
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
            failure: self.failure.clone(),
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
            let end = tail.last().map(|e| BatchFacts::from_header(&e.header, e.body_len, e.append_time).next);
            let stored = self.meta.get(&partition_key(tp)).await.ok().flatten();
            let record = stored.and_then(|stored| PartitionRecord::decode(&stored.value).ok());
            let kept = record.and_then(|record| record.last_root).and_then(|root| kept_root(&root).ok());
            let exists = self.topics.find(&TopicKey::Id(tp.topic)).is_some();
            count += usize::from(exists && end > kept.map(|(root, _)| root.end));
        }
        count
    }

    /// A partition opens up to a corrupt range of the log, not past it. What is in the bucket needs no log.
    fn cut_at_corruption(
        &self,
        tp: TopicPartition,
        shipped: Offset,
        mut facts: Vec<BatchFacts>,
    ) -> (Vec<BatchFacts>, Option<Error>) {
        let ranges = self.inherited.corrupt.get(&tp).into_iter().flatten();
        let Some(from) = ranges.filter(|range| range.end > shipped).map(|range| range.start.max(shipped)).min() else {
            return (facts, None);
        };
        facts.retain(|batch| batch.next <= from);
        let message = format!(
            "the log of partition {} is corrupt from offset {} on: reads below it go on, writes are refused. Restore the \
             disk, or accept the loss with `runnel topic accept-loss`",
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
        epoch: LeaderEpoch,
        starts: Vec<EpochStart>,
        manifest: &Manifest,
    ) -> Result<(), Error> {
        let last_root = kept(manifest);
        if last_root.as_ref().map(|(_, version)| version) != record_version(record.as_ref()) {
            // The root came from the bucket: a crash or the loss of this store left the copy behind it.
            self.keep_producers(manifest).await?;
        }
        let opened = PartitionRecord { epoch, never_shipped: last_root.is_none(), starts, last_root };
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

fn hidden_damage(label: &str) -> Error {
    Error::new(
        ErrorKind::Corrupt,
        format!(
            "the log is damaged where it may have held records of {label}: what is shipped can be read, writes are refused. \
             Restore the disk, or accept the loss: create the file `wal/loss-accepted` and restart"
        ),
    )
}

fn label_of(topic: &Topic, tp: TopicPartition) -> String {
    format!("{}-{}", topic.name, tp.partition)
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
