//! The topics of this broker: what exists, by name and by id, and the partitions that are open.
//!
//! The bucket is the truth (`meta/names`, `meta/topics`, tombstones), the metadata store a cache of it, and this
//! registry the part of that which is in memory. Creation, growth and deletion are in [`create`], [`grow`] and [`delete`],
//! what a deletion leaves in the bucket in [`bury`], the start in [`load`].

mod bury;
mod create;
mod delete;
mod grow;
mod load;
mod names;
mod picture;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock};

use runnel_api::{Error, ErrorKind, TopicKey};
use runnel_format::meta::TopicRecord;
use runnel_record::{TopicId, TopicPartition};
use tokio::sync::Mutex;

pub(crate) use load::ids_under;
pub(crate) use names::{OFFSETS_TOPIC, is_internal};

use crate::configs::{Defaults, TopicConfig};
use crate::entrance::Entrance;
use crate::partition::Partition;

/// Key of a topic in the metadata store.
pub(crate) fn topic_key(id: TopicId) -> String {
    format!("{TOPIC_PREFIX}{id}")
}

/// Key that exists while the topic was created by the owner of this metadata store and never seen elsewhere: a partition
/// without a record is new then, whether the bucket answers or not.
pub(crate) fn created_key(id: TopicId) -> String {
    format!("{CREATED_PREFIX}{id}")
}

/// The topic of such a key.
pub(crate) fn created_of(key: &str) -> Option<TopicId> {
    key.strip_prefix(CREATED_PREFIX)?.parse().ok()
}

/// Key that exists while a change of the topic's settings may be in the bucket and not here.
pub(crate) fn changing_key(id: TopicId) -> String {
    format!("{CHANGING_PREFIX}{id}")
}

/// Prefix of the keys of settings under change.
const CHANGING_PREFIX: &str = "changing/";

const CREATED_PREFIX: &str = "created/";

/// Prefix of every topic's key.
pub(crate) const TOPIC_PREFIX: &str = "topic/";

/// One topic incarnation.
#[derive(Debug)]
pub(crate) struct Topic {
    pub(crate) id: TopicId,
    pub(crate) name: String,
    shown: RwLock<Shown>,
    partitions: Vec<Arc<Slot>>,
}

/// What a topic is set to.
#[derive(Debug)]
struct Shown {
    record: TopicRecord,
    /// The revision of the metadata store that has the record.
    revision: u64,
    config: Arc<TopicConfig>,
}

impl Shown {
    fn new(record: TopicRecord, revision: u64, defaults: &Defaults) -> Self {
        let config = Arc::new(TopicConfig::new(&record.configs, defaults));
        Self { record, revision, config }
    }
}

/// The place of a partition, open or not.
#[derive(Debug, Default)]
pub(crate) struct Slot {
    open: RwLock<Option<Arc<Partition>>>,
    /// Held while it is opened, or handed over.
    pub(crate) turning: Mutex<()>,
    pub(crate) entrance: Arc<Entrance>,
}

impl Slot {
    pub(crate) fn partition(&self) -> Option<Arc<Partition>> {
        self.open.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Holding `turning` is the caller's part.
    pub(crate) fn set(&self, partition: Option<Arc<Partition>>) {
        *self.open.write().unwrap_or_else(PoisonError::into_inner) = partition;
    }
}

impl Topic {
    fn new(shown: Shown) -> Arc<Self> {
        let partitions = (0..shown.record.partitions).map(|_| Arc::default()).collect();
        let (id, name) = (shown.record.id, shown.record.name.clone());
        Arc::new(Self { id, name, shown: RwLock::new(shown), partitions })
    }

    /// The same topic with the partitions of the record, which are not fewer: those that there are stay the same.
    fn grown(&self, shown: Shown) -> Arc<Self> {
        let wanted = usize::try_from(shown.record.partitions).unwrap_or(0).max(self.partitions.len());
        let mut partitions = self.partitions.clone();
        partitions.resize_with(wanted, Arc::default);
        Arc::new(Self { id: self.id, name: self.name.clone(), shown: RwLock::new(shown), partitions })
    }

    pub(crate) fn record(&self) -> TopicRecord {
        self.shown.read().unwrap_or_else(PoisonError::into_inner).record.clone()
    }

    pub(crate) fn config(&self) -> Arc<TopicConfig> {
        Arc::clone(&self.shown.read().unwrap_or_else(PoisonError::into_inner).config)
    }

    pub(crate) fn partition_count(&self) -> usize {
        self.partitions.len()
    }

    pub(crate) fn partition_numbers(&self) -> impl Iterator<Item = i32> + use<> {
        (0..self.partition_count()).filter_map(|n| i32::try_from(n).ok())
    }

    /// The slot of a partition that exists.
    pub(crate) fn existing(&self, partition: i32) -> Result<&Slot, Error> {
        self.slot(partition).ok_or_else(|| {
            let last = self.partition_count().saturating_sub(1);
            let what = format!("topic `{}` has partitions 0 to {last}, not {partition}", self.name);
            Error::new(ErrorKind::UnknownPartition, what)
        })
    }

    pub(crate) fn slot(&self, partition: i32) -> Option<&Slot> {
        self.partitions.get(usize::try_from(partition).ok()?).map(Arc::as_ref)
    }

    pub(crate) fn open_partitions(&self) -> impl Iterator<Item = Arc<Partition>> {
        self.partitions.iter().filter_map(|slot| slot.partition())
    }

    /// `topic-partition`, for people.
    pub(crate) fn label(&self, tp: TopicPartition) -> String {
        format!("{}-{}", self.name, tp.partition)
    }

    pub(crate) fn tp(&self, partition: i32) -> TopicPartition {
        TopicPartition { topic: self.id, partition }
    }

    /// What comes late changes nothing: an answer and the news of a later change may cross.
    fn set(&self, record: TopicRecord, revision: u64, defaults: &Defaults) {
        let mut shown = self.shown.write().unwrap_or_else(PoisonError::into_inner);
        if revision >= shown.revision {
            *shown = Shown::new(record, revision, defaults);
        }
    }

    fn set_defaults(&self, defaults: &Defaults) {
        let mut shown = self.shown.write().unwrap_or_else(PoisonError::into_inner);
        shown.config = Arc::new(TopicConfig::new(&shown.record.configs, defaults));
    }
}

/// The registry.
#[derive(Debug)]
pub(crate) struct Topics {
    defaults: RwLock<Arc<Defaults>>,
    known: RwLock<Known>,
    picture: std::sync::Mutex<Arc<runnel_group::Topics>>,
    /// Held while a topic is created, changed or deleted: administration is rare, its steps are many.
    changing: tokio::sync::Mutex<()>,
    /// Topics whose tombstone may or may not be in the bucket.
    half_deleted: std::sync::Mutex<BTreeSet<TopicId>>,
    /// Deleted topics whose objects are still in the bucket.
    graves: std::sync::Mutex<BTreeMap<TopicId, bury::Grave>>,
}

#[derive(Debug, Default)]
struct Known {
    /// Raised with each change.
    version: u64,
    by_name: BTreeMap<String, Arc<Topic>>,
    by_id: BTreeMap<TopicId, Arc<Topic>>,
}

impl Topics {
    pub(crate) fn new(defaults: Defaults) -> Self {
        let defaults = RwLock::new(Arc::new(defaults));
        let (changing, half_deleted, graves) = Default::default();
        let picture = std::sync::Mutex::default();
        Self { defaults, known: RwLock::default(), picture, changing, half_deleted, graves }
    }

    pub(crate) fn defaults(&self) -> Arc<Defaults> {
        Arc::clone(&self.defaults.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// What topics have where they set nothing has changed.
    pub(crate) async fn set_defaults(&self, defaults: Defaults) {
        let _changing = self.changing.lock().await;
        *self.defaults.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(defaults);
        for topic in self.all() {
            topic.set_defaults(&self.defaults());
            self.limit(&topic).await;
        }
    }

    /// Shows a topic's settings of a revision of the metadata store to everybody, its open partitions included.
    pub(crate) async fn apply(&self, topic: &Topic, record: TopicRecord, revision: u64) {
        topic.set(record, revision, &self.defaults());
        self.limit(topic).await;
    }

    async fn limit(&self, topic: &Topic) {
        let limits = topic.config().segment_limits();
        for partition in topic.open_partitions() {
            // A partition that closed meanwhile reads the new limits when it opens again.
            if partition.set_limits(limits).await.is_err() {
                tracing::debug!(partition = partition.label(), "closed before its new limits reached it");
            }
        }
    }

    /// Every topic, by name.
    pub(crate) fn all(&self) -> Vec<Arc<Topic>> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).by_name.values().cloned().collect()
    }

    /// Every open partition, with its topic.
    pub(crate) fn open_partitions(&self) -> Vec<(Arc<Topic>, Arc<Partition>)> {
        let of = |topic: Arc<Topic>| {
            let open: Vec<_> = topic.open_partitions().collect();
            open.into_iter().map(move |partition| (Arc::clone(&topic), partition))
        };
        self.all().into_iter().flat_map(of).collect()
    }

    pub(crate) fn find(&self, key: &TopicKey) -> Option<Arc<Topic>> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        match key {
            TopicKey::Name(name) => known.by_name.get(name),
            TopicKey::Id(id) => known.by_id.get(id),
        }
        .cloned()
    }

    pub(crate) fn get(&self, key: &TopicKey) -> Result<Arc<Topic>, Error> {
        self.find(key).ok_or_else(|| match key {
            TopicKey::Name(name) => match names::check(name) {
                Ok(()) => Error::new(ErrorKind::UnknownTopic, format!("there is no topic `{name}`: create it first")),
                Err(error) => error,
            },
            TopicKey::Id(id) => Error::new(
                ErrorKind::UnknownTopicId,
                format!("there is no topic with id {id}: it was deleted, or the client's metadata is old"),
            ),
        })
    }

    /// The partition if it is open; for those who only watch.
    pub(crate) fn partition_if_open(&self, topic: &TopicKey, partition: i32) -> Option<Arc<Partition>> {
        self.find(topic)?.slot(partition)?.partition()
    }

    fn half_deleted(&self) -> std::sync::MutexGuard<'_, BTreeSet<TopicId>> {
        self.half_deleted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The topic of a record, and whether it was not known before. One that is known has the record's partitions after
    /// this, and its settings as they were.
    pub(crate) fn learn(&self, record: TopicRecord, revision: u64) -> (Arc<Topic>, bool) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let found = known.by_id.get(&record.id).cloned();
        let is_new = found.is_none();
        let wanted = usize::try_from(record.partitions).unwrap_or(0);
        let shown = |record| Shown::new(record, revision, &self.defaults());
        let topic = match found {
            None => Topic::new(shown(record)),
            Some(found) if wanted > found.partition_count() => found.grown(shown(record)),
            Some(found) => return (found, is_new),
        };
        known.version += 1;
        // An earlier incarnation, which is about to go, does not get its name back.
        let named = known.by_name.get(&topic.name).map(|named| named.record());
        let is_later = |named: &TopicRecord| named.id != topic.id && named.created_ms > topic.record().created_ms;
        if !named.as_ref().is_some_and(is_later) {
            known.by_name.insert(topic.name.clone(), Arc::clone(&topic));
        }
        known.by_id.insert(topic.id, Arc::clone(&topic));
        (topic, is_new)
    }

    fn remove(&self, topic: &Topic) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.version += 1;
        known.by_id.remove(&topic.id);
        if known.by_name.get(&topic.name).is_some_and(|t| t.id == topic.id) {
            known.by_name.remove(&topic.name);
            // A later incarnation, which was heard of first, and whose creator's clock was behind.
            if let Some(other) = known.by_id.values().find(|other| other.name == topic.name).cloned() {
                known.by_name.insert(other.name.clone(), other);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::configs::tests::defaults;

    #[test]
    fn a_name_goes_to_the_incarnation_that_is_left() {
        let record = |id: u128, created_ms| TopicRecord {
            name: "t".into(),
            id: TopicId(Uuid::from_u128(id)),
            partitions: 1,
            replication_factor: 1,
            configs: BTreeMap::new(),
            created_ms,
        };
        let topics = Topics::new(defaults());
        let (old, _) = topics.learn(record(1, 1_000), 1);
        // By a broker whose clock is behind, and heard of before the deletion of the other.
        let (new, _) = topics.learn(record(2, 500), 2);
        topics.remove(&old);
        assert_eq!(topics.all().iter().map(|topic| topic.id).collect::<Vec<_>>(), [new.id]);
        topics.remove(&new);
        assert!(topics.all().is_empty());
    }
}
