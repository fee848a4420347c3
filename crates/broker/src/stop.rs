//! The end of a broker: a clean stop, or the reason why it cannot go on.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use runnel_api::{Error, ErrorKind};
use runnel_format::Misfit;
use tokio::time::Instant;

use crate::Broker;
use crate::produce::MOST_APPENDS;

/// How long the stop of a broker takes that cannot go on and whose partitions others lead from then on.
const REPLACED_PATIENCE: Duration = Duration::from_secs(1);

/// What a stop left behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StopReport {
    /// Partitions with committed records that are in the log and not in the bucket yet.
    pub unshipped_partitions: usize,
}

/// Why a broker cannot go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// Its log failed, or another broker took its place. It may start again.
    Broken(String),
    /// The cluster was raised above what this release supports. What it leads is in order, and others can have it.
    Outgrown(Misfit),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broken(reason) => f.write_str(reason),
            Self::Outgrown(misfit) => misfit.fmt(f),
        }
    }
}

impl Broker {
    /// Refuses new work, ships what is committed for at most `shutdown_timeout`, closes the log. What was not shipped
    /// stays in the log and is served and shipped after the next start. Idempotent.
    pub async fn stop(self: &Arc<Self>) -> StopReport {
        let mut until = Instant::now() + self.options.shutdown_timeout;
        if !self.is_alone() && matches!(*self.failure.borrow(), Some(Failure::Broken(_))) {
            // The others have replaced it, or soon will: what it has they have too.
            until = until.min(Instant::now() + REPLACED_PATIENCE);
        }
        if !self.stopping() {
            self.leave_cluster(until).await;
        }
        self.draining.store(true, Ordering::Release);
        // What was let in before is answered first, so that the bucket is complete when everything is shipped.
        let answered = tokio::time::timeout_at(until, self.admission.acquire_many(MOST_APPENDS)).await;
        if answered.is_err() {
            tracing::warn!("some appends are still not durable; the stop goes on without them");
        }
        let open = self.ship_everything(until).await;
        let unshipped_partitions = open + self.unopened_and_unshipped().await;
        let open = self.topics.open_partitions().into_iter().map(|(_, partition)| partition);
        let shipped: Vec<_> = open.filter(|one| !one.is_blocked() && one.shipped() >= one.watermark.get()).collect();
        self.stop_signal.trigger();
        self.topics.all().iter().for_each(|topic| topic.open_partitions().for_each(|p| p.close()));
        self.log.close(until).await;
        self.end_own_session(&shipped, until).await;
        self.cold.cache.close().await;
        if self.is_alone() {
            self.meta.close().await;
        }
        if unshipped_partitions > 0 {
            tracing::warn!(
                unshipped_partitions,
                "stopped with records that are not in the bucket yet; they are in the log"
            );
        }
        StopReport { unshipped_partitions }
    }

    /// Resolves when the broker cannot go on.
    pub async fn failed(&self) -> Failure {
        let mut failure = self.failure.subscribe();
        loop {
            if let Some(failure) = failure.borrow_and_update().clone() {
                return failure;
            }
            // Its sender is as old as the broker.
            drop(failure.changed().await);
        }
    }

    /// Whether new work is refused.
    pub(crate) fn stopping(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    pub(crate) fn fail(&self, reason: String) {
        if self.is_alone() {
            tracing::error!(reason, "the broker cannot go on");
        } else {
            // Others do.
            tracing::warn!(reason, "the broker cannot go on");
        }
        self.draining.store(true, Ordering::Release);
        self.failure.send_replace(Some(Failure::Broken(reason)));
    }

    /// The cluster is at a level that this release does not support: somebody raised it.
    pub(crate) fn outgrown(&self, misfit: Misfit) {
        self.failure.send_if_modified(|failure| {
            let is_first = failure.is_none();
            if is_first {
                tracing::error!(%misfit, "this release is too old for the cluster: the broker leaves it");
                *failure = Some(Failure::Outgrown(misfit));
            }
            is_first
        });
    }

    /// Passes a fail point.
    pub(crate) fn pass(&self, point: &'static str) -> Result<(), Error> {
        self.ports.fail.hit(point).map_err(|e| Error::new(ErrorKind::StorageError, e.to_string()))
    }
}
