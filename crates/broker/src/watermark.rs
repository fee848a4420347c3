//! The high watermark of a partition, and those who wait for it to move.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use runnel_record::Offset;
use tokio::sync::Notify;

/// A high watermark that only rises.
#[derive(Debug, Default)]
pub(crate) struct Watermark {
    offset: AtomicI64,
    waiters: Mutex<Waiters>,
}

#[derive(Debug, Default)]
struct Waiters {
    next: u64,
    waiting: BTreeMap<u64, Arc<Notify>>,
}

impl Watermark {
    pub(crate) fn new(offset: Offset) -> Self {
        Self { offset: AtomicI64::new(offset.0), waiters: Mutex::default() }
    }

    pub(crate) fn get(&self) -> Offset {
        Offset(self.offset.load(Ordering::Acquire))
    }

    /// Raises the watermark and wakes everyone who waits. Invariant 22: it never falls.
    pub(crate) fn advance(&self, to: Offset) {
        let before = self.offset.fetch_max(to.0, Ordering::AcqRel);
        if before < to.0 {
            self.wake();
        }
    }

    /// Wakes everyone who waits, to look again.
    pub(crate) fn wake(&self) {
        let waiting = {
            let mut waiters = self.waiters.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut waiters.waiting)
        };
        for waiter in waiting.into_values() {
            waiter.notify_one();
        }
    }

    /// Registers `notify` for the next rise. A caller reads the watermark again after registering.
    pub(crate) fn wait<'a>(&'a self, notify: &Arc<Notify>) -> Waiting<'a> {
        let mut waiters = self.waiters.lock().unwrap_or_else(PoisonError::into_inner);
        let id = waiters.next;
        waiters.next += 1;
        waiters.waiting.insert(id, Arc::clone(notify));
        Waiting { watermark: self, id }
    }
}

/// A registration that ends when dropped, so that idle partitions do not collect waiters.
pub(crate) struct Waiting<'a> {
    watermark: &'a Watermark,
    id: u64,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut waiters = self.watermark.waiters.lock().unwrap_or_else(PoisonError::into_inner);
        waiters.waiting.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use futures::FutureExt;

    #[tokio::test]
    async fn wakes_on_a_rise_only_and_forgets_dropped_waiters() {
        let mark = Watermark::new(Offset(5));
        let notify = Arc::new(Notify::new());
        let waiting = mark.wait(&notify);
        mark.advance(Offset(4));
        assert_eq!(mark.get(), Offset(5));
        assert!(notify.notified().now_or_never().is_none());
        mark.advance(Offset(6));
        assert!(notify.notified().now_or_never().is_some());
        drop(waiting);
        drop(mark.wait(&notify));
        assert!(mark.waiters.lock().unwrap().waiting.is_empty());
    }
}
