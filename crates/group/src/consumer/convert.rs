//! From the classic protocol to the consumer protocol and back, with all members.

use std::time::Duration;

use bytes::Bytes;

use super::ConsumerGroup;
use super::classic::{with_ids, with_names};
use super::member::{Classic, Member};
use crate::embedded;
use crate::partitions::Partitions;
use crate::shard::Context;
use crate::topics::Topics;

/// A member of the classic protocol, as it is in either kind of group.
pub(crate) struct Carried {
    pub(crate) id: String,
    pub(crate) instance_id: Option<String>,
    pub(crate) client_id: String,
    pub(crate) client_host: String,
    pub(crate) session_timeout: Duration,
    pub(crate) rebalance_timeout: Duration,
    pub(crate) protocols: Vec<(String, Bytes)>,
    pub(crate) assignment: Bytes,
}

impl ConsumerGroup {
    /// The group that classic members make; `None` if what they tell each other is not what consumers do. They are at the
    /// epoch that was their generation and have what they were assigned last.
    pub(crate) fn of_classic(
        ctx: &Context<'_>,
        id: &str,
        generation: i32,
        protocol: Option<&str>,
        members: Vec<Carried>,
    ) -> Option<Self> {
        let mut group = Self::new(id.to_owned());
        (group.epoch, group.target_epoch) = (generation, generation);
        for carried in members {
            let chosen = carried.protocols.iter().find(|(name, _)| Some(name.as_str()) == protocol);
            let (_, metadata) = chosen.or(carried.protocols.first())?;
            let subscription = embedded::subscription(metadata)?;
            // In the middle of a rebalance nothing is assigned, and those who let go step by step say what they hold.
            let named = embedded::assignment(&carried.assignment)?;
            let held = with_ids(if named.is_empty() { &subscription.owned } else { &named }, ctx.topics);
            let assigned = held.filtered(|topic, partition| !group.owners.contains_key(&(topic, partition)));
            let mut member = Member {
                instance_id: carried.instance_id,
                client_id: carried.client_id,
                client_host: carried.client_host,
                rebalance_timeout: carried.rebalance_timeout,
                epoch: generation,
                previous_epoch: generation,
                assigned: assigned.clone(),
                since: assigned.iter().map(|partition| (partition, generation)).collect(),
                ..Member::default()
            };
            let session = ctx.now.elapsed + carried.session_timeout;
            let classic = Classic { session_timeout: carried.session_timeout, protocols: carried.protocols };
            member.become_classic(classic, subscription);
            group.put(&carried.id, member);
            group.sign_of_life(&carried.id, session);
            group.target.insert(carried.id, assigned);
        }
        Some(group)
    }

    /// Writes all of the group.
    pub(crate) fn write_all(&self, ctx: &mut Context<'_>) {
        self.members.keys().for_each(|id| self.write_member(ctx, id));
        self.write_epoch(ctx);
        self.target.keys().for_each(|id| self.write_target(ctx, id));
        self.write_target_epoch(ctx);
        self.members.keys().for_each(|id| self.write_current(ctx, id));
    }

    /// Whether the last member of the consumer protocol is gone, and others are left.
    pub(crate) fn is_all_classic(&self) -> bool {
        !self.is_empty() && self.members.values().all(|member| member.classic.is_some())
    }

    /// Generation and members of the classic group that is left.
    pub(crate) fn into_classic(self, topics: &Topics) -> (i32, Vec<Carried>) {
        let Self { epoch, members, .. } = self;
        let carried = members.into_iter().filter_map(|(id, member)| {
            // Not what it was to have: another may hold that until the rebalance is over.
            let held = with_names(&member.holds().collect::<Partitions>(), topics);
            let classic = member.classic?;
            let version = classic.subscription().map_or(0, |subscription| subscription.version);
            Some(Carried {
                id,
                instance_id: member.instance_id,
                client_id: member.client_id,
                client_host: member.client_host,
                session_timeout: classic.session_timeout,
                rebalance_timeout: member.rebalance_timeout,
                protocols: classic.protocols,
                assignment: embedded::assign(version, &held),
            })
        });
        (epoch, carried.collect())
    }
}
