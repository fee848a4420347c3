//! What can be set.

use std::path::PathBuf;
use std::time::Duration;

use uuid::Uuid;

/// Settings of the local log.
#[derive(Debug, Clone)]
pub struct Options {
    /// Directory of the lanes; created if it is missing.
    pub dir: PathBuf,
    /// Bytes of a lane file. An entry must fit into one.
    pub file_bytes: u64,
    /// Bytes after which a block is closed; an entry larger than this is a block of its own.
    pub block_bytes: usize,
    /// Bytes that may wait for durability before appends are throttled.
    pub max_unflushed: u64,
    /// Bytes that may wait for the bucket before appends are throttled.
    pub max_unshipped: u64,
    /// Bytes kept in reserve so that a full disk can still be trimmed and sealed.
    pub reserve_bytes: u64,
    /// An idle lane writes a footer after this, so that damage to its last block is told from a torn write.
    pub footer_after: Duration,
}

impl Options {
    /// The defaults, for lanes in `dir`.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            file_bytes: 64 << 20,
            block_bytes: 4 << 20,
            max_unflushed: 64 << 20,
            max_unshipped: 4 << 30,
            reserve_bytes: 8 << 20,
            footer_after: Duration::from_millis(100),
        }
    }
}

/// Who writes the new lane, and on which disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LaneIdentity {
    /// The session; for the record, recovery does not read it.
    pub session: u64,
    /// Identity of the disk. Lanes of another disk are left alone and reported.
    pub disk_id: Uuid,
}
