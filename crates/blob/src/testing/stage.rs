//! A bucket in memory behind a gate, and a runtime for its clients in which time passes only while all of them wait.

use std::time::Duration;

use futures::FutureExt;
use runnel_runtime::FailPoints;
use runnel_runtime::simulation::Simulation;
use tokio::runtime::{Builder, Runtime};

use super::{Act, Gate};
use crate::{Bucket, Options};

/// More than the pauses between three attempts, and so little that tokio's clock gets there in one go.
const SETTLED: Duration = Duration::from_millis(60);

/// Where clients of a [`Gate`] live. They die with it.
#[derive(Debug)]
pub struct Stage {
    bucket: Bucket,
    gate: Gate,
    runtime: Runtime,
}

impl Default for Stage {
    fn default() -> Self {
        Self::new()
    }
}

impl Stage {
    /// An empty bucket.
    ///
    /// # Panics
    /// Without the means to wait, which a test cannot do without.
    pub fn new() -> Self {
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
        // No request takes too long: whoever is to hear of a failure is told.
        let options = Options { request_timeout: Duration::MAX, ..Options::new("memory:") };
        let bucket = Bucket::open(&options, FailPoints::default()).expect("memory");
        Self { bucket, gate: Gate::new(), runtime }
    }

    /// The gate.
    pub const fn gate(&self) -> &Gate {
        &self.gate
    }

    /// The bucket, past the gate.
    pub const fn bucket(&self) -> &Bucket {
        &self.bucket
    }

    /// Lets a client live: what it does with the bucket waits at the gate.
    pub fn spawn<F>(&self, client: &'static str, life: impl FnOnce(Bucket) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        drop(self.runtime.spawn(life(self.bucket.gated(&self.gate, client))));
    }

    /// Lets something happen, and everybody go on who can.
    pub fn act(&self, act: &Act) {
        let seed = self.gate.seed(act);
        self.gate.act(act, &self.bucket);
        self.settle(seed);
    }

    /// Lets everybody go on until all wait at the gate or have ended. Ids that are drawn meanwhile follow from `seed`.
    pub fn settle(&self, seed: u64) {
        let _simulation = Simulation::enter(seed);
        self.runtime.block_on(async { tokio::time::sleep(SETTLED).await });
        self.gate.settled();
    }

    /// Does something that waits for nothing, past the gate.
    ///
    /// # Panics
    /// If it waits.
    pub fn at_once<T>(&self, work: impl Future<Output = T>) -> T {
        let _context = self.runtime.enter();
        work.now_or_never().expect("memory answers at once")
    }
}
