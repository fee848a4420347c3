//! How much memory requests and replies may hold.
//!
//! Requests take bytes as they arrive, never as announced, from a budget of their connection and from one for all, and
//! give them back when they are answered. Small messages have a pool of their own beside it: clients that send large
//! ones slowly, or never finish them, do not stop the others. Replies never wait for room, or clients that do not
//! read would hold up those that do: they get smaller as it fills. The bound is therefore twice `max_inflight_bytes`,
//! an eighth more, and [`LEAST`] for each call.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use ::metrics::Gauge;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::metrics;

/// Messages of at most so many bytes may use the pool of small messages.
const SMALL: usize = (1 << 20) + (64 << 10);

/// The part of the budget that comes on top of it for small messages.
const SMALL_SHARE: usize = 8;

/// What a reply may hold however full the budget is, or the first batch of it.
const LEAST: usize = 64 << 10;

/// What all connections share.
pub(crate) struct Budget {
    bytes: Arc<Semaphore>,
    small: Arc<Semaphore>,
    limit: usize,
    replies: AtomicUsize,
    gauge: Gauge,
}

impl Budget {
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        let limit = limit.min(Semaphore::MAX_PERMITS);
        Arc::new(Self {
            bytes: Arc::new(Semaphore::new(limit)),
            small: Arc::new(Semaphore::new(limit / SMALL_SHARE)),
            limit,
            replies: AtomicUsize::new(0),
            gauge: metrics::inflight_bytes(),
        })
    }

    /// The part of `want` that a reply may have.
    pub(crate) fn room(&self, want: usize) -> usize {
        let free = self.limit.saturating_sub(self.replies.load(Ordering::Relaxed));
        want.min(free / 4).max(LEAST.min(want))
    }

    /// Counts the bytes of a reply.
    pub(crate) fn hold(self: &Arc<Self>, bytes: usize) -> Held {
        self.replies.fetch_add(bytes, Ordering::Relaxed);
        self.gauge.increment(bytes as f64);
        Held { budget: Arc::clone(self), bytes }
    }
}

/// Bytes of a reply; given back when dropped.
pub(crate) struct Held {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.budget.replies.fetch_sub(self.bytes, Ordering::Relaxed);
        self.budget.gauge.decrement(self.bytes as f64);
    }
}

/// What one call has read and not done with; all of it is given back when dropped.
pub(crate) struct Lease {
    budget: Arc<Budget>,
    own: Arc<Semaphore>,
    held: Mutex<Permits>,
}

#[derive(Default)]
struct Permits {
    own: Option<OwnedSemaphorePermit>,
    shared: Option<OwnedSemaphorePermit>,
    small: Option<OwnedSemaphorePermit>,
    /// Sizes of the messages that have come whole and are not done with, in order.
    messages: VecDeque<usize>,
}

impl Lease {
    /// A lease of nothing yet, for a call on the connection whose budget is `own`.
    pub(crate) fn new(budget: Arc<Budget>, own: Arc<Semaphore>) -> Self {
        Self { budget, own, held: Mutex::default() }
    }

    /// Adds bytes of a message of `message` bytes, waiting until there is room.
    pub(crate) async fn grow(&self, bytes: usize, message: usize) {
        let permits = u32::try_from(bytes).unwrap_or(u32::MAX);
        // The semaphores are never closed; if they were, the bytes would only go uncounted.
        if let Ok(own) = Arc::clone(&self.own).acquire_many_owned(permits).await {
            merge(&mut self.permits().own, own);
        }
        tokio::select! {
            biased;
            Ok(shared) = Arc::clone(&self.budget.bytes).acquire_many_owned(permits) => {
                merge(&mut self.permits().shared, shared);
            }
            Ok(small) = Arc::clone(&self.budget.small).acquire_many_owned(permits), if message <= SMALL => {
                merge(&mut self.permits().small, small);
            }
        }
        self.budget.gauge.increment(bytes as f64);
    }

    /// A message of so many bytes, prefix included, is complete.
    pub(crate) fn arrived(&self, bytes: usize) {
        self.permits().messages.push_back(bytes);
    }

    /// The oldest message is done with: gives back what it took.
    pub(crate) fn done(&self) {
        let oldest = self.permits().messages.pop_front();
        self.shrink(oldest.unwrap_or(0));
    }

    fn shrink(&self, bytes: usize) {
        let mut permits = self.permits();
        drop(split(&mut permits.own, bytes));
        let small = split(&mut permits.small, bytes);
        let rest = bytes - small.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let shared = split(&mut permits.shared, rest);
        let freed = [small, shared].iter().flatten().map(OwnedSemaphorePermit::num_permits).sum::<usize>();
        self.budget.gauge.decrement(freed as f64);
    }

    fn permits(&self) -> std::sync::MutexGuard<'_, Permits> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.shrink(usize::MAX);
    }
}

fn merge(held: &mut Option<OwnedSemaphorePermit>, more: OwnedSemaphorePermit) {
    match held {
        Some(permit) => permit.merge(more),
        None => *held = Some(more),
    }
}

/// Takes up to `bytes` out of what is held.
fn split(held: &mut Option<OwnedSemaphorePermit>, bytes: usize) -> Option<OwnedSemaphorePermit> {
    let permit = held.as_mut()?;
    permit.split(bytes.min(permit.num_permits()))
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    fn lease(budget: &Arc<Budget>, own: usize) -> Lease {
        Lease::new(Arc::clone(budget), Arc::new(Semaphore::new(own)))
    }

    fn grows(lease: &Lease, bytes: usize, message: usize) -> bool {
        lease.grow(bytes, message).now_or_never().is_some()
    }

    #[test]
    fn a_connection_and_all_of_them_have_limits() {
        let budget = Budget::new(100);
        let first = lease(&budget, 60);
        assert!(grows(&first, 60, SMALL + 1));
        assert!(!grows(&first, 1, SMALL + 1), "the connection has no more");
        let second = lease(&budget, 1000);
        assert!(!grows(&second, 41, SMALL + 1), "nor have all of them");
        first.shrink(20);
        assert!(grows(&second, 60, SMALL + 1));
        drop(first);
        assert!(grows(&second, 40, SMALL + 1));
    }

    #[test]
    fn messages_give_back_what_they_took() {
        let budget = Budget::new(100);
        let call = lease(&budget, 100);
        assert!(grows(&call, 100, SMALL + 1));
        call.arrived(30);
        call.arrived(50);
        call.done();
        assert!(grows(&call, 30, SMALL + 1) && !grows(&call, 1, SMALL + 1));
        call.done();
        call.done();
        assert!(grows(&call, 50, SMALL + 1) && !grows(&call, 1, SMALL + 1));
    }

    #[test]
    fn small_messages_go_on_while_large_ones_hold_everything() {
        let budget = Budget::new(80);
        let large = lease(&budget, 1000);
        assert!(grows(&large, 80, SMALL + 1));
        let small = lease(&budget, 1000);
        assert!(grows(&small, 10, SMALL));
        assert!(!grows(&small, 1, SMALL), "the pool is bounded too");
        small.shrink(usize::MAX);
        assert!(grows(&small, 10, SMALL));
    }

    #[test]
    fn replies_get_smaller_as_the_room_fills_and_never_wait() {
        let budget = Budget::new(8 << 20);
        assert_eq!(budget.room(1 << 20), 1 << 20);
        let held = budget.hold(6 << 20);
        assert_eq!(budget.room(1 << 20), 512 << 10);
        let more = budget.hold(100 << 20);
        assert_eq!((budget.room(1 << 20), budget.room(10)), (LEAST, 10));
        drop((held, more));
        assert_eq!(budget.room(1 << 20), 1 << 20);
    }
}
