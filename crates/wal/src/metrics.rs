//! Counters of the log. Bumped per block, never per record.

use std::time::Duration;

use metrics::{counter, gauge, histogram};

#[allow(clippy::cast_precision_loss)] // gauges are floats
pub(crate) fn unflushed(bytes: u64) {
    gauge!("runnel_wal_unflushed_bytes").set(bytes as f64);
}

#[allow(clippy::cast_precision_loss)]
pub(crate) fn unshipped(bytes: u64) {
    gauge!("runnel_wal_unshipped_bytes").set(bytes as f64);
}

/// How much the lanes on the disk may hold, and those in the bucket as much again.
#[allow(clippy::cast_precision_loss)]
pub(crate) fn limit(bytes: u64) {
    gauge!("runnel_wal_unshipped_limit_bytes").set(bytes as f64);
}

#[allow(clippy::cast_precision_loss)]
pub(crate) fn files(count: usize) {
    gauge!("runnel_wal_files").set(count as f64);
}

/// A block of `bytes` became durable in `took` (write and sync).
pub(crate) fn block(bytes: u64, took: Duration) {
    counter!("runnel_wal_blocks_total").increment(1);
    counter!("runnel_wal_bytes_total").increment(bytes);
    histogram!("runnel_wal_flush_seconds").record(took.as_secs_f64());
}

/// What waits in an object lane, to be durable and to be shipped. A broker may have lanes of both classes.
#[allow(clippy::cast_precision_loss)]
pub(crate) fn object_lane(unflushed: u64, unshipped: u64) {
    gauge!("runnel_wal_object_unflushed_bytes").set(unflushed as f64);
    gauge!("runnel_wal_object_unshipped_bytes").set(unshipped as f64);
}

/// A slot of `bytes` is in the bucket, `took` after it was first put.
pub(crate) fn slot(bytes: u64, took: Duration) {
    counter!("runnel_wal_slots_total").increment(1);
    counter!("runnel_wal_slot_bytes_total").increment(bytes);
    histogram!("runnel_wal_slot_seconds").record(took.as_secs_f64());
}
