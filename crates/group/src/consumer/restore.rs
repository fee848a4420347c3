//! The group comes back from the log, record by record. The records of a key come in order, those of different keys need
//! not: compaction keeps the last of each wherever it is.

use std::time::Duration;

use runnel_format::groups::{
    ConsumerMemberValue, CurrentAssignmentValue, EpochValue, HeldPartitions, PatternValue, SubscribedTopics,
    TargetMemberValue,
};

use super::ConsumerGroup;
use super::member::{Classic, Member, MemberState};
use crate::partitions::Partitions;
use crate::shard::Now;

impl ConsumerGroup {
    pub(crate) fn restore_epoch(&mut self, value: Option<EpochValue>) {
        self.epoch = value.map_or(0, |value| value.0);
    }

    pub(crate) fn restore_target_epoch(&mut self, value: Option<EpochValue>) {
        self.target_epoch = value.map_or(0, |value| value.0);
    }

    pub(crate) fn restore_topics(&mut self, value: Option<SubscribedTopics>) {
        let topics = value.unwrap_or_default().0;
        self.topics = topics.into_iter().map(|topic| (topic.name, (topic.id, topic.partitions))).collect();
    }

    pub(crate) fn restore_pattern(&mut self, pattern: String, value: Option<PatternValue>) {
        match value {
            Some(value) => drop(self.patterns.insert(pattern, value.topics.into_iter().collect())),
            None => drop(self.patterns.remove(&pattern)),
        }
    }

    pub(crate) fn restore_member(&mut self, id: String, value: Option<ConsumerMemberValue>) {
        let Some(value) = value else {
            self.members.remove(&id);
            return;
        };
        let member = self.members.entry(id).or_default();
        member.instance_id = value.instance_id;
        member.rack = value.rack;
        member.client_id = value.client_id;
        member.client_host = value.client_host;
        member.topics = value.topics;
        member.topics.sort_unstable();
        member.pattern = value.pattern.filter(|pattern| !pattern.is_empty());
        member.rebalance_timeout = duration(value.rebalance_timeout);
        member.assignor = value.assignor;
        member.classic = value.classic.map(|classic| Classic {
            session_timeout: duration(classic.session_timeout),
            protocols: classic.protocols,
        });
    }

    pub(crate) fn restore_target(&mut self, id: String, value: Option<TargetMemberValue>) {
        match value {
            Some(value) => drop(self.target.insert(id, value.0.into_iter().collect())),
            None => drop(self.target.remove(&id)),
        }
    }

    pub(crate) fn restore_current(&mut self, id: String, value: Option<CurrentAssignmentValue>) {
        let nothing = Member::default();
        let value = value.unwrap_or(CurrentAssignmentValue {
            epoch: nothing.epoch,
            previous_epoch: nothing.previous_epoch,
            state: MemberState::Stable as i8,
            assigned: Vec::new(),
            revoking: Vec::new(),
        });
        let member = self.members.entry(id).or_default();
        member.epoch = value.epoch;
        member.previous_epoch = value.previous_epoch;
        member.state = MemberState::from_record(value.state);
        member.since.clear();
        member.assigned = member.restore_held(value.assigned);
        member.revoking = member.restore_held(value.revoking);
    }

    /// Everything is there: what follows from it is found anew.
    pub(crate) fn restored(&mut self, now: Now, session: Duration) {
        for (id, member) in std::mem::take(&mut self.members) {
            self.put(&id, member);
        }
        let Self { target, members, .. } = self;
        target.retain(|id, _| members.contains_key(id));
        self.start_timers(now, session);
    }
}

impl Member {
    fn restore_held(&mut self, topics: Vec<HeldPartitions>) -> Partitions {
        let mut restored = Partitions::default();
        for HeldPartitions { topic, partitions, since } in topics {
            let mut since = since.unwrap_or_default().into_iter();
            for partition in partitions {
                // Before it was written, an epoch was not taken for that of any other.
                let epoch = since.next().unwrap_or(self.epoch);
                self.since.insert((topic, partition), epoch);
                restored.insert(topic, partition);
            }
        }
        restored
    }
}

fn duration(ms: i32) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}
