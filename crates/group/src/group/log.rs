//! A group as the log has it: written at every new assignment, and when the last member goes.

use std::time::Duration;

use runnel_format::groups::{GroupKey, GroupMetadataValue, MemberMetadata, OffsetCommitValue};

use crate::group::{Group, Member};
use crate::requests::GroupState;
use crate::shard::{Context, Now};

impl Group {
    /// Writes who is in the group and what each was assigned.
    pub(super) fn write(&self, ctx: &mut Context<'_>) {
        let protocol = self.protocol.as_deref().unwrap_or_default();
        let mut members: Vec<_> = self.members.iter().collect();
        members.sort_by_key(|(_, member)| member.number);
        let members = members.into_iter().map(|(id, member)| MemberMetadata {
            member_id: id.clone(),
            instance_id: member.instance_id.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            rebalance_timeout: milliseconds(member.rebalance_timeout),
            session_timeout: milliseconds(member.session_timeout),
            subscription: member.metadata(protocol),
            assignment: member.assignment.clone(),
        });
        let value = GroupMetadataValue {
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            generation: self.generation,
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            state_timestamp: self.since,
            members: members.collect(),
        };
        ctx.write(GroupKey::Group { group: self.id.clone() }, Some(value.encode()));
    }

    /// Takes the place that the log gives it. Timers are set by [`Group::start_timers`].
    pub(crate) fn restore(&mut self, value: GroupMetadataValue) {
        self.restore_absent();
        self.state = if value.members.is_empty() { GroupState::Empty } else { GroupState::Stable };
        self.since = value.state_timestamp;
        self.generation = value.generation;
        self.protocol_type = Some(value.protocol_type).filter(|name| !name.is_empty());
        self.leader = value.leader;
        let protocol = value.protocol.clone().unwrap_or_default();
        self.protocol = value.protocol;
        for member in value.members {
            self.next_number += 1;
            if let Some(instance) = &member.instance_id {
                self.instances.insert(instance.clone(), member.member_id.clone());
            }
            let restored = Member {
                instance_id: member.instance_id,
                client_id: member.client_id,
                client_host: member.client_host,
                session_timeout: duration(member.session_timeout),
                rebalance_timeout: duration(member.rebalance_timeout),
                protocols: vec![(protocol.clone(), member.subscription)],
                assignment: member.assignment,
                number: self.next_number,
                joining: None,
                syncing: None,
                synced: true,
                new: false,
                deadline: Duration::ZERO,
            };
            self.members.insert(member.member_id, restored);
        }
    }

    /// As if nobody had ever joined; what is committed stays.
    pub(crate) fn restore_absent(&mut self) {
        let (id, offsets) = (std::mem::take(&mut self.id), std::mem::take(&mut self.offsets));
        let (scheduled, counted, consumer) = (self.scheduled, self.counted, self.consumer.take());
        *self = Self { offsets, scheduled, counted, consumer, ..Self::new(id) };
    }

    pub(crate) fn restore_offset(&mut self, topic: &str, partition: i32, value: Option<OffsetCommitValue>) {
        match value {
            Some(value) => self.offsets.set(topic, partition, value),
            None => drop(self.offsets.remove(topic, partition)),
        }
    }

    /// Every member has a whole session to give a sign of life.
    pub(crate) fn start_timers(&mut self, now: Now) {
        for member in self.members.values_mut() {
            member.deadline = now.elapsed + member.session_timeout;
        }
        self.wake = self.members.values().map(|member| member.deadline).min();
    }
}

fn milliseconds(time: Duration) -> i32 {
    i32::try_from(time.as_millis()).unwrap_or(i32::MAX)
}

fn duration(ms: i32) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}
