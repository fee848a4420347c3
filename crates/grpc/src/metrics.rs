//! What the front door counts. Names are a contract with dashboards.

use std::time::Duration;

use ::metrics::{Gauge, counter, gauge, histogram};
use tonic::Code;

/// One call has ended. A session counts once, when it ends.
pub(crate) fn request(method: &'static str, code: Code, took: Duration) {
    counter!("runnel_grpc_requests_total", "method" => method, "code" => name(code)).increment(1);
    histogram!("runnel_grpc_request_seconds", "method" => method).record(took.as_secs_f64());
}

/// Calls under way.
pub(crate) fn streams() -> Gauge {
    gauge!("runnel_grpc_streams")
}

/// Open connections.
pub(crate) fn connections() -> Gauge {
    gauge!("runnel_grpc_connections")
}

/// Bytes of requests and replies that are in memory now.
pub(crate) fn inflight_bytes() -> Gauge {
    gauge!("runnel_grpc_inflight_bytes")
}

/// A code as google.rpc.Code spells it.
fn name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
