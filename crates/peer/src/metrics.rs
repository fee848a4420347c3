//! What is forwarded, and what is read for consumers of this broker's zone.

/// A request that another broker is asked to answer.
pub(crate) fn forwarded(kind: &'static str) {
    ::metrics::counter!("runnel_forwarded_requests_total", "kind" => kind).increment(1);
}

/// Bytes of records in it, or in its answer.
pub(crate) fn carried(kind: &'static str, bytes: usize) {
    ::metrics::counter!("runnel_forwarded_bytes_total", "kind" => kind).increment(bytes as u64);
}

/// Bytes of records that consumers got of partitions that others lead, by where they were.
pub(crate) fn read(source: &'static str, bytes: usize) {
    ::metrics::counter!("runnel_reader_bytes_total", "source" => source).increment(bytes as u64);
}

/// Bytes of records that came from leaders for that.
pub(crate) fn fetched(bytes: usize) {
    ::metrics::counter!("runnel_reader_fetched_bytes_total").increment(bytes as u64);
}

/// Partitions that are read.
pub(crate) fn followed(partitions: usize) {
    ::metrics::gauge!("runnel_reader_partitions").set(partitions as f64);
}
