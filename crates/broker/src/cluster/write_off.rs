//! The operator's word that a disk is gone for good (protocol §5, `accept-loss`): partitions that wait for it go on where
//! their log ends without it, in a new epoch, by which clients find out that it was truncated (KIP-320).
//!
//! Any broker does it, in the order of an opening: sessions are ended, the root is taken over, then the record, together
//! with a key for each session that was written off. Should its disk come back all the same, its broker sets aside what it
//! holds before it opens its log ([`Broker::set_written_off_aside`]).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use runnel_api::{DiskLoss, Error, ErrorKind, TopicKey};
use runnel_format::manifest::EpochStart;
use runnel_format::meta::{BrokerRecord, Durability, PartitionRecord, SessionRecord, TailSession};
use runnel_metastore::{Compare, MetaStore, Op, Versioned};
use runnel_partition::{BatchFacts, Start};
use runnel_record::{LeaderEpoch, Offset, TopicPartition};
use runnel_runtime::simulation::blocking;
use runnel_segment::manifest::{Commit, IfAbsent, Manifest};
use uuid::Uuid;

use super::view::LIVE;
use crate::error::{StartError, damaged, metadata_error, segment_error};
use crate::home::Home;
use crate::open::{known_epochs, partition_key, partition_of, tail};
use crate::start::wal_options;
use crate::topics::Topic;
use crate::{Broker, Options, Ports};

/// Prefix of the keys of what was written off: the disk, the session, the partition.
const WRITTEN_OFF: &str = "written-off/";

/// What a partition is without the disks that it waits for.
struct Rest {
    loss: DiskLoss,
    /// Sessions whose part is gone, with their disks.
    gone: BTreeMap<u64, Uuid>,
    found: Versioned,
    manifest: Manifest,
    record: PartitionRecord,
}

impl Broker {
    pub(super) async fn losses_of(&self, topic: &TopicKey, partition: Option<i32>) -> Result<Vec<DiskLoss>, Error> {
        let topic = self.topic_of_cluster(topic).await?;
        let mut losses = Vec::new();
        let wanted = match partition {
            Some(partition) => vec![topic.existing(partition).map(|_| partition)?],
            None => topic.partition_numbers().collect(),
        };
        for number in wanted {
            match self.without_disks(&topic, topic.tp(number)).await {
                Ok(rest) => losses.push(rest.loss),
                // Of all partitions those are meant that wait.
                Err(error) if partition.is_none() && error.kind == ErrorKind::InvalidRequest => {}
                Err(error) => return Err(error),
            }
        }
        if losses.is_empty() {
            let what = format!("no partition of {} waits for a disk that is gone", topic.name);
            return Err(Error::new(ErrorKind::InvalidRequest, what));
        }
        Ok(losses)
    }

    /// Gives up what was told, and nothing else: another disk may have gone since.
    pub(super) async fn write_off(&self, topic: &TopicKey, told: &[DiskLoss]) -> Result<(), Error> {
        let topic = self.topic_of_cluster(topic).await?;
        for told in told {
            topic.existing(told.partition)?;
            let rest = self.without_disks(&topic, topic.tp(told.partition)).await?;
            if rest.loss != *told {
                let what =
                    format!("{} would lose something else by now: look again", topic.label(rest.manifest.root().tp));
                return Err(Error::new(ErrorKind::InvalidRequest, what));
            }
            self.go_on_without(&topic, rest).await?;
        }
        Ok(())
    }

    async fn topic_of_cluster(&self, topic: &TopicKey) -> Result<Arc<Topic>, Error> {
        if self.is_alone() {
            let why = "this is a single node, whose partitions wait for no other disk: stop it, and run \
                       `runnel topic accept-loss` without --lost-disk";
            return Err(Error::new(ErrorKind::Unsupported, why));
        }
        self.find_topic(topic).await
    }

    /// What is left of a partition without the disks that it waits for; an error if it waits for none, or for one that is
    /// there.
    async fn without_disks(&self, topic: &Topic, tp: TopicPartition) -> Result<Rest, Error> {
        let label = topic.label(tp);
        let refused = |why: String| Error::new(ErrorKind::InvalidRequest, format!("{label} {why}"));
        let found = self.refresh(tp).await?.ok_or_else(|| refused("was never written to".to_owned()))?;
        let mut record = PartitionRecord::decode(&found.value).map_err(|e| damaged(&e))?;
        let alive = self.brokers_by_disk().await?;
        let leader = record.leader.and_then(|leader| alive.values().find(|broker| broker.session == leader.session));
        if let Some(broker) = leader {
            let why = format!("is led by broker `{}`, which is alive: it waits for no disk that is gone", broker.name);
            return Err(refused(why));
        }
        let mut gone = BTreeMap::new();
        let mut brokers = BTreeSet::new();
        for part in record.tail.iter().filter(|part| part.durability == Durability::Local) {
            let session = self.session_of_tail(part.session).await?;
            if let Some(broker) = alive.get(&session.disk_id) {
                let why = format!(
                    "needs the disk of broker `{}`, which is alive: it goes on there. If that disk is lost, stop the broker",
                    broker.name
                );
                return Err(refused(why));
            }
            gone.insert(part.session, session.disk_id);
            brokers.insert(session.node_name);
        }
        if gone.is_empty() {
            return Err(refused("needs nobody's disk: it goes on as soon as a broker may lead it".to_owned()));
        }
        for part in &record.tail {
            self.take_over_session(part.session).await?;
        }
        let if_absent = if record.never_shipped { IfAbsent::Empty } else { IfAbsent::Corrupt };
        let loaded = Manifest::load(&self.bucket, tp, &topic.name, if_absent, self.ports.fail.clone()).await;
        let manifest = loaded.map_err(|e| segment_error(&e))?;
        let root = manifest.root();
        if !self.damage_in_bucket(tp, Some(&record), root.end).await?.is_empty() {
            let what = format!(
                "objects of a lane in the bucket are damaged, and with them {label}: restore those below `wal/`"
            );
            return Err(Error::new(ErrorKind::Corrupt, what));
        }
        let (shipped, known) = (root.end, known_epochs(root, Some(&record)));
        let held = tail::in_order(self.log.inherited_tail(tp).iter());
        let reachable = reachable(held, &known, shipped);
        let from = reachable.last().map_or(shipped, |last| last.next);
        let named = record.tail.iter().flat_map(|part| [Some(part.from), part.to]).flatten();
        let known_end = named.chain(known.iter().map(|epoch| epoch.start)).fold(from, Ord::max);
        record.epoch = LeaderEpoch(record.epoch.max(root.epoch).0 + 1);
        let start = Start {
            epoch: record.epoch,
            log_start: root.log_start,
            // Those that began behind the end were cut off with it.
            epochs: known.into_iter().filter(|epoch| epoch.start <= from).collect(),
            producers: self.producers_at_end(&manifest).await?,
        };
        let machine = self.machine(topic, &start, reachable)?;
        record.starts = machine.epochs().to_vec();
        record.tail = kept(record.tail, shipped, from);
        record.leader = None;
        let loss = DiskLoss { partition: tp.partition, from, known_end, brokers };
        Ok(Rest { loss, gone, found, manifest, record })
    }

    /// Records that a partition goes on with what is left: at once in the bucket, so that a broker that is believed dead
    /// and is not ships nothing more, then in the metadata store.
    async fn go_on_without(&self, topic: &Topic, rest: Rest) -> Result<(), Error> {
        let Rest { loss, gone, found, mut manifest, record } = rest;
        let (tp, before) = (manifest.root().tp, manifest.root().clone());
        let commit = Commit::trim(record.epoch, &before, before.log_start);
        manifest.commit(&commit).await.map_err(|e| segment_error(&e))?;
        if manifest.root().log_start != before.log_start || manifest.root().end != before.end {
            return Err(Error::new(
                ErrorKind::NotLeader,
                "the root was changed at this moment: look again what is lost",
            ));
        }
        self.pass("loss.root_taken")?;
        let key = partition_key(tp);
        let compare = vec![Compare::Revision(key.clone(), found.revision)];
        let mut then = vec![Op::Put(key, record.encode(), None)];
        then.extend(
            gone.iter().map(|(session, disk)| Op::Put(written_off_key(*disk, *session, tp), Bytes::new(), None)),
        );
        let outcome = self.meta.txn(compare, then).await.map_err(|e| metadata_error(&e))?;
        if !outcome.is_committed() {
            return Err(Error::new(ErrorKind::NotLeader, "the partition's record changed at this moment: look again"));
        }
        self.pass("loss.recorded")?;
        tracing::warn!(
            partition = topic.label(tp), from = %loss.from, known_end = %loss.known_end, brokers = ?loss.brokers,
            epoch = %record.epoch, "the loss of a disk was accepted"
        );
        Ok(())
    }

    async fn session_of_tail(&self, session: u64) -> Result<SessionRecord, Error> {
        let found = self.read_session(session).await?;
        found.map(|(record, _)| record).ok_or_else(|| crate::sessions::session_lost(session))
    }

    /// The brokers that are alive, as the store says now.
    async fn brokers_by_disk(&self) -> Result<BTreeMap<Uuid, BrokerRecord>, Error> {
        let found = self.meta.range(LIVE).await.map_err(|e| metadata_error(&e))?;
        let brokers = found.iter().map(|(_, found)| BrokerRecord::decode(&found.value).map_err(|e| damaged(&e)));
        brokers.map(|broker| broker.map(|broker| (broker.disk_id, broker))).collect()
    }

    /// What of this disk was written off while it was away does not come back into the log. Returns the keys that said so.
    /// Before the log is opened.
    pub(super) async fn set_written_off_aside(
        meta: &dyn MetaStore,
        options: &Options,
        ports: &Ports,
        home: &Home,
    ) -> Result<BTreeSet<String>, StartError> {
        let disk_id = home.identity.disk_id;
        let found = meta.range(&written_off_prefix(disk_id)).await?;
        let keys: BTreeSet<String> = found.into_iter().map(|(key, _)| key).collect();
        let mut by_session: BTreeMap<u64, Vec<TopicPartition>> = BTreeMap::new();
        for (_, session, tp) in keys.iter().filter_map(|key| parse(key)) {
            by_session.entry(session).or_default().push(tp);
        }
        for (session, partitions) in by_session {
            let (disk, wal, fail) = (Arc::clone(&ports.disk), wal_options(options, &home.layout), ports.fail.clone());
            let kept = home.layout.written_off();
            let count = partitions.len();
            let setting =
                blocking(move || runnel_wal::set_aside(&disk, &wal, (disk_id, session), &partitions, &kept, &fail));
            let copies =
                setting.await.map_err(|e| StartError::Refused(format!("setting a lane aside ended early: {e}")))??;
            for copy in copies {
                tracing::warn!(
                    lane = %copy.display(), partitions = count,
                    "the loss of this disk was accepted while it was away: what it holds of some partitions stays out of \
                     their log. A copy of the lane is kept; delete it when nobody needs it"
                );
            }
        }
        let done: Vec<&String> = keys.iter().collect();
        for some in done.chunks(AT_ONCE) {
            meta.txn(Vec::new(), some.iter().map(|key| Op::Delete((*key).clone())).collect()).await?;
        }
        Ok(keys)
    }
}

/// Keys that one transaction deletes.
const AT_ONCE: usize = 100;

/// The batches that follow each other from what is shipped on. One of an epoch counts below the start of the next only.
fn reachable(held: Vec<BatchFacts>, epochs: &[EpochStart], shipped: Offset) -> Vec<BatchFacts> {
    let replaced = |batch: &BatchFacts| epochs.iter().any(|next| next.epoch > batch.epoch && next.start <= batch.base);
    let mut end = shipped;
    let follows = |batch: &BatchFacts| {
        let follows = batch.base == end && !replaced(batch);
        if follows {
            end = batch.next;
        }
        follows
    };
    held.into_iter().filter(follows).collect()
}

/// What is left of a tail that ends at `end`: the parts in the bucket that hold something that counts.
fn kept(tail: Vec<TailSession>, shipped: Offset, end: Offset) -> Vec<TailSession> {
    let in_bucket = tail.into_iter().filter(|part| part.durability == Durability::Object);
    let cut = in_bucket.map(|part| TailSession { to: Some(part.to.map_or(end, |to| to.min(end))), ..part });
    tail::without_shipped(cut.collect(), shipped).into_iter().filter(|part| part.to > Some(part.from)).collect()
}

fn written_off_prefix(disk: Uuid) -> String {
    format!("{WRITTEN_OFF}{disk}/")
}

fn written_off_key(disk: Uuid, session: u64, tp: TopicPartition) -> String {
    format!("{}{session:016x}/{}", written_off_prefix(disk), partition_key(tp))
}

/// Whether a key says that something of a disk was written off.
pub(super) fn disk_of(key: &str) -> Option<Uuid> {
    parse(key).map(|(disk, _, _)| disk)
}

fn parse(key: &str) -> Option<(Uuid, u64, TopicPartition)> {
    let (disk, rest) = key.strip_prefix(WRITTEN_OFF)?.split_once('/')?;
    let (session, partition) = rest.split_once('/')?;
    Some((disk.parse().ok()?, u64::from_str_radix(session, 16).ok()?, partition_of(partition)?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use runnel_record::{TimestampMs, TopicId};

    use super::*;

    fn batch(epoch: i32, base: i64, next: i64) -> BatchFacts {
        let header = [0; runnel_record::HEADER_LEN];
        let (base, next, epoch) = (Offset(base), Offset(next), LeaderEpoch(epoch));
        BatchFacts { base, next, epoch, ..BatchFacts::from_header(&header, 1, TimestampMs(1)) }
    }

    #[test]
    fn a_log_ends_where_nothing_follows() {
        let epochs =
            [(0, 0), (1, 20)].map(|(epoch, start)| EpochStart { epoch: LeaderEpoch(epoch), start: Offset(start) });
        let ends = |held: &[BatchFacts]| reachable(held.to_vec(), &epochs, Offset(10)).last().map(|last| last.next.0);
        assert_eq!(ends(&[]), None);
        assert_eq!(ends(&[batch(0, 0, 10), batch(0, 10, 15), batch(0, 15, 20), batch(1, 20, 30)]), Some(30));
        assert_eq!(ends(&[batch(0, 10, 15), batch(1, 20, 30)]), Some(15), "a disk had the rest of the epoch");
        assert_eq!(ends(&[batch(0, 10, 20), batch(0, 20, 25)]), Some(20), "its successor replaced that");
        assert_eq!(ends(&[batch(1, 20, 30)]), None);
    }

    #[test]
    fn what_lies_behind_the_end_needs_no_lane() {
        use Durability::{Local, Object};
        let part = |session, durability, from, to: Option<i64>| TailSession {
            session,
            durability,
            from: Offset(from),
            to: to.map(Offset),
        };
        let tail = vec![part(1, Object, 0, Some(10)), part(2, Object, 10, None), part(2, Local, 10, None)];
        assert_eq!(
            kept(tail.clone(), Offset(5), Offset(14)),
            [part(1, Object, 0, Some(10)), part(2, Object, 10, Some(14))]
        );
        assert_eq!(kept(tail.clone(), Offset(5), Offset(10)), [part(1, Object, 0, Some(10))]);
        assert_eq!(kept(tail, Offset(10), Offset(10)), []);
    }

    #[test]
    fn keys_say_what_was_written_off() {
        let tp = TopicPartition { topic: TopicId(Uuid::from_u128(7)), partition: 3 };
        let disk = Uuid::from_u128(9);
        let key = written_off_key(disk, 255, tp);
        assert!(key.starts_with(&written_off_prefix(disk)));
        assert_eq!(parse(&key), Some((disk, 255, tp)));
        assert_eq!(disk_of(&key), Some(disk));
        assert_eq!(disk_of("written-off/x"), None);
    }
}
