//! The group as one of the consumer protocol, and the way between the protocols.

use std::time::Duration;

use runnel_format::groups::GroupKey;

use crate::consumer::{Carried, ConsumerGroup};
use crate::error::Error;
use crate::group::commit::CONSUMER;
use crate::group::{Group, Member};
use crate::requests::{ConsumerBeat, ConsumerHeartbeat, GroupState, JOIN, JoinGroup};
use crate::shard::{Context, Now};

impl Group {
    pub(crate) fn consumer_beat(
        &mut self,
        ctx: &mut Context<'_>,
        beat: &ConsumerHeartbeat,
    ) -> Result<ConsumerBeat, Error> {
        match &mut self.consumer {
            Some(consumer) if beat.epoch < JOIN => {
                let answer = consumer.leave(ctx, beat)?;
                self.downgrade(ctx);
                Ok(answer)
            }
            Some(consumer) => {
                let admission = consumer.admit(ctx, beat)?;
                Ok(consumer.beat(ctx, beat, admission))
            }
            None if beat.epoch == JOIN => self.upgrade(ctx, beat),
            None => Err(Error::GroupIdNotFound),
        }
    }

    /// A member of the consumer protocol joins: the classic members, if there are any, stay in.
    fn upgrade(&mut self, ctx: &mut Context<'_>, beat: &ConsumerHeartbeat) -> Result<ConsumerBeat, Error> {
        let mut consumer = Box::new(self.as_consumers(ctx).ok_or(Error::GroupIdNotFound)?);
        let admission = consumer.admit(ctx, beat)?;
        for member in self.members.values_mut() {
            for token in member.joining.take().into_iter().chain(member.syncing.take()) {
                ctx.reply(token, Err(Error::RebalanceInProgress));
            }
        }
        if self.generation > 0 {
            ctx.write(GroupKey::Group { group: self.id.clone() }, None);
        }
        if !consumer.is_empty() {
            consumer.write_all(ctx);
        }
        self.restore_absent();
        let answer = consumer.beat(ctx, beat, admission);
        self.consumer = Some(consumer);
        Ok(answer)
    }

    /// The group in the consumer protocol; `None` if its members are no consumers.
    fn as_consumers(&self, ctx: &Context<'_>) -> Option<ConsumerGroup> {
        if self.is(GroupState::Empty) {
            return Some(ConsumerGroup::new(self.id.clone()));
        }
        if self.protocol_type.as_deref() != Some(CONSUMER) {
            return None;
        }
        let members = self.members.iter().map(|(id, member)| Carried {
            id: id.clone(),
            instance_id: member.instance_id.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            session_timeout: member.session_timeout,
            rebalance_timeout: member.rebalance_timeout,
            protocols: member.protocols.clone(),
            assignment: member.assignment.clone(),
        });
        ConsumerGroup::of_classic(ctx, &self.id, self.generation, self.protocol.as_deref(), members.collect())
    }

    /// Goes on in the classic protocol once the last member of the other is gone.
    pub(super) fn downgrade(&mut self, ctx: &mut Context<'_>) {
        let Some(consumer) = self.consumer.take_if(|consumer| consumer.is_all_classic()) else { return };
        consumer.write_gone(ctx);
        let (generation, members) = consumer.into_classic(ctx.topics);
        self.generation = generation;
        self.protocol_type = Some(CONSUMER.to_owned());
        for carried in members {
            self.next_number += 1;
            if let Some(instance) = &carried.instance_id {
                self.instances.insert(instance.clone(), carried.id.clone());
            }
            self.leader.get_or_insert_with(|| carried.id.clone());
            let deadline = ctx.now.elapsed + carried.session_timeout;
            let member = Member {
                instance_id: carried.instance_id,
                client_id: carried.client_id,
                client_host: carried.client_host,
                session_timeout: carried.session_timeout,
                rebalance_timeout: carried.rebalance_timeout,
                protocols: carried.protocols,
                assignment: carried.assignment,
                number: self.next_number,
                joining: None,
                syncing: None,
                synced: true,
                new: false,
                deadline,
            };
            self.wake_by(deadline);
            self.members.insert(carried.id, member);
        }
        self.protocol = self.choose_protocol();
        self.enter(ctx, GroupState::Stable);
        self.write(ctx);
        // They share what the one that left had.
        self.prepare_rebalance(ctx);
    }

    /// Makes way for a classic member, where that is possible: in a group that has no members, or none of the consumer
    /// protocol but the one whose place the member takes.
    pub(super) fn leave_consumer_protocol(&mut self, ctx: &mut Context<'_>, join: &JoinGroup) {
        if let Some(consumer) = self.consumer.take_if(|consumer| consumer.is_empty()) {
            return consumer.write_gone(ctx);
        }
        let Some(consumer) = &mut self.consumer else { return };
        if let Some(replaced) = consumer.last_replaced_by(join) {
            consumer.remove(ctx, &[replaced]);
            self.downgrade(ctx);
        }
    }

    /// When it wants to be looked at.
    pub(crate) fn due(&self) -> Option<Duration> {
        self.consumer.as_ref().map_or(self.wake, |consumer| consumer.due())
    }

    /// Everything is loaded.
    pub(crate) fn restored(&mut self, now: Now, session: Duration) {
        let Some(consumer) = &mut self.consumer else { return };
        consumer.restored(now, session);
        if consumer.is_trivial() {
            self.consumer = None;
        }
    }
}
