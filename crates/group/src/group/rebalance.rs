//! Rebalances: from the first sign that one is needed to the next generation.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::error::Error;
use crate::group::{Group, Member, Rebalance};
use crate::requests::{GroupState, JoinOutcome, JoinedMember, Reply};
use crate::shard::Context;

impl Group {
    /// Begins a rebalance; one that is on its way may be complete now.
    pub(super) fn prepare_rebalance(&mut self, ctx: &mut Context<'_>) {
        if !self.is(GroupState::PreparingRebalance) {
            let first = self.is(GroupState::Empty);
            self.release_syncing(ctx, Error::RebalanceInProgress);
            let (now, timeout, delay) =
                (ctx.now.elapsed, self.rebalance_timeout(), ctx.options.initial_rebalance_delay);
            let rebalance = if first && !delay.is_zero() {
                let left = timeout.saturating_sub(delay);
                Rebalance { deadline: now + delay.min(timeout), initial: Some(left), grew: false }
            } else {
                Rebalance { deadline: now + timeout, initial: None, grew: false }
            };
            self.wake_by(rebalance.deadline);
            self.rebalance = Some(rebalance);
            self.sync_deadline = None;
            self.enter(ctx, GroupState::PreparingRebalance);
        }
        self.try_complete_join(ctx);
    }

    /// Ends the wait for members if nobody is missing.
    pub(super) fn try_complete_join(&mut self, ctx: &mut Context<'_>) {
        let waits_anyway = self.rebalance.as_ref().is_none_or(|rebalance| rebalance.initial.is_some());
        let all_here = self.pending.is_empty() && self.members.values().all(|member| member.joining.is_some());
        if !waits_anyway && all_here {
            self.complete_join(ctx);
        }
    }

    /// The time to wait for members is over.
    pub(super) fn join_deadline(&mut self, ctx: &mut Context<'_>) {
        if let Some(Rebalance { deadline, initial: Some(left), grew }) = &mut self.rebalance
            && *grew
            && !left.is_zero()
            && !self.members.is_empty()
        {
            let more = ctx.options.initial_rebalance_delay.min(*left);
            *left -= more;
            *grew = false;
            *deadline = ctx.now.elapsed + more;
            return;
        }
        self.complete_join(ctx);
    }

    /// Begins the next generation with those that are here.
    fn complete_join(&mut self, ctx: &mut Context<'_>) {
        let gone = |member: &Member| member.joining.is_none() && member.instance_id.is_none();
        let absent: Vec<String> = self.members.iter().filter(|(_, m)| gone(m)).map(|(id, _)| id.clone()).collect();
        for id in absent {
            self.drop_member(ctx, &id);
        }
        if !self.members.is_empty() && !self.elect() {
            // Static members keep their place until their session ends.
            let again = Rebalance { deadline: ctx.now.elapsed + self.rebalance_timeout(), initial: None, grew: false };
            self.rebalance = Some(again);
            return;
        }
        self.rebalance = None;
        self.generation = self.generation.checked_add(1).unwrap_or(1);
        if self.members.is_empty() {
            (self.protocol, self.leader, self.sync_deadline) = (None, None, None);
            self.enter(ctx, GroupState::Empty);
            self.write(ctx);
            return;
        }
        self.protocol = self.choose_protocol();
        self.enter(ctx, GroupState::CompletingRebalance);
        self.sync_deadline = Some(ctx.now.elapsed + self.rebalance_timeout());
        let ids: Vec<String> = self.members.keys().cloned().collect();
        for id in ids {
            let joined = self.joined(&id);
            let Some(member) = self.members.get_mut(&id) else { continue };
            (member.new, member.synced, member.assignment) = (false, false, Bytes::new());
            member.deadline = ctx.now.elapsed + member.session_timeout;
            if let Some(token) = member.joining.take() {
                ctx.reply(token, Ok(Reply::Join(JoinOutcome::Joined(joined))));
            }
        }
        self.wake = self.next_deadline();
    }

    /// Makes sure that the leader is one that has rejoined; whether there is any.
    fn elect(&mut self) -> bool {
        let here = |member: &Member| member.joining.is_some();
        if self.leader.as_ref().and_then(|id| self.members.get(id)).is_some_and(here) {
            return true;
        }
        let oldest = self.members.iter().filter(|(_, m)| here(m)).min_by_key(|(_, m)| m.number);
        let Some((id, _)) = oldest else { return false };
        self.leader = Some(id.clone());
        true
    }

    /// The protocol that most members like best, of those that all support; the leader's liking decides a tie.
    pub(super) fn choose_protocol(&self) -> Option<String> {
        let common = |name: &str| self.members.values().all(|member| member.supports(name));
        let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
        for member in self.members.values() {
            if let Some((name, _)) = member.protocols.iter().find(|(name, _)| common(name)) {
                *votes.entry(name).or_default() += 1;
            }
        }
        let most = votes.values().copied().max()?;
        let leader = self.leader.as_ref().and_then(|id| self.members.get(id))?;
        let wins = |name: &str| votes.get(name) == Some(&most);
        let liked = leader.protocols.iter().map(|(name, _)| name.as_str()).find(|name| wins(name));
        liked.map(str::to_owned)
    }

    /// The members with their metadata, oldest first.
    pub(super) fn as_leader_sees_them(&self) -> Vec<JoinedMember> {
        let protocol = self.protocol.as_deref().unwrap_or_default();
        let mut members: Vec<_> = self.members.iter().collect();
        members.sort_by_key(|(_, member)| member.number);
        let seen = members.into_iter().map(|(id, member)| JoinedMember {
            member_id: id.clone(),
            instance_id: member.instance_id.clone(),
            metadata: member.metadata(protocol),
        });
        seen.collect()
    }

    /// Takes a member out; what it waits for is answered.
    pub(super) fn drop_member(&mut self, ctx: &mut Context<'_>, id: &str) {
        let Some(mut member) = self.members.remove(id) else { return };
        for token in member.joining.take().into_iter().chain(member.syncing.take()) {
            ctx.reply(token, Err(Error::UnknownMemberId));
        }
        if let Some(instance) = &member.instance_id {
            self.instances.remove(instance);
        }
        if self.leader.as_deref() == Some(id) {
            self.leader = self.members.iter().min_by_key(|(_, m)| m.number).map(|(id, _)| id.clone());
        }
    }

    /// A member went: the others share what it had.
    pub(super) fn after_departure(&mut self, ctx: &mut Context<'_>) {
        match self.state {
            GroupState::Stable | GroupState::CompletingRebalance => self.prepare_rebalance(ctx),
            GroupState::PreparingRebalance => self.try_complete_join(ctx),
            GroupState::Empty => {}
        }
    }

    /// Somebody was given an id and did not come back: a rebalance no longer waits for it, and nothing else changes.
    pub(super) fn after_pending_left(&mut self, ctx: &mut Context<'_>) {
        if self.is(GroupState::PreparingRebalance) {
            self.try_complete_join(ctx);
        }
    }

    /// Answers those who wait for an assignment that will not come.
    fn release_syncing(&mut self, ctx: &mut Context<'_>, error: Error) {
        for member in self.members.values_mut() {
            if let Some(token) = member.syncing.take() {
                ctx.reply(token, Err(error));
            }
        }
    }

    pub(super) fn enter(&mut self, ctx: &Context<'_>, state: GroupState) {
        self.state = state;
        self.since = ctx.now.wall_ms;
    }
}
