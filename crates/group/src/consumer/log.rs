//! The group as the log has it: a record for each thing that changes by itself.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use runnel_format::groups::{
    ClassicMemberValue, ConsumerMemberValue, CurrentAssignmentValue, EpochValue, GroupKey, HeldPartitions,
    PatternValue, SubscribedTopic, SubscribedTopics, TargetMemberValue,
};

use super::ConsumerGroup;
use super::member::Member;
use crate::partitions::Partitions;
use crate::shard::Context;

impl ConsumerGroup {
    pub(super) fn write_epoch(&self, ctx: &mut Context<'_>) {
        ctx.write(GroupKey::Epoch { group: self.id.clone() }, Some(EpochValue(self.epoch).encode()));
    }

    pub(super) fn write_target_epoch(&self, ctx: &mut Context<'_>) {
        ctx.write(GroupKey::TargetEpoch { group: self.id.clone() }, Some(EpochValue(self.target_epoch).encode()));
    }

    pub(super) fn write_topics(&self, ctx: &mut Context<'_>) {
        let topics = self.topics.iter().map(|(name, (id, partitions))| SubscribedTopic {
            id: *id,
            name: name.clone(),
            partitions: *partitions,
        });
        let value = SubscribedTopics(topics.collect());
        ctx.write(GroupKey::Topics { group: self.id.clone() }, Some(value.encode()));
    }

    pub(super) fn write_pattern(&self, ctx: &mut Context<'_>, pattern: &str, topics: Option<&BTreeSet<String>>) {
        let key = GroupKey::Pattern { group: self.id.clone(), pattern: pattern.to_owned() };
        let value = topics.map(|topics| PatternValue {
            topics: topics.iter().cloned().collect(),
            version: i64::try_from(ctx.topics.version()).unwrap_or(i64::MAX),
            timestamp: ctx.now.wall_ms,
        });
        ctx.write(key, value.map(|value| value.encode()));
    }

    pub(super) fn write_member(&self, ctx: &mut Context<'_>, id: &str) {
        let Some(member) = self.members.get(id) else { return };
        let key = GroupKey::Member { group: self.id.clone(), member: id.to_owned() };
        ctx.write(key, Some(member.settings()));
    }

    pub(super) fn write_target(&self, ctx: &mut Context<'_>, id: &str) {
        let Some(target) = self.target.get(id) else { return };
        let key = GroupKey::TargetMember { group: self.id.clone(), member: id.to_owned() };
        ctx.write(key, Some(TargetMemberValue(target.as_record()).encode()));
    }

    pub(super) fn write_current(&self, ctx: &mut Context<'_>, id: &str) {
        let Some(member) = self.members.get(id) else { return };
        let key = GroupKey::Current { group: self.id.clone(), member: id.to_owned() };
        ctx.write(key, Some(member.standing()));
    }

    /// A member is gone.
    pub(super) fn write_removed(&self, ctx: &mut Context<'_>, id: &str) {
        let names = || (self.id.clone(), id.to_owned());
        let ((group, member), target, settings) = (names(), names(), names());
        ctx.write(GroupKey::Current { group, member }, None);
        ctx.write(GroupKey::TargetMember { group: target.0, member: target.1 }, None);
        ctx.write(GroupKey::Member { group: settings.0, member: settings.1 }, None);
    }

    /// The group is gone, or goes on in the other protocol.
    pub(crate) fn write_gone(&self, ctx: &mut Context<'_>) {
        self.members.keys().for_each(|id| self.write_removed(ctx, id));
        self.patterns.keys().for_each(|pattern| self.write_pattern(ctx, pattern, None));
        ctx.write(GroupKey::TargetEpoch { group: self.id.clone() }, None);
        ctx.write(GroupKey::Topics { group: self.id.clone() }, None);
        ctx.write(GroupKey::Epoch { group: self.id.clone() }, None);
    }
}

impl Member {
    fn settings(&self) -> Bytes {
        let classic = self.classic.as_ref().map(|classic| ClassicMemberValue {
            session_timeout: milliseconds(classic.session_timeout),
            protocols: classic.protocols.clone(),
        });
        let value = ConsumerMemberValue {
            instance_id: self.instance_id.clone(),
            rack: self.rack.clone(),
            client_id: self.client_id.clone(),
            client_host: self.client_host.clone(),
            topics: self.topics.clone(),
            pattern: self.pattern.clone(),
            rebalance_timeout: milliseconds(self.rebalance_timeout),
            assignor: self.assignor.clone(),
            classic,
        };
        value.encode()
    }

    fn held(&self, partitions: &Partitions) -> Vec<HeldPartitions> {
        let held = partitions.topics().map(|(topic, partitions)| {
            let since = partitions.iter().map(|partition| self.since.get(&(topic, *partition)).copied());
            let since = since.map(|epoch| epoch.unwrap_or(self.epoch)).collect();
            HeldPartitions { topic, partitions, since: Some(since) }
        });
        held.collect()
    }

    fn standing(&self) -> Bytes {
        let value = CurrentAssignmentValue {
            epoch: self.epoch,
            previous_epoch: self.previous_epoch,
            state: self.state as i8,
            assigned: self.held(&self.assigned),
            revoking: self.held(&self.revoking),
        };
        value.encode()
    }
}

fn milliseconds(time: Duration) -> i32 {
    i32::try_from(time.as_millis()).unwrap_or(i32::MAX)
}
