//! What can be set.

use std::time::Duration;

use uuid::Uuid;

/// Slots from the first that is not known to be there to the last that was begun, at most. A part of the protocol: sealers
/// conclude from it that a slot was there once.
pub(crate) const WINDOW: usize = 16;

/// Settings of an object lane (`wal.object.*` and `wal.max_*`).
#[derive(Debug, Clone)]
pub struct ObjectOptions {
    /// Bytes after which a slot is written; a batch larger than this is a slot of its own.
    pub max_bytes: u64,
    /// Time between two slots that are not full, at least and apart from a tenth, so that a batch waits half of it on average.
    /// The first batch after a pause waits for a tenth of it, for others that come with it.
    pub interval: Duration,
    /// Slots whose outcome is not known yet, at most.
    pub in_flight: usize,
    /// Bytes that may wait for durability before appends are throttled.
    pub max_unflushed: u64,
    /// Bytes that may wait to be shipped before appends are throttled. It also bounds the memory of the index.
    pub max_unshipped: u64,
    /// The trim pointer moves at most this often.
    pub trim_every: Duration,
}

impl Default for ObjectOptions {
    fn default() -> Self {
        Self {
            max_bytes: 8 << 20,
            interval: Duration::from_millis(100),
            in_flight: 4,
            max_unflushed: 64 << 20,
            max_unshipped: 4 << 30,
            trim_every: Duration::from_secs(10),
        }
    }
}

/// Who writes which lane. Drawn at random by the caller, recorded with the session, never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ObjectLaneIdentity {
    /// The lane.
    pub lane: Uuid,
    /// The session that owns it; not 0.
    pub session: u64,
    /// Tells this writer's objects from those of others.
    pub nonce: Uuid,
}
