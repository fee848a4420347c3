//! Heartbeat: a sign of life, by which a member also learns that it must rejoin.

use std::sync::Arc;

use kafka_protocol::messages::heartbeat_request::HeartbeatRequest;
use kafka_protocol::messages::heartbeat_response::HeartbeatResponse;
use runnel_api::groups::Heartbeat;

use crate::context::Context;
use crate::error::group_code;
use crate::reply::Outcome;

pub(crate) async fn handle(ctx: Arc<Context>, _version: i16, request: HeartbeatRequest) -> HeartbeatResponse {
    let beat = Heartbeat {
        group: request.group_id.to_string(),
        generation: request.generation_id,
        member_id: request.member_id.to_string(),
        instance_id: request.group_instance_id.as_ref().map(ToString::to_string),
    };
    match ctx.broker.heartbeat(beat).await {
        Ok(()) => HeartbeatResponse::default(),
        Err(error) => HeartbeatResponse::default().with_error_code(group_code(error.kind).code()),
    }
}

impl Outcome for HeartbeatResponse {
    fn error_code(&self) -> i16 {
        self.error_code
    }
}
