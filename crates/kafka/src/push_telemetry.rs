//! PushTelemetry: nothing was asked for, so what comes all the same is not kept (KIP-714).

use std::sync::Arc;

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::push_telemetry_request::PushTelemetryRequest;
use kafka_protocol::messages::push_telemetry_response::PushTelemetryResponse;

use crate::context::Context;
use crate::get_telemetry_subscriptions::{MAX_BYTES, SUBSCRIPTION};
use crate::reply::Outcome;

pub(crate) async fn handle(_ctx: Arc<Context>, _version: i16, request: PushTelemetryRequest) -> PushTelemetryResponse {
    let too_large = usize::try_from(MAX_BYTES).is_ok_and(|max| request.metrics.len() > max);
    let error = if request.client_instance_id.is_nil() {
        ResponseError::InvalidRequest.code()
    } else if request.subscription_id != SUBSCRIPTION {
        ResponseError::UnknownSubscriptionId.code()
    } else if too_large {
        ResponseError::TelemetryTooLarge.code()
    } else {
        0
    };
    PushTelemetryResponse::default().with_error_code(error)
}

impl Outcome for PushTelemetryResponse {
    fn error_code(&self) -> i16 {
        self.error_code
    }
}
