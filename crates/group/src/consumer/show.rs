//! The group as tools see it.

use super::ConsumerGroup;
use crate::partitions::Partitions;
use crate::requests::{
    ConsumerGroupState, DescribedConsumer, DescribedConsumerGroup, GroupType, ListedGroup, ListedState, NamedPartitions,
};
use crate::topics::Topics;

/// The protocol type of every such group.
const CONSUMER: &str = "consumer";

impl ConsumerGroup {
    fn state(&self) -> ConsumerGroupState {
        if self.is_empty() {
            ConsumerGroupState::Empty
        } else if self.epoch > self.target_epoch {
            ConsumerGroupState::Assigning
        } else if self.members.values().all(|member| member.is_at(self.target_epoch)) {
            ConsumerGroupState::Stable
        } else {
            ConsumerGroupState::Reconciling
        }
    }

    pub(crate) fn listed(&self) -> ListedGroup {
        ListedGroup {
            group: self.id.clone(),
            protocol_type: CONSUMER.to_owned(),
            state: ListedState::Consumer(self.state()),
            members: self.members.len(),
        }
    }

    pub(crate) fn described(&self, topics: &Topics) -> DescribedConsumerGroup {
        let members = self.members.iter().map(|(id, member)| DescribedConsumer {
            member_id: id.clone(),
            instance_id: member.instance_id.clone(),
            rack: member.rack.clone(),
            epoch: member.epoch,
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            topics: member.topics.clone(),
            pattern: member.pattern.clone(),
            assignment: named(&member.assigned, topics),
            target: self.target.get(id).map(|target| named(target, topics)).unwrap_or_default(),
            kind: if member.classic.is_some() { GroupType::Classic } else { GroupType::Consumer },
        });
        DescribedConsumerGroup {
            group: self.id.clone(),
            state: self.state(),
            epoch: self.epoch,
            assignment_epoch: self.target_epoch,
            assignor: self.assignor().name().to_owned(),
            members: members.collect(),
        }
    }
}

/// Without topics that are gone.
fn named(partitions: &Partitions, topics: &Topics) -> Vec<NamedPartitions> {
    let named = partitions
        .topics()
        .filter_map(|(id, partitions)| Some(NamedPartitions { id, name: topics.name(id)?.to_owned(), partitions }));
    named.collect()
}
