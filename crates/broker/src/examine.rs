//! A look at a data directory and its bucket from outside, before a start or beside a broker that runs: nothing is
//! changed, and what is written is scratch.

mod disk;

use std::path::Path;

use runnel_blob::Bucket;
use runnel_runtime::disk::Disk as Files;
use uuid::Uuid;

pub use disk::{DiskFacts, examine_disk};

use crate::Ports;
use crate::error::StartError;
use crate::home::{self, Decision, InBucket, Layout, OnDisk};
use crate::start::{check_storage, look_at_bucket, look_at_log};

/// Who lives in a data directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tenant {
    /// A broker holds it at this moment.
    pub running: bool,
    /// Its cluster, as Kafka clients see it; `None` before the first start.
    pub cluster: Option<String>,
}

/// How a data directory and a bucket stand to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Neither was used yet.
    New,
    /// A first start was cut short; the next one completes it.
    Begun,
    /// They belong to the same cluster.
    Together(Uuid),
    /// As [`Standing::Together`], but the metadata is lost; the next start rebuilds it.
    Rebuild(Uuid),
    /// The bucket does not answer; a start does not wait for it.
    Silent,
}

/// Looks who lives in a data directory.
pub fn examine_home(data_dir: &Path, files: &dyn Files) -> Result<Tenant, StartError> {
    let layout = Layout::new(data_dir);
    let failed = |source| StartError::DataDir { path: data_dir.display().to_string(), source };
    let running = home::is_locked(&layout).map_err(failed)?;
    let identity = home::read_identity(&layout, files)?;
    Ok(Tenant { running, cluster: identity.as_ref().map(home::cluster_name) })
}

/// Compares a data directory with its bucket as a start does; an error is why a start would refuse. Also says when,
/// in milliseconds of its clock, a broker last claimed the bucket.
///
/// The metadata store is not opened, which a broker that runs would notice: that it is there stands for what it says.
pub async fn compare(
    data_dir: &Path,
    storage: &runnel_blob::Options,
    ports: &Ports,
) -> Result<(Standing, Option<i64>), StartError> {
    let layout = Layout::new(data_dir);
    let identity = home::read_identity(&layout, &*ports.disk)?;
    if let Some(identity) = &identity {
        check_storage(identity, &storage.url)?;
    }
    let (lanes, loss_accepted) = look_at_log(&layout, ports)?;
    let claimed = layout.metadata().is_file();
    let on_disk = OnDisk {
        identity: identity.as_ref().map(|i| (i.cluster_id, i.disk_id)),
        claimed,
        lanes,
        log_lost: claimed && identity.is_some() && !lanes && !loss_accepted,
    };
    let (in_bucket, cluster) = match Bucket::open_existing(storage)? {
        Some(bucket) => look_at_bucket(&bucket).await?,
        None => (InBucket::Absent, None),
    };
    let cluster = cluster.map(|(record, _)| record);
    let claimed_ms = cluster.as_ref().and_then(|record| record.session.as_ref()).map(|session| session.started_ms);
    let id = cluster.map_or(Uuid::nil(), |record| record.cluster_id);
    let standing = match home::decide(on_disk, in_bucket) {
        Decision::Create => Standing::New,
        Decision::Claim => Standing::Begun,
        Decision::Open => Standing::Together(id),
        Decision::OpenUnseen => Standing::Silent,
        Decision::Rebuild => Standing::Rebuild(id),
        Decision::Refuse(refusal) => return Err(refusal.into()),
    };
    Ok((standing, claimed_ms))
}
