//! What a metadata store holds, and how it changes. No time but the one it is told.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use runnel_metastore::{Change, Changes, Compare, Error, Event, LeaseId, Op, Snapshot, TxnOutcome, Versioned};

/// Changes that a compaction leaves.
const KEPT: usize = 8;

#[derive(Debug, Clone, Default)]
pub(super) struct State {
    now_ms: u64,
    revision: u64,
    keys: BTreeMap<String, Entry>,
    history: VecDeque<Changes>,
    /// Changes up to here are forgotten.
    compacted: u64,
    leases: BTreeMap<LeaseId, Lease>,
    last_lease: u64,
    /// How often it was lost.
    losses: u64,
    /// What it can be set back to.
    kept: Option<Box<State>>,
}

#[derive(Debug, Clone)]
struct Entry {
    at: Versioned,
    lease: Option<LeaseId>,
}

#[derive(Debug, Clone)]
struct Lease {
    ttl: Duration,
    ends_ms: u64,
}

impl State {
    pub(super) const fn revision(&self) -> u64 {
        self.revision
    }

    pub(super) fn keep(&mut self) {
        self.kept = None;
        self.kept = Some(Box::new(self.clone()));
    }

    /// Goes back to nothing, or to what was kept. Leases are not given twice, as their numbers are random.
    pub(super) fn lose(&mut self, all: bool) {
        let (now_ms, last_lease, losses) = (self.now_ms, self.last_lease, self.losses + 1);
        let before = self.kept.take().filter(|_| !all).map_or_else(Self::default, |kept| *kept);
        *self = Self { now_ms, last_lease, losses, ..before };
    }

    pub(super) const fn losses(&self) -> u64 {
        self.losses
    }

    pub(super) fn get(&self, key: &str) -> Option<Versioned> {
        self.keys.get(key).map(|entry| entry.at.clone())
    }

    pub(super) fn snapshot(&self, prefix: &str) -> Snapshot {
        let from = self.keys.range(prefix.to_owned()..).take_while(|(key, _)| key.starts_with(prefix));
        let entries = from.map(|(key, entry)| (key.clone(), entry.at.clone())).collect();
        Snapshot { revision: self.revision, entries }
    }

    pub(super) fn txn(&mut self, compare: &[Compare], then: Vec<Op>) -> Result<TxnOutcome, Error> {
        let holds = |compare: &Compare| {
            compare.holds(self.keys.get(compare.key()).map(|entry| (entry.at.created, entry.at.revision)))
        };
        if !compare.iter().all(holds) {
            return Ok(TxnOutcome::Refused);
        }
        for op in &then {
            if let Op::Put(_, _, Some(lease)) = op
                && !self.leases.contains_key(lease)
            {
                return Err(Error::LeaseNotFound(*lease));
            }
        }
        self.apply(then);
        Ok(TxnOutcome::Committed(self.revision))
    }

    fn apply(&mut self, ops: Vec<Op>) {
        let revision = self.revision + 1;
        let mut events = Vec::new();
        for op in ops {
            match op {
                Op::Put(key, value, lease) => {
                    let created = self.keys.get(&key).map_or(revision, |entry| entry.at.created);
                    let at = Versioned { value, revision, created };
                    events.push(Event { key: key.clone(), change: Change::Put(at.clone()) });
                    self.keys.insert(key, Entry { at, lease });
                }
                Op::Delete(key) => {
                    if self.keys.remove(&key).is_some() {
                        events.push(Event { key, change: Change::Deleted });
                    }
                }
            }
        }
        if !events.is_empty() {
            self.revision = revision;
            self.history.push_back(Changes { revision, events });
        }
    }

    /// The next change below a prefix.
    pub(super) fn after(&self, prefix: &str, from: u64) -> Result<Option<Changes>, Error> {
        if from <= self.compacted {
            return Err(Error::Compacted { requested: from, oldest: self.compacted + 1 });
        }
        let concerned = |changes: &Changes| {
            let events: Vec<Event> =
                changes.events.iter().filter(|event| event.key.starts_with(prefix)).cloned().collect();
            (!events.is_empty()).then_some(Changes { revision: changes.revision, events })
        };
        let at = self.history.partition_point(|changes| changes.revision < from);
        Ok(self.history.range(at..).find_map(concerned))
    }

    pub(super) fn compact(&mut self) {
        while self.history.len() > KEPT {
            self.compacted = self.history.pop_front().map_or(self.compacted, |changes| changes.revision);
        }
    }

    pub(super) fn grant(&mut self, ttl: Duration) -> LeaseId {
        self.last_lease += 1;
        let lease = LeaseId(self.last_lease);
        let ends_ms = self.end_of(ttl);
        self.leases.insert(lease, Lease { ttl, ends_ms });
        lease
    }

    pub(super) fn keep_alive(&mut self, lease: LeaseId) -> Result<(), Error> {
        let ttl = self.leases.get(&lease).ok_or(Error::LeaseNotFound(lease))?.ttl;
        let ends_ms = self.end_of(ttl);
        self.leases.insert(lease, Lease { ttl, ends_ms });
        Ok(())
    }

    pub(super) fn revoke(&mut self, lease: LeaseId) -> Result<(), Error> {
        if !self.leases.contains_key(&lease) {
            return Err(Error::LeaseNotFound(lease));
        }
        self.end_lease(lease);
        Ok(())
    }

    pub(super) fn end_lease(&mut self, lease: LeaseId) {
        if self.leases.remove(&lease).is_some() {
            let under = self.keys.iter().filter(|(_, entry)| entry.lease == Some(lease));
            let ops = under.map(|(key, _)| Op::Delete(key.clone())).collect();
            self.apply(ops);
        }
    }

    pub(super) fn advance(&mut self, now_ms: u64) {
        self.now_ms = now_ms;
        let ended: Vec<LeaseId> =
            self.leases.iter().filter(|(_, lease)| lease.ends_ms <= now_ms).map(|(id, _)| *id).collect();
        ended.into_iter().for_each(|lease| self.end_lease(lease));
    }

    fn end_of(&self, ttl: Duration) -> u64 {
        self.now_ms + u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX / 2)
    }
}
