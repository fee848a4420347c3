//! One broker's way to the metadata store that all share: it can be cut, and lose answers.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use runnel_metastore::{
    Changes, Compare, Embedded, Error, LeaseId, MetaStore, Op, Snapshot, TxnOutcome, Versioned, Watch,
};
use tokio::sync::watch;

/// What happens to requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Open,
    /// Nothing arrives, and no news come.
    Cut,
    /// Changes arrive, and their answers get lost.
    Deaf,
    /// Everything is answered, and no news come.
    Late,
}

/// The shared store as one broker reaches it.
#[derive(Clone)]
pub(crate) struct Store {
    shared: Arc<Embedded>,
    way: watch::Sender<Way>,
    held: watch::Sender<Held>,
    leases: Arc<Mutex<Vec<LeaseId>>>,
}

/// Changes that are on their way for longer than usual.
#[derive(Debug, Default)]
struct Held {
    /// Those of keys that begin with this.
    prefix: Option<&'static str>,
    /// How many there were.
    changes: usize,
}

impl Store {
    pub(crate) fn new(shared: Arc<Embedded>) -> Self {
        Self { shared, way: watch::Sender::new(Way::Open), held: watch::Sender::default(), leases: Arc::default() }
    }

    pub(crate) fn set(&self, way: Way) {
        self.way.send_replace(way);
    }

    /// Changes of keys that begin with `prefix` arrive when [`release`](Self::release) says so, not before.
    pub(crate) fn hold(&self, prefix: &'static str) {
        self.held.send_replace(Held { prefix: Some(prefix), changes: 0 });
    }

    pub(crate) fn holds(&self) -> usize {
        self.held.borrow().changes
    }

    pub(crate) fn release(&self) {
        self.held.send_replace(Held::default());
    }

    async fn wait_if_held(&self, then: &[Op]) {
        let concerned =
            |held: &Held| held.prefix.is_some_and(|prefix| then.iter().any(|op| op.key().starts_with(prefix)));
        if concerned(&self.held.borrow()) {
            self.held.send_modify(|held| held.changes += 1);
            drop(self.held.subscribe().wait_for(|held| !concerned(held)).await);
        }
    }

    /// The time of everything that was leased this way is over.
    pub(crate) async fn expire(&self) {
        let leases = std::mem::take(&mut *self.leases.lock().unwrap());
        for lease in leases {
            // It may have been revoked by its owner.
            drop(self.shared.revoke(lease).await);
        }
    }

    fn before(&self) -> Result<(), Error> {
        if *self.way.borrow() == Way::Cut { Err(unreachable()) } else { Ok(()) }
    }

    fn after<T>(&self, answer: T) -> Result<T, Error> {
        if matches!(*self.way.borrow(), Way::Open | Way::Late) { Ok(answer) } else { Err(unreachable()) }
    }
}

fn unreachable() -> Error {
    Error::AnswerLost
}

#[async_trait]
impl MetaStore for Store {
    async fn get(&self, key: &str) -> Result<Option<Versioned>, Error> {
        self.before()?;
        self.shared.get(key).await
    }

    async fn snapshot(&self, prefix: &str) -> Result<Snapshot, Error> {
        self.before()?;
        self.shared.snapshot(prefix).await
    }

    async fn txn(&self, compare: Vec<Compare>, then: Vec<Op>) -> Result<TxnOutcome, Error> {
        self.before()?;
        self.wait_if_held(&then).await;
        let outcome = self.shared.txn(compare, then).await?;
        self.after(outcome)
    }

    async fn grant_lease(&self, ttl: Duration) -> Result<LeaseId, Error> {
        self.before()?;
        let lease = self.shared.grant_lease(ttl).await?;
        self.leases.lock().unwrap().push(lease);
        self.after(lease)
    }

    async fn keep_alive(&self, lease: LeaseId) -> Result<(), Error> {
        self.before()?;
        self.shared.keep_alive(lease).await
    }

    async fn revoke(&self, lease: LeaseId) -> Result<(), Error> {
        self.before()?;
        self.shared.revoke(lease).await
    }

    fn watch(&self, prefix: &str, from_revision: u64) -> Box<dyn Watch> {
        Box::new(Gated { inner: self.shared.watch(prefix, from_revision), way: self.way.subscribe() })
    }

    async fn close(&self) {}
}

struct Gated {
    inner: Box<dyn Watch>,
    way: watch::Receiver<Way>,
}

#[async_trait]
impl Watch for Gated {
    async fn next(&mut self) -> Result<Changes, Error> {
        let next = self.inner.next().await;
        drop(self.way.wait_for(|way| matches!(way, Way::Open | Way::Deaf)).await);
        next
    }
}
