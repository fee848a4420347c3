//! Hands values from one loop of a task to another of the same task, which is polled after it.
//!
//! A channel would wake the task that is running: the runtime would put it into its queue once more and wake a second
//! thread to look at that queue. Whoever is polled later in the same turn finds what is there without being woken.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Poll;

/// A queue of which both ends are in one task. Its lock is there for the task, which moves between threads.
pub(crate) struct Handover<T>(Mutex<Queue<T>>);

struct Queue<T> {
    values: VecDeque<T>,
    ended: bool,
}

impl<T> Handover<T> {
    pub(crate) const fn new() -> Self {
        Self(Mutex::new(Queue { values: VecDeque::new(), ended: false }))
    }

    pub(crate) fn put(&self, value: T) {
        self.queue().values.push_back(value);
    }

    /// Nothing more is put.
    pub(crate) fn end(&self) {
        self.queue().ended = true;
    }

    /// The next value; `None` after the last one. Wakes nobody: must be polled whenever whoever puts was, and after it.
    pub(crate) async fn take(&self) -> Option<T> {
        poll_fn(|_| self.poll_take()).await
    }

    /// The same in a turn that is under way.
    pub(crate) fn poll_take(&self) -> Poll<Option<T>> {
        let mut queue = self.queue();
        match queue.values.pop_front() {
            Some(value) => Poll::Ready(Some(value)),
            None if queue.ended => Poll::Ready(None),
            None => Poll::Pending,
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn values_come_in_order_and_then_the_end() {
        let handover = Handover::new();
        let putting = async {
            for value in 0..3 {
                handover.put(value);
                tokio::task::yield_now().await;
            }
            handover.end();
        };
        let taking = async {
            let mut taken = Vec::new();
            while let Some(value) = handover.take().await {
                taken.push(value);
            }
            taken
        };
        let both = async { tokio::join!(biased; putting, taking).1 };
        assert_eq!(both.await, [0, 1, 2]);
    }
}
