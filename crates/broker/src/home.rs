//! Where a broker lives: the lock on its data directory, its identity, and its claim on the bucket.

mod decide;

use std::fs::File;
use std::path::{Path, PathBuf};

use runnel_blob::{Bucket, CasOutcome, FolderLock, Key, Register, Version};
use runnel_format::Levels;
use runnel_format::meta::{BrokerSession, ClusterRecord, Identity};
use runnel_runtime::disk::Disk;
use runnel_runtime::simulation::random_id;
use rustix::fs::{FlockOperation, flock};

pub(crate) use decide::{Decision, InBucket, OnDisk, Refusal, decide};

use crate::error::StartError;

/// Largest identity file read.
const MAX_IDENTITY_BYTES: usize = 1 << 16;

/// Whether disk and bucket were found to belong together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Agreement {
    /// The bucket has not answered yet: nothing may be written to it.
    Unseen,
    /// They do.
    Agreed,
    /// They do not, for this reason.
    Refused(String),
}

/// The folders of a data directory.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    root: PathBuf,
}

impl Layout {
    pub(crate) fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }
    pub(crate) fn wal(&self) -> PathBuf {
        self.root.join("wal")
    }
    pub(crate) fn cache(&self) -> PathBuf {
        self.root.join("cache")
    }
    pub(crate) fn metadata(&self) -> PathBuf {
        self.root.join("metadata.redb")
    }
    /// Producer snapshots that are too large for the root, one file a partition.
    pub(crate) fn producers(&self) -> PathBuf {
        self.root.join("producers")
    }
    /// Copies of lanes whose loss was accepted before they came back.
    pub(crate) fn written_off(&self) -> PathBuf {
        self.root.join("written-off")
    }
    fn identity(&self) -> PathBuf {
        self.root.join("identity")
    }
    fn lock(&self) -> PathBuf {
        self.root.join("lock")
    }
}

/// The exclusive hold on a data directory; released by the end of the process, whatever ends it.
#[derive(Debug)]
pub(crate) struct DirLock {
    _file: File,
}

/// Takes the data directory, creating it if needed.
pub(crate) fn lock(layout: &Layout) -> Result<DirLock, StartError> {
    let path = layout.root.display().to_string();
    let failed = |source| StartError::DataDir { path: path.clone(), source };
    std::fs::create_dir_all(&layout.root).map_err(failed)?;
    let file = File::options().create(true).truncate(false).write(true).open(layout.lock()).map_err(failed)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(DirLock { _file: file }),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(StartError::Locked { path }),
        Err(error) => Err(failed(error.into())),
    }
}

/// Whether a broker holds the data directory. The lock is shared for the moment of the look, so a broker that runs
/// notices nothing.
pub(crate) fn is_locked(layout: &Layout) -> std::io::Result<bool> {
    let file = match File::open(layout.lock()) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        opened => opened?,
    };
    match flock(&file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => Ok(false),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(true),
        Err(error) => Err(error.into()),
    }
}

/// Reads the identity file, if there is one.
pub(crate) fn read_identity(layout: &Layout, disk: &dyn Disk) -> Result<Option<Identity>, StartError> {
    match disk.read(&layout.identity(), MAX_IDENTITY_BYTES) {
        Ok(bytes) => Ok(Some(Identity::decode(&bytes)?)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(StartError::DataDir { path: layout.identity().display().to_string(), source }),
    }
}

/// Writes a new identity durably.
pub(crate) fn write_identity(layout: &Layout, disk: &dyn Disk, identity: &Identity) -> Result<(), StartError> {
    disk.write_atomic(&layout.identity(), &identity.encode())
        .map_err(|source| StartError::DataDir { path: layout.identity().display().to_string(), source })
}

/// A fresh identity for a first start.
pub(crate) fn new_identity(node_name: &str, storage_url: &str) -> Identity {
    Identity {
        cluster_id: random_id(),
        node_name: node_name.to_owned(),
        disk_id: random_id(),
        storage_url: storage_url.to_owned(),
    }
}

/// The bucket's cluster record, and its version for the claim.
pub(crate) async fn read_cluster(bucket: &Bucket) -> Result<Option<(ClusterRecord, Version)>, StartError> {
    match bucket.read_register(&Key::ClusterId).await? {
        None => Ok(None),
        Some(Register { payload, version }) => Ok(Some((decode_cluster(&payload)?, version))),
    }
}

/// The record of a cluster that this release may work on.
pub(crate) fn decode_cluster(bytes: &[u8]) -> Result<ClusterRecord, StartError> {
    Levels::SUPPORTED.check(ClusterRecord::level_of(bytes)?)?;
    Ok(ClusterRecord::decode(bytes)?)
}

/// Claims the bucket for this session, which fences every earlier one: `before` is what was read and decided on.
pub(crate) async fn claim_bucket(
    bucket: &Bucket,
    identity: &Identity,
    session: u64,
    now_ms: i64,
    before: Option<(ClusterRecord, Version)>,
) -> Result<(), StartError> {
    let session = Some(BrokerSession {
        session,
        disk_id: identity.disk_id,
        node_name: identity.node_name.clone(),
        started_ms: now_ms,
    });
    let outcome = match before {
        None => {
            let level = Levels::SUPPORTED.highest;
            let record = ClusterRecord { cluster_id: identity.cluster_id, era: 0, level, session };
            bucket.create_register(&Key::ClusterId, record.encode()).await?
        }
        Some((record, version)) => {
            let record = ClusterRecord { session, ..record };
            bucket.replace_register(&Key::ClusterId, &version, record.encode()).await?
        }
    };
    match outcome {
        CasOutcome::Done(_) => Ok(()),
        CasOutcome::Conflict(_) => Err(StartError::Refused(
            "another broker claimed the bucket at this moment: only one may use it. Stop the other one, then start again"
                .to_owned(),
        )),
    }
}

/// What the rest of the broker needs to know of where it lives.
#[derive(Debug)]
pub(crate) struct Home {
    pub(crate) layout: Layout,
    pub(crate) identity: Identity,
    pub(crate) node_id: i32,
    /// Number of this incarnation; random, never reused.
    pub(crate) session: u64,
    pub(crate) _data_lock: DirLock,
    /// For `file://`.
    pub(crate) bucket_lock: Option<FolderLock>,
}

impl Home {
    /// The cluster id as clients see it: 22 characters of URL-safe base 64, as Kafka's own.
    pub(crate) fn cluster_name(&self) -> String {
        cluster_name(&self.identity)
    }
}

/// See [`Home::cluster_name`].
pub(crate) fn cluster_name(identity: &Identity) -> String {
    base64_url(identity.cluster_id.as_bytes())
}

fn base64_url(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let group = chunk.iter().fold(0_u32, |acc, b| acc << 8 | u32::from(*b)) << (8 * (3 - chunk.len()));
        for i in 0..=chunk.len() {
            out.push(char::from(ALPHABET[(group >> (18 - 6 * i) & 63) as usize]));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn cluster_names_look_like_kafkas() {
        assert_eq!(base64_url(&[0; 16]), "AAAAAAAAAAAAAAAAAAAAAA");
        assert_eq!(base64_url(b"\xff\xfe\xfd"), "__79");
        assert_eq!(base64_url(b"M"), "TQ");
    }

    #[test]
    fn a_second_lock_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path());
        assert!(!is_locked(&layout).unwrap());
        let held = lock(&layout).unwrap();
        assert!(matches!(lock(&layout), Err(StartError::Locked { .. })));
        assert!(is_locked(&layout).unwrap());
        drop(held);
        assert!(!is_locked(&layout).unwrap());
        lock(&layout).unwrap();
    }
}
