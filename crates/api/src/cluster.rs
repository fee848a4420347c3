//! What the cluster looks like.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use runnel_record::{LeaderEpoch, Offset, TopicId};

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
    /// Where Kafka clients reach it; `None` for a single node, which is reached at what its listener advertises.
    pub kafka: Option<Endpoint>,
    /// The same for gRPC clients.
    pub grpc: Option<Endpoint>,
}

/// An address to be dialled.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
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

/// How the cluster is: for people, since it takes a look at every partition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClusterStatus {
    /// How many partitions each live broker leads.
    pub leads: BTreeMap<i32, usize>,
    /// Brokers, alive or not, that are to lead nothing.
    pub draining: BTreeSet<i32>,
    /// Partitions without a leader that is alive.
    pub leaderless: usize,
    /// Sessions of brokers, alive or over, whose lanes may still hold something.
    pub sessions: Vec<Session>,
    /// The level of formats that the brokers write; `None` while it is not known.
    pub level: Option<u32>,
    /// What each live broker was built from.
    pub builds: BTreeMap<i32, Build>,
}

/// What a broker was built from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Build {
    /// The release, if it says so.
    pub version: Option<String>,
    /// The lowest level that it supports.
    pub lowest: u32,
    /// The highest.
    pub highest: u32,
}

/// How far the level of a cluster was raised, or would be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upgrade {
    /// The level before.
    pub from: u32,
    /// The highest that all live brokers support. There is no way back from it.
    pub to: u32,
    /// Brokers that do not support more, where others do.
    pub held_back_by: BTreeSet<i32>,
}

/// One incarnation of a broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Its number; never reused.
    pub id: u64,
    /// The broker's name.
    pub node: String,
    /// How far its end has come.
    pub state: SessionState,
    /// Its lanes in the bucket.
    pub lanes: usize,
}

/// How far the end of a session has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionState {
    /// It writes.
    Active,
    /// Its lanes are being sealed.
    Fencing,
    /// What its lanes hold is known, and being shipped.
    Sealed,
}

/// What is given up of a partition with disks that are gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskLoss {
    /// Partition number.
    pub partition: i32,
    /// Where the partition ends without the disks, and goes on in a new epoch.
    pub from: Offset,
    /// Offsets below this were handed out; more may have been.
    pub known_end: Offset,
    /// Names of the brokers whose disks they were.
    pub brokers: BTreeSet<String>,
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

    /// How the cluster is.
    async fn cluster_status(&self) -> ClusterStatus;

    /// Lets a broker lead nothing from now on, whether it runs or not, or ends that.
    async fn drain(&self, broker: i32, drain: bool) -> Result<()>;

    /// Raises the level to the highest that all live brokers support, or says with `dry_run` what that would be.
    async fn upgrade(&self, dry_run: bool) -> Result<Upgrade>;

    /// What would be given up of a partition of a topic, or of all of its partitions that wait for a disk, if the disks were
    /// gone for good. An error if a disk is not gone, as far as anybody can tell.
    async fn disk_losses(&self, topic: &TopicKey, partition: Option<i32>) -> Result<Vec<DiskLoss>>;

    /// Gives up what [`Cluster::disk_losses`] told, partition by partition, as long as it is that and not more: they go on
    /// without it, in a new epoch, and what comes back with a disk stays out of the log.
    async fn accept_disk_losses(&self, topic: &TopicKey, told: &[DiskLoss]) -> Result<()>;

    /// Every live topic, by name.
    async fn list_topics(&self) -> Vec<TopicDescription>;

    /// One topic; with `auto_create` an absent one named by name is created where the settings allow it.
    async fn describe_topic(&self, topic: &TopicKey, auto_create: bool) -> Result<TopicDescription>;

    /// Whether the broker is able to work.
    async fn health(&self) -> Health;
}
