//! Who lets the writer and the keeper work: a thread for each. In a simulation a task works for both, and whoever would
//! wait for one of them works himself.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use runnel_runtime::simulation::is_simulated;

use crate::Error;
use crate::keeper::{self, Keeper, RETRY, Task};
use crate::shared::Shared;
use crate::writer::{Step, Writer};

/// What a write and its sync take in a simulation. What comes meanwhile waits for the next one.
const SIMULATED_WRITE: Duration = Duration::from_millis(1);

/// What makes a log work.
pub(crate) enum Hands {
    Threads(Mutex<Vec<JoinHandle<()>>>),
    Simulated(Arc<Mutex<Worker>>),
}

impl Hands {
    pub(crate) fn start(shared: &Arc<Shared>, writer: Writer, keeper: Keeper) -> Result<Self, Error> {
        if is_simulated() {
            let worker = Arc::new(Mutex::new(Worker { writer: Some(writer), keeper: Some(keeper) }));
            tokio::spawn(simulate(Arc::clone(shared), Arc::clone(&worker)));
            return Ok(Self::Simulated(worker));
        }
        let threads = vec![spawn("wal-writer", move || write(writer))?, spawn("wal-keeper", move || keep(keeper))?];
        Ok(Self::Threads(Mutex::new(threads)))
    }

    /// Waits until the trim with this ticket is done. Blocks.
    pub(crate) fn wait_for_trim(&self, shared: &Shared, ticket: u64) {
        match self {
            Self::Threads(_) => keeper::wait_for_trim(shared, ticket),
            Self::Simulated(worker) => locked(worker).work(),
        }
    }

    /// Waits until all is written and trimmed; nothing more comes. Blocks.
    pub(crate) fn finish(&self, shared: &Shared) {
        match self {
            Self::Threads(threads) => {
                for thread in std::mem::take(&mut *locked(threads)) {
                    if thread.thread().name() == Some("wal-keeper") {
                        keeper::stop(shared);
                    }
                    if thread.join().is_err() {
                        tracing::error!("a thread of the local log panicked");
                    }
                }
            }
            Self::Simulated(worker) => {
                let mut worker = locked(worker);
                worker.work();
                keeper::stop(shared);
                worker.work();
            }
        }
    }
}

fn write(mut writer: Writer) {
    while writer.take(writer.wait()) {}
}

fn keep(mut keeper: Keeper) {
    while keeper.take(keeper.wait()) {}
}

fn spawn(name: &'static str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, Error> {
    thread::Builder::new().name(name.into()).spawn(run).map_err(Error::io("starting the thread", name))
}

async fn simulate(shared: Arc<Shared>, worker: Arc<Mutex<Worker>>) {
    let pause = RETRY.min(shared.options.footer_after);
    loop {
        let idle = tokio::time::timeout(pause, shared.stirred()).await.is_err();
        tokio::time::sleep(SIMULATED_WRITE).await;
        let mut worker = locked(&worker);
        if idle {
            worker.keep(|keeper| keeper.next(true));
            worker.write(Writer::when_idle);
        }
        worker.work();
        if worker.has_ended() {
            return;
        }
    }
}

/// Both of them, each until it has ended.
pub(crate) struct Worker {
    writer: Option<Writer>,
    keeper: Option<Keeper>,
}

impl Worker {
    /// Does what there is to do.
    fn work(&mut self) {
        while self.keep(|keeper| keeper.next(false)) || self.write(Writer::next) {}
    }

    /// Whether the keeper had something to do.
    fn keep(&mut self, next: impl FnOnce(&Keeper) -> Option<Task>) -> bool {
        let Some(keeper) = &mut self.keeper else { return false };
        let Some(task) = next(keeper) else { return false };
        if !keeper.take(task) {
            self.keeper = None;
        }
        true
    }

    /// Whether the writer had.
    fn write(&mut self, next: impl FnOnce(&Writer) -> Option<Step>) -> bool {
        let Some(writer) = &mut self.writer else { return false };
        let Some(step) = next(writer) else { return false };
        if !writer.take(step) {
            self.writer = None;
        }
        true
    }

    const fn has_ended(&self) -> bool {
        self.writer.is_none() && self.keeper.is_none()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
