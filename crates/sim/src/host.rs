//! A process: a runtime of one thread with a clock of its own, which stands still until the simulation lets it go on.

use std::time::Duration;

use tokio::runtime::{Builder, Handle, Runtime};

/// A process. Dropping it ends every task of it where it waits, as `kill -9` does.
#[derive(Debug)]
pub(crate) struct Host(Runtime);

impl Host {
    pub(crate) fn new() -> std::io::Result<Self> {
        Ok(Self(Builder::new_current_thread().enable_time().start_paused(true).build()?))
    }

    /// Lets the process live for so long of its own time: everything that is ready runs, and every timer that is due.
    pub(crate) fn live(&self, time: Duration) {
        // Made inside, since timers belong to the runtime in which they are made.
        self.0.block_on(async move { tokio::time::sleep(time).await });
    }

    /// The process was not run for so long: its clock went on.
    pub(crate) fn oversleep(&self, time: Duration) {
        self.0.block_on(tokio::time::advance(time));
    }

    pub(crate) fn handle(&self) -> Handle {
        self.0.handle().clone()
    }
}

impl Host {
    /// The outcome of a task that has finished; none if it panicked.
    pub(crate) fn wait<T>(&self, task: tokio::task::JoinHandle<T>) -> Option<T> {
        self.0.block_on(task).ok()
    }
}
