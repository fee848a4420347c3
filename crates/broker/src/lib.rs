//! A broker: hosts partitions, ships their segments, serves reads, administers topics; implements [`runnel_api`].
//!
//! Entry points: [`Broker::start`], the traits of `runnel_api` on [`Broker`], [`Broker::stop`]. Each partition is one
//! task that owns its state machine ([`runnel_partition`]); what readers need of it (tail, watermark, manifest) is
//! shared. Shipping is one loop for all partitions. A broker is alone ([`Broker::start`]) or one of several ([`Broker::join`],
//! module `cluster`). Deliberately absent: wire formats, and who should lead what (`runnel-plan`).
//!
//! Invariants (protocol §14): nothing is acknowledged or readable before it is durable (1, 22); the lane is trimmed only
//! after the root that covers it is in the bucket *and* in the metadata store (21, 26); a partition whose durable
//! state does not fit together does not open (19, 20).

mod accept_loss;
mod admin;
mod cluster;
mod cold;
mod configs;
mod delete_records;
mod entrance;
mod error;
mod examine;
mod fetch;
mod groups;
mod home;
mod lanes;
mod log_dirs;
mod merge;
mod nearby;
mod offsets;
mod open;
mod options;
mod partition;
mod produce;
mod producer_ids;
mod quotas;
mod readahead;
mod restore;
mod retention;
mod room;
mod seal;
mod sessions;
mod settings;
mod ship;
mod shipped;
mod snapshots;
mod start;
mod stop;
mod tail;
mod topics;
mod watermark;

use std::sync::atomic::{AtomicBool, AtomicU32};
use std::sync::{Arc, Weak};
use std::time::Duration;

use runnel_blob::Bucket;
use runnel_metastore::MetaStore;
use runnel_runtime::disk::Disk;
use runnel_runtime::{Clock, Dial, FailPoints, Shutdown, StdDisk, SystemClock, TcpDial};

pub use accept_loss::{Loss, accept_loss};
pub use cluster::{AdoptProgress, Adopted};
pub use error::StartError;
pub use examine::{DiskFacts, Standing, Tenant, compare, examine_disk, examine_home};
pub use options::{
    BalanceOptions, CacheOptions, ClusterOptions, GroupOptions, HostPort, Options, SegmentOptions, TopicOptions,
    WalOptions,
};
pub use restore::{Plan, Progress, Restore, RestoreError, Restored, TopicPlan, Watcher};
pub use runnel_group::Options as CoordinatorOptions;
pub use runnel_plan::Pace;
pub use stop::{Failure, StopReport};

/// How long to wait for the bucket where its answer is good to have and can be done without. A bucket that hangs would
/// otherwise keep producers waiting for as long as a request to it may take.
const BUCKET_PATIENCE: Duration = Duration::from_secs(3);

/// What a broker needs of the machine.
#[derive(Clone)]
pub struct Ports {
    /// Wall-clock time, for timestamps.
    pub clock: Arc<dyn Clock>,
    /// The disk of the write-ahead log.
    pub disk: Arc<dyn Disk>,
    /// How it is noticed at once that another broker is gone.
    pub dial: Arc<dyn Dial>,
    /// Fail points for crash tests.
    pub fail: FailPoints,
}

impl Ports {
    /// Those of the machine itself.
    pub fn of_machine(fail: FailPoints) -> Self {
        Self { clock: Arc::new(SystemClock), disk: Arc::new(StdDisk), dial: Arc::new(TcpDial), fail }
    }
}

/// One running broker.
pub struct Broker {
    /// For tasks that are started on demand.
    me: Weak<Self>,
    options: Options,
    ports: Ports,
    home: home::Home,
    bucket: Bucket,
    meta: Arc<dyn MetaStore>,
    /// Its part in a cluster; none on a single node.
    member: Option<cluster::Member>,
    log: lanes::Lanes,
    cold: Arc<cold::ColdReader>,
    tails: Arc<tail::TailBudget>,
    /// For the tails of partitions that other brokers lead.
    zone_memory: u64,
    topics: topics::Topics,
    settings: settings::Settings,
    producer_ids: producer_ids::ProducerIds,
    groups: groups::Coordinators,
    /// What the log held when the broker started, by partition, until the partition is opened.
    inherited: open::Inherited,
    /// The bucket was compared with the disk and may be written to.
    bucket_agreed: tokio::sync::watch::Sender<home::Agreement>,
    /// What earlier sessions left in the bucket is known.
    lanes_inherited: tokio::sync::watch::Sender<bool>,
    /// Held by whoever encodes a segment.
    encoders: tokio::sync::Semaphore,
    /// Every append holds a permit until it is answered; a stop takes them all.
    admission: tokio::sync::Semaphore,
    /// Of a single node: the level that its bucket shows, 0 until it has answered.
    level: AtomicU32,
    /// New work is refused from here on.
    draining: AtomicBool,
    /// Everything ends.
    stop_signal: Shutdown,
    /// Why the broker cannot go on, once it cannot.
    failure: tokio::sync::watch::Sender<Option<stop::Failure>>,
}
