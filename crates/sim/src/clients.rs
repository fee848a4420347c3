//! Clients, all in one process that never fails. What they are told the judge hears.

mod asker;
mod batches;
mod committer;
mod consumer;
mod coordinator;
mod member;
mod producer;
mod reader;
mod topics;
mod trimmer;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use runnel_api::{Cluster as _, Error, ErrorKind, TopicKey};
use runnel_record::LeaderEpoch;
use runnel_runtime::simulation::Chance;

pub(crate) use asker::ask_for_times;
pub(crate) use committer::{GROUP, commit, read_committed};
pub(crate) use consumer::{audit, consume};
pub(crate) use member::{MEMBERS, belong};
pub(crate) use producer::produce;
pub(crate) use topics::come_and_go;
pub(crate) use trimmer::trim;

use coordinator::Coordinator;
use member::Ledger;

use crate::directory::Directory;
use crate::kinds::Operation;
use crate::told::{Place, Told};
use crate::trace::Trace;

/// The topic that is there all the time.
pub(crate) const TOPIC: &str = "t";

/// Pause before something is tried again.
const AGAIN: Duration = Duration::from_millis(20);

/// A partition, as it is asked for and as the judge knows it.
#[derive(Debug, Clone)]
pub(crate) struct Log {
    key: TopicKey,
    pub(crate) place: Place,
}

impl Log {
    /// A partition of the topic that is there all the time.
    pub(crate) fn lasting(partition: i32) -> Self {
        Self { key: TopicKey::Name(TOPIC.to_owned()), place: Place { topic: TOPIC.to_owned(), partition } }
    }
}

/// What clients share. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) directory: Directory,
    pub(crate) trace: Trace,
    pub(crate) told: Told,
    /// Who coordinates groups, and what the one with members has said.
    coordinator: Coordinator,
    ledger: Arc<Mutex<Ledger>>,
    verdict: Arc<Mutex<Option<String>>>,
    /// Whoever said that its disk is damaged; none where disks do not rot.
    damaged: Option<Arc<Mutex<BTreeSet<usize>>>>,
    ending: Arc<AtomicBool>,
    dismissed: Arc<AtomicBool>,
}

impl Shared {
    /// `rots`: disks may rot, and be given up.
    pub(crate) fn new(directory: Directory, trace: Trace, rots: bool) -> Self {
        let told = Told::new(trace.clone());
        let (coordinator, ledger, verdict) = Default::default();
        let (ending, dismissed) = Default::default();
        let damaged = rots.then(Arc::default);
        Self { directory, trace, told, coordinator, ledger, verdict, damaged, ending, dismissed }
    }

    /// Clients finish what they have begun, and end; consumers end once they have seen all. Members of a group stay, and are
    /// well.
    pub(crate) fn end(&self) {
        self.ending.store(true, Ordering::SeqCst);
    }

    /// Whether nothing new is to be begun.
    fn is_ending(&self) -> bool {
        self.ending.load(Ordering::SeqCst) || self.verdict().is_some()
    }

    /// Members of the group leave it.
    pub(crate) fn dismiss(&self) {
        self.dismissed.store(true, Ordering::SeqCst);
    }

    fn is_dismissed(&self) -> bool {
        self.dismissed.load(Ordering::SeqCst)
    }

    /// Whether the group has so many members, which share so many partitions of the lasting topic and have committed all that
    /// is known to be there.
    pub(crate) fn is_group_through(&self, members: u64, partitions: i32) -> bool {
        let ends: Vec<i64> = (0..partitions).map(|partition| self.told.end(&Log::lasting(partition).place)).collect();
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner).is_through(members, &ends)
    }

    /// What is wrong already, if something is. All else the judge finds in the end.
    pub(crate) fn verdict(&self) -> Option<String> {
        self.verdict.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A client was told what ends it, and did nothing wrong.
    fn condemn(&self, who: &str, why: &str) {
        self.trace.note("verdict", format_args!("{who}: {why}"));
        let mut verdict = self.verdict.lock().unwrap_or_else(PoisonError::into_inner);
        verdict.get_or_insert_with(|| format!("{who}: {why}"));
    }

    /// Whether what was acknowledged may be given up.
    fn may_lose(&self) -> bool {
        self.damaged.is_some()
    }

    /// Whether a broker says with this error that its disk is damaged, which an operator has to hear of.
    fn is_damage(&self, at: usize, error: &Error) -> bool {
        let Some(damaged) = self.damaged.as_ref().filter(|_| error.kind == ErrorKind::Corrupt) else { return false };
        if damaged.lock().unwrap_or_else(PoisonError::into_inner).insert(at) {
            self.trace.note("damage", format_args!("broker {at} says: {}", error.message));
        }
        true
    }

    /// One of those who said that their disks are damaged, once.
    pub(crate) fn take_damaged(&self) -> Option<usize> {
        self.damaged.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner).pop_first()
    }

    /// Whether it is worth another attempt after this error; if not, something is wrong.
    fn may_retry(&self, who: &str, error: &Error) -> bool {
        let may = may_be_retried(error);
        if !may {
            self.condemn(who, &format!("{:?} for who did nothing wrong: {error}", error.kind));
        }
        may
    }

    /// Who leads a partition and since which epoch, as some broker knows it.
    async fn leader(&self, log: &Log, chance: &mut Chance) -> Option<(usize, LeaderEpoch)> {
        let (asked, topic) = (self.directory.any(chance)?, log.key.clone());
        self.trace.count(Operation::Metadata);
        let found = self.directory.ask(asked, move |broker| async move { broker.describe_topic(&topic, false).await });
        let found = found.await?.ok()?;
        let partition = found.partitions.get(usize::try_from(log.place.partition).ok()?)?;
        Some((usize::try_from(partition.leader?).ok()?, partition.leader_epoch))
    }
}

/// Whether a client tries again. Fail points sit in layers that know nothing of clients; of a topic that is there a broker
/// may not have heard yet.
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
            | ErrorKind::UnknownTopic
            | ErrorKind::UnknownTopicId
            | ErrorKind::UnknownPartition
    ) || error.message.contains("fail point")
}
