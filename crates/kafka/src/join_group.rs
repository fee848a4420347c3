//! JoinGroup: becoming a member, or staying one.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::join_group_request::JoinGroupRequest;
use kafka_protocol::messages::join_group_response::{JoinGroupResponse, JoinGroupResponseMember};
use kafka_protocol::protocol::StrBytes;
use runnel_api::groups::{JoinGroup, JoinOutcome, Joined};

use crate::context::Context;
use crate::error::group_code;
use crate::reply::Outcome;
use crate::topics::text;

/// First version whose clients come back with an id that they are given (KIP-394).
const WITH_MEMBER_ID_REQUIRED: i16 = 4;

/// First version in which there may be no protocol.
const WITH_NULL_PROTOCOL: i16 = 7;

/// First version whose leaders may skip the assignment (KIP-814).
const WITH_SKIP_ASSIGNMENT: i16 = 9;

pub(crate) async fn handle(
    ctx: Arc<Context>,
    version: i16,
    request: JoinGroupRequest,
    client_id: String,
) -> JoinGroupResponse {
    let member_id = request.member_id.clone();
    // Copied: a slice would keep the whole request for as long as the member is one.
    let protocols = request.protocols.into_iter().map(|p| (p.name.to_string(), Bytes::copy_from_slice(&p.metadata)));
    let join = JoinGroup {
        group: request.group_id.to_string(),
        member_id: request.member_id.to_string(),
        instance_id: request.group_instance_id.as_ref().map(ToString::to_string),
        client_id,
        client_host: ctx.peer.clone(),
        session_timeout: milliseconds(request.session_timeout_ms),
        rebalance_timeout: milliseconds(request.rebalance_timeout_ms),
        protocol_type: request.protocol_type.to_string(),
        protocols: protocols.collect(),
        reason: request.reason.as_ref().map(ToString::to_string),
        needs_member_id: version >= WITH_MEMBER_ID_REQUIRED,
        may_skip_assignment: version >= WITH_SKIP_ASSIGNMENT,
    };
    match ctx.broker.join_group(join).await {
        Ok(JoinOutcome::Joined(joined)) => accepted(joined),
        Ok(JoinOutcome::MemberIdRequired(id)) => refused(version, ResponseError::MemberIdRequired, text(&id)),
        Err(error) => refused(version, group_code(error.kind), member_id),
    }
}

fn milliseconds(ms: i32) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}

fn accepted(joined: Joined) -> JoinGroupResponse {
    let members = joined.members.into_iter().map(|member| {
        JoinGroupResponseMember::default()
            .with_member_id(text(&member.member_id))
            .with_group_instance_id(member.instance_id.as_deref().map(text))
            .with_metadata(member.metadata)
    });
    JoinGroupResponse::default()
        .with_generation_id(joined.generation)
        .with_protocol_type(Some(text(&joined.protocol_type)))
        .with_protocol_name(Some(text(&joined.protocol)))
        .with_leader(text(&joined.leader))
        .with_skip_assignment(joined.skip_assignment)
        .with_member_id(text(&joined.member_id))
        .with_members(members.collect())
}

fn refused(version: i16, error: ResponseError, member_id: StrBytes) -> JoinGroupResponse {
    JoinGroupResponse::default()
        .with_error_code(error.code())
        .with_generation_id(-1)
        .with_protocol_type(None)
        .with_protocol_name((version < WITH_NULL_PROTOCOL).then(StrBytes::new))
        .with_member_id(member_id)
}

impl Outcome for JoinGroupResponse {
    fn error_code(&self) -> i16 {
        self.error_code
    }
}
