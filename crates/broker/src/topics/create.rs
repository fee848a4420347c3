//! Creating a topic: claim the name, store the topic, tell the metadata store, show it. Each step is durable before the
//! next, and a crash between any two is finished by the next creation of that name or by the next start.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use runnel_api::{CreateTopic, Created, CreatedTopic, Error, ErrorKind};
use runnel_blob::{CasOutcome, Key, Register};
use runnel_format::meta::{NameClaim, TopicRecord};
use runnel_metastore::{Compare, Op, TxnOutcome};
use runnel_record::TopicId;
use runnel_runtime::simulation::random_id;

use super::{Topic, created_key, names, topic_key};
use crate::Broker;
use crate::configs;
use crate::error::{bucket_error, damaged, metadata_error};

/// Most partitions of one topic.
pub(super) const MAX_PARTITIONS: i32 = 10_000;

impl Broker {
    /// Creates a topic, or only checks that it could be.
    pub(crate) async fn create(&self, wanted: &CreateTopic, validate_only: bool) -> Created {
        names::check(&wanted.name)?;
        // First, as in Kafka: tools that make sure of a topic take no other answer for "it is there".
        self.check_free(&wanted.name)?;
        let (partitions, replication_factor) = self.shape(wanted)?;
        let set = configs::validate_new(&wanted.configs, super::is_internal(&wanted.name))?;
        let changing = self.topics.changing.lock().await;
        self.check_free(&wanted.name)?;
        let created = |id| CreatedTopic {
            id,
            partitions,
            replication_factor,
            configs: configs::describe(&set, &self.topics.defaults(), None),
        };
        if validate_only {
            return Ok(created(TopicId::ZERO));
        }
        let id = self.claim_name(&wanted.name).await?;
        self.pass("topic.claimed")?;
        let record = TopicRecord {
            name: wanted.name.clone(),
            id,
            partitions,
            replication_factor,
            configs: set.clone(),
            created_ms: self.ports.clock.now_ms(),
        };
        // First: whoever finds the topic in the bucket must find this too.
        let created_here = Op::Put(created_key(record.id), Bytes::new(), None);
        self.meta.txn(Vec::new(), vec![created_here]).await.map_err(|e| metadata_error(&e))?;
        let record = self.store_topic(record).await?;
        self.pass("topic.stored")?;
        let topic = self.remember_topic(record).await?;
        // Others may be created meanwhile.
        drop(changing);
        self.wait_for_leaders(&topic).await;
        let keeps = topic.record().configs.get("retention.ms").map_or("for ever by default", String::as_str).to_owned();
        tracing::info!(topic = topic.name, id = %topic.id, partitions, retention_ms = keeps, "created a topic");
        Ok(created(topic.id))
    }

    /// Partitions and replication factor as asked for, checked.
    fn shape(&self, wanted: &CreateTopic) -> Result<(i32, i16), Error> {
        if !wanted.assignments.is_empty() {
            return self.assigned_shape(wanted);
        }
        let partitions = wanted.partitions.unwrap_or(self.options.topics.default_partitions);
        if !(1..=MAX_PARTITIONS).contains(&partitions) {
            return Err(Error::new(
                ErrorKind::InvalidPartitions,
                format!("{partitions} partitions: ask for 1 to {MAX_PARTITIONS}"),
            ));
        }
        let (asked, brokers) = (wanted.replication_factor.unwrap_or(1), self.brokers().len());
        if usize::try_from(asked).is_ok_and(|asked| (1..=brokers).contains(&asked)) {
            return Ok((partitions, asked));
        }
        let of = if brokers == 1 { "1 broker".to_owned() } else { format!("{brokers} brokers") };
        Err(Error::new(
            ErrorKind::InvalidReplicationFactor,
            format!("replication factor {asked}: this cluster has {of} (use 1, or -1 for the default)"),
        ))
    }

    /// Whether the brokers that a manual assignment names for a partition are alive and each named once. Who leads is
    /// decided by the controller all the same: no data is anywhere that it would have to be moved from.
    pub(super) fn may_be_assigned(&self, named: &[i32]) -> bool {
        let (alive, distinct) = (self.brokers(), named.iter().copied().collect::<BTreeSet<i32>>());
        !named.is_empty() && distinct.len() == named.len() && distinct.is_subset(&alive)
    }

    fn assigned_shape(&self, wanted: &CreateTopic) -> Result<(i32, i16), Error> {
        if wanted.partitions.is_some() || wanted.replication_factor.is_some() {
            return Err(Error::new(
                ErrorKind::InvalidRequest,
                "a manual assignment excludes a number of partitions and a replication factor",
            ));
        }
        if wanted.assignments.len() > MAX_PARTITIONS.unsigned_abs() as usize {
            let why = format!("{} partitions: ask for 1 to {MAX_PARTITIONS}", wanted.assignments.len());
            return Err(Error::new(ErrorKind::InvalidPartitions, why));
        }
        let by_partition: BTreeMap<i32, &[i32]> =
            wanted.assignments.iter().map(|(partition, brokers)| (*partition, brokers.as_slice())).collect();
        let consecutive = by_partition.keys().copied().eq(0..i32::try_from(wanted.assignments.len()).unwrap_or(0));
        let factor = by_partition.values().next().map_or(0, |brokers| brokers.len());
        let fits = |brokers: &&[i32]| brokers.len() == factor && self.may_be_assigned(brokers);
        if !consecutive || !by_partition.values().all(fits) {
            let why = "a manual assignment names partitions from 0 without a gap, each with as many brokers, all alive";
            return Err(Error::new(ErrorKind::InvalidReplicaAssignment, why));
        }
        let factor = i16::try_from(factor).unwrap_or(i16::MAX);
        Ok((i32::try_from(by_partition.len()).unwrap_or(i32::MAX), factor))
    }

    fn check_free(&self, name: &str) -> Result<(), Error> {
        for topic in self.topics.all() {
            if topic.name == name {
                return Err(Error::new(ErrorKind::TopicExists, format!("topic `{name}` exists already")));
            }
            if names::collides(&topic.name, name) {
                return Err(Error::new(
                    ErrorKind::InvalidTopicName,
                    format!("`{name}` collides with the topic `{}`: they differ in `.` and `_` only", topic.name),
                ));
            }
        }
        Ok(())
    }

    /// Claims the name for a new id, or takes over the id of a creation that never finished.
    async fn claim_name(&self, name: &str) -> Result<TopicId, Error> {
        let id = TopicId(random_id());
        let key = Key::TopicName(name.to_owned());
        let payload = NameClaim { id }.encode();
        let mut outcome = self.bucket.create_register(&key, payload.clone()).await;
        loop {
            let taken = match outcome.map_err(|e| bucket_error(&e))? {
                CasOutcome::Done(_) => return Ok(id),
                CasOutcome::Conflict(Some(register)) => register,
                CasOutcome::Conflict(None) => {
                    outcome = self.bucket.create_register(&key, payload.clone()).await;
                    continue;
                }
            };
            let holder = NameClaim::decode(&taken.payload).map_err(|e| damaged(&e))?.id;
            if !self.is_tombstoned(holder).await? {
                return self.take_over(name, holder).await;
            }
            outcome = self.bucket.replace_register(&key, &taken.version, payload.clone()).await;
        }
    }

    /// The name is claimed by a live id: either its creation never finished and is finished now, or the topic is in
    /// the bucket and this broker did not know it.
    async fn take_over(&self, name: &str, holder: TopicId) -> Result<TopicId, Error> {
        let Some(register) = self.bucket.read_register(&Key::Topic(holder)).await.map_err(|e| bucket_error(&e))? else {
            return Ok(holder);
        };
        let record = TopicRecord::decode(&register.payload).map_err(|e| damaged(&e))?;
        self.remember_topic(record).await?;
        Err(Error::new(ErrorKind::TopicExists, format!("topic `{name}` exists already")))
    }

    pub(crate) async fn is_tombstoned(&self, id: TopicId) -> Result<bool, Error> {
        Ok(self.bucket.read_register(&Key::Tombstone(id)).await.map_err(|e| bucket_error(&e))?.is_some())
    }

    async fn store_topic(&self, record: TopicRecord) -> Result<TopicRecord, Error> {
        let outcome = self.bucket.create_register(&Key::Topic(record.id), record.encode()).await;
        match outcome.map_err(|e| bucket_error(&e))? {
            CasOutcome::Done(_) | CasOutcome::Conflict(None) => Ok(record),
            CasOutcome::Conflict(Some(Register { payload, .. })) => {
                TopicRecord::decode(&payload).map_err(|e| damaged(&e))
            }
        }
    }

    /// Tells the metadata store of a topic that it should not know yet.
    pub(super) async fn remember_topic(&self, record: TopicRecord) -> Result<Arc<Topic>, Error> {
        let key = topic_key(record.id);
        let put = Op::Put(key.clone(), record.encode(), None);
        match self.meta.txn(vec![Compare::Absent(key)], vec![put]).await.map_err(|e| metadata_error(&e))? {
            TxnOutcome::Committed(revision) => Ok(self.topics.learn(record, revision).0),
            TxnOutcome::Refused => self.copy_topic(record.id).await,
        }
    }
}
