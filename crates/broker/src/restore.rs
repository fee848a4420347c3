//! Making a cluster again from its bucket alone, after its metadata store has lost what it held (protocol §12).
//!
//! The bucket holds all that was acknowledged by topics of durability `object`: topics with their settings, roots and
//! segments, and the lanes of sessions. What the metadata store knew besides, which epochs were given out and which lanes
//! hold what is not in segments yet, follows from roots and lanes. In this order:
//!
//! 1. the store says that a restore has begun, and of which era; no broker starts on it;
//! 2. the era in the bucket is raised: a session of before that has no lane yet will get none;
//! 3. every lane is ended: nothing is acknowledged in the bucket by a session of before any more. *This is the cut.*
//! 4. every root is taken over in an epoch above all that were given out: no leader of before ships any more;
//! 5. sessions, partitions, topics and settings are written to the store;
//! 6. the store says that it holds the cluster, in one change with the end of the restore.
//!
//! Each step is durable before the next and can be done again, so a restore that was killed is run once more. If the era is
//! raised by then it is raised again: it may have been another restore, into another store, whose brokers are at work. Whoever
//! comes late with a write to the store is refused, because the first key is another by then, or gone.

mod carry_out;
mod decide;
mod error;
mod lanes;
mod look;
mod record;

use std::collections::BTreeMap;
use std::sync::Arc;

use runnel_blob::Bucket;
use runnel_format::meta::{Durability, TopicRecord};
use runnel_metastore::MetaStore;
use runnel_runtime::FailPoints;
use uuid::Uuid;

pub use error::RestoreError;

use crate::configs::{Defaults, TopicConfig};
use crate::options::Options;

/// Key that is there from the beginning of a restore to its end; its value is the cluster record that will be.
pub(crate) const RESTORING: &str = "restoring";

/// Key that is there while what the store held before a restore is being deleted.
const DISCARDING: &str = "discarding";

/// Requests to the bucket in flight.
const AT_ONCE: usize = 16;

/// A restore: of the cluster in this bucket, into this store.
pub struct Restore {
    bucket: Bucket,
    meta: Arc<dyn MetaStore>,
    options: Options,
    discard: bool,
    fail: FailPoints,
}

/// What a restore would do, or has done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The cluster.
    pub cluster_id: Uuid,
    /// Its era before.
    pub era: u32,
    /// Its era after.
    pub next_era: u32,
    /// Whether a restore that was cut off is gone on with.
    pub resumes: bool,
    /// Keys of the metadata store that are thrown away.
    pub discards: usize,
    /// Brokers that are alive in the metadata store.
    pub alive: Vec<String>,
    /// Lanes whose writers have not been ended. They may be dead, or alive somewhere.
    pub open_lanes: usize,
    /// Lanes that have ended, and that may hold what is not in segments.
    pub ended_lanes: usize,
    /// By name.
    pub topics: Vec<TopicPlan>,
}

/// A topic that is restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicPlan {
    /// Its name.
    pub name: String,
    /// Its id, as text.
    pub id: String,
    /// Its partitions.
    pub partitions: i32,
    /// Whether acknowledged records may have been on disks alone: those are adopted if the broker with the disk happens
    /// to lead, else missing.
    pub is_local: bool,
    /// Offsets that are in segments, or were and have been given up.
    pub shipped: u64,
}

/// What was restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// The cluster.
    pub cluster_id: Uuid,
    /// Its era.
    pub era: u32,
    /// Topics.
    pub topics: usize,
    /// Partitions.
    pub partitions: usize,
    /// Lanes that hold what is not in segments yet.
    pub lanes: usize,
    /// Offsets that are in those lanes alone; the brokers ship them.
    pub unshipped: u64,
    /// Partitions whose records may have been on disks alone.
    pub may_miss: Vec<(String, i32)>,
}

/// How far a restore is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// What is being done.
    pub what: &'static str,
    /// So many are done.
    pub done: usize,
    /// Of so many.
    pub total: usize,
}

/// Whom to tell how far a restore is.
pub type Watcher<'a> = &'a (dyn Fn(Progress) + Sync);

impl Restore {
    /// A restore into `meta` of the cluster whose brokers have these options. `discard`: throw away what the store holds
    /// of it, and end the sessions of brokers that are alive in it.
    ///
    /// # Errors
    /// `Bucket` for settings of the bucket that make no sense.
    pub fn open(
        options: Options,
        meta: Arc<dyn MetaStore>,
        discard: bool,
        fail: FailPoints,
    ) -> Result<Self, RestoreError> {
        let bucket = Bucket::open(&options.storage, fail.clone())?;
        Ok(Self::on(bucket, options, meta, discard, fail))
    }

    /// As [`Restore::open`], on a bucket that is open already.
    pub fn on(bucket: Bucket, options: Options, meta: Arc<dyn MetaStore>, discard: bool, fail: FailPoints) -> Self {
        Self { bucket, meta, options, discard, fail }
    }

    /// Says what [`Restore::run`] would do. Changes nothing.
    ///
    /// # Errors
    /// Why it would do nothing.
    pub async fn plan(&self, watch: Watcher<'_>) -> Result<Plan, RestoreError> {
        let (before, _) = look::cluster(&self.bucket).await?;
        let store = look::store(&*self.meta).await?;
        let decision = decide::decide(&before, &store, self.discard)?;
        let lanes = runnel_wal::object::lanes_in_use(&self.bucket).await?;
        let open_lanes = lanes.iter().filter(|lane| lane.end.is_none()).count();
        let records = look::topics(&self.bucket).await?;
        let shipped = look::shipped(&self.bucket, &records, watch).await?;
        let defaults = self.defaults().await?;
        let topics = records.iter().zip(shipped).map(|(record, shipped)| TopicPlan {
            name: record.name.clone(),
            id: record.id.to_string(),
            partitions: record.partitions,
            is_local: is_local(record, &defaults),
            shipped,
        });
        Ok(Plan {
            cluster_id: before.cluster_id,
            era: before.era,
            next_era: decision.next.era,
            resumes: matches!(decision.start, decide::Start::GoOn | decide::Start::Again),
            discards: if decision.start == decide::Start::Discard { store.keys } else { 0 },
            alive: store.alive,
            open_lanes,
            ended_lanes: lanes.len() - open_lanes,
            topics: topics.collect(),
        })
    }

    /// What topics have that set nothing.
    async fn defaults(&self) -> Result<Defaults, RestoreError> {
        let settings = look::settings(&self.bucket).await?.unwrap_or_default();
        let all = settings.entities.get(crate::settings::ALL_BROKERS).cloned().unwrap_or_default();
        Ok(Defaults::new(&self.options).with_brokers(BTreeMap::new(), all))
    }
}

/// Whether a topic acknowledges what is on a disk alone.
fn is_local(record: &TopicRecord, defaults: &Defaults) -> bool {
    TopicConfig::new(&record.configs, defaults).durability == Durability::Local
}
