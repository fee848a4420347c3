//! How the lane's thread tells a partition's task that entries are durable: a number and a wake-up, never a queue.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use runnel_wal::{LaneSeq, Listener};
use tokio::sync::Notify;

/// News from the lane. Merging is fine: only the newest number counts.
#[derive(Debug, Default)]
pub(crate) struct Signal {
    durable: AtomicU64,
    failed: AtomicBool,
    notify: Notify,
}

impl Signal {
    /// Waits for news. Cancel-safe; news that came before are not lost.
    pub(crate) async fn news(&self) {
        self.notify.notified().await;
    }

    pub(crate) fn durable_upto(&self) -> u64 {
        self.durable.load(Ordering::Acquire)
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }
}

impl Listener for Signal {
    fn durable(&self, upto: LaneSeq) {
        self.durable.fetch_max(upto.0, Ordering::AcqRel);
        self.notify.notify_one();
    }

    fn failed(&self) {
        self.failed.store(true, Ordering::Release);
        self.notify.notify_one();
    }
}
