//! What the handles, the writer and the keeper of a log share.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use runnel_runtime::FailPoints;
use runnel_runtime::simulation::is_simulated;
use tokio::sync::Notify;

use crate::Error;
use crate::index::Index;
use crate::keeper::Work;
use crate::lanes::Lanes;
use crate::metrics;
use crate::options::Options;
use crate::queue::Queue;

/// Locks are taken one at a time, and never held over I/O.
pub(crate) struct Shared {
    pub(crate) options: Options,
    pub(crate) fail: FailPoints,
    pub(crate) lanes: Lanes,
    /// Generation of the lane being written.
    pub(crate) live: u64,
    queue: Mutex<Queue>,
    /// The queue got work, or the lane ended.
    pub(crate) queue_changed: Condvar,
    index: Mutex<Index>,
    /// A copy of what the index says, so that appends need not lock it.
    unshipped: AtomicU64,
    work: Mutex<Work>,
    /// The keeper got work.
    pub(crate) work_wanted: Condvar,
    /// The keeper did some.
    pub(crate) work_done: Condvar,
    /// In a simulation: there is something to do for either.
    stirred: Option<Notify>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic while a lock is held leaves the data as consistent as an early return would.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub(crate) fn new(
        options: Options,
        fail: FailPoints,
        lanes: Lanes,
        live: u64,
        queue: Queue,
        index: Index,
        work: Work,
    ) -> Self {
        metrics::limit(options.max_unshipped);
        let unshipped = AtomicU64::new(index.unshipped());
        let (queue, index, work) = (Mutex::new(queue), Mutex::new(index), Mutex::new(work));
        let (queue_changed, work_wanted, work_done) = (Condvar::new(), Condvar::new(), Condvar::new());
        let stirred = is_simulated().then(Notify::new);
        Self {
            options,
            fail,
            lanes,
            live,
            queue,
            queue_changed,
            index,
            unshipped,
            work,
            work_wanted,
            work_done,
            stirred,
        }
    }

    /// Tells the writer that the queue has changed.
    pub(crate) fn want_write(&self) {
        self.queue_changed.notify_all();
        self.stir();
    }

    /// Tells the keeper that there is work.
    pub(crate) fn want_work(&self) {
        self.work_wanted.notify_all();
        self.stir();
    }

    /// Wakes who works in a simulation.
    pub(crate) fn stir(&self) {
        self.stirred.iter().for_each(Notify::notify_one);
    }

    /// Waits until there is something to do, in a simulation.
    pub(crate) async fn stirred(&self) {
        match &self.stirred {
            Some(stirred) => stirred.notified().await,
            None => std::future::pending().await,
        }
    }

    pub(crate) fn queue(&self) -> MutexGuard<'_, Queue> {
        locked(&self.queue)
    }

    pub(crate) fn work(&self) -> MutexGuard<'_, Work> {
        locked(&self.work)
    }

    /// Looks into the index, or changes it.
    pub(crate) fn index<T>(&self, use_it: impl FnOnce(&mut Index) -> T) -> T {
        let mut index = locked(&self.index);
        let result = use_it(&mut index);
        let (unshipped, files) = (index.unshipped(), index.file_count());
        self.unshipped.store(unshipped, Ordering::Release);
        drop(index);
        metrics::unshipped(unshipped);
        metrics::files(files);
        result
    }

    pub(crate) fn unshipped(&self) -> u64 {
        self.unshipped.load(Ordering::Acquire)
    }

    /// Ends the lane: the first failed write or sync is the last one.
    pub(crate) fn end(&self, error: &Error) {
        tracing::error!(%error, "the local lane has ended: nothing can be appended until the next session");
        self.stop(&error.to_string());
    }

    /// Ends the lane without an alarm.
    pub(crate) fn stop(&self, reason: &str) {
        self.queue().end(reason);
        self.work().lane_ended();
        self.work_done.notify_all();
        self.want_write();
    }
}
