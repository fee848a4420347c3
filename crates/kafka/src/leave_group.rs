//! LeaveGroup: leaving, and since version 3 removing many members at once.

use std::sync::Arc;

use kafka_protocol::messages::leave_group_request::{LeaveGroupRequest, MemberIdentity};
use kafka_protocol::messages::leave_group_response::{LeaveGroupResponse, MemberResponse};
use runnel_api::groups::{LeaveGroup, Leaving};

use crate::context::Context;
use crate::error::{group_code, group_outcome};
use crate::reply::{Outcome, first_error};

/// First version that names many members.
const WITH_MEMBERS: i16 = 3;

pub(crate) async fn handle(ctx: Arc<Context>, version: i16, request: LeaveGroupRequest) -> LeaveGroupResponse {
    let members = if version >= WITH_MEMBERS {
        request.members
    } else {
        vec![MemberIdentity::default().with_member_id(request.member_id)]
    };
    let leaving = members.iter().map(|member| Leaving {
        member_id: member.member_id.to_string(),
        instance_id: member.group_instance_id.as_ref().map(ToString::to_string),
        reason: member.reason.as_ref().map(ToString::to_string),
    });
    let leave = LeaveGroup { group: request.group_id.to_string(), members: leaving.collect() };
    let each = match ctx.broker.leave_group(leave).await {
        Ok(each) => each,
        Err(error) => return LeaveGroupResponse::default().with_error_code(group_code(error.kind).code()),
    };
    let mut codes = each.into_iter().map(group_outcome);
    if version < WITH_MEMBERS {
        return LeaveGroupResponse::default().with_error_code(codes.next().unwrap_or(0));
    }
    let members = members.into_iter().zip(codes).map(|(member, code)| {
        MemberResponse::default()
            .with_member_id(member.member_id)
            .with_group_instance_id(member.group_instance_id)
            .with_error_code(code)
    });
    LeaveGroupResponse::default().with_members(members.collect())
}

impl Outcome for LeaveGroupResponse {
    fn error_code(&self) -> i16 {
        first_error(self.members.iter().map(|member| member.error_code).chain([self.error_code]))
    }
}
