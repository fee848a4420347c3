//! What the cluster looks like.

use async_trait::async_trait;
use runnel_record::{LeaderEpoch, TopicId};

use crate::TopicKey;
use crate::error::Result;

/// A broker as clients see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// The integer id that Kafka clients need.
    pub id: i32,
    /// `node.id`, for people.
    pub name: String,
    /// `node.zone`, if set.
    pub zone: Option<String>,
    /// Where Kafka clients reach it; `None` for the broker that answers, which is reached at what its listener advertises.
    pub kafka: Option<Endpoint>,
    /// The same for gRPC clients.
    pub grpc: Option<Endpoint>,
}

/// An address to be dialled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// A name or an address.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// The cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterDescription {
    /// Cluster id.
    pub cluster_id: String,
    /// Id of the controller, if there is one now.
    pub controller: Option<i32>,
    /// Id of the broker that answers.
    pub this_node: i32,
    /// Live brokers.
    pub nodes: Vec<Node>,
}

/// A partition as metadata shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionDescription {
    /// Partition number.
    pub partition: i32,
    /// Leader, if any.
    pub leader: Option<i32>,
    /// Its epoch.
    pub leader_epoch: LeaderEpoch,
    /// Replicas as requested and reported; moves no data.
    pub replicas: Vec<i32>,
    /// Live ones of them.
    pub in_sync: Vec<i32>,
}

/// A topic as metadata shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicDescription {
    /// Name.
    pub name: String,
    /// Id of this incarnation.
    pub id: TopicId,
    /// Whether it belongs to the system.
    pub internal: bool,
    /// Partitions in order.
    pub partitions: Vec<PartitionDescription>,
}

/// Whether the broker is able to work, for `/readyz`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// Whether traffic should be sent here.
    pub ready: bool,
    /// One line per check: name, whether it passed, a sentence.
    pub checks: Vec<(String, bool, String)>,
}

/// Describes cluster and topics.
#[async_trait]
pub trait Cluster: Send + Sync + 'static {
    /// The cluster now.
    async fn describe_cluster(&self) -> ClusterDescription;

    /// Who leads a partition, and in which epoch; `None` if nobody does, or there is no such partition.
    async fn leader_of(&self, topic: &TopicKey, partition: i32) -> Option<(Node, LeaderEpoch)>;

    /// Every live topic, by name.
    async fn list_topics(&self) -> Vec<TopicDescription>;

    /// One topic; with `auto_create` an absent one named by name is created where the settings allow it.
    async fn describe_topic(&self, topic: &TopicKey, auto_create: bool) -> Result<TopicDescription>;

    /// Whether the broker is able to work.
    async fn health(&self) -> Health;
}
