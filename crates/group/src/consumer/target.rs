//! The target assignment: made anew for each epoch of the group.

use std::collections::BTreeMap;
use std::time::Duration;

use runnel_record::TopicId;

use super::ConsumerGroup;
use super::member::Member;
use crate::assignor::{Assignor, Subscriber};
use crate::partitions::Partitions;
use crate::shard::Context;

/// Pause between two assignments for each full hundred of members, and the longest. To make one costs in proportion to the
/// members, and a large group that forms would make one for each of them: the last ones would be given up by their clients
/// before they are heard. Smaller groups never pause.
const PAUSE: Duration = Duration::from_millis(50);
const HUNDRED: usize = 100;
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

impl ConsumerGroup {
    /// Whether the group goes on with the target it has when this member comes. The first heartbeat after the pause makes
    /// the new one; members that came in between are at the epoch of the old one and have nothing.
    pub(super) fn puts_off_target(&self, now: Duration, id: &str) -> bool {
        let hundreds = u32::try_from(self.members.len() / HUNDRED).unwrap_or(u32::MAX);
        let pause = PAUSE.saturating_mul(hundreds).min(LONGEST_PAUSE);
        // One of the classic protocol would rejoin again and again meanwhile.
        let waits = self.members.get(id).is_some_and(|member| member.classic.is_none());
        waits && self.target_epoch > 0 && self.targeted.is_some_and(|at| now < at + pause)
    }

    /// The assignor that most members ask for; of several the first by name.
    pub(super) fn assignor(&self) -> Assignor {
        let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
        for name in self.members.values().filter_map(|member| member.assignor.as_deref()) {
            *votes.entry(name).or_default() += 1;
        }
        let most = votes.iter().rev().max_by_key(|(_, votes)| **votes);
        most.and_then(|(name, _)| Assignor::named(name)).unwrap_or(Assignor::Uniform)
    }

    /// Makes the assignment for the group's epoch.
    pub(super) fn retarget(&mut self, ctx: &mut Context<'_>) {
        let nothing = Partitions::default();
        let subscribers: Vec<_> = self
            .members
            .iter()
            .map(|(id, member)| Subscriber {
                id,
                instance_id: member.instance_id.as_deref(),
                topics: self.topics_of(member),
                held: self.target.get(id).unwrap_or(&nothing),
            })
            .collect();
        let sizes: BTreeMap<TopicId, i32> = self.topics.values().copied().collect();
        let assigned = self.assignor().assign(&subscribers, &sizes);
        let changed: Vec<_> = subscribers
            .iter()
            .zip(assigned)
            .filter(|(subscriber, target)| self.target.get(subscriber.id) != Some(target))
            .map(|(subscriber, target)| (subscriber.id.to_owned(), target))
            .collect();
        for (id, target) in changed {
            self.target.insert(id.clone(), target);
            self.write_target(ctx, &id);
        }
        (self.target_epoch, self.targeted) = (self.epoch, Some(ctx.now.elapsed));
        self.write_target_epoch(ctx);
    }

    /// The topics that a member reads and that exist, in order.
    fn topics_of(&self, member: &Member) -> Vec<TopicId> {
        let matched = member.pattern.as_ref().and_then(|pattern| self.patterns.get(pattern)).into_iter().flatten();
        let names = member.topics.iter().chain(matched);
        let mut topics: Vec<_> = names.filter_map(|name| self.topics.get(name).map(|(id, _)| *id)).collect();
        topics.sort_unstable();
        topics.dedup();
        topics
    }
}
