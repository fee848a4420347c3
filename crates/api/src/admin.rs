//! Changing topics and their configuration.

use std::collections::BTreeMap;

use async_trait::async_trait;
use runnel_record::TopicId;

use crate::TopicKey;
use crate::error::Result;

/// A topic to create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateTopic {
    /// Its name.
    pub name: String,
    /// Number of partitions; `None` means the default.
    pub partitions: Option<i32>,
    /// Replication factor; `None` means the default. Stored and reported, moves no data.
    pub replication_factor: Option<i16>,
    /// Manual assignment: (partition, brokers), when given instead of the two above.
    pub assignments: Vec<(i32, Vec<i32>)>,
    /// Configuration.
    pub configs: Vec<(String, Option<String>)>,
}

/// A topic that was (or, when validating only, would be) created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreatedTopic {
    /// Its id; zero when validating only.
    pub id: TopicId,
    /// Number of partitions.
    pub partitions: i32,
    /// Replication factor as requested.
    pub replication_factor: i16,
    /// Its effective configuration.
    pub configs: Vec<ConfigEntry>,
}

/// Shorthand for the outcome of one creation.
pub type Created = Result<CreatedTopic>;

/// Where a configuration value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConfigSource {
    /// Set on the topic.
    Topic,
    /// Set on the broker by a request.
    DynamicBroker,
    /// Set on all brokers by a request.
    DynamicDefault,
    /// Set on the group.
    Group,
    /// Set in this broker's settings.
    Broker,
    /// Built in.
    Default,
}

/// What a configuration value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConfigType {
    /// true or false.
    Boolean,
    /// Text.
    String,
    /// 32-bit number.
    Int,
    /// 64-bit number.
    Long,
    /// Comma-separated list.
    List,
    /// Floating-point number.
    Double,
}

/// One configuration entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigEntry {
    /// Name.
    pub name: String,
    /// Value; `None` when sensitive.
    pub value: Option<String>,
    /// Where it comes from.
    pub source: ConfigSource,
    /// Whether it cannot be changed by a request.
    pub read_only: bool,
    /// Whether the value is a secret.
    pub sensitive: bool,
    /// What it is.
    pub kind: ConfigType,
    /// A sentence on what it does.
    pub documentation: String,
    /// The values that would hold if this one were removed, nearest first.
    pub synonyms: Vec<(String, String, ConfigSource)>,
}

/// What a configuration belongs to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConfigResource {
    /// A topic, by name.
    Topic(String),
    /// A broker, by id; `None` is the cluster-wide default.
    Broker(Option<i32>),
    /// A consumer group, by id.
    Group(String),
}

/// How one entry is changed (KIP-339).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AlterConfigOp {
    /// Set the value.
    Set,
    /// Back to the default.
    Delete,
    /// Add to a list.
    Append,
    /// Take from a list.
    Subtract,
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigChange {
    /// Entry name.
    pub name: String,
    /// How.
    pub op: AlterConfigOp,
    /// The value, unless deleting.
    pub value: Option<String>,
}

/// Partitions to add to a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewPartitions {
    /// The topic.
    pub topic: String,
    /// How many it has then.
    pub count: i32,
    /// Manual assignment: the brokers of each new partition.
    pub assignments: Option<Vec<Vec<i32>>>,
}

/// Whom a quota concerns: a name for each of its types (`user`, `client-id`, `ip`), `None` for the default one.
pub type QuotaEntity = BTreeMap<String, Option<String>>;

/// The quotas of an entity.
#[derive(Debug, Clone, PartialEq)]
pub struct ClientQuota {
    /// Whom they concern.
    pub entity: QuotaEntity,
    /// The limits by name.
    pub values: BTreeMap<String, f64>,
}

/// A change of the quotas of an entity, all or none.
#[derive(Debug, Clone, PartialEq)]
pub struct QuotaChange {
    /// Whom they concern.
    pub entity: QuotaEntity,
    /// The limits to set, or with `None` to lift.
    pub limits: Vec<(String, Option<f64>)>,
}

/// Administers topics, and what is set on brokers, groups and clients.
#[async_trait]
pub trait Admin: Send + Sync + 'static {
    /// Creates a topic; durable once it resolves with `Ok`.
    async fn create_topic(&self, topic: CreateTopic, validate_only: bool) -> Created;

    /// Deletes a topic: its tombstone is durable once it resolves with `Ok`.
    async fn delete_topic(&self, topic: &TopicKey) -> Result<(String, TopicId)>;

    /// Adds partitions to a topic; durable once it resolves with `Ok`.
    async fn create_partitions(&self, wanted: &NewPartitions, validate_only: bool) -> Result<()>;

    /// The entries of a resource; with `names` only those.
    async fn describe_configs(&self, resource: &ConfigResource, names: Option<&[String]>) -> Result<Vec<ConfigEntry>>;

    /// The groups that something is set on.
    async fn configured_groups(&self) -> Vec<String>;

    /// Every quota.
    async fn client_quotas(&self) -> Vec<ClientQuota>;

    /// Changes quotas. They are kept and reported; nothing is held up by them yet.
    async fn alter_client_quotas(&self, changes: &[QuotaChange], validate_only: bool) -> Vec<Result<()>>;

    /// Changes entries; all or none of one call.
    async fn alter_configs(
        &self,
        resource: &ConfigResource,
        changes: &[ConfigChange],
        validate_only: bool,
    ) -> Result<()>;
}
