//! What time makes due: the end of sessions, and of the time to let partitions go.

use std::time::Duration;

use super::ConsumerGroup;
use super::member::Member;
use crate::shard::{Context, Now};

impl ConsumerGroup {
    pub(crate) fn tick(&mut self, ctx: &mut Context<'_>) {
        let now = ctx.now.elapsed;
        let late: Vec<_> = self.members.iter().filter(|(_, m)| m.deadline() <= now).map(|(id, _)| id.clone()).collect();
        self.remove(ctx, &late);
        self.due = self.members.values().map(Member::deadline).min();
    }

    /// After a start every member has its whole time.
    pub(crate) fn start_timers(&mut self, now: Now, session: Duration) {
        for member in self.members.values_mut() {
            member.timers.session = now.elapsed + session;
            let lets_go = !member.revoking.is_empty();
            member.timers.rebalance = lets_go.then(|| (now.elapsed + member.rebalance_timeout, member.epoch));
        }
        self.due = self.members.values().map(Member::deadline).min();
    }
}

impl Member {
    /// When it is removed unless something happens.
    fn deadline(&self) -> Duration {
        let rebalance = self.timers.rebalance.filter(|(_, epoch)| *epoch == self.epoch).map(|(at, _)| at);
        rebalance.map_or(self.timers.session, |at| at.min(self.timers.session))
    }
}
