//! A group as this interface shows it, whichever protocol its members speak.

use runnel_api::groups::{ConsumerGroupState, DescribedConsumer, DescribedConsumerGroup, DescribedGroup};
use runnel_api::groups::{DescribedMember, GroupError, GroupState, GroupType, ListedState, assigned_partitions};
use runnel_api::{ErrorKind, Groups};
use runnel_proto::admin::v1 as pb;

use super::refused;
use crate::door::Door;
use crate::error::Failure;

/// The protocol type of consumers, whose assignments say what they read.
const CONSUMER: &str = "consumer";

/// A group with all its members, in the order of their ids.
pub(super) struct Described {
    pub(super) group: pb::Group,
    /// Who assigns: what the members agreed on, or the assignor of the coordinator.
    pub(super) protocol: String,
    pub(super) members: Vec<pb::GroupMember>,
}

/// Looks a group up.
pub(super) async fn described(door: &Door, group: &str) -> Result<Described, Failure> {
    let unknown = |kind| kind == ErrorKind::Group(GroupError::GroupIdNotFound);
    let mut described = match Groups::describe_group(&*door.broker, group).await {
        Ok(classic) => from_classic(classic),
        Err(error) if unknown(error.kind) => {
            let found = Groups::describe_consumer_group(&*door.broker, group).await;
            from_consumer(found.map_err(|error| refused(group, error))?)
        }
        Err(error) => return Err(refused(group, error)),
    };
    described.members.sort_by(|a, b| a.member_id.cmp(&b.member_id));
    Ok(described)
}

pub(super) fn kind(kind: GroupType) -> pb::GroupType {
    match kind {
        GroupType::Classic => pb::GroupType::Classic,
        GroupType::Consumer => pb::GroupType::Consumer,
    }
}

pub(super) fn state(state: ListedState) -> pb::GroupState {
    match state {
        ListedState::Classic(GroupState::Empty) | ListedState::Consumer(ConsumerGroupState::Empty) => {
            pb::GroupState::Empty
        }
        ListedState::Classic(GroupState::PreparingRebalance) => pb::GroupState::PreparingRebalance,
        ListedState::Classic(GroupState::CompletingRebalance) => pb::GroupState::CompletingRebalance,
        ListedState::Consumer(ConsumerGroupState::Assigning) => pb::GroupState::Assigning,
        ListedState::Consumer(ConsumerGroupState::Reconciling) => pb::GroupState::Reconciling,
        ListedState::Classic(GroupState::Stable) | ListedState::Consumer(ConsumerGroupState::Stable) => {
            pb::GroupState::Stable
        }
    }
}

fn from_classic(found: DescribedGroup) -> Described {
    let consumers = found.protocol_type == CONSUMER;
    let group = pb::Group {
        r#type: kind(GroupType::Classic).into(),
        state: state(ListedState::Classic(found.state)).into(),
        protocol_type: found.protocol_type,
        members: found.members.len().try_into().unwrap_or(i32::MAX),
        group: found.group,
    };
    let members = found.members.into_iter().map(|member| classic_member(member, consumers)).collect();
    Described { group, protocol: found.protocol, members }
}

fn classic_member(member: DescribedMember, consumer: bool) -> pb::GroupMember {
    // Nothing if that is not known.
    let assigned = consumer.then(|| assigned_partitions(&member.assignment)).flatten().unwrap_or_default();
    pb::GroupMember {
        assignment: in_order(assigned),
        member_id: member.member_id,
        instance_id: member.instance_id,
        client_id: member.client_id,
        client_host: member.client_host,
    }
}

fn from_consumer(found: DescribedConsumerGroup) -> Described {
    let group = pb::Group {
        r#type: kind(GroupType::Consumer).into(),
        state: state(ListedState::Consumer(found.state)).into(),
        protocol_type: CONSUMER.to_owned(),
        members: found.members.len().try_into().unwrap_or(i32::MAX),
        group: found.group,
    };
    Described { group, protocol: found.assignor, members: found.members.into_iter().map(consumer_member).collect() }
}

fn consumer_member(member: DescribedConsumer) -> pb::GroupMember {
    let assigned = member.assignment.into_iter().map(|of| (of.name, of.partitions));
    pb::GroupMember {
        assignment: in_order(assigned.collect()),
        member_id: member.member_id,
        instance_id: member.instance_id,
        client_id: member.client_id,
        client_host: member.client_host,
    }
}

fn in_order(mut topics: Vec<(String, Vec<i32>)>) -> Vec<pb::TopicPartitions> {
    topics.sort();
    topics.iter_mut().for_each(|(_, partitions)| partitions.sort_unstable());
    topics.into_iter().map(|(topic, partitions)| pb::TopicPartitions { topic, partitions }).collect()
}
