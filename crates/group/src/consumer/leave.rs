//! Leaving, for good or for now, and being removed.

use super::ConsumerGroup;
use crate::error::Error;
use crate::partitions::Partitions;
use crate::requests::{ConsumerBeat, ConsumerHeartbeat, LEAVE_FOR_NOW};
use crate::shard::Context;

impl ConsumerGroup {
    pub(crate) fn leave(&mut self, ctx: &mut Context<'_>, beat: &ConsumerHeartbeat) -> Result<ConsumerBeat, Error> {
        match &beat.instance_id {
            None if self.members.contains_key(&beat.member_id) => {}
            None => return Err(Error::UnknownMemberId),
            Some(instance) => match self.instances.get(instance) {
                None => return Err(Error::UnknownMemberId),
                Some(current) if *current != beat.member_id => return Err(Error::FencedInstanceId),
                Some(_) => {}
            },
        }
        if beat.epoch == LEAVE_FOR_NOW {
            self.leave_for_now(ctx, &beat.member_id);
        } else {
            self.remove(ctx, std::slice::from_ref(&beat.member_id));
        }
        Ok(ConsumerBeat {
            member_id: beat.member_id.clone(),
            epoch: beat.epoch,
            interval: std::time::Duration::ZERO,
            assignment: None,
        })
    }

    /// A static member keeps its place and what it had until its session ends.
    fn leave_for_now(&mut self, ctx: &mut Context<'_>, id: &str) {
        let Some(mut member) = self.members.get(id).cloned() else { return };
        member.epoch = LEAVE_FOR_NOW;
        member.revoking = Partitions::default();
        member.since.retain(|(topic, partition), _| member.assigned.contains(*topic, *partition));
        member.timers.rebalance = None;
        self.put(id, member);
        self.write_current(ctx, id);
    }

    /// Takes members out. Whoever comes next makes the assignment without them.
    pub(crate) fn remove(&mut self, ctx: &mut Context<'_>, ids: &[String]) {
        let before = self.members.len();
        for id in ids {
            if self.take(id).is_some() {
                self.target.remove(id);
                self.write_removed(ctx, id);
            }
        }
        if self.members.len() == before {
            return;
        }
        self.forget_patterns(ctx);
        self.look_at_topics(ctx, true);
        // If the group goes on in the classic protocol, its members are still in the generation that they know.
        if !self.is_all_classic() {
            self.raise_epoch(ctx);
        }
    }
}
