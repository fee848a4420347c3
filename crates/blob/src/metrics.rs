//! Metrics of requests to the bucket.

use std::time::Duration;

const REQUESTS: &str = "runnel_objstore_requests_total";
const SECONDS: &str = "runnel_objstore_request_seconds";
const BYTES: &str = "runnel_objstore_bytes_total";

/// Registers the descriptions.
pub(crate) fn describe() {
    metrics::describe_counter!(REQUESTS, "Requests to the bucket, by operation and outcome.");
    metrics::describe_histogram!(
        SECONDS,
        metrics::Unit::Seconds,
        "Duration of requests to the bucket, retries included."
    );
    metrics::describe_counter!(BYTES, metrics::Unit::Bytes, "Bytes of object bodies, by operation and direction.");
}

/// A request has ended.
pub(crate) fn request(op: &'static str, code: &'static str, took: Duration) {
    metrics::counter!(REQUESTS, "op" => op, "code" => code).increment(1);
    metrics::histogram!(SECONDS, "op" => op).record(took.as_secs_f64());
}

/// Bytes have come from the bucket.
pub(crate) fn bytes_in(op: &'static str, bytes: usize) {
    metrics::counter!(BYTES, "op" => op, "dir" => "in").increment(bytes as u64);
}

/// Bytes have gone to the bucket.
pub(crate) fn bytes_out(op: &'static str, bytes: usize) {
    metrics::counter!(BYTES, "op" => op, "dir" => "out").increment(bytes as u64);
}
