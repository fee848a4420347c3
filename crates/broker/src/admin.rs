//! Changing topics and their configuration.

use async_trait::async_trait;
use runnel_api::{
    Admin, ConfigChange, ConfigEntry, ConfigResource, ConfigSource, ConfigType, CreateTopic, Created, Error, ErrorKind,
    TopicKey,
};
use runnel_record::TopicId;

use crate::Broker;
use crate::configs;
use crate::topics::is_internal;

#[async_trait]
impl Admin for Broker {
    async fn create_topic(&self, topic: CreateTopic, validate_only: bool) -> Created {
        self.refuse_when_stopping()?;
        self.create(&topic, validate_only).await
    }

    async fn delete_topic(&self, topic: &TopicKey) -> Result<(String, TopicId), Error> {
        self.refuse_when_stopping()?;
        if self.topics.find(topic).is_some_and(|found| is_internal(&found.name)) {
            let what = "the topic holds the offsets and members of every consumer group: delete groups instead";
            return Err(Error::new(ErrorKind::InvalidRequest, what));
        }
        let deleted = self.delete(topic).await?;
        self.forget_offsets_of(&deleted.0).await;
        Ok(deleted)
    }

    async fn describe_configs(
        &self,
        resource: &ConfigResource,
        names: Option<&[String]>,
    ) -> Result<Vec<ConfigEntry>, Error> {
        match resource {
            ConfigResource::Topic(name) => {
                let topic = self.topics.get(&TopicKey::Name(name.clone()))?;
                Ok(configs::describe(&topic.record().configs, self.topics.defaults(), names))
            }
            ConfigResource::Broker(id) => {
                self.check_node(*id)?;
                Ok(self.broker_configs(names))
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
            ConfigResource::Broker(_) => Err(Error::new(
                ErrorKind::InvalidConfig,
                "broker settings are read from the configuration file and the environment: change them there and restart",
            )),
        }
    }
}

impl Broker {
    fn check_node(&self, id: Option<i32>) -> Result<(), Error> {
        match id {
            Some(id) if id != self.home.node_id => Err(Error::new(
                ErrorKind::InvalidRequest,
                format!("there is no broker {id}: this cluster has broker {}", self.home.node_id),
            )),
            _ => Ok(()),
        }
    }

    /// The broker settings that Kafka's tools know by name, read-only.
    fn broker_configs(&self, names: Option<&[String]>) -> Vec<ConfigEntry> {
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
                "log.retention.ms",
                ConfigType::Long,
                options.topics.default_retention_ms.to_string(),
                "Setting topics.default_retention.",
            ),
            entry("min.insync.replicas", ConfigType::Int, "1".to_owned(), "Accepted and reported; has no effect."),
            entry(
                "num.partitions",
                ConfigType::Int,
                options.topics.default_partitions.to_string(),
                "Setting topics.default_partitions.",
            ),
        ];
        all.into_iter().filter(|e| names.is_none_or(|names| names.contains(&e.name))).collect()
    }
}
