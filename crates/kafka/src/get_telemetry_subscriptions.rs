//! GetTelemetrySubscriptions: no metrics are asked of clients (KIP-714).

use std::sync::Arc;

use kafka_protocol::messages::get_telemetry_subscriptions_request::GetTelemetrySubscriptionsRequest;
use kafka_protocol::messages::get_telemetry_subscriptions_response::GetTelemetrySubscriptionsResponse;
use uuid::Uuid;

use crate::context::Context;
use crate::reply::Outcome;

/// The one subscription, which is empty.
pub(crate) const SUBSCRIPTION: i32 = 0;

/// How often a client asks again, as by default in Kafka.
const INTERVAL_MS: i32 = 5 * 60 * 1000;

/// Most bytes of a push.
pub(crate) const MAX_BYTES: i32 = 1 << 20;

/// zstd, lz4, gzip, snappy.
const COMPRESSION: [i8; 4] = [4, 3, 1, 2];

pub(crate) async fn handle(
    _ctx: Arc<Context>,
    _version: i16,
    request: GetTelemetrySubscriptionsRequest,
) -> GetTelemetrySubscriptionsResponse {
    let known = request.client_instance_id;
    GetTelemetrySubscriptionsResponse::default()
        .with_client_instance_id(if known.is_nil() { Uuid::new_v4() } else { known })
        .with_subscription_id(SUBSCRIPTION)
        .with_accepted_compression_types(COMPRESSION.to_vec())
        .with_push_interval_ms(INTERVAL_MS)
        .with_telemetry_max_bytes(MAX_BYTES)
        .with_delta_temporality(true)
}

impl Outcome for GetTelemetrySubscriptionsResponse {
    fn error_code(&self) -> i16 {
        self.error_code
    }
}
