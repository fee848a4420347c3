//! Requests to etcd.

use std::time::Duration;

use tonic::Code;

/// One attempt, and how it ended.
pub(super) fn request(action: &'static str, code: Code, took: Duration) {
    ::metrics::counter!("runnel_etcd_requests_total", "action" => action, "code" => name(code)).increment(1);
    ::metrics::histogram!("runnel_etcd_request_seconds", "action" => action).record(took.as_secs_f64());
}

const fn name(code: Code) -> &'static str {
    match code {
        Code::Ok => "ok",
        Code::Unavailable => "unavailable",
        Code::DeadlineExceeded => "timeout",
        Code::NotFound => "not_found",
        Code::Unauthenticated | Code::PermissionDenied => "denied",
        _ => "failed",
    }
}
