//! Following changes.

use async_trait::async_trait;

use crate::error::Error;
use crate::store::Versioned;

/// The changes of a prefix, one transaction at a time.
#[async_trait]
pub trait Watch: Send {
    /// The next transaction that touched the prefix. Waits for it if need be.
    ///
    /// Transactions come in the order of their revisions, none is left out, none comes twice, and none comes before it
    /// is durable. Cancel-safe: a dropped call loses nothing.
    ///
    /// Errors: `Compacted` if the watch starts too far back or has fallen too far behind, `Closed` once the store is
    /// closed and everything before that was handed out. Both are final.
    async fn next(&mut self) -> Result<Changes, Error>;
}

/// What one transaction did to the keys of a prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changes {
    /// Revision of the transaction.
    pub revision: u64,
    /// What happened to each key; never empty.
    pub events: Vec<Event>,
}

/// What happened to one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The key.
    pub key: String,
    /// What happened to it.
    pub change: Change,
}

/// What can happen to a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A value was written.
    Put(Versioned),
    /// The key was deleted.
    Deleted,
}
