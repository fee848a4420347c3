//! What time makes due: the end of a wait for members, of a wait for their syncs, of their sessions.

use std::time::Duration;

use crate::group::Group;
use crate::shard::Context;

impl Group {
    pub(crate) fn tick(&mut self, ctx: &mut Context<'_>) {
        if let Some(consumer) = &mut self.consumer {
            consumer.tick(ctx);
            return self.downgrade(ctx);
        }
        let now = ctx.now.elapsed;
        let departed = self.end_sessions(ctx) | self.end_unsynced(ctx);
        let pending = self.pending.len();
        self.pending.retain(|_, until| *until > now);
        if departed {
            self.after_departure(ctx);
        } else if self.pending.len() < pending {
            self.after_pending_left(ctx);
        }
        if self.rebalance.as_ref().is_some_and(|rebalance| rebalance.deadline <= now) {
            self.join_deadline(ctx);
        }
        self.wake = self.next_deadline();
    }

    /// Removes the members whose sessions ended. One that waits for an answer of ours is alive as far as anyone knows,
    /// unless it is new and waits for very long: its client may be gone.
    fn end_sessions(&mut self, ctx: &mut Context<'_>) -> bool {
        let now = ctx.now.elapsed;
        let mut ended = Vec::new();
        for (id, member) in self.members.iter_mut().filter(|(_, member)| member.deadline <= now) {
            if !member.new && (member.joining.is_some() || member.syncing.is_some()) {
                member.deadline = now + member.session_timeout;
            } else {
                ended.push(id.clone());
            }
        }
        ended.iter().for_each(|id| self.drop_member(ctx, id));
        !ended.is_empty()
    }

    /// Removes the members that joined and never asked for their assignment.
    fn end_unsynced(&mut self, ctx: &mut Context<'_>) -> bool {
        if self.sync_deadline.is_none_or(|at| at > ctx.now.elapsed) {
            return false;
        }
        self.sync_deadline = None;
        let late: Vec<String> = self.members.iter().filter(|(_, m)| !m.synced).map(|(id, _)| id.clone()).collect();
        late.iter().for_each(|id| self.drop_member(ctx, id));
        !late.is_empty()
    }

    pub(super) fn next_deadline(&self) -> Option<Duration> {
        let members = self.members.values().map(|member| member.deadline);
        let rebalance = self.rebalance.as_ref().map(|rebalance| rebalance.deadline);
        members.chain(self.pending.values().copied()).chain(rebalance).chain(self.sync_deadline).min()
    }
}
