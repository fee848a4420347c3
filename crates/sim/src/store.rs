//! The metadata store: what it holds is in [`state`], and each broker has a way to it of its own, with faults.

mod state;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use runnel_metastore::{
    Changes, Compare, Error, LeaseId, MetaStore, Op, Snapshot, TxnOutcome, Versioned, Watch, check_txn,
};
use runnel_runtime::simulation::Chance;
use tokio::sync::watch;

use self::state::State;
use crate::swarm::Rates;
use crate::trace::Trace;

/// The store itself.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    state: Arc<Mutex<State>>,
    revision: watch::Sender<u64>,
}

impl Store {
    pub(crate) fn new() -> Self {
        Self { state: Arc::default(), revision: watch::Sender::new(0) }
    }

    /// Time goes on: leases end.
    pub(crate) fn advance(&self, now_ms: u64) {
        self.change(|state| state.advance(now_ms));
    }

    /// Forgets changes, but for the last ones.
    pub(crate) fn compact(&self) {
        self.state().compact();
    }

    /// Ends a lease, whatever its time.
    pub(crate) fn expire(&self, lease: LeaseId) {
        self.change(|state| state.end_lease(lease));
    }

    /// The keys below a prefix.
    pub(crate) fn keys(&self, prefix: &str) -> Vec<String> {
        self.state().snapshot(prefix).entries.into_iter().map(|(key, _)| key).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let (done, revision) = {
            let mut state = self.state();
            (change(&mut state), state.revision())
        };
        self.revision.send_if_modified(|known| std::mem::replace(known, revision) != revision);
        done
    }
}

/// A broker's way to the store. The clones are one way.
#[derive(Debug, Clone)]
pub(crate) struct Access {
    store: Store,
    name: String,
    trace: Trace,
    way: Arc<Mutex<Way>>,
}

#[derive(Debug)]
struct Way {
    chance: Chance,
    rates: Rates,
    /// Nothing goes through.
    is_cut: bool,
    /// Requests take longer than a lease lasts, now and then.
    is_slow: bool,
    leases: Vec<LeaseId>,
}

/// What becomes of a request.
enum Fate {
    Answered,
    /// It does not arrive.
    Lost,
    /// It is done, and its answer does not arrive.
    Unheard,
}

impl Access {
    pub(crate) fn new(store: &Store, name: String, trace: Trace, chance: Chance, rates: Rates) -> Self {
        let way = Way { chance, rates, is_cut: false, is_slow: false, leases: Vec::new() };
        Self { store: store.clone(), name, trace, way: Arc::new(Mutex::new(way)) }
    }

    pub(crate) fn cut(&self, is_cut: bool) {
        self.way().is_cut = is_cut;
    }

    pub(crate) fn slow(&self, is_slow: bool) {
        self.way().is_slow = is_slow;
    }

    /// The way is open.
    pub(crate) fn relieve(&self) {
        let mut way = self.way();
        (way.is_cut, way.is_slow) = (false, false);
    }

    /// No faults from here on.
    pub(crate) fn heal(&self) {
        self.relieve();
        self.way().rates = Rates::NONE;
    }

    /// Ends the leases that were granted this way.
    pub(crate) fn expire(&self) {
        let leases = std::mem::take(&mut self.way().leases);
        leases.into_iter().for_each(|lease| self.store.expire(lease));
    }

    fn way(&self) -> MutexGuard<'_, Way> {
        self.way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a request travel, and says what becomes of it.
    async fn travel(&self) -> Result<Fate, Error> {
        let (time, fate) = {
            let mut way = self.way();
            let (lost, unheard) = (way.rates.store_lost, way.rates.store_unheard);
            let longest = if way.is_slow { 2_000 } else { 4 };
            let time = Duration::from_millis(way.chance.below(longest));
            let fate = match way.chance.below(1000) {
                _ if way.is_cut => Fate::Lost,
                n if n < lost => Fate::Lost,
                n if n < lost + unheard => Fate::Unheard,
                _ => Fate::Answered,
            };
            (time, fate)
        };
        tokio::time::sleep(time).await;
        if matches!(fate, Fate::Lost) { Err(Error::AnswerLost) } else { Ok(fate) }
    }

    async fn read<T>(&self, read: impl FnOnce(&State) -> T + Send) -> Result<T, Error> {
        let fate = self.travel().await?;
        let answer = read(&self.store.state());
        if matches!(fate, Fate::Answered) { Ok(answer) } else { Err(Error::AnswerLost) }
    }

    async fn change<T: Send>(
        &self,
        what: &str,
        change: impl FnOnce(&mut State) -> Result<T, Error> + Send,
    ) -> Result<T, Error> {
        let fate = self.travel().await?;
        let answer = self.store.change(change);
        let heard = matches!(fate, Fate::Answered);
        self.trace.note(&self.name, format_args!("store {what} ok={} heard={heard}", answer.is_ok()));
        if heard { answer } else { Err(Error::AnswerLost) }
    }
}

#[async_trait]
impl MetaStore for Access {
    async fn get(&self, key: &str) -> Result<Option<Versioned>, Error> {
        self.read(|state| state.get(key)).await
    }

    async fn snapshot(&self, prefix: &str) -> Result<Snapshot, Error> {
        self.read(|state| state.snapshot(prefix)).await
    }

    async fn txn(&self, compare: Vec<Compare>, then: Vec<Op>) -> Result<TxnOutcome, Error> {
        check_txn(&compare, &then)?;
        let what = format!("txn {:?}", then.iter().map(Op::key).collect::<Vec<_>>());
        self.change(&what, |state| state.txn(&compare, then)).await
    }

    async fn grant_lease(&self, ttl: Duration) -> Result<LeaseId, Error> {
        let lease = self.change("grant", |state| Ok(state.grant(ttl))).await?;
        self.way().leases.push(lease);
        Ok(lease)
    }

    async fn keep_alive(&self, lease: LeaseId) -> Result<(), Error> {
        self.change("keep alive", |state| state.keep_alive(lease)).await
    }

    async fn revoke(&self, lease: LeaseId) -> Result<(), Error> {
        self.change("revoke", |state| state.revoke(lease)).await
    }

    fn watch(&self, prefix: &str, from_revision: u64) -> Box<dyn Watch> {
        Box::new(Following {
            access: self.clone(),
            prefix: prefix.to_owned(),
            next: from_revision.max(1),
            news: self.store.revision.subscribe(),
        })
    }

    async fn close(&self) {}
}

struct Following {
    access: Access,
    prefix: String,
    next: u64,
    news: watch::Receiver<u64>,
}

#[async_trait]
impl Watch for Following {
    async fn next(&mut self) -> Result<Changes, Error> {
        loop {
            // News travel, and wait where the way is cut.
            let time = self.access.way().chance.below(10);
            tokio::time::sleep(Duration::from_millis(time)).await;
            if self.access.way().is_cut {
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            }
            let found = self.access.store.state().after(&self.prefix, self.next)?;
            if let Some(changes) = found {
                self.next = changes.revision + 1;
                return Ok(changes);
            }
            self.news.changed().await.map_err(|_| Error::Closed)?;
        }
    }
}
