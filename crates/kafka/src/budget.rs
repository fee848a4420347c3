//! How much memory requests and replies may hold: one budget per connection, one for all.
//!
//! A request takes bytes as they arrive, never as announced. Where everyone waits for the shared budget at once, one
//! request at a time may go past it (the *overdraft*), so that something always completes and gives back. Small
//! requests have a pool of their own beside it: clients that send large frames slowly, or never finish them, do not
//! stop the others. The bound is therefore `max_inflight_bytes`, an eighth more, and one request.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ::metrics::Gauge;
use tokio::sync::{Mutex, OwnedMutexGuard, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::metrics;

/// Requests of at most so many bytes may use the pool of small requests: what clients send by default is smaller.
const SMALL: usize = (1 << 20) + (64 << 10);

/// The part of the shared budget that comes on top of it for small requests.
const SMALL_SHARE: usize = 8;

/// What all connections share.
#[derive(Clone)]
pub(crate) struct Shared {
    bytes: Arc<Semaphore>,
    small: Arc<Semaphore>,
    overdraft: Arc<Mutex<()>>,
    gauge: Gauge,
}

impl Shared {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            bytes: Arc::new(Semaphore::new(limit.min(Semaphore::MAX_PERMITS))),
            small: Arc::new(Semaphore::new((limit / SMALL_SHARE).min(Semaphore::MAX_PERMITS))),
            overdraft: Arc::default(),
            gauge: metrics::inflight_bytes(),
        }
    }
}

/// The budget of one connection.
pub(crate) struct Budget {
    own: Arc<Semaphore>,
    limit: usize,
    shared: Shared,
    /// Replies with data that are not written yet.
    replies: Arc<AtomicUsize>,
}

impl Budget {
    pub(crate) fn new(limit: usize, shared: Shared) -> Self {
        let limit = limit.min(u32::MAX as usize);
        Self { own: Arc::new(Semaphore::new(limit)), limit, shared, replies: Arc::default() }
    }

    /// The most that one request may ever hold.
    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    /// A lease of nothing yet.
    pub(crate) fn lease(&self) -> Lease {
        let gauge = self.shared.gauge.clone();
        Lease { own: None, shared: None, pool: None, small: false, overdraft: None, reply: None, bytes: 0, gauge }
    }

    /// A lease of nothing yet for a request of `length` bytes.
    pub(crate) fn lease_for(&self, length: usize) -> Lease {
        let mut lease = self.lease();
        lease.small = length <= SMALL;
        lease
    }

    /// Adds `bytes` to a lease, waiting until the connection and the whole have room. `bytes` and what the lease
    /// holds must be within [`Budget::limit`].
    pub(crate) async fn grow(&self, lease: &mut Lease, bytes: usize) {
        let permits = u32::try_from(bytes).unwrap_or(u32::MAX);
        // Neither semaphore is ever closed; if it were, the bytes would only go uncounted.
        if let Ok(own) = Arc::clone(&self.own).acquire_many_owned(permits).await {
            merge(&mut lease.own, own);
        }
        if lease.overdraft.is_none() {
            tokio::select! {
                biased;
                Ok(shared) = Arc::clone(&self.shared.bytes).acquire_many_owned(permits) => merge(&mut lease.shared, shared),
                Ok(pool) = Arc::clone(&self.shared.small).acquire_many_owned(permits), if lease.small => {
                    merge(&mut lease.pool, pool);
                }
                guard = Arc::clone(&self.shared.overdraft).lock_owned() => lease.overdraft = Some((guard, Instant::now())),
            }
        }
        lease.add(bytes);
    }

    /// Sets bytes aside for a reply of up to `want` bytes, without waiting: at most half of what is free, so that
    /// requests still get through. The lease tells how large the reply may get.
    pub(crate) fn reserve(&self, want: usize) -> Lease {
        let mut lease = self.lease();
        // Set aside is not held: the gauge counts what the reply turns out to be.
        lease.gauge = Gauge::noop();
        let free = self.own.available_permits().min(self.shared.bytes.available_permits());
        let bytes = want.min(free / 2);
        let permits = u32::try_from(bytes).unwrap_or(u32::MAX);
        // Only the connection's own bytes are held while a fetch waits for data: it may wait for long.
        if let Ok(own) = Arc::clone(&self.own).try_acquire_many_owned(permits) {
            merge(&mut lease.own, own);
            lease.add(bytes);
        }
        lease
    }

    /// Turns a reservation, or what was settled before, into what the reply of `bytes` really holds. Returns how many
    /// of them the shared budget has room for.
    pub(crate) fn settle(&self, lease: &mut Lease, bytes: usize) -> usize {
        let held = lease.own.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        if bytes < held {
            drop(lease.own.as_mut().and_then(|own| own.split(held - bytes)));
        }
        lease.shared = None;
        let counted = bytes.min(self.shared.bytes.available_permits());
        let permits = u32::try_from(counted).unwrap_or(u32::MAX);
        let granted = match Arc::clone(&self.shared.bytes).try_acquire_many_owned(permits) {
            Ok(shared) => {
                lease.shared = Some(shared);
                counted
            }
            Err(_) => 0,
        };
        lease.gauge.decrement(lease.bytes as f64);
        lease.gauge = self.shared.gauge.clone();
        lease.bytes = 0;
        lease.add(bytes);
        granted
    }
}

impl Budget {
    /// Counts a reply with data. True if it is the connection's only one that is not written yet: then it may go past
    /// the shared budget by a little, because its client has nothing else to get on with.
    pub(crate) fn is_only_reply(&self, lease: &mut Lease) -> bool {
        lease.reply = Some(Arc::clone(&self.replies));
        self.replies.fetch_add(1, Ordering::AcqRel) == 0
    }
}

fn merge(held: &mut Option<OwnedSemaphorePermit>, more: OwnedSemaphorePermit) {
    match held {
        Some(permit) => permit.merge(more),
        None => *held = Some(more),
    }
}

/// Bytes that someone holds; given back when dropped.
pub(crate) struct Lease {
    own: Option<OwnedSemaphorePermit>,
    shared: Option<OwnedSemaphorePermit>,
    /// Of the pool of small requests.
    pool: Option<OwnedSemaphorePermit>,
    small: bool,
    overdraft: Option<(OwnedMutexGuard<()>, Instant)>,
    /// Counts the reply that holds this, until it is written.
    reply: Option<Arc<AtomicUsize>>,
    bytes: usize,
    gauge: Gauge,
}

impl Lease {
    /// How many bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Since when this lease has been the one that goes past the shared budget.
    pub(crate) fn overdrawn_since(&self) -> Option<Instant> {
        self.overdraft.as_ref().map(|(_, since)| *since)
    }

    fn add(&mut self, bytes: usize) {
        self.bytes += bytes;
        self.gauge.increment(bytes as f64);
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.gauge.decrement(self.bytes as f64);
        if let Some(replies) = &self.reply {
            replies.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    fn grow_now(budget: &Budget, lease: &mut Lease, bytes: usize) -> bool {
        budget.grow(lease, bytes).now_or_never().is_some()
    }

    #[test]
    fn a_connection_cannot_hold_more_than_its_own_limit() {
        let budget = Budget::new(100, Shared::new(1000));
        let (mut a, mut b) = (budget.lease(), budget.lease());
        assert!(grow_now(&budget, &mut a, 60));
        assert!(!grow_now(&budget, &mut b, 60), "must wait");
        drop(a);
        assert!(grow_now(&budget, &mut b, 60));
        assert_eq!(b.bytes(), 60);
    }

    #[test]
    fn when_all_wait_for_the_shared_budget_exactly_one_goes_on() {
        let shared = Shared::new(100);
        let budgets: Vec<_> = (0..4).map(|_| Budget::new(100, shared.clone())).collect();
        let mut leases: Vec<_> = budgets.iter().map(Budget::lease).collect();
        for (budget, lease) in budgets.iter().zip(&mut leases) {
            assert!(grow_now(budget, lease, 25));
        }
        let went_on: Vec<_> = budgets.iter().zip(&mut leases).map(|(b, l)| grow_now(b, l, 25)).collect();
        assert_eq!(went_on, [true, false, false, false], "no deadlock, and no more than one past the limit");
        leases.remove(0);
        assert!(grow_now(&budgets[1], &mut leases[0], 25), "what was given back is there for the next");
        assert!(leases[0].overdrawn_since().is_none());
    }

    #[test]
    fn replies_read_at_the_same_time_share_what_is_free() {
        let shared = Shared::new(100);
        let budgets: Vec<_> = (0..3).map(|_| Budget::new(1000, shared.clone())).collect();
        let mut replies: Vec<_> = budgets.iter().map(|budget| budget.reserve(1000)).collect();
        assert!(replies.iter().all(|reply| reply.bytes() == 50), "nobody holds anything yet");
        let granted: Vec<_> = budgets.iter().zip(&mut replies).map(|(b, r)| b.settle(r, 50)).collect();
        assert_eq!(granted, [50, 50, 0]);
        budgets[2].settle(&mut replies[2], 0);
        assert!(budgets[2].is_only_reply(&mut replies[2]));
        assert!(!budgets[2].is_only_reply(&mut budgets[2].lease()), "two are waiting to be written");
        replies.remove(0);
        assert_eq!(budgets[2].settle(&mut replies[1], 50), 50, "a reply written makes room");
    }

    #[test]
    fn small_requests_go_on_while_large_ones_hold_everything() {
        let shared = Shared::new(80);
        let budgets: Vec<_> = (0..3).map(|_| Budget::new(1000, shared.clone())).collect();
        let mut large: Vec<_> = budgets.iter().map(|budget| budget.lease_for(SMALL + 1)).collect();
        assert!(grow_now(&budgets[0], &mut large[0], 80), "all there is");
        assert!(grow_now(&budgets[1], &mut large[1], 80), "the overdraft");
        assert!(!grow_now(&budgets[2], &mut large[2], 1), "must wait");
        let mut small = budgets[2].lease_for(SMALL);
        assert!(grow_now(&budgets[2], &mut small, 10));
        assert!(!grow_now(&budgets[2], &mut small, 1), "the pool is bounded too");
        drop(small);
        assert!(grow_now(&budgets[2], &mut budgets[2].lease_for(SMALL), 10));
    }

    #[test]
    fn a_reply_takes_at_most_half_of_what_is_free_and_returns_the_rest() {
        let budget = Budget::new(100, Shared::new(1000));
        let mut reply = budget.reserve(1 << 30);
        assert_eq!(reply.bytes(), 50);
        assert_eq!(budget.settle(&mut reply, 10), 10);
        assert_eq!(reply.bytes(), 10);
        let mut request = budget.lease();
        assert!(grow_now(&budget, &mut request, 90));
        assert!(!grow_now(&budget, &mut request, 1));
    }
}
