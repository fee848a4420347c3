//! DescribeGroups: groups and their members.

use std::collections::BTreeSet;
use std::sync::Arc;

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::GroupId;
use kafka_protocol::messages::describe_groups_request::DescribeGroupsRequest;
use kafka_protocol::messages::describe_groups_response::{
    DescribeGroupsResponse, DescribedGroup as WireGroup, DescribedGroupMember,
};
use kafka_protocol::protocol::StrBytes;
use runnel_api::groups::DescribedGroup;

use crate::context::Context;
use crate::error::group_code;
use crate::reply::{Outcome, first_error};
use crate::topics::{self, NO_OPERATIONS, text};

/// First version in which a group that is not there is an error, and errors have a text.
const WITH_NOT_FOUND: i16 = 6;

/// Permissions on a group while everyone may do everything (KIP-430): read, delete, describe.
pub(crate) const ALL_GROUP_OPERATIONS: i32 = 0b1_0100_1000;

pub(crate) async fn handle(ctx: Arc<Context>, version: i16, request: DescribeGroupsRequest) -> DescribeGroupsResponse {
    let operations = if request.include_authorized_operations { ALL_GROUP_OPERATIONS } else { NO_OPERATIONS };
    let mut groups = Vec::with_capacity(request.groups.len());
    // Each once: the answer to a group that is repeated could be as large as anyone likes.
    let mut seen = BTreeSet::new();
    for id in request.groups.into_iter().filter(|id| seen.insert(id.clone())) {
        let group = match ctx.broker.describe_group(&id).await {
            Ok(group) => found(id, group),
            Err(error) => match group_code(error.kind) {
                ResponseError::GroupIdNotFound if version < WITH_NOT_FOUND => dead(id),
                code if version < WITH_NOT_FOUND => dead(id).with_error_code(code.code()),
                code => dead(id).with_error_code(code.code()).with_error_message(topics::message(&error)),
            },
        };
        groups.push(group.with_authorized_operations(operations));
    }
    DescribeGroupsResponse::default().with_groups(groups)
}

fn dead(id: GroupId) -> WireGroup {
    WireGroup::default().with_group_id(id).with_group_state(StrBytes::from_static_str("Dead"))
}

fn found(id: GroupId, group: DescribedGroup) -> WireGroup {
    let members = group.members.into_iter().map(|member| {
        DescribedGroupMember::default()
            .with_member_id(text(&member.member_id))
            .with_group_instance_id(member.instance_id.as_deref().map(text))
            .with_client_id(text(&member.client_id))
            .with_client_host(text(&member.client_host))
            .with_member_metadata(member.metadata)
            .with_member_assignment(member.assignment)
    });
    WireGroup::default()
        .with_group_id(id)
        .with_group_state(StrBytes::from_static_str(group.state.name()))
        .with_protocol_type(text(&group.protocol_type))
        .with_protocol_data(text(&group.protocol))
        .with_members(members.collect())
}

impl Outcome for DescribeGroupsResponse {
    fn error_code(&self) -> i16 {
        first_error(self.groups.iter().map(|group| group.error_code))
    }
}
