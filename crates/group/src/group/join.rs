//! Joining: new members, members that come back, and static members under a new id.

use crate::error::Error;
use crate::group::{Group, Member, bytes_of};
use crate::requests::{GroupState, JoinGroup, JoinOutcome, Joined, Reply};
use crate::shard::{Context, Token};
use crate::weight;

/// How long a new member is waited for whose client may be gone: it sends no heartbeats before it has heard of its
/// generation.
const NEW_MEMBER: std::time::Duration = std::time::Duration::from_secs(300);

impl Member {
    /// Puts the end of its session off; returns when that is.
    fn sign_of_life(&mut self, now: std::time::Duration) -> std::time::Duration {
        self.deadline = now + if self.new { NEW_MEMBER } else { self.session_timeout };
        self.deadline
    }
}

impl Group {
    pub(crate) fn join(
        &mut self,
        ctx: &mut Context<'_>,
        token: Token,
        join: JoinGroup,
        fresh_id: String,
    ) -> Result<(), Error> {
        self.leave_consumer_protocol(ctx, &join);
        if let Some(consumer) = &mut self.consumer {
            let outcome = consumer.join_classic(ctx, join, fresh_id)?;
            ctx.reply(token, Ok(Reply::Join(outcome)));
            return Ok(());
        }
        if !self.agrees_with(&join) {
            return Err(Error::InconsistentGroupProtocol);
        }
        if self.is_full_for(&join.member_id, ctx) {
            return Err(Error::GroupMaxSizeReached);
        }
        let known = self.members.get(&join.member_id);
        let replaced = known.map_or(0, |member| member.client_id.len() + bytes_of(&member.protocols));
        let added = join.client_id.len() + bytes_of(&join.protocols);
        let grows = added.saturating_sub(replaced) + if known.is_some() { 0 } else { weight::MEMBER };
        if grows > ctx.room {
            return Err(Error::TooManyGroups);
        }
        if self.bytes().saturating_sub(replaced).saturating_add(added) > ctx.options.max_group_bytes {
            return Err(Error::GroupTooLarge);
        }
        if !join.member_id.is_empty() {
            return self.join_known(ctx, token, join);
        }
        match &join.instance_id {
            Some(instance) if self.instances.contains_key(instance) => self.replace_static(ctx, token, join, fresh_id),
            None if join.needs_member_id => {
                let until = ctx.now.elapsed + join.session_timeout;
                self.pending.insert(fresh_id.clone(), until);
                self.wake_by(until);
                ctx.reply(token, Ok(Reply::Join(JoinOutcome::MemberIdRequired(fresh_id))));
            }
            _ => self.add(ctx, token, join, fresh_id),
        }
        Ok(())
    }

    /// Whether the member has a protocol that every other member has too.
    fn agrees_with(&self, join: &JoinGroup) -> bool {
        if self.members.is_empty() {
            return true;
        }
        self.protocol_type.as_deref() == Some(&join.protocol_type)
            && join.protocols.iter().any(|(name, _)| self.members.values().all(|member| member.supports(name)))
    }

    fn is_full_for(&self, member_id: &str, ctx: &Context<'_>) -> bool {
        let known = self.members.contains_key(member_id) || self.pending.contains_key(member_id);
        !known && self.members.len() + self.pending.len() >= ctx.options.max_size
    }

    fn join_known(&mut self, ctx: &mut Context<'_>, token: Token, join: JoinGroup) -> Result<(), Error> {
        if self.pending.contains_key(&join.member_id) {
            // Only dynamic members are given an id to come back with.
            if join.instance_id.is_some() {
                return Err(Error::UnknownMemberId);
            }
            self.pending.remove(&join.member_id);
            let id = join.member_id.clone();
            self.add(ctx, token, join, id);
            return Ok(());
        }
        let same = self.authenticate(&join.member_id, join.instance_id.as_deref())?.protocols == join.protocols;
        let leads = self.leader.as_ref() == Some(&join.member_id);
        match self.state {
            GroupState::PreparingRebalance => {
                self.update(ctx, token, join);
                self.try_complete_join(ctx);
            }
            // It did not hear the answer to its last join.
            GroupState::CompletingRebalance if same => self.answer_again(ctx, token, &join.member_id),
            // A leader rejoins to have the assignment made anew.
            GroupState::Stable if same && !leads => self.answer_again(ctx, token, &join.member_id),
            GroupState::CompletingRebalance | GroupState::Stable => {
                self.update(ctx, token, join);
                self.prepare_rebalance(ctx);
            }
            GroupState::Empty => return Err(Error::UnknownMemberId),
        }
        Ok(())
    }

    fn add(&mut self, ctx: &mut Context<'_>, token: Token, join: JoinGroup, member_id: String) {
        if let Some(instance) = &join.instance_id {
            self.instances.insert(instance.clone(), member_id.clone());
        }
        if self.members.is_empty() {
            self.protocol_type = Some(join.protocol_type.clone());
        }
        self.leader.get_or_insert_with(|| member_id.clone());
        let deadline = ctx.now.elapsed + NEW_MEMBER;
        self.next_number += 1;
        let member = Member {
            instance_id: join.instance_id,
            client_id: join.client_id,
            client_host: join.client_host,
            session_timeout: join.session_timeout,
            rebalance_timeout: join.rebalance_timeout,
            protocols: join.protocols,
            assignment: bytes::Bytes::new(),
            number: self.next_number,
            joining: Some(token),
            syncing: None,
            synced: false,
            new: true,
            deadline,
        };
        self.members.insert(member_id, member);
        self.wake_by(deadline);
        if let Some(rebalance) = &mut self.rebalance {
            rebalance.grew = true;
        }
        self.prepare_rebalance(ctx);
    }

    /// A member that joins anew: its request waits, an older one of its own is given up.
    fn update(&mut self, ctx: &mut Context<'_>, token: Token, join: JoinGroup) {
        let Some(member) = self.members.get_mut(&join.member_id) else { return };
        member.session_timeout = join.session_timeout;
        member.rebalance_timeout = join.rebalance_timeout;
        member.protocols = join.protocols;
        let deadline = member.sign_of_life(ctx.now.elapsed);
        if let Some(older) = member.joining.replace(token) {
            ctx.reply(older, Err(Error::RebalanceInProgress));
        }
        self.wake_by(deadline);
    }

    /// Tells a member its place in the current generation once more.
    fn answer_again(&mut self, ctx: &mut Context<'_>, token: Token, member_id: &str) {
        if let Some(member) = self.members.get_mut(member_id) {
            member.deadline = ctx.now.elapsed + member.session_timeout;
        }
        let joined = self.joined(member_id);
        ctx.reply(token, Ok(Reply::Join(JoinOutcome::Joined(joined))));
    }

    /// A static member restarted and has a new id: it takes the place of the old one, without a rebalance if it can.
    fn replace_static(&mut self, ctx: &mut Context<'_>, token: Token, join: JoinGroup, member_id: String) {
        let instance = join.instance_id.clone().unwrap_or_default();
        let Some(old_id) = self.instances.insert(instance, member_id.clone()) else { return };
        let Some(mut member) = self.members.remove(&old_id) else { return };
        for waiting in member.joining.take().into_iter().chain(member.syncing.take()) {
            ctx.reply(waiting, Err(Error::FencedInstanceId));
        }
        let led = self.leader.as_ref() == Some(&old_id);
        if led {
            self.leader = Some(member_id.clone());
        }
        member.client_id = join.client_id;
        member.client_host = join.client_host;
        member.session_timeout = join.session_timeout;
        member.rebalance_timeout = join.rebalance_timeout;
        member.protocols = join.protocols;
        let deadline = member.sign_of_life(ctx.now.elapsed);
        self.wake_by(deadline);
        self.members.insert(member_id.clone(), member);

        let stays = self.is(GroupState::Stable) && self.choose_protocol() == self.protocol;
        if stays {
            self.write(ctx);
            let mut joined = self.joined(&member_id);
            joined.skip_assignment = led && join.may_skip_assignment;
            if led && !join.may_skip_assignment {
                // An older client that is told that it leads would assign: it is told that it follows.
                joined.leader = old_id;
                joined.members.clear();
            }
            return ctx.reply(token, Ok(Reply::Join(JoinOutcome::Joined(joined))));
        }
        if let Some(member) = self.members.get_mut(&member_id) {
            member.joining = Some(token);
        }
        self.prepare_rebalance(ctx);
    }

    /// What a member is told of the current generation.
    pub(super) fn joined(&self, member_id: &str) -> Joined {
        let leader = self.leader.clone().unwrap_or_default();
        Joined {
            generation: self.generation,
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            protocol: self.protocol.clone().unwrap_or_default(),
            members: if leader == member_id { self.as_leader_sees_them() } else { Vec::new() },
            leader,
            member_id: member_id.to_owned(),
            skip_assignment: false,
        }
    }
}
