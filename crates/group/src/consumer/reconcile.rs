//! A member's step towards its target: first it lets go, then it is given what is free.

use std::time::Duration;

use runnel_record::TopicId;

use super::ConsumerGroup;
use super::member::{Member, MemberState};
use crate::partitions::Partitions;
use crate::shard::Context;

impl ConsumerGroup {
    /// Brings a member as far as it can go. `owned` is what it says that it holds, if it says so.
    pub(super) fn reconcile(&mut self, ctx: &mut Context<'_>, id: &str, owned: Option<&Partitions>) {
        let Some(member) = self.members.get(id).filter(|member| !member.is_at(self.target_epoch)) else { return };
        let nothing = Partitions::default();
        let target = self.target.get(id).unwrap_or(&nothing);
        let is_free = |topic, partition| self.owners.get(&(topic, partition)).is_none_or(|owner| owner == id);
        let mut next = member.next(self.target_epoch, target, owned, is_free);
        if next.stands_as(member) {
            return;
        }
        // A member of the classic protocol is waited for in its own way.
        let lets_go = next.state == MemberState::Unrevoked && next.classic.is_none();
        next.timers.rebalance = lets_go.then(|| (ctx.now.elapsed + next.rebalance_timeout, next.epoch));
        let rebalance = next.timers.rebalance;
        self.put(id, next);
        if let Some((at, _)) = rebalance {
            self.wake_by(at);
        }
        self.write_current(ctx, id);
    }

    pub(super) fn sign_of_life(&mut self, id: &str, until: Duration) {
        if let Some(member) = self.members.get_mut(id) {
            member.timers.session = until;
        }
        self.wake_by(until);
    }
}

impl Member {
    fn next(
        &self,
        target_epoch: i32,
        target: &Partitions,
        owned: Option<&Partitions>,
        is_free: impl Fn(TopicId, i32) -> bool,
    ) -> Self {
        let mut next = self.clone();
        // One that does not say what it holds may hold all of it.
        let still_holds = |revoking: &Partitions| owned.is_none_or(|owned| owned.meets(revoking));
        if self.state == MemberState::Unrevoked && still_holds(&self.revoking) {
            return next;
        }
        next.assigned = self.assigned.filtered(|topic, partition| target.contains(topic, partition));
        next.revoking = self.assigned.filtered(|topic, partition| !target.contains(topic, partition));
        if !next.revoking.is_empty() && still_holds(&next.revoking) {
            // It stays at its epoch until it has let go.
            next.state = MemberState::Unrevoked;
            next.move_to(self.epoch);
            return next;
        }
        next.revoking = Partitions::default();
        next.since.retain(|(topic, partition), _| next.assigned.contains(*topic, *partition));
        let missing = target.filtered(|topic, partition| !next.assigned.contains(topic, partition));
        let mut waits = false;
        for (topic, partition) in missing.iter() {
            if is_free(topic, partition) {
                next.assigned.insert(topic, partition);
                next.since.insert((topic, partition), target_epoch);
            } else {
                waits = true;
            }
        }
        next.state = if waits { MemberState::Unreleased } else { MemberState::Stable };
        next.move_to(target_epoch);
        next
    }
}
