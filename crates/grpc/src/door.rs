//! What every verb may use.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use runnel_api::Broker;
use runnel_peer::Peer;
use runnel_runtime::{Clock, Shutdown};

use crate::budget::Budget;
use crate::options::Options;

/// The surroundings of the calls.
pub(crate) struct Door {
    /// Who does the work.
    pub(crate) broker: Arc<dyn Broker>,
    /// What this broker answers to others; nothing if it has none.
    pub(crate) own: Option<Arc<dyn Peer>>,
    /// For records that bring no timestamp.
    pub(crate) clock: Arc<dyn Clock>,
    /// The settings.
    pub(crate) options: Options,
    /// The broker is about to stop: sessions drain.
    pub(crate) draining: Shutdown,
    /// What requests and replies may hold.
    pub(crate) budget: Arc<Budget>,
    /// Spreads records without a key over the partitions, a request at a time.
    turn: AtomicU32,
}

impl Door {
    pub(crate) fn new(
        broker: Arc<dyn Broker>,
        own: Option<Arc<dyn Peer>>,
        clock: Arc<dyn Clock>,
        options: Options,
        draining: Shutdown,
    ) -> Arc<Self> {
        let budget = Budget::new(options.max_inflight_bytes);
        Arc::new(Self { broker, own, clock, options, draining, budget, turn: AtomicU32::new(0) })
    }

    /// A partition for what has no key, another one each time.
    pub(crate) fn next_partition(&self, partitions: i32) -> i32 {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        i32::try_from(turn % partitions.max(1).unsigned_abs()).unwrap_or(0)
    }
}

/// A time that a client gave in milliseconds, within limits.
pub(crate) fn duration(ms: Option<u32>, default: Duration, min: Duration, max: Duration) -> Duration {
    ms.map_or(default, |ms| Duration::from_millis(ms.into())).clamp(min, max)
}
