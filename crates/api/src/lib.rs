//! The boundary between the front doors and the broker: plain data and seven small traits.
//! Those that are left are what brokers of one cluster do for each other ([`nearby`]).
//!
//! A front door (`kafka`, `grpc`, `http`) translates its wire into these types and back; the broker implements
//! the traits. Neither sees the other. Record data crosses as shared bytes ([`runnel_record::Batch`],
//! [`bytes::Bytes`]), never copied. Errors carry a kind that a front door maps exhaustively to its own codes.
//!
//! The plain data of consumer groups is that of their state machine ([`runnel_group`]), which knows neither side.
//!
//! **API boundary**: nothing here names a lane, a segment, a bucket or a wire format.

pub mod admin;
pub mod cluster;
pub mod error;
pub mod fetch;
pub mod groups;
pub mod nearby;
pub mod offsets;
pub mod produce;
pub mod segments;

pub use admin::{
    Admin, AlterConfigOp, ClientQuota, ConfigChange, ConfigEntry, ConfigResource, ConfigSource, ConfigType,
    CreateTopic, Created, CreatedTopic, NewPartitions, QuotaChange, QuotaEntity,
};
pub use cluster::{
    Build, Cluster, ClusterDescription, ClusterStatus, DiskLoss, Endpoint, Health, Node, PartitionDescription, Session,
    SessionState, TopicDescription, Upgrade,
};
pub use error::{Error, ErrorKind};
pub use fetch::{DivergingEpoch, Fetch, FetchPartition, FetchRequest, Fetched, FetchedPartition, Isolation, Room};
pub use groups::Groups;
pub use nearby::{Archive, Flow, Led, Nearby, Traffic, Weigh};
pub use offsets::{EpochEnd, ListedOffset, OffsetSpec, Offsets, Standing, check_epoch, diverging};
pub use produce::{
    Acks, ActiveProducer, Durability, Produce, ProducePartition, ProduceRequest, Produced, ProducedPartition,
    ProducerIdentity,
};
pub use segments::{LogDir, Sealed, Segments};

use runnel_record::TopicId;

/// How a request names a topic.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TopicKey {
    /// By name.
    Name(String),
    /// By the id of one incarnation (KIP-516).
    Id(TopicId),
}

impl std::fmt::Display for TopicKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Id(id) => write!(f, "{id}"),
        }
    }
}

/// Everything a front door may ask of a broker.
pub trait Broker: Produce + Fetch + Offsets + Groups + Admin + Cluster + Segments {}

impl<T: Produce + Fetch + Offsets + Groups + Admin + Cluster + Segments> Broker for T {}
