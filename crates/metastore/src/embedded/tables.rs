//! The tables of the file, and what a transaction does to them. Layout: `docs/formats/metadata.md`.

use redb::{ReadTransaction, ReadableTable, Table, TableDefinition, WriteTransaction};

use crate::error::Error;
use crate::store::{Compare, LeaseId, Op, Snapshot, TxnOutcome, Versioned};
use crate::watch::{Change, Changes, Event};

/// Version of the layout of these tables.
pub(super) const FORMAT: u64 = 1;

/// Revision of creation, revision of the last write, lease (0 for none), value.
type Stored = (u64, u64, u64, &'static [u8]);

/// The keys.
const KEYS: TableDefinition<'_, &str, Stored> = TableDefinition::new("keys");
/// Lease id → time to live in milliseconds.
const LEASES: TableDefinition<'_, u64, u64> = TableDefinition::new("leases");
/// Counters of the store.
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
const META_FORMAT: &str = "format";
const META_REVISION: &str = "revision";
const META_NEXT_LEASE: &str = "next_lease";

/// Makes the tables of a new store.
pub(super) fn initialise(txn: &WriteTransaction) -> Result<(), redb::Error> {
    txn.open_table(KEYS)?;
    txn.open_table(LEASES)?;
    let mut meta = txn.open_table(META)?;
    meta.insert(META_FORMAT, FORMAT)?;
    meta.insert(META_REVISION, 0)?;
    meta.insert(META_NEXT_LEASE, 1)?;
    Ok(())
}

/// Whether the file holds any table at all.
pub(super) fn is_blank(txn: &ReadTransaction) -> Result<bool, redb::Error> {
    Ok(txn.list_tables()?.next().is_none())
}

/// The layout version of the file, or `None` if it is not a metadata store.
pub(super) fn format(txn: &ReadTransaction) -> Result<Option<u64>, redb::Error> {
    match txn.open_table(META) {
        Ok(meta) => Ok(meta.get(META_FORMAT)?.map(|v| v.value())),
        Err(redb::TableError::Storage(e)) => Err(e.into()),
        Err(_) => Ok(None),
    }
}

/// The revision of the store.
pub(super) fn revision(txn: &ReadTransaction) -> Result<u64, redb::Error> {
    Ok(txn.open_table(META)?.get(META_REVISION)?.map_or(0, |v| v.value()))
}

/// Reads one key.
pub(super) fn get(txn: &ReadTransaction, key: &str) -> Result<Option<Versioned>, redb::Error> {
    Ok(txn.open_table(KEYS)?.get(key)?.map(|v| versioned(v.value())))
}

/// Reads the keys that start with `prefix`.
pub(super) fn snapshot(txn: &ReadTransaction, prefix: &str) -> Result<Snapshot, redb::Error> {
    let keys = txn.open_table(KEYS)?;
    let mut entries = Vec::new();
    for entry in keys.range(prefix..)? {
        let (key, value) = entry?;
        if !key.value().starts_with(prefix) {
            break;
        }
        entries.push((key.value().to_owned(), versioned(value.value())));
    }
    Ok(Snapshot { revision: revision(txn)?, entries })
}

/// Whether a lease exists.
pub(super) fn has_lease(txn: &ReadTransaction, lease: LeaseId) -> Result<bool, redb::Error> {
    Ok(txn.open_table(LEASES)?.get(lease.0)?.is_some())
}

fn versioned((created, revision, _, value): (u64, u64, u64, &[u8])) -> Versioned {
    Versioned { value: bytes::Bytes::copy_from_slice(value), revision, created }
}

/// The tables, open for a batch of changes that share one commit.
pub(super) struct Tables<'t> {
    keys: Table<'t, &'static str, Stored>,
    leases: Table<'t, u64, u64>,
    meta: Table<'t, &'static str, u64>,
    revision: u64,
    /// What the batch has changed so far, in order.
    pub(super) changes: Vec<Changes>,
    /// Whether there is anything to commit.
    pub(super) dirty: bool,
}

impl<'t> Tables<'t> {
    /// Opens the tables for writing.
    pub(super) fn open(txn: &'t WriteTransaction) -> Result<Self, redb::Error> {
        let (keys, leases, meta) = (txn.open_table(KEYS)?, txn.open_table(LEASES)?, txn.open_table(META)?);
        let revision = meta.get(META_REVISION)?.map_or(0, |v| v.value());
        Ok(Self { keys, leases, meta, revision, changes: Vec::new(), dirty: false })
    }

    /// Applies one transaction: wholly, or (refused, or with an inner error) not at all. After an outer error the
    /// batch must be thrown away.
    pub(super) fn txn(&mut self, compare: &[Compare], then: Vec<Op>) -> Result<Result<TxnOutcome, Error>, redb::Error> {
        for condition in compare {
            if !condition.holds(self.stands_at(condition.key())?) {
                return Ok(Ok(TxnOutcome::Refused));
            }
        }
        for op in &then {
            if let Op::Put(_, _, Some(lease)) = op
                && self.leases.get(lease.0)?.is_none()
            {
                return Ok(Err(Error::LeaseNotFound(*lease)));
            }
        }
        let revision = self.revision + 1;
        let mut events = Vec::with_capacity(then.len());
        for op in then {
            events.extend(self.apply(revision, op)?);
        }
        self.changed(revision, events)?;
        Ok(Ok(TxnOutcome::Committed(self.revision)))
    }

    /// Creates a lease.
    pub(super) fn grant(&mut self, ttl_ms: u64) -> Result<LeaseId, redb::Error> {
        let id = self.meta.get(META_NEXT_LEASE)?.map_or(1, |v| v.value());
        self.meta.insert(META_NEXT_LEASE, id + 1)?;
        self.leases.insert(id, ttl_ms)?;
        self.dirty = true;
        Ok(LeaseId(id))
    }

    /// Ends a lease and deletes its keys.
    pub(super) fn revoke(&mut self, lease: LeaseId) -> Result<Result<(), Error>, redb::Error> {
        if self.leases.remove(lease.0)?.is_none() {
            return Ok(Err(Error::LeaseNotFound(lease)));
        }
        self.dirty = true;
        let mut held = Vec::new();
        for entry in self.keys.iter()? {
            let (key, stored) = entry?;
            if stored.value().2 == lease.0 {
                held.push(key.value().to_owned());
            }
        }
        let mut events = Vec::with_capacity(held.len());
        for key in held {
            events.extend(self.apply(self.revision + 1, Op::Delete(key))?);
        }
        self.changed(self.revision + 1, events)?;
        Ok(Ok(()))
    }

    fn stands_at(&self, key: &str) -> Result<Option<(u64, u64)>, redb::Error> {
        let found = self.keys.get(key)?;
        Ok(found.map(|v| {
            let (created, revision, ..) = v.value();
            (created, revision)
        }))
    }

    fn apply(&mut self, revision: u64, op: Op) -> Result<Option<Event>, redb::Error> {
        match op {
            Op::Put(key, value, lease) => {
                let created = self.stands_at(&key)?.map_or(revision, |(created, _)| created);
                self.keys.insert(&*key, (created, revision, lease.map_or(0, |l| l.0), &*value))?;
                Ok(Some(Event { key, change: Change::Put(Versioned { value, revision, created }) }))
            }
            Op::Delete(key) => {
                let gone = self.keys.remove(&*key)?.is_some();
                Ok(gone.then_some(Event { key, change: Change::Deleted }))
            }
        }
    }

    fn changed(&mut self, revision: u64, events: Vec<Event>) -> Result<(), redb::Error> {
        if events.is_empty() {
            return Ok(());
        }
        self.meta.insert(META_REVISION, revision)?;
        self.revision = revision;
        self.dirty = true;
        self.changes.push(Changes { revision, events });
        Ok(())
    }
}
