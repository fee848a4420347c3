//! ConsumerGroupDescribe (KIP-848): groups of the consumer protocol and their members.

use std::collections::BTreeSet;
use std::sync::Arc;

use kafka_protocol::messages::GroupId;
use kafka_protocol::messages::consumer_group_describe_request::ConsumerGroupDescribeRequest;
use kafka_protocol::messages::consumer_group_describe_response::{
    Assignment, ConsumerGroupDescribeResponse, DescribedGroup, Member, TopicPartitions,
};
use kafka_protocol::protocol::StrBytes;
use runnel_api::groups::{DescribedConsumer, DescribedConsumerGroup, GroupType, NamedPartitions};

use crate::context::Context;
use crate::describe_groups::ALL_GROUP_OPERATIONS;
use crate::error::group_code;
use crate::reply::{Outcome, first_error};
use crate::topics::{self, NO_OPERATIONS, text, wire_name};

/// First version that says what a member speaks.
const WITH_MEMBER_TYPE: i16 = 1;

pub(crate) async fn handle(
    ctx: Arc<Context>,
    version: i16,
    request: ConsumerGroupDescribeRequest,
) -> ConsumerGroupDescribeResponse {
    let operations = if request.include_authorized_operations { ALL_GROUP_OPERATIONS } else { NO_OPERATIONS };
    let mut groups = Vec::with_capacity(request.group_ids.len());
    // Each once: the answer to a group that is repeated could be as large as anyone likes.
    let mut seen = BTreeSet::new();
    for id in request.group_ids.into_iter().filter(|id| seen.insert(id.clone())) {
        let group = match ctx.broker.describe_consumer_group(&id).await {
            Ok(group) => found(version, id, group).with_authorized_operations(operations),
            Err(error) => DescribedGroup::default()
                .with_group_id(id)
                .with_error_code(group_code(error.kind).code())
                .with_error_message(topics::message(&error)),
        };
        groups.push(group);
    }
    ConsumerGroupDescribeResponse::default().with_groups(groups)
}

fn found(version: i16, id: GroupId, group: DescribedConsumerGroup) -> DescribedGroup {
    DescribedGroup::default()
        .with_group_id(id)
        .with_group_state(StrBytes::from_static_str(group.state.name()))
        .with_group_epoch(group.epoch)
        .with_assignment_epoch(group.assignment_epoch)
        .with_assignor_name(text(&group.assignor))
        .with_members(group.members.into_iter().map(|one| member(version, one)).collect())
}

fn member(version: i16, member: DescribedConsumer) -> Member {
    let shown = Member::default()
        .with_member_id(text(&member.member_id))
        .with_instance_id(member.instance_id.as_deref().map(text))
        .with_rack_id(member.rack.as_deref().map(text))
        .with_member_epoch(member.epoch)
        .with_client_id(text(&member.client_id))
        .with_client_host(text(&member.client_host))
        .with_subscribed_topic_names(member.topics.iter().map(|name| wire_name(name)).collect())
        .with_subscribed_topic_regex(member.pattern.as_deref().map(text))
        .with_assignment(assignment(member.assignment))
        .with_target_assignment(assignment(member.target));
    let kind = match member.kind {
        GroupType::Classic => 0,
        GroupType::Consumer => 1,
    };
    if version >= WITH_MEMBER_TYPE { shown.with_member_type(kind) } else { shown }
}

fn assignment(topics: Vec<NamedPartitions>) -> Assignment {
    let topics = topics.into_iter().map(|topic| {
        TopicPartitions::default()
            .with_topic_id(topic.id.0)
            .with_topic_name(wire_name(&topic.name))
            .with_partitions(topic.partitions)
    });
    Assignment::default().with_topic_partitions(topics.collect())
}

impl Outcome for ConsumerGroupDescribeResponse {
    fn error_code(&self) -> i16 {
        first_error(self.groups.iter().map(|group| group.error_code))
    }
}
