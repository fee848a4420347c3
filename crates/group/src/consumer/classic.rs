//! Members that speak the classic protocol in a group of the consumer protocol, while it is on its way from one to the
//! other. Their generation is their member epoch. They are told to rejoin whenever there is a step to make, and make it with
//! JoinGroup, whose subscription says what they hold; the answer to SyncGroup is what they may read.

use std::time::Duration;

use runnel_record::TopicId;

use super::ConsumerGroup;
use super::member::{Classic, Member, MemberState};
use crate::embedded::{self, Named, Subscription};
use crate::error::Error;
use crate::partitions::Partitions;
use crate::requests::{Heartbeat, JoinGroup, JoinOutcome, Joined, Leaving, Membership, SyncGroup, Synced};
use crate::shard::Context;
use crate::topics::Topics;

/// The protocol type of consumers.
const CONSUMER: &str = "consumer";

impl Classic {
    /// What it agrees to be called: the best that it supports.
    fn protocol(&self) -> &str {
        self.protocols.first().map_or("", |(name, _)| name)
    }

    pub(super) fn subscription(&self) -> Option<Subscription> {
        self.protocols.first().and_then(|(_, metadata)| embedded::subscription(metadata))
    }
}

impl ConsumerGroup {
    pub(crate) fn join_classic(
        &mut self,
        ctx: &mut Context<'_>,
        join: JoinGroup,
        fresh_id: String,
    ) -> Result<JoinOutcome, Error> {
        if !self.supports(&join) {
            return Err(Error::InconsistentGroupProtocol);
        }
        let newcomer = join.member_id.is_empty();
        let replaces = match &join.instance_id {
            None if newcomer && join.needs_member_id => return Ok(JoinOutcome::MemberIdRequired(fresh_id)),
            None => None,
            Some(instance) => match self.instances.get(instance) {
                None if newcomer => None,
                None => return Err(Error::UnknownMemberId),
                Some(current) if newcomer => Some(current.clone()),
                Some(current) if *current != join.member_id => return Err(Error::FencedInstanceId),
                Some(_) => None,
            },
        };
        let id = if newcomer { fresh_id } else { join.member_id };
        let known = self.members.get(replaces.as_ref().unwrap_or(&id)).cloned();
        if known.is_none() && self.members.len() >= ctx.options.max_size {
            return Err(Error::GroupMaxSizeReached);
        }
        let before = match known {
            Some(member) if replaces.is_some() => Some(Member { epoch: 0, previous_epoch: 0, ..member }),
            known => known,
        };
        let classic = Classic { session_timeout: join.session_timeout, protocols: join.protocols };
        let subscription = classic.subscription().ok_or(Error::InconsistentGroupProtocol)?;
        let (session, rebalance) = (join.session_timeout, join.rebalance_timeout);
        let protocol = classic.protocol().to_owned();
        let owned = with_ids(&subscription.owned, ctx.topics);
        let mut after = before.clone().unwrap_or_default();
        after.instance_id = join.instance_id.or(after.instance_id);
        after.client_id = join.client_id;
        after.client_host = join.client_host;
        after.rebalance_timeout = rebalance;
        after.become_classic(classic, subscription);
        let admission = self.admit_member(ctx, before, after, replaces)?;
        self.advance(ctx, &id, admission, Some(&owned));
        let (alive, synced) = (ctx.now.elapsed + session, ctx.now.elapsed + rebalance);
        self.sign_of_life(&id, alive);
        self.wake_by(synced);
        let member = self.members.get_mut(&id).ok_or(Error::UnknownMemberId)?;
        (member.timers.join, member.timers.sync) = (None, Some(synced));
        Ok(JoinOutcome::Joined(Joined {
            generation: member.epoch,
            protocol_type: CONSUMER.to_owned(),
            protocol,
            // Nobody leads: the coordinator assigns.
            leader: String::new(),
            member_id: id,
            skip_assignment: false,
            members: Vec::new(),
        }))
    }

    /// Whether the classic members could go on with this one by themselves.
    fn supports(&self, join: &JoinGroup) -> bool {
        let has = |classic: &Classic, name: &str| classic.protocols.iter().any(|(own, _)| own == name);
        let mut others = self.members.values().filter_map(|member| member.classic.as_ref());
        let common = |(name, _): &(String, _)| others.clone().all(|classic| has(classic, name));
        let supported = join.protocol_type == CONSUMER && join.protocols.iter().any(common);
        supported || (others.next().is_none() && join.protocol_type == CONSUMER && !join.protocols.is_empty())
    }

    /// A static member of the consumer protocol whose place `join` takes, if it is the last of that protocol.
    pub(crate) fn last_replaced_by(&self, join: &JoinGroup) -> Option<String> {
        let current = self.instances.get(join.instance_id.as_ref()?).filter(|_| join.member_id.is_empty())?;
        let last = self.members.iter().all(|(id, member)| (id == current) == member.classic.is_none());
        (last && self.members.len() > 1 && self.supports(join)).then(|| current.clone())
    }

    pub(crate) fn sync_classic(&mut self, ctx: &mut Context<'_>, sync: &SyncGroup) -> Result<Synced, Error> {
        let (group_epoch, now) = (self.epoch, ctx.now.elapsed);
        let member = self.classic_member(&sync.member)?;
        let Some(classic) = &member.classic else { return Err(Error::UnknownMemberId) };
        let differs = |named: &Option<String>, own: &str| named.as_deref().is_some_and(|named| named != own);
        if differs(&sync.protocol_type, CONSUMER) || differs(&sync.protocol, classic.protocol()) {
            return Err(Error::InconsistentGroupProtocol);
        }
        if group_epoch > member.epoch && member.state != MemberState::Unrevoked {
            self.expect_join(now, &sync.member.member_id);
            return Err(Error::RebalanceInProgress);
        }
        let version = classic.subscription().map_or(0, |subscription| subscription.version);
        let alive = now + classic.session_timeout;
        member.timers.sync = None;
        let assignment = embedded::assign(version, &with_names(&member.assigned, ctx.topics));
        self.sign_of_life(&sync.member.member_id, alive);
        Ok(Synced { protocol_type: sync.protocol_type.clone(), protocol: sync.protocol.clone(), assignment })
    }

    pub(crate) fn beat_classic(&mut self, ctx: &Context<'_>, beat: &Heartbeat) -> Result<(), Error> {
        let (group_epoch, now) = (self.epoch, ctx.now.elapsed);
        let id = &beat.member.member_id;
        let member = self.classic_member(&beat.member)?;
        let alive = now + member.classic.as_ref().map_or(Duration::ZERO, |classic| classic.session_timeout);
        let (epoch, state) = (member.epoch, member.state);
        self.sign_of_life(id, alive);
        let step = match state {
            MemberState::Unrevoked => true,
            // It would get something that it waits for.
            MemberState::Unreleased => epoch < group_epoch || !self.waits(id),
            MemberState::Stable => epoch < group_epoch,
        };
        if step {
            self.expect_join(now, id);
            return Err(Error::RebalanceInProgress);
        }
        Ok(())
    }

    pub(crate) fn leave_classic(&mut self, ctx: &mut Context<'_>, leaving: &[Leaving]) -> Vec<Result<(), Error>> {
        let mut gone: Vec<String> = Vec::new();
        let each = leaving.iter().map(|one| {
            let id = match &one.instance_id {
                None => &one.member_id,
                Some(instance) => {
                    let current = self.instances.get(instance).ok_or(Error::UnknownMemberId)?;
                    // An operator knows a static member by its instance only.
                    if !one.member_id.is_empty() && one.member_id != *current {
                        return Err(Error::FencedInstanceId);
                    }
                    current
                }
            };
            let known = self.members.get(id).is_some_and(|member| member.classic.is_some());
            if !known || gone.contains(id) {
                return Err(Error::UnknownMemberId);
            }
            gone.push(id.clone());
            Ok(())
        });
        let each = each.collect();
        self.remove(ctx, &gone);
        each
    }

    /// The member of the classic protocol that somebody says to be, at its epoch.
    fn classic_member(&mut self, claim: &Membership) -> Result<&mut Member, Error> {
        if let Some(instance) = &claim.instance_id {
            match self.instances.get(instance) {
                None => return Err(Error::UnknownMemberId),
                Some(current) if *current != claim.member_id => return Err(Error::FencedInstanceId),
                Some(_) => {}
            }
        }
        let member = self.members.get_mut(&claim.member_id).filter(|member| member.classic.is_some());
        let member = member.ok_or(Error::UnknownMemberId)?;
        if claim.generation == member.epoch { Ok(member) } else { Err(Error::IllegalGeneration) }
    }

    /// It was told to rejoin, and must do so within its rebalance timeout.
    fn expect_join(&mut self, now: Duration, id: &str) {
        let Some(member) = self.members.get_mut(id) else { return };
        let until = *member.timers.join.get_or_insert(now + member.rebalance_timeout);
        self.wake_by(until);
    }

    /// Whether somebody still has what the member waits for.
    fn waits(&self, id: &str) -> bool {
        let (Some(member), Some(target)) = (self.members.get(id), self.target.get(id)) else { return false };
        let others = |partition: &(TopicId, i32)| self.owners.get(partition).is_some_and(|owner| owner != id);
        target
            .iter()
            .any(|(topic, partition)| !member.assigned.contains(topic, partition) && others(&(topic, partition)))
    }
}

impl Member {
    /// Takes in what a member of the classic protocol brought.
    pub(super) fn become_classic(&mut self, classic: Classic, subscription: Subscription) {
        self.topics = subscription.topics;
        self.topics.sort_unstable();
        self.topics.dedup();
        // Its client compares topics with expressions by itself.
        self.pattern = None;
        self.rack = subscription.rack.or(self.rack.take());
        self.classic = Some(classic);
    }
}

/// Without topics that are gone.
pub(super) fn with_names(partitions: &Partitions, topics: &Topics) -> Named {
    let named = partitions.topics().filter_map(|(id, partitions)| Some((topics.name(id)?.to_owned(), partitions)));
    named.collect()
}

/// Without topics that are gone.
pub(super) fn with_ids(named: &Named, topics: &Topics) -> Partitions {
    let known = named.iter().filter_map(|(name, partitions)| Some((topics.find(name)?.0, partitions.clone())));
    known.collect()
}
