//! Heartbeat: a sign of life, by which a member also learns that it must rejoin.

use std::sync::Arc;

use kafka_protocol::messages::heartbeat_request::HeartbeatRequest;
use kafka_protocol::messages::heartbeat_response::HeartbeatResponse;
use runnel_api::groups::Heartbeat;

use crate::context::Context;
use crate::error::group_outcome;
use crate::membership::membership;
use crate::reply::Outcome;

pub(crate) async fn handle(ctx: Arc<Context>, _version: i16, request: HeartbeatRequest) -> HeartbeatResponse {
    let beat = Heartbeat {
        group: request.group_id.to_string(),
        member: membership(request.generation_id, &request.member_id, request.group_instance_id.as_ref()),
    };
    HeartbeatResponse::default().with_error_code(group_outcome(ctx.broker.heartbeat(beat).await))
}

impl Outcome for HeartbeatResponse {
    fn error_code(&self) -> i16 {
        self.error_code
    }
}
