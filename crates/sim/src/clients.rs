//! Clients: producers and consumers, all in one process that never fails.

mod consumer;
mod producer;
mod reader;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use runnel_api::{Cluster as _, Error, ErrorKind, TopicKey};
use runnel_record::LeaderEpoch;
use runnel_runtime::simulation::Chance;

pub(crate) use consumer::consume;
pub(crate) use producer::produce;
pub(crate) use reader::read_all;

use crate::directory::Directory;
use crate::model::Model;
use crate::trace::Trace;

/// The one topic.
pub(crate) const TOPIC: &str = "t";

/// Pause before something is tried again.
const AGAIN: Duration = Duration::from_millis(20);

/// What clients share. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) directory: Directory,
    pub(crate) trace: Trace,
    models: Arc<Mutex<Vec<Model>>>,
    verdict: Arc<Mutex<Option<String>>>,
    ending: Arc<AtomicBool>,
}

impl Shared {
    pub(crate) fn new(directory: Directory, trace: Trace, partitions: i32) -> Self {
        let models = (0..partitions).map(|_| Model::default()).collect();
        Self { directory, trace, models: Arc::new(Mutex::new(models)), verdict: Arc::default(), ending: Arc::default() }
    }

    /// Producers finish what they have begun, and end; consumers end once they have seen all.
    pub(crate) fn end(&self) {
        self.ending.store(true, Ordering::SeqCst);
    }

    fn is_ending(&self) -> bool {
        self.ending.load(Ordering::SeqCst)
    }

    /// What is wrong, if something is.
    pub(crate) fn verdict(&self) -> Option<String> {
        locked(&self.verdict).clone()
    }

    /// Judges a partition by its model.
    pub(crate) fn judge<T>(&self, partition: i32, judge: impl FnOnce(&mut Model) -> Result<T, String>) -> Option<T> {
        let judged = {
            let mut models = locked(&self.models);
            models.get_mut(usize::try_from(partition).ok()?).map(judge)?
        };
        judged.map_err(|why| self.condemn(format!("partition {partition}: {why}"))).ok()
    }

    fn condemn(&self, why: String) {
        self.trace.note("verdict", format_args!("{why}"));
        locked(&self.verdict).get_or_insert(why);
    }

    /// Who leads a partition and since which epoch, as some broker knows it.
    async fn leader(&self, partition: i32, chance: &mut Chance) -> Option<(usize, LeaderEpoch)> {
        let asked = self.directory.any(chance)?;
        let topic = TopicKey::Name(TOPIC.to_owned());
        let found = self.directory.ask(asked, move |broker| async move { broker.describe_topic(&topic, false).await });
        let found = found.await?.ok()?;
        let partition = found.partitions.get(usize::try_from(partition).ok()?)?;
        Some((usize::try_from(partition.leader?).ok()?, partition.leader_epoch))
    }
}

/// Whether a client tries again. Fail points sit in layers that know nothing of clients.
fn may_be_retried(error: &Error) -> bool {
    matches!(
        error.kind,
        ErrorKind::NotLeader
            | ErrorKind::LeaderNotAvailable
            | ErrorKind::StorageError
            | ErrorKind::TimedOut
            | ErrorKind::ShuttingDown
            | ErrorKind::Throttled
            | ErrorKind::FencedLeaderEpoch
            | ErrorKind::UnknownLeaderEpoch
    ) || error.message.contains("fail point")
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
