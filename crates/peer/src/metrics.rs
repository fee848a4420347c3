//! What is forwarded.

/// A request that another broker is asked to answer.
pub(crate) fn forwarded(kind: &'static str) {
    ::metrics::counter!("runnel_forwarded_requests_total", "kind" => kind).increment(1);
}

/// Bytes of records in it, or in its answer.
pub(crate) fn carried(kind: &'static str, bytes: usize) {
    ::metrics::counter!("runnel_forwarded_bytes_total", "kind" => kind).increment(bytes as u64);
}
