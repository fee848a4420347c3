//! SyncGroup: the leader brings the assignment, every member fetches its own.

use std::sync::Arc;

use bytes::Bytes;
use kafka_protocol::messages::sync_group_request::SyncGroupRequest;
use kafka_protocol::messages::sync_group_response::SyncGroupResponse;
use runnel_api::groups::SyncGroup;

use crate::context::Context;
use crate::error::group_code;
use crate::membership::membership;
use crate::reply::Outcome;
use crate::topics::text;

pub(crate) async fn handle(ctx: Arc<Context>, _version: i16, request: SyncGroupRequest) -> SyncGroupResponse {
    // Copied: a slice would keep the whole request for as long as the member has its assignment.
    let assignments =
        request.assignments.into_iter().map(|one| (one.member_id.to_string(), Bytes::copy_from_slice(&one.assignment)));
    let sync = SyncGroup {
        group: request.group_id.to_string(),
        member: membership(request.generation_id, &request.member_id, request.group_instance_id.as_ref()),
        protocol_type: request.protocol_type.as_ref().map(ToString::to_string),
        protocol: request.protocol_name.as_ref().map(ToString::to_string),
        assignments: assignments.collect(),
    };
    match ctx.broker.sync_group(sync).await {
        Ok(synced) => SyncGroupResponse::default()
            .with_protocol_type(synced.protocol_type.as_deref().map(text))
            .with_protocol_name(synced.protocol.as_deref().map(text))
            .with_assignment(synced.assignment),
        Err(error) => SyncGroupResponse::default().with_error_code(group_code(error.kind).code()),
    }
}

impl Outcome for SyncGroupResponse {
    fn error_code(&self) -> i16 {
        self.error_code
    }
}
