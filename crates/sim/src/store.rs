//! The metadata store: what it holds is in [`state`], and each broker has a way to it of its own, with faults.

mod state;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use runnel_metastore::{
    Changes, Compare, Error, LeaseId, MetaStore, Op, Snapshot, TxnOutcome, Versioned, Watch, check_txn,
};
use runnel_runtime::simulation::Chance;
use tokio::runtime::Handle;
use tokio::sync::watch;

use self::state::State;
use crate::ambush::{Spot, Trap};
use crate::kinds::Fault;
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

    /// Keeps what is in it, to be set back to.
    pub(crate) fn keep(&self) {
        let mut state = self.state();
        state.keep();
    }

    /// Loses everything, or all that came after it was kept.
    pub(crate) fn lose(&self, all: bool) {
        self.change(|state| state.lose(all));
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
    trap: Trap,
    /// Where requests go on that outlive their sender.
    outside: Handle,
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
    /// No change to the record of a partition goes through.
    is_obstructed: bool,
    /// Whoever it is has no store before it is said that it has.
    is_kept_out: bool,
    leases: Vec<LeaseId>,
}

/// What becomes of a request.
enum Fate {
    Answered,
    /// It does not arrive.
    Lost,
    /// It is done, and its answer does not arrive.
    Unheard,
    /// It arrives, whatever becomes of its sender, who waits for so long.
    Held(Duration),
}

impl Access {
    pub(crate) fn new(
        store: &Store,
        name: String,
        (trace, trap): (Trace, Trap),
        outside: Handle,
        (chance, rates): (Chance, Rates),
    ) -> Self {
        let leases = Vec::new();
        let way =
            Way { chance, rates, is_cut: false, is_slow: false, is_obstructed: false, is_kept_out: false, leases };
        Self { store: store.clone(), name, trace, trap, outside, way: Arc::new(Mutex::new(way)) }
    }

    pub(crate) fn cut(&self, is_cut: bool) {
        self.way().is_cut = is_cut;
    }

    pub(crate) fn slow(&self, is_slow: bool) {
        self.way().is_slow = is_slow;
    }

    pub(crate) fn keep_out(&self, is_kept_out: bool) {
        self.way().is_kept_out = is_kept_out;
    }

    pub(crate) fn obstruct(&self, is_obstructed: bool) {
        self.way().is_obstructed = is_obstructed;
    }

    /// The way is open.
    pub(crate) fn relieve(&self) {
        let mut way = self.way();
        (way.is_cut, way.is_slow, way.is_obstructed) = (false, false, false);
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

    /// How long a request travels, and what becomes of it.
    fn fate(&self, is_change: bool, spot: Option<Spot>) -> (Duration, Fate) {
        let mut way = self.way();
        let longest = if way.is_slow { 2_000 } else { 4 };
        let time = Duration::from_millis(way.chance.below(longest));
        let drawn = way.chance.below(1000);
        if way.is_cut || way.is_kept_out || (way.is_obstructed && spot == Some(Spot::Record)) {
            return (time, Fate::Lost);
        }
        if let Some(held) = self.trap.springs(spot) {
            return (held, Fate::Held(held * 2));
        }
        let (lost, unheard) = (way.rates.rate(Fault::StoreLost), way.rates.rate(Fault::StoreUnheard));
        let held = if is_change { way.rates.rate(Fault::StoreHeld) } else { 0 };
        let fault = match drawn {
            n if n < lost => Fault::StoreLost,
            n if n < lost + unheard => Fault::StoreUnheard,
            n if n < lost + unheard + held => Fault::StoreHeld,
            _ => return (time, Fate::Answered),
        };
        self.trace.count_fault(fault);
        match fault {
            Fault::StoreLost => (time, Fate::Lost),
            Fault::StoreUnheard => (time, Fate::Unheard),
            _ => {
                let time = Duration::from_millis(20 << way.chance.below(9));
                (time, Fate::Held(Duration::from_millis(way.chance.below(4_000))))
            }
        }
    }

    async fn read<T>(&self, read: impl FnOnce(&State) -> T + Send) -> Result<T, Error> {
        let (time, fate) = self.fate(false, None);
        tokio::time::sleep(time).await;
        if matches!(fate, Fate::Lost) {
            return Err(Error::AnswerLost);
        }
        let answer = read(&self.store.state());
        if matches!(fate, Fate::Answered) { Ok(answer) } else { Err(Error::AnswerLost) }
    }

    async fn change<T: Send + 'static>(
        &self,
        what: String,
        spot: Option<Spot>,
        change: impl FnOnce(&mut State) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (time, fate) = self.fate(true, spot);
        let (access, losses) = (self.clone(), self.store.state().losses());
        let is_heard = matches!(fate, Fate::Answered);
        let apply = move || {
            // What was sent to a store that is lost does not come to the one after it.
            let apply =
                |state: &mut State| if state.losses() == losses { change(state) } else { Err(Error::AnswerLost) };
            let answer = access.store.change(apply);
            access.trace.note(&access.name, format_args!("store {what} ok={} heard={is_heard}", answer.is_ok()));
            answer
        };
        match fate {
            Fate::Lost => {
                tokio::time::sleep(time).await;
                Err(Error::AnswerLost)
            }
            Fate::Answered | Fate::Unheard => {
                tokio::time::sleep(time).await;
                let answer = apply();
                if is_heard { answer } else { Err(Error::AnswerLost) }
            }
            Fate::Held(patience) => {
                let held = self.outside.spawn(async move {
                    tokio::time::sleep(time).await;
                    apply()
                });
                let answer = tokio::time::timeout(patience, held).await;
                answer.ok().and_then(Result::ok).unwrap_or(Err(Error::AnswerLost))
            }
        }
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
        let spot = Spot::of_keys(then.iter().map(Op::key));
        self.change(what, spot, move |state| state.txn(&compare, then)).await
    }

    async fn grant_lease(&self, ttl: Duration) -> Result<LeaseId, Error> {
        let lease = self.change("grant".to_owned(), None, move |state| Ok(state.grant(ttl))).await?;
        self.way().leases.push(lease);
        Ok(lease)
    }

    async fn keep_alive(&self, lease: LeaseId) -> Result<(), Error> {
        self.change("keep alive".to_owned(), None, move |state| state.keep_alive(lease)).await
    }

    async fn revoke(&self, lease: LeaseId) -> Result<(), Error> {
        self.change("revoke".to_owned(), None, move |state| state.revoke(lease)).await
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
            let time = {
                let mut way = self.access.way();
                let longest = if way.is_slow { 400 } else { 10 };
                way.chance.below(longest)
            };
            tokio::time::sleep(Duration::from_millis(time)).await;
            let is_cut = {
                let way = self.access.way();
                way.is_cut || way.is_kept_out
            };
            if is_cut {
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
