//! What the cache counts.
//!
//! - `runnel_cache_hits_total{tier}`: reads answered from `memory`, from `disk`, or by a `flight` that another read had
//!   begun.
//! - `runnel_cache_misses_total`: reads that loaded, or tried to.
//! - `runnel_cache_bytes{class}`: memory that entries of the class take, `hot` or `backfill`.

use metrics::{Counter, Gauge, counter, describe_counter, describe_gauge, gauge};

/// Handles taken once, since a look-up by name costs more than a hit.
#[derive(Clone)]
pub(crate) struct Metrics {
    pub(crate) memory: Counter,
    pub(crate) disk: Counter,
    pub(crate) flight: Counter,
    pub(crate) misses: Counter,
    pub(crate) hot_bytes: Gauge,
    pub(crate) backfill_bytes: Gauge,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        const HITS: &str = "runnel_cache_hits_total";
        const MISSES: &str = "runnel_cache_misses_total";
        const BYTES: &str = "runnel_cache_bytes";
        describe_counter!(HITS, "Reads answered from the fetch cache, by tier");
        describe_counter!(MISSES, "Reads that the fetch cache had to load");
        describe_gauge!(BYTES, metrics::Unit::Bytes, "Memory held by entries of the fetch cache, by class");
        Self {
            memory: counter!(HITS, "tier" => "memory"),
            disk: counter!(HITS, "tier" => "disk"),
            flight: counter!(HITS, "tier" => "flight"),
            misses: counter!(MISSES),
            hot_bytes: gauge!(BYTES, "class" => "hot"),
            backfill_bytes: gauge!(BYTES, "class" => "backfill"),
        }
    }
}
