//! A heartbeat that was admitted: settings, then the group's epoch, then the target, then the member's own step towards it.

use super::ConsumerGroup;
use super::admit::Admission;
use crate::partitions::Partitions;
use crate::requests::{ConsumerBeat, ConsumerHeartbeat, JOIN};
use crate::shard::Context;

impl ConsumerGroup {
    pub(crate) fn beat(
        &mut self,
        ctx: &mut Context<'_>,
        beat: &ConsumerHeartbeat,
        admission: Admission,
    ) -> ConsumerBeat {
        let had = admission.before.as_ref().map(|member| member.assigned.clone()).unwrap_or_default();
        self.advance(ctx, &beat.member_id, admission, beat.owned.as_ref());
        let session = ctx.now.elapsed + ctx.session_of(&self.id);
        self.sign_of_life(&beat.member_id, session);
        // One that says everything asks for everything: it joins, or did not hear the last answer.
        let subscribes = beat.topics.is_some() || beat.pattern.is_some();
        let asks = beat.rebalance_timeout.is_some() && subscribes && beat.owned.is_some();
        let (epoch, has) = match self.members.get(&beat.member_id) {
            Some(member) => (member.epoch, member.assigned.clone()),
            None => (beat.epoch, Partitions::default()),
        };
        let tell = asks || beat.epoch == JOIN || has != had;
        ConsumerBeat {
            member_id: beat.member_id.clone(),
            epoch,
            interval: ctx.heartbeat_of(&self.id),
            assignment: tell.then_some(has),
        }
    }

    /// Takes a member's settings in and brings group and member as far as they can go.
    pub(super) fn advance(
        &mut self,
        ctx: &mut Context<'_>,
        id: &str,
        admission: Admission,
        owned: Option<&Partitions>,
    ) {
        let Admission { before, after, replaces, matched } = admission;
        let taken_over = replaces.is_some();
        if let Some(other) = replaces {
            self.hand_over(ctx, &other, id);
        }
        let told = before.as_ref().is_some_and(|before| before.has_settings_of(&after));
        let resubscribed = before.as_ref().is_none_or(|before| !before.reads_as(&after));
        if !told || taken_over {
            self.put(id, after);
            self.write_member(ctx, id);
        }
        if taken_over {
            self.write_current(ctx, id);
        }
        if let Some((pattern, topics)) = matched {
            self.write_pattern(ctx, &pattern, Some(&topics));
            self.patterns.insert(pattern, topics);
        }
        if resubscribed {
            self.forget_patterns(ctx);
        }
        if self.look_at_topics(ctx, resubscribed) || resubscribed {
            self.raise_epoch(ctx);
        }
        if self.epoch > self.target_epoch && !self.puts_off_target(ctx.now.elapsed, id) {
            self.retarget(ctx);
        }
        self.reconcile(ctx, id, owned);
    }

    /// A static member is back under another id: what it was to have is waiting for it.
    fn hand_over(&mut self, ctx: &mut Context<'_>, from: &str, to: &str) {
        self.take(from);
        let target = self.target.remove(from).unwrap_or_default();
        self.write_removed(ctx, from);
        self.target.insert(to.to_owned(), target);
        self.write_target(ctx, to);
    }

    pub(super) fn raise_epoch(&mut self, ctx: &mut Context<'_>) {
        self.epoch = self.epoch.saturating_add(1);
        self.write_epoch(ctx);
    }
}
