//! Settings of the fetch cache.

use std::path::PathBuf;

/// Settings of [`crate::BlockCache`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Bytes of memory for everything the cache does: hot entries, backfill entries, buffers of the disk tier.
    pub memory: u64,
    /// Bytes on disk; 0 turns the disk tier off.
    pub disk: u64,
    /// Folder of the disk tier, which it has to itself.
    pub dir: PathBuf,
}
