//! The contract of a metadata store.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::error::Error;
use crate::watch::Watch;

/// Comparisons, and operations, that one transaction may carry; etcd's default limit for each.
pub const MAX_TXN_OPS: usize = 128;
/// Bytes of keys and values that one transaction may carry; below etcd's default request limit of 1.5 MiB.
pub const MAX_TXN_BYTES: usize = 1 << 20;
/// Bytes of the longest key.
pub const MAX_KEY_BYTES: usize = 1_024;

/// Versioned keys with compare-and-commit transactions, leases and watches.
///
/// **Data.** Keys are non-empty UTF-8 of at most [`MAX_KEY_BYTES`]; values are opaque bytes. The store has one
/// *revision*, a counter that every transaction that changes something raises by one; all keys that the transaction
/// writes carry that number.
///
/// **Order.** Transactions are totally ordered by their revision, and each sees the effect of all before it. Reads are
/// linearizable: a read that starts after a transaction was acknowledged sees it.
///
/// **Durability.** When [`txn`](Self::txn), [`grant_lease`](Self::grant_lease) or [`revoke`](Self::revoke) returns
/// success, the change survives a crash of the machine. No read or watch shows a change that could still be lost.
///
/// **Cancellation.** A dropped future of a read has no effect. A dropped future of a change leaves its outcome
/// unknown: it is applied wholly or not at all, at once or later.
///
/// **Errors.** [`crate::ErrorKind`] says what was applied: nothing on `Invalid`, `NotFound` and `Closed`; unknown on
/// `Unavailable`. A refused comparison is not an error but [`TxnOutcome::Refused`].
///
/// **Callers.** Any task may call any method at any time. Nothing here is on the path of a record: callers keep what
/// they read and watch for changes.
#[async_trait]
pub trait MetaStore: Send + Sync + 'static {
    /// Reads one key.
    async fn get(&self, key: &str) -> Result<Option<Versioned>, Error>;

    /// Reads every key that starts with `prefix` (all keys for the empty prefix), as of one revision.
    async fn snapshot(&self, prefix: &str) -> Result<Snapshot, Error>;

    /// Reads every key that starts with `prefix`, in ascending byte order of the keys, as of one revision.
    async fn range(&self, prefix: &str) -> Result<Vec<(String, Versioned)>, Error> {
        Ok(self.snapshot(prefix).await?.entries)
    }

    /// As [`range`](Self::range), of the keys that were written after a revision.
    async fn range_since(&self, prefix: &str, revision: u64) -> Result<Vec<(String, Versioned)>, Error> {
        let mut entries = self.range(prefix).await?;
        entries.retain(|(_, found)| found.revision > revision);
        Ok(entries)
    }

    /// Applies all of `then` if all of `compare` holds, else nothing.
    ///
    /// At most [`MAX_TXN_OPS`] comparisons, as many operations, [`MAX_TXN_BYTES`] in all, and no key twice among the
    /// operations; otherwise `Invalid`. A put that names a lease which does not exist gets `NotFound`. Deleting an
    /// absent key is no change.
    async fn txn(&self, compare: Vec<Compare>, then: Vec<Op>) -> Result<TxnOutcome, Error>;

    /// Creates a lease. Keys put under it are deleted when it is revoked, or when nobody kept it alive for `ttl`. A
    /// lease may end early or late: it says when to act, never that something is safe.
    async fn grant_lease(&self, ttl: Duration) -> Result<LeaseId, Error>;

    /// Gives a lease another `ttl` from now. `NotFound` if it has ended.
    async fn keep_alive(&self, lease: LeaseId) -> Result<(), Error>;

    /// Ends a lease and deletes its keys, as one change. `NotFound` if it has ended already.
    async fn revoke(&self, lease: LeaseId) -> Result<(), Error>;

    /// Follows the changes to keys that start with `prefix`, beginning with those of `from_revision`, which may lie in
    /// the past or in the future. The first revision is 1, and 0 counts as 1.
    ///
    /// To follow a prefix without a gap: take a [`snapshot`](Self::snapshot), then watch from its revision + 1.
    fn watch(&self, prefix: &str, from_revision: u64) -> Box<dyn Watch>;

    /// Finishes the changes it has taken, then stops; watches end. Later calls get `Closed`. Idempotent.
    async fn close(&self);
}

/// A value and where it stands in the history of its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Versioned {
    /// The value.
    pub value: Bytes,
    /// Revision of the transaction that wrote this value.
    pub revision: u64,
    /// Revision of the transaction that created the key; a new one after a deletion. Usable as a fencing token.
    pub created: u64,
}

/// What a prefix held at one revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The revision of the store.
    pub revision: u64,
    /// Keys and values in ascending byte order of the keys.
    pub entries: Vec<(String, Versioned)>,
}

/// A condition of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Compare {
    /// The key does not exist.
    Absent(String),
    /// The key exists.
    Present(String),
    /// The key exists and was last written at this revision.
    Revision(String, u64),
    /// The key exists and was created at this revision.
    Created(String, u64),
}

impl Compare {
    /// The key that is looked at.
    pub fn key(&self) -> &str {
        match self {
            Self::Absent(key) | Self::Present(key) | Self::Revision(key, _) | Self::Created(key, _) => key,
        }
    }

    /// Whether the condition holds for a key at (`created`, `revision`), or for an absent key.
    pub fn holds(&self, found: Option<(u64, u64)>) -> bool {
        match (self, found) {
            (Self::Absent(_), found) => found.is_none(),
            (Self::Present(_), found) => found.is_some(),
            (Self::Revision(_, wanted), Some((_, revision))) => *wanted == revision,
            (Self::Created(_, wanted), Some((created, _))) => *wanted == created,
            (Self::Revision(..) | Self::Created(..), None) => false,
        }
    }
}

/// An operation of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// Writes a value. With `None` the key belongs to no lease from now on.
    Put(String, Bytes, Option<LeaseId>),
    /// Deletes a key, if it is there.
    Delete(String),
}

impl Op {
    /// The key that is changed.
    pub fn key(&self) -> &str {
        match self {
            Self::Put(key, ..) | Self::Delete(key) => key,
        }
    }
}

/// What became of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TxnOutcome {
    /// All comparisons held and the operations are durable. The revision of the store after the transaction: its own,
    /// or that of an earlier one if it changed nothing.
    Committed(u64),
    /// A comparison did not hold; nothing was changed.
    Refused,
}

impl TxnOutcome {
    /// Whether the operations were applied.
    pub const fn is_committed(&self) -> bool {
        matches!(self, Self::Committed(_))
    }
}

/// Names a lease; never reused by a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LeaseId(pub u64);

impl fmt::Display for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "lease {}", self.0)
    }
}

/// Checks a transaction against the rules that every implementation shares.
pub fn check_txn(compare: &[Compare], then: &[Op]) -> Result<(), Error> {
    if compare.len() > MAX_TXN_OPS || then.len() > MAX_TXN_OPS {
        let (c, t) = (compare.len(), then.len());
        return Err(Error::Invalid(format!("{c} comparisons and {t} operations, at most {MAX_TXN_OPS} of each")));
    }
    let mut bytes = 0;
    let mut seen = BTreeSet::new();
    for key in compare.iter().map(Compare::key).chain(then.iter().map(Op::key)) {
        check_key(key)?;
        bytes += key.len();
    }
    for op in then {
        if !seen.insert(op.key()) {
            return Err(Error::Invalid(format!("the key `{}` is changed twice in one transaction", op.key())));
        }
        if let Op::Put(_, value, _) = op {
            bytes += value.len();
        }
    }
    if bytes > MAX_TXN_BYTES {
        return Err(Error::Invalid(format!("a transaction of {bytes} bytes, at most {MAX_TXN_BYTES}")));
    }
    Ok(())
}

/// Checks a key against the rules that every implementation shares.
pub fn check_key(key: &str) -> Result<(), Error> {
    if key.is_empty() {
        return Err(Error::Invalid("an empty key".to_owned()));
    }
    if key.len() > MAX_KEY_BYTES {
        return Err(Error::Invalid(format!("a key of {} bytes, at most {MAX_KEY_BYTES}", key.len())));
    }
    Ok(())
}
