//! What a member of a group holds and what has to happen next. No I/O, no clock.
//!
//! A partition goes through *granted* by the coordinator, *held* by the client once it knows where to begin, *revoked*
//! while the client is asked to let it go. The coordinator hears of what is held, which is how it learns what was let go.

use std::collections::BTreeMap;

use runnel_api::groups::{ConsumerBeat, JOIN, Partitions};
use runnel_record::TopicId;

/// What the session has to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// Tell the client that it is a member.
    Joined,
    /// Find out where these begin, for [`Member::begun`].
    Begin(Partitions),
    /// Ask the client to let these go, under this number.
    Revoke(Partitions, u64),
}

/// A member.
#[derive(Debug, Default)]
pub(crate) struct Member {
    /// [`JOIN`] until the coordinator has answered.
    epoch: i32,
    /// The client has them; those that are revoked as well.
    held: Partitions,
    /// Granted, and being looked up.
    beginning: Partitions,
    revoked: Partitions,
    revocations: u64,
    /// Of everything that is held.
    names: BTreeMap<TopicId, String>,
}

impl Member {
    /// The epoch that the next heartbeat names.
    pub(crate) const fn epoch(&self) -> i32 {
        self.epoch
    }

    pub(crate) const fn held(&self) -> &Partitions {
        &self.held
    }

    /// The coordinator answered a heartbeat that asked for everything.
    pub(crate) fn answered(&mut self, beat: ConsumerBeat) -> Vec<Step> {
        let mut steps = Vec::new();
        if self.epoch == JOIN {
            steps.push(Step::Joined);
        }
        self.epoch = beat.epoch;
        let Some(granted) = beat.assignment else { return steps };
        self.beginning = only(&self.beginning, |topic, partition| granted.contains(topic, partition));
        // One thing after the other: what else has changed is in the next answers too.
        if !self.revoked.is_empty() {
            return steps;
        }
        self.revoked = only(&self.held, |topic, partition| !granted.contains(topic, partition));
        if !self.revoked.is_empty() {
            self.revocations += 1;
            steps.push(Step::Revoke(self.revoked.clone(), self.revocations));
            return steps;
        }
        if self.beginning.is_empty() {
            self.beginning = only(&granted, |topic, partition| !self.held.contains(topic, partition));
            if !self.beginning.is_empty() {
                steps.push(Step::Begin(self.beginning.clone()));
            }
        }
        steps
    }

    /// These were looked up, of what was to begin; the rest is tried again when it is granted again. Returns those that
    /// are held from now on.
    pub(crate) fn begun(&mut self, found: impl IntoIterator<Item = (TopicId, i32, String)>) -> Partitions {
        let beginning = std::mem::take(&mut self.beginning);
        let mut new = Partitions::default();
        for (topic, partition, name) in found {
            if beginning.contains(topic, partition) {
                self.held.insert(topic, partition);
                self.names.insert(topic, name);
                new.insert(topic, partition);
            }
        }
        new
    }

    /// The client has let go of what it was asked for under this number. Returns whether that was the last question: the
    /// answer to an older one, which was overtaken, changes nothing. `None` for a number that was never given.
    pub(crate) fn released(&mut self, revocation: u64) -> Option<bool> {
        if revocation == 0 || revocation > self.revocations {
            return None;
        }
        if revocation < self.revocations || self.revoked.is_empty() {
            return Some(false);
        }
        let revoked = std::mem::take(&mut self.revoked);
        self.held = only(&self.held, |topic, partition| !revoked.contains(topic, partition));
        self.forget_names();
        Some(true)
    }

    /// The coordinator has given the member up: it joins anew. Returns what it held.
    pub(crate) fn fenced(&mut self) -> Partitions {
        self.epoch = JOIN;
        (self.beginning, self.revoked) = (Partitions::default(), Partitions::default());
        std::mem::take(&mut self.held)
    }

    /// Whether the client holds a partition.
    pub(crate) fn holds(&self, name: &str, partition: i32) -> bool {
        let mut ids = self.names.iter().filter(|(_, known)| *known == name).map(|(id, _)| *id);
        ids.any(|id| self.held.contains(id, partition))
    }

    /// The name of a topic that is, or was just now, held.
    pub(crate) fn name(&self, topic: TopicId) -> &str {
        self.names.get(&topic).map_or("", String::as_str)
    }

    fn forget_names(&mut self) {
        let held = &self.held;
        self.names.retain(|topic, _| held.topics().any(|(id, _)| id == *topic));
    }
}

fn only(all: &Partitions, keep: impl Fn(TopicId, i32) -> bool) -> Partitions {
    all.iter().filter(|(topic, partition)| keep(*topic, *partition)).collect()
}

#[cfg(test)]
mod tests;
