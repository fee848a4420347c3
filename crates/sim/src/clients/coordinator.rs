//! Whom clients ask about their groups.

use std::sync::{Arc, Mutex, PoisonError};

use runnel_api::{Groups as _, TopicKey};
use runnel_record::LeaderEpoch;
use runnel_runtime::simulation::Chance;

use super::{Log, Shared};
use crate::kinds::Operation;
use crate::told::Place;

/// Where groups keep what is committed. It has one partition in a simulation: one broker coordinates all groups.
const OFFSETS: &str = "__consumer_offsets";

/// The newest epoch of a coordinator that any client has heard of. Cheap to clone.
#[derive(Clone)]
pub(super) struct Coordinator(Arc<Mutex<LeaderEpoch>>);

impl Default for Coordinator {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(LeaderEpoch(0))))
    }
}

impl Coordinator {
    /// Remembers an epoch, unless there was a newer one.
    fn hear(&self, epoch: LeaderEpoch) -> bool {
        let mut newest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_newest = epoch >= *newest;
        *newest = epoch.max(*newest);
        is_newest
    }
}

impl Shared {
    /// The coordinator, never one that was replaced by another that somebody has heard of: that one may know less. What is
    /// asked of it must be asked at once.
    pub(super) async fn coordinator(&self, group: &'static str, chance: &mut Chance) -> Option<usize> {
        let place = Place { topic: OFFSETS.to_owned(), partition: 0 };
        let log = Log { key: TopicKey::Name(OFFSETS.to_owned()), place };
        let Some((leader, epoch)) = self.leader(&log, chance).await else {
            // The first who looks for a coordinator makes the topic.
            let at = self.directory.any(chance)?;
            self.trace.count(Operation::Admin);
            drop(self.directory.ask(at, move |broker| async move { broker.find_coordinator(group).await }).await);
            return None;
        };
        self.coordinator.hear(epoch).then_some(leader)
    }
}
