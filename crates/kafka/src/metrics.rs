//! What the front door counts. Names are a contract with dashboards.

use std::time::Duration;

use ::metrics::{Gauge, counter, gauge, histogram};

use crate::error;

/// One request was handled. `error` is the first error code in the reply, 0 for none.
pub(crate) fn request(api: &'static str, error: i16, took: Duration) {
    counter!("runnel_kafka_requests_total", "api" => api, "error" => error::name(error)).increment(1);
    histogram!("runnel_kafka_request_seconds", "api" => api).record(took.as_secs_f64());
}

/// Open connections.
pub(crate) fn connections() -> Gauge {
    gauge!("runnel_kafka_connections")
}

/// Bytes of requests and replies that are in memory now.
pub(crate) fn inflight_bytes() -> Gauge {
    gauge!("runnel_kafka_inflight_bytes")
}
