//! For tests, of this crate and of those above: faults between runnel and the store, and the conformance suite.
//!
//! The faults sit *below* everything this crate does to resolve unclear answers, so a test that injects one tests
//! that resolution. A rule fires once, on the first request that it matches.

mod conformance;
mod gate;
mod stage;
mod store;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::JoinHandle;

pub use conformance::conformance;
pub(crate) use gate::GateStore;
pub use gate::{Act, Content, Gate, Request};
pub use stage::Stage;
pub(crate) use store::FaultStore;

/// A kind of request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Op {
    /// Whole object or range.
    Get,
    /// Unconditional write of a whole object.
    Put,
    /// Conditional write of an absent object.
    Create,
    /// Conditional write of a present object.
    Replace,
    /// One part of a multipart upload.
    PutPart,
    /// The end of a multipart upload.
    Complete,
    /// The end of a multipart upload that failed.
    Abort,
    /// Deletion.
    Delete,
    /// Listing.
    List,
}

/// What happens to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It is not applied and fails.
    FailBefore,
    /// It is applied, its answer is lost.
    LoseAnswer,
    /// It is applied, and no answer ever comes.
    HangAfter,
    /// It fails at once and is applied after this long, if its condition still holds. Writes only.
    ApplyLater(Duration),
    /// It is on its way for this long, and then applied and answered: also if nobody waits for it any more. Writes and
    /// deletions only, others are as if of [`Fault::Delay`].
    Held(Duration),
    /// It is applied after this long, and then answered.
    Delay(Duration),
    /// It is not applied and answered with a 409, as by a store under contention.
    Conflict,
    /// Its condition is ignored, as by a store that does not know it. Conditional writes only.
    IgnoreCondition,
}

#[derive(Debug)]
struct Rule {
    op: Op,
    path: String,
    skip: u32,
    fault: Fault,
    once: bool,
}

/// What happens to a request that no rule is for.
type Decide = Box<dyn FnMut(Op, &str) -> Option<Fault> + Send>;

#[derive(Default)]
struct State {
    outage: AtomicBool,
    rules: Mutex<Vec<Rule>>,
    decide: Mutex<Option<Decide>>,
    carrier: Mutex<Option<Handle>>,
    seen: Mutex<Vec<(Op, String)>>,
}

/// The faults of a bucket opened by [`crate::Bucket::open_with_faults`]. Cheap to clone.
#[derive(Clone, Default)]
pub struct Faults(Arc<State>);

impl Faults {
    /// No faults yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Does `fault` to the next `op` on a path that contains `path`.
    pub fn once(&self, op: Op, path: &str, fault: Fault) {
        self.add(Rule { op, path: path.to_owned(), skip: 0, fault, once: true });
    }

    /// As [`Faults::once`], after letting `skip` matching requests pass.
    pub fn once_after(&self, skip: u32, op: Op, path: &str, fault: Fault) {
        self.add(Rule { op, path: path.to_owned(), skip, fault, once: true });
    }

    /// Does `fault` to every `op` on a path that contains `path`.
    pub fn always(&self, op: Op, path: &str, fault: Fault) {
        self.add(Rule { op, path: path.to_owned(), skip: 0, fault, once: false });
    }

    /// Asks `decide` about every request that no rule is for, during an outage too.
    pub fn decide(&self, decide: impl FnMut(Op, &str) -> Option<Fault> + Send + 'static) {
        *self.lock(&self.0.decide) = Some(Box::new(decide));
    }

    /// Lets requests that outlive their sender be carried by this runtime, and not by that of the sender.
    pub fn carry_with(&self, carrier: Handle) {
        *self.lock(&self.0.carrier) = Some(carrier);
    }

    /// Does a request after this long, whether its sender is there or not.
    fn carry<T, F>(&self, time: Duration, apply: F) -> JoinHandle<T>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        let work = async move {
            tokio::time::sleep(time).await;
            apply.await
        };
        match self.lock(&self.0.carrier).as_ref() {
            Some(carrier) => carrier.spawn(work),
            None => tokio::spawn(work),
        }
    }

    /// Lets every request fail before it is applied, or ends that.
    pub fn outage(&self, on: bool) {
        self.0.outage.store(on, Ordering::SeqCst);
    }

    /// Removes every rule and ends an outage.
    pub fn clear(&self) {
        self.outage(false);
        self.lock(&self.0.rules).clear();
    }

    /// Rules of [`Faults::once`] that have not fired.
    pub fn unused(&self) -> usize {
        self.lock(&self.0.rules).iter().filter(|rule| rule.once).count()
    }

    /// Every request so far, in order, with the path as the store sees it.
    pub fn requests(&self) -> Vec<(Op, String)> {
        self.lock(&self.0.seen).clone()
    }

    fn add(&self, rule: Rule) {
        self.lock(&self.0.rules).push(rule);
    }

    /// Notes a request and says what happens to it.
    fn next(&self, op: Op, path: &str) -> Option<Fault> {
        self.lock(&self.0.seen).push((op, path.to_owned()));
        let decided = self.lock(&self.0.decide).as_mut().and_then(|decide| decide(op, path));
        if self.0.outage.load(Ordering::SeqCst) {
            return Some(Fault::FailBefore);
        }
        let mut rules = self.lock(&self.0.rules);
        let mut fires = None;
        for (i, rule) in rules.iter_mut().enumerate() {
            if rule.op != op || !path.contains(&rule.path) {
                continue;
            }
            if rule.skip > 0 {
                rule.skip -= 1;
                continue;
            }
            fires = Some((i, rule.fault, rule.once));
            break;
        }
        let Some((i, fault, once)) = fires else { return decided };
        if once {
            rules.remove(i);
        }
        Some(fault)
    }

    fn lock<'a, T>(&self, mutex: &'a Mutex<T>) -> std::sync::MutexGuard<'a, T> {
        mutex.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Faults {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Faults").field("outage", &self.0.outage).field("rules", &self.0.rules).finish_non_exhaustive()
    }
}
