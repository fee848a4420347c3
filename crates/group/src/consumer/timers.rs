//! What time makes due: the end of sessions, and of the time to let partitions go, to rejoin and to sync.

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
            let own = member.classic.as_ref().map(|classic| classic.session_timeout);
            member.timers.session = now.elapsed + own.unwrap_or(session);
            let lets_go = !member.revoking.is_empty() && own.is_none();
            member.timers.rebalance = lets_go.then(|| (now.elapsed + member.rebalance_timeout, member.epoch));
        }
        self.due = self.members.values().map(Member::deadline).min();
    }
}

impl Member {
    /// When it is removed unless something happens.
    fn deadline(&self) -> Duration {
        let rebalance = self.timers.rebalance.filter(|(_, epoch)| *epoch == self.epoch).map(|(at, _)| at);
        let others = rebalance.into_iter().chain(self.timers.join).chain(self.timers.sync);
        others.fold(self.timers.session, Duration::min)
    }
}
