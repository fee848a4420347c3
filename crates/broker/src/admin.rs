//! Changing topics, and the configuration of topics, brokers and groups.

use async_trait::async_trait;
use runnel_api::{
    Admin, ClientQuota, ConfigChange, ConfigEntry, ConfigResource, ConfigSource, ConfigType, CreateTopic, Created,
    Error, ErrorKind, NewPartitions, QuotaChange, TopicKey,
};
use runnel_record::TopicId;

use crate::Broker;
use crate::configs::{self, Of};
use crate::settings::{ALL_BROKERS, broker_entity, group_entity};
use crate::topics::is_internal;

#[async_trait]
impl Admin for Broker {
    async fn create_topic(&self, topic: CreateTopic, validate_only: bool) -> Created {
        self.refuse_when_stopping()?;
        self.create(&topic, validate_only).await
    }

    async fn delete_topic(&self, topic: &TopicKey) -> Result<(String, TopicId), Error> {
        self.refuse_when_stopping()?;
        self.refuse_internal(topic, ErrorKind::InvalidRequest, "delete groups instead")?;
        let deleted = self.delete(topic).await?;
        self.forget_offsets_of(&deleted.0).await;
        Ok(deleted)
    }

    async fn create_partitions(&self, wanted: &NewPartitions, validate_only: bool) -> Result<(), Error> {
        self.refuse_when_stopping()?;
        let topic = TopicKey::Name(wanted.topic.clone());
        self.refuse_internal(
            &topic,
            ErrorKind::InvalidRequest,
            "which partition has a group follows from their number",
        )?;
        self.grow(&wanted.topic, wanted.count, wanted.assignments.as_deref(), validate_only).await
    }

    async fn describe_configs(
        &self,
        resource: &ConfigResource,
        names: Option<&[String]>,
    ) -> Result<Vec<ConfigEntry>, Error> {
        match resource {
            ConfigResource::Topic(name) => {
                let topic = self.find_topic(&TopicKey::Name(name.clone())).await?;
                Ok(configs::describe(&topic.record().configs, &self.topics.defaults(), names))
            }
            ConfigResource::Broker(id) => {
                self.check_node(*id)?;
                Ok(only(names, self.broker_configs(*id)))
            }
            ConfigResource::Group(name) => {
                check_group(name)?;
                Ok(only(names, configs::describe_group(&self.settings.of(&group_entity(name)))))
            }
        }
    }

    async fn alter_configs(
        &self,
        resource: &ConfigResource,
        changes: &[ConfigChange],
        validate_only: bool,
    ) -> Result<(), Error> {
        self.refuse_when_stopping()?;
        match resource {
            ConfigResource::Topic(name) => self.alter_topic(name, changes, validate_only).await,
            ConfigResource::Broker(id) => {
                self.check_node(*id)?;
                let entity = id.map_or_else(|| ALL_BROKERS.to_owned(), broker_entity);
                let altered = self.alter_entity(Of::Broker, &entity, changes, validate_only).await;
                // Kafka says this, and not that a config is invalid, where a broker is concerned; its clients rely on it.
                altered.map_err(|error| match error.kind {
                    ErrorKind::InvalidConfig => Error::new(ErrorKind::InvalidRequest, error.message),
                    _ => error,
                })
            }
            ConfigResource::Group(name) => {
                check_group(name)?;
                self.alter_entity(Of::Group, &group_entity(name), changes, validate_only).await
            }
        }
    }

    async fn configured_groups(&self) -> Vec<String> {
        self.settings.groups()
    }

    async fn client_quotas(&self) -> Vec<ClientQuota> {
        self.quotas()
    }

    async fn alter_client_quotas(&self, changes: &[QuotaChange], validate_only: bool) -> Vec<Result<(), Error>> {
        let mut results = Vec::with_capacity(changes.len());
        for change in changes {
            results.push(match self.refuse_when_stopping() {
                Ok(()) => self.alter_quota(change, validate_only).await,
                stopping => stopping,
            });
        }
        results
    }
}

fn check_group(name: &str) -> Result<(), Error> {
    if name.is_empty() {
        return Err(Error::new(ErrorKind::InvalidRequest, "a group has a name"));
    }
    Ok(())
}

fn only(names: Option<&[String]>, mut entries: Vec<ConfigEntry>) -> Vec<ConfigEntry> {
    entries.retain(|entry| names.is_none_or(|names| names.contains(&entry.name)));
    entries
}

impl Broker {
    /// The topics of coordinators are not for clients to cut down.
    pub(crate) fn refuse_internal(&self, topic: &TopicKey, kind: ErrorKind, instead: &str) -> Result<(), Error> {
        if self.topics.find(topic).is_some_and(|found| is_internal(&found.name)) {
            let what = format!("the topic holds the offsets and members of every consumer group: {instead}");
            return Err(Error::new(kind, what));
        }
        Ok(())
    }

    fn check_node(&self, id: Option<i32>) -> Result<(), Error> {
        match id {
            Some(id) if id != self.home.node_id => Err(Error::new(
                ErrorKind::InvalidRequest,
                format!("there is no broker {id}: this cluster has broker {}", self.home.node_id),
            )),
            _ => Ok(()),
        }
    }

    /// The broker settings that Kafka's tools know by name; of all brokers (`None`) those alone that were set by a
    /// request, as in Kafka.
    fn broker_configs(&self, id: Option<i32>) -> Vec<ConfigEntry> {
        if id.is_none() {
            return configs::describe_brokers(&self.settings.of(ALL_BROKERS));
        }
        let options = &self.options;
        let entry = |name: &str, kind, value: String, doc: &str| ConfigEntry {
            name: name.to_owned(),
            value: Some(value),
            source: ConfigSource::Broker,
            read_only: true,
            sensitive: false,
            kind,
            documentation: doc.to_owned(),
            synonyms: Vec::new(),
        };
        let all = [
            entry(
                "auto.create.topics.enable",
                ConfigType::Boolean,
                options.topics.auto_create.to_string(),
                "Setting topics.auto_create.",
            ),
            entry(
                "default.replication.factor",
                ConfigType::Int,
                "1".to_owned(),
                "Replication moves no data here: the bucket is the copy.",
            ),
            entry(
                "log.retention.check.interval.ms",
                ConfigType::Long,
                options.topics.retention_check.as_millis().to_string(),
                "Setting topics.retention_check.",
            ),
            entry(
                "producer.id.expiration.ms",
                ConfigType::Int,
                options.topics.producer_expiration.as_millis().to_string(),
                "Setting topics.producer_expiration.",
            ),
            entry(
                "num.partitions",
                ConfigType::Int,
                options.topics.default_partitions.to_string(),
                "Setting topics.default_partitions.",
            ),
        ];
        let mut entries: Vec<_> = all.into_iter().chain(configs::describe_broker(&self.topics.defaults())).collect();
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        entries
    }
}
