//! What one broker can be told.

use std::path::PathBuf;
use std::time::Duration;

pub use runnel_format::meta::HostPort;

/// Options of a broker. The binary fills them from its settings; every field has the meaning of the setting named.
#[derive(Debug, Clone)]
pub struct Options {
    /// `node.id`: the broker's name.
    pub node_name: String,
    /// `node.number`: what clients call the broker. Without it a single node is 0, and a broker of a cluster is given the
    /// lowest number that no disk has.
    pub node_number: Option<i32>,
    /// `node.zone`.
    pub zone: Option<String>,
    /// `node.data_dir`, absolute.
    pub data_dir: PathBuf,
    /// `storage.*`.
    pub storage: runnel_blob::Options,
    /// `wal.*`.
    pub wal: WalOptions,
    /// `segment.*`.
    pub segment: SegmentOptions,
    /// `cache.*`.
    pub cache: CacheOptions,
    /// `topics.*`.
    pub topics: TopicOptions,
    /// `groups.*`.
    pub groups: GroupOptions,
    /// `shutdown.timeout`: how long a clean stop may ship.
    pub shutdown_timeout: Duration,
}

/// The lanes.
#[derive(Debug, Clone)]
pub struct WalOptions {
    /// `wal.durability`: whether topics that do not say are acknowledged once they are in the bucket, not on the disk.
    pub in_bucket: bool,
    /// `wal.object.max_bytes`: bytes after which an object of the lane in the bucket is written.
    pub object_max_bytes: u64,
    /// `wal.object.interval`: how long the first batch of an object waits for others.
    pub object_interval: Duration,
    /// How often the trim pointer of the lane in the bucket moves, at most. No setting.
    pub object_trim_every: Duration,
    /// Bytes of a file of the log on the disk. No setting.
    pub file_bytes: u64,
    /// `wal.max_unflushed`, bytes that may wait for durability.
    pub max_unflushed: u64,
    /// `wal.max_unshipped`, bytes that may wait for the bucket.
    pub max_unshipped: u64,
}

/// When a segment is sealed and how it is written.
#[derive(Debug, Clone)]
pub struct SegmentOptions {
    /// `segment.max_bytes`, raw bytes.
    pub max_bytes: u64,
    /// `segment.max_age`, since the first unshipped append.
    pub max_age: Duration,
    /// `segment.merge_bytes`: size of the objects that small segments are merged into; 0 merges nothing.
    pub merge_bytes: u64,
    /// `segment.merge_after`: how old a segment is before it is merged.
    pub merge_after: Duration,
}

/// The fetch cache.
#[derive(Debug, Clone)]
pub struct CacheOptions {
    /// `cache.memory`, bytes, shared by the tail and the cache of rebuilt batches.
    pub memory: u64,
    /// `cache.disk`, bytes; 0 turns the disk tier off.
    pub disk: u64,
}

/// Defaults of new topics.
#[derive(Debug, Clone)]
pub struct TopicOptions {
    /// `topics.auto_create`.
    pub auto_create: bool,
    /// `topics.default_partitions`.
    pub default_partitions: i32,
    /// `topics.default_retention`, ms; −1 keeps everything.
    pub default_retention_ms: i64,
    /// `topics.retention_check`: how often is looked for what has had its time.
    pub retention_check: Duration,
    /// `topics.producer_expiration`: how long after its last append an idempotent producer is remembered.
    pub producer_expiration: Duration,
}

/// Consumer groups.
#[derive(Debug, Clone)]
pub struct GroupOptions {
    /// Times and limits of the coordinators.
    pub coordinator: runnel_group::Options,
    /// `groups.offsets_partitions`: partitions of `__consumer_offsets` when it is created.
    pub offsets_partitions: i32,
}

/// A broker's part in a cluster.
#[derive(Debug, Clone)]
pub struct ClusterOptions {
    /// `cluster.lease_ttl`: after so long without a sign of life a broker is taken for dead.
    pub lease_ttl: Duration,
    /// Where Kafka clients reach it. Nowhere, with port 0, if it is only to ship what its disk holds and to hand over.
    pub kafka: HostPort,
    /// Where gRPC clients and other brokers reach it.
    pub grpc: HostPort,
    /// When it moves partitions for their traffic, as the controller.
    pub balance: BalanceOptions,
}

/// How much the controller must know of traffic, and what must be gained, before it moves a partition for that.
#[derive(Debug, Clone, Copy)]
pub struct BalanceOptions {
    /// How fast what is measured is believed.
    pub pace: runnel_plan::Pace,
    /// Bytes per second that the busier of two brokers has less afterwards, at least.
    pub least_gain: u64,
}

impl ClusterOptions {
    /// Whether clients reach it.
    pub(crate) fn is_reached(&self) -> bool {
        self.kafka.port != 0
    }
}

impl Default for BalanceOptions {
    fn default() -> Self {
        Self { pace: runnel_plan::Pace::default(), least_gain: runnel_plan::Limits::LEAST_GAIN }
    }
}

impl WalOptions {
    /// The defaults of one node with limits of its own.
    pub const fn new(max_unflushed: u64, max_unshipped: u64) -> Self {
        Self {
            in_bucket: false,
            object_max_bytes: 8 << 20,
            object_interval: Duration::from_millis(100),
            object_trim_every: Duration::from_secs(10),
            file_bytes: 64 << 20,
            max_unflushed,
            max_unshipped,
        }
    }
}

impl Default for GroupOptions {
    fn default() -> Self {
        Self { coordinator: runnel_group::Options::default(), offsets_partitions: 50 }
    }
}
