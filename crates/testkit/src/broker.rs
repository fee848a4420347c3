//! A broker in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use runnel_api::{
    ActiveProducer, Admin, AlterConfigOp, ClientQuota, Cluster, ClusterDescription, ClusterStatus, ConfigChange,
    ConfigEntry, ConfigResource, CreateTopic, Created, CreatedTopic, DiskLoss, EpochEnd, Error, ErrorKind, Fetch,
    FetchPartition, FetchRequest, Fetched, FetchedPartition, Flow, Health, Isolation, ListedOffset, LogDir,
    NewPartitions, Node, OffsetSpec, Offsets, Produce, ProducePartition, ProduceRequest, Produced, ProducedPartition,
    ProducerIdentity, QuotaChange, QuotaEntity, Sealed, Segments, Standing, TopicDescription, TopicKey, Traffic,
    Upgrade, check_epoch,
};
use runnel_record::{LeaderEpoch, Offset, ProducerId, TopicId, TopicPartition};
use tokio::sync::{Notify, watch};
use uuid::Uuid;

use crate::groups::MemoryGroups;
use crate::topic::{EPOCH, Log, Topic};

#[derive(Default)]
struct State {
    topics: BTreeMap<String, Topic>,
    failing: BTreeMap<String, ErrorKind>,
    failing_appends: BTreeMap<String, ErrorKind>,
    last_producer: i64,
    /// The broker that consumers of a zone are sent to.
    readers: BTreeMap<String, i32>,
    quotas: BTreeMap<QuotaEntity, BTreeMap<String, f64>>,
    /// Partitions produced to, in the order that the appends began.
    appends: Vec<i32>,
}

/// A broker that keeps everything in memory and answers at once, unless told otherwise.
///
/// Creates topics that metadata asks for, with [`MemoryBroker::default_partitions`] partitions.
#[derive(Default)]
pub struct MemoryBroker {
    state: Mutex<State>,
    appended: Notify,
    held: watch::Sender<bool>,
    pub(crate) groups: MemoryGroups,
    /// Partitions of a topic that is created without a number.
    pub default_partitions: usize,
}

/// While it lives, appends are made but not acknowledged.
pub struct Gate(Arc<MemoryBroker>);

impl Drop for Gate {
    fn drop(&mut self) {
        self.0.held.send_replace(false);
    }
}

fn unknown(topic: &TopicKey) -> Error {
    match topic {
        TopicKey::Name(name) => Error::new(ErrorKind::UnknownTopic, format!("there is no topic `{name}`")),
        TopicKey::Id(id) => Error::new(ErrorKind::UnknownTopicId, format!("there is no topic {id}")),
    }
}

impl State {
    fn find(&self, key: &TopicKey) -> Result<(&String, &Topic), Error> {
        let found = match key {
            TopicKey::Name(name) => self.topics.get_key_value(name),
            TopicKey::Id(id) => self.topics.iter().find(|(_, topic)| topic.id == *id),
        };
        let (name, topic) = found.ok_or_else(|| unknown(key))?;
        match self.failing.get(name) {
            Some(kind) => Err(Error::new(*kind, format!("`{name}` was told to fail"))),
            None => Ok((name, topic)),
        }
    }

    fn log(&self, key: &TopicKey, partition: i32) -> Result<&Log, Error> {
        let (name, topic) = self.find(key)?;
        usize::try_from(partition).ok().and_then(|p| topic.partitions.get(p)).ok_or_else(|| {
            Error::new(ErrorKind::UnknownPartition, format!("topic `{name}` has no partition {partition}"))
        })
    }

    fn append(&mut self, part: ProducePartition) -> Result<Produced, Error> {
        self.log(&part.topic, part.partition)?;
        let name = self.find(&part.topic)?.0.clone();
        self.appends.push(part.partition);
        if let Some(kind) = self.failing_appends.get(&name) {
            return Err(Error::new(*kind, format!("appends to `{name}` were told to fail")));
        }
        let topic = self.topics.get_mut(&name).ok_or_else(|| unknown(&part.topic))?;
        let index = usize::try_from(part.partition).unwrap_or(usize::MAX);
        match topic.partitions.get_mut(index) {
            Some(log) => log.append(part.records, part.expected_offset),
            None => Err(unknown(&part.topic)),
        }
    }

    fn read(&self, request: &FetchRequest) -> (Vec<FetchedPartition>, usize, bool) {
        let (mut bytes, mut failed) = (0, false);
        let mut read = |part: &FetchPartition| {
            let room = request.max_bytes.saturating_sub(bytes).min(part.max_bytes);
            let outcome = match part.current_leader_epoch {
                Some(epoch) if epoch < EPOCH => Err(Error::new(ErrorKind::FencedLeaderEpoch, "an older epoch")),
                Some(epoch) if epoch > EPOCH => Err(Error::new(ErrorKind::UnknownLeaderEpoch, "a newer epoch")),
                _ => self.log(&part.topic, part.partition).and_then(|log| log.read(part.offset, room, bytes == 0)),
            };
            let reader = part.zone.as_deref().and_then(|zone| self.readers.get(zone).copied());
            let outcome = outcome.map(|found| match reader {
                Some(_) => Fetched { batches: Vec::new(), reader, ..found },
                None => found,
            });
            failed |= reader.is_some();
            match &outcome {
                Ok(fetched) => bytes += fetched.batches.iter().map(runnel_record::Batch::len).sum::<usize>(),
                Err(_) => failed = true,
            }
            FetchedPartition { topic: part.topic.clone(), partition: part.partition, outcome }
        };
        let parts = request.partitions.iter().map(&mut read).collect();
        (parts, bytes, failed)
    }

    fn create(&mut self, name: &str, partitions: usize, configs: BTreeMap<String, String>) -> &Topic {
        let topic = Topic {
            id: TopicId(Uuid::new_v4()),
            configs,
            partitions: (0..partitions).map(|_| Log::default()).collect(),
        };
        self.topics.entry(name.to_owned()).or_insert(topic)
    }
}

impl MemoryBroker {
    /// A broker whose automatically created topics have one partition.
    pub fn new() -> Arc<Self> {
        Arc::new(Self { default_partitions: 1, ..Self::default() })
    }

    /// Name, id and number of partitions of each topic.
    pub(crate) fn topics_of_groups(&self) -> Vec<(String, TopicId, i32)> {
        let state = self.state();
        let all = state
            .topics
            .iter()
            .map(|(name, topic)| (name.clone(), topic.id, i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX)));
        all.collect()
    }

    /// A broker with one topic.
    pub fn with_topic(name: &str, partitions: usize) -> Arc<Self> {
        let broker = Self::new();
        broker.state().create(name, partitions, BTreeMap::new());
        broker
    }

    /// From now on everything that concerns `topic` fails.
    pub fn fail(&self, topic: &str, kind: ErrorKind) {
        self.state().failing.insert(topic.to_owned(), kind);
    }

    /// From now on appends to `topic` fail, and nothing else that concerns it.
    pub fn fail_appends(&self, topic: &str, kind: ErrorKind) {
        let mut state = self.state();
        state.failing.remove(topic);
        state.failing_appends.insert(topic.to_owned(), kind);
    }

    /// From now on consumers of a zone are sent to a broker.
    pub fn send_away(&self, zone: &str, broker: i32) {
        self.state().readers.insert(zone.to_owned(), broker);
    }

    /// Holds back acknowledgements until the gate is dropped.
    pub fn hold(self: &Arc<Self>) -> Gate {
        self.held.send_replace(true);
        Gate(Arc::clone(self))
    }

    /// Partitions produced to, in the order that the appends began.
    pub fn appends(&self) -> Vec<i32> {
        self.state().appends.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Produce for MemoryBroker {
    async fn produce(&self, request: ProduceRequest) -> Vec<ProducedPartition> {
        let produced = {
            let mut state = self.state();
            let append = |part: ProducePartition| {
                let (topic, partition) = (part.topic.clone(), part.partition);
                ProducedPartition { topic, partition, outcome: state.append(part) }
            };
            request.partitions.into_iter().map(append).collect()
        };
        self.appended.notify_waiters();
        // The sender lives as long as `self`.
        drop(self.held.subscribe().wait_for(|held| !held).await);
        produced
    }

    async fn init_producer_id(&self, current: Option<ProducerIdentity>) -> Result<ProducerIdentity, Error> {
        if let Some(ProducerIdentity { id, epoch }) = current {
            return Ok(ProducerIdentity { id, epoch: epoch + 1 });
        }
        let mut state = self.state();
        state.last_producer += 1;
        Ok(ProducerIdentity { id: ProducerId(state.last_producer), epoch: 0 })
    }

    async fn active_producers(&self, topic: &TopicKey, partition: i32) -> Result<Vec<ActiveProducer>, Error> {
        self.state().log(topic, partition).map(|log| log.active())
    }
}

#[async_trait]
impl Fetch for MemoryBroker {
    async fn fetch(&self, request: FetchRequest) -> Vec<FetchedPartition> {
        let deadline = tokio::time::Instant::now() + request.max_wait;
        loop {
            let mut appended = std::pin::pin!(self.appended.notified());
            appended.as_mut().enable();
            let (parts, bytes, failed) = self.state().read(&request);
            if failed || bytes >= request.min_bytes || tokio::time::timeout_at(deadline, appended).await.is_err() {
                return parts;
            }
        }
    }
}

/// Nothing is ever due here: what is sealed counts as shipped.
#[async_trait]
impl Segments for MemoryBroker {
    async fn seal(&self, topic: &TopicKey, partition: i32, _wait: Duration) -> Result<Sealed, Error> {
        let end = self.state().log(topic, partition)?.end();
        Ok(Sealed { sealed: end, shipped: end })
    }

    /// The log start stays where it is: only the answer is right.
    async fn delete_records(
        &self,
        topic: &TopicKey,
        partition: i32,
        before: Option<Offset>,
        _wait: Duration,
    ) -> Result<Offset, Error> {
        let end = self.state().log(topic, partition)?.end();
        match before.unwrap_or(end) {
            before if before < Offset::ZERO || before > end => {
                Err(Error::new(ErrorKind::OffsetOutOfRange, format!("offset {before} is not in the log")))
            }
            before => Ok(before),
        }
    }

    async fn log_dirs(&self, topics: Option<&[String]>) -> Vec<LogDir> {
        let state = self.state();
        let wanted = state.topics.iter().filter(|(name, _)| topics.is_none_or(|topics| topics.contains(name)));
        let partitions = wanted.flat_map(|(name, topic)| {
            (0..).zip(&topic.partitions).map(|(partition, log)| (name.clone(), partition, log.bytes()))
        });
        vec![LogDir { path: "memory".to_owned(), usable_bytes: None, partitions: partitions.collect() }]
    }
}

/// What was appended; nobody counts what is read.
#[async_trait]
impl Traffic for MemoryBroker {
    async fn traffic(&self) -> Result<Vec<Flow>, Error> {
        let state = self.state();
        let flows = state.topics.values().flat_map(|topic| {
            let tp = |partition| TopicPartition { topic: topic.id, partition };
            (0..).zip(&topic.partitions).map(move |(n, log)| Flow { tp: tp(n), epoch: EPOCH, bytes: log.bytes() })
        });
        Ok(flows.collect())
    }
}

#[async_trait]
impl Offsets for MemoryBroker {
    async fn list_offset(
        &self,
        topic: &TopicKey,
        partition: i32,
        spec: OffsetSpec,
        _isolation: Isolation,
        _current_leader_epoch: Option<LeaderEpoch>,
    ) -> Result<Option<ListedOffset>, Error> {
        self.state().log(topic, partition).map(|log| log.find(spec))
    }

    async fn epoch_end(
        &self,
        topic: &TopicKey,
        partition: i32,
        epoch: LeaderEpoch,
        _current_leader_epoch: Option<LeaderEpoch>,
    ) -> Result<Option<EpochEnd>, Error> {
        let end_offset = self.state().log(topic, partition)?.end();
        Ok((epoch == EPOCH).then_some(EpochEnd { epoch, end_offset }))
    }

    async fn standing(&self, topic: &TopicKey, partition: i32, epoch: LeaderEpoch) -> Result<Standing, Error> {
        check_epoch(EPOCH, Some(epoch))?;
        let high_watermark = self.state().log(topic, partition)?.end();
        Ok(Standing { log_start: Offset::ZERO, shipped: Offset::ZERO, high_watermark })
    }

    async fn ends(&self, partitions: &[(TopicKey, i32)]) -> Vec<Option<Offset>> {
        let state = self.state();
        partitions.iter().map(|(topic, partition)| Some(state.log(topic, *partition).ok()?.end())).collect()
    }
}

#[async_trait]
impl Admin for MemoryBroker {
    async fn create_topic(&self, topic: CreateTopic, validate_only: bool) -> Created {
        let mut state = self.state();
        if state.topics.contains_key(&topic.name) {
            return Err(Error::new(ErrorKind::TopicExists, format!("topic `{}` exists", topic.name)));
        }
        let partitions = topic.partitions.map_or(self.default_partitions, |n| usize::try_from(n).unwrap_or(0));
        if partitions == 0 {
            return Err(Error::new(ErrorKind::InvalidPartitions, "a topic has at least one partition"));
        }
        let configs: BTreeMap<_, _> = topic.configs.into_iter().filter_map(|(k, v)| v.map(|v| (k, v))).collect();
        let id = if validate_only { TopicId::ZERO } else { state.create(&topic.name, partitions, configs).id };
        let configs = state.topics.get(&topic.name).map(Topic::entries).unwrap_or_default();
        Ok(CreatedTopic { id, partitions: i32::try_from(partitions).unwrap_or(0), replication_factor: 1, configs })
    }

    async fn delete_topic(&self, topic: &TopicKey) -> Result<(String, TopicId), Error> {
        let mut state = self.state();
        let (name, id) = state.find(topic).map(|(name, topic)| (name.clone(), topic.id))?;
        state.topics.remove(&name);
        Ok((name, id))
    }

    async fn create_partitions(&self, wanted: &NewPartitions, validate_only: bool) -> Result<(), Error> {
        let mut state = self.state();
        let (name, topic) = state.find(&TopicKey::Name(wanted.topic.clone()))?;
        let count = usize::try_from(wanted.count).unwrap_or(0);
        if count <= topic.partitions.len() {
            return Err(Error::new(ErrorKind::InvalidPartitions, "partitions are only added"));
        }
        let name = name.clone();
        if let (Some(topic), false) = (state.topics.get_mut(&name), validate_only) {
            topic.partitions.resize_with(count, Log::default);
        }
        Ok(())
    }

    async fn describe_configs(
        &self,
        resource: &ConfigResource,
        names: Option<&[String]>,
    ) -> Result<Vec<ConfigEntry>, Error> {
        let mut entries = match resource {
            ConfigResource::Topic(name) => self.state().find(&TopicKey::Name(name.clone()))?.1.entries(),
            ConfigResource::Broker(_) | ConfigResource::Group(_) => Vec::new(),
        };
        let wanted: Option<BTreeSet<_>> = names.map(|names| names.iter().collect());
        entries.retain(|entry| wanted.as_ref().is_none_or(|wanted| wanted.contains(&entry.name)));
        Ok(entries)
    }

    async fn configured_groups(&self) -> Vec<String> {
        Vec::new()
    }

    async fn client_quotas(&self) -> Vec<ClientQuota> {
        let quota = |(entity, values): (&QuotaEntity, &BTreeMap<String, f64>)| ClientQuota {
            entity: entity.clone(),
            values: values.clone(),
        };
        self.state().quotas.iter().map(quota).collect()
    }

    async fn alter_client_quotas(&self, changes: &[QuotaChange], validate_only: bool) -> Vec<Result<(), Error>> {
        let mut state = self.state();
        for change in changes.iter().filter(|_| !validate_only) {
            let values = state.quotas.entry(change.entity.clone()).or_default();
            for (name, limit) in &change.limits {
                match limit {
                    Some(limit) => drop(values.insert(name.clone(), *limit)),
                    None => drop(values.remove(name)),
                }
            }
        }
        changes.iter().map(|_| Ok(())).collect()
    }

    async fn alter_configs(
        &self,
        resource: &ConfigResource,
        changes: &[ConfigChange],
        validate_only: bool,
    ) -> Result<(), Error> {
        let ConfigResource::Topic(name) = resource else {
            return Err(Error::new(ErrorKind::InvalidConfig, "brokers have no configs here"));
        };
        let mut state = self.state();
        state.find(&TopicKey::Name(name.clone()))?;
        if let (Some(topic), false) = (state.topics.get_mut(name), validate_only) {
            changes.iter().for_each(|change| apply(change, &mut topic.configs));
        }
        Ok(())
    }
}

#[async_trait]
impl Cluster for MemoryBroker {
    async fn describe_cluster(&self) -> ClusterDescription {
        ClusterDescription {
            cluster_id: "AAAAAAAAAAAAAAAAAAAAAQ".to_owned(),
            controller: Some(0),
            this_node: 0,
            nodes: vec![Node {
                id: 0,
                name: "memory".to_owned(),
                zone: Some("here".to_owned()),
                kafka: None,
                grpc: None,
            }],
        }
    }

    async fn cluster_status(&self) -> ClusterStatus {
        ClusterStatus::default()
    }

    async fn drain(&self, _broker: i32, _drain: bool) -> Result<(), Error> {
        Err(Error::new(ErrorKind::Unsupported, "there is one broker"))
    }

    async fn upgrade(&self, dry_run: bool) -> Result<Upgrade, Error> {
        let held_back_by = if dry_run { [7].into() } else { BTreeSet::new() };
        Ok(Upgrade { from: 1, to: 2, held_back_by })
    }

    async fn disk_losses(&self, topic: &TopicKey, partition: Option<i32>) -> Result<Vec<DiskLoss>, Error> {
        let found = self.describe_topic(topic, false).await?;
        let (from, known_end, brokers) = (Offset(3), Offset(7), ["gone".to_owned()].into());
        let loss = DiskLoss { partition: 0, from, known_end, brokers };
        Ok((partition.is_none_or(|wanted| wanted == 0) && !found.partitions.is_empty())
            .then_some(loss)
            .into_iter()
            .collect())
    }

    async fn accept_disk_losses(&self, topic: &TopicKey, told: &[DiskLoss]) -> Result<(), Error> {
        match self.disk_losses(topic, None).await?.as_slice() == told {
            true => Ok(()),
            false => Err(Error::new(ErrorKind::InvalidRequest, "memory is not gone")),
        }
    }

    async fn leader_of(&self, topic: &TopicKey, partition: i32) -> Option<(Node, LeaderEpoch)> {
        let found = self.describe_topic(topic, false).await.ok()?;
        let found = found.partitions.into_iter().find(|one| one.partition == partition)?;
        let node = self.describe_cluster().await.nodes.into_iter().find(|node| Some(node.id) == found.leader)?;
        Some((node, found.leader_epoch))
    }

    async fn list_topics(&self) -> Vec<TopicDescription> {
        self.state().topics.iter().map(|(name, topic)| topic.describe(name)).collect()
    }

    async fn describe_topic(&self, topic: &TopicKey, auto_create: bool) -> Result<TopicDescription, Error> {
        let mut state = self.state();
        match (state.find(topic), topic) {
            (Ok((name, found)), _) => Ok(found.describe(name)),
            (Err(error), TopicKey::Name(name)) if auto_create && error.kind == ErrorKind::UnknownTopic => {
                if name.is_empty() || name.len() > 249 {
                    return Err(Error::new(ErrorKind::InvalidTopicName, "not a legal topic name"));
                }
                Ok(state.create(name, self.default_partitions, BTreeMap::new()).describe(name))
            }
            (Err(error), _) => Err(error),
        }
    }

    async fn health(&self) -> Health {
        Health { ready: true, checks: Vec::new() }
    }
}

fn apply(change: &ConfigChange, configs: &mut BTreeMap<String, String>) {
    match (change.op, &change.value) {
        (AlterConfigOp::Set, Some(value)) => {
            configs.insert(change.name.clone(), value.clone());
        }
        (AlterConfigOp::Append, Some(value)) => {
            let list = configs.entry(change.name.clone()).or_default();
            *list = if list.is_empty() { value.clone() } else { format!("{list},{value}") };
        }
        _ => {
            configs.remove(&change.name);
        }
    }
}
