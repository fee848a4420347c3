//! What a seed makes likely. Each run has faults of its own mix, so that rare combinations come about (swarm testing,
//! Groce et al., ISSTA 2012).

use std::time::Duration;

use runnel_runtime::simulation::Chance;

/// How often what happens, of a thousand requests or steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rates {
    /// A request to the store that does not arrive, and an answer of it.
    pub(crate) store_lost: u64,
    pub(crate) store_unheard: u64,
    /// A request to the bucket that fails, is done without an answer, is done later, or is refused with a 409.
    pub(crate) bucket_fails: u64,
    pub(crate) bucket_unheard: u64,
    pub(crate) bucket_later: u64,
    pub(crate) bucket_conflict: u64,
    /// Steps of the simulation in which each of these begins.
    pub(crate) kill: u64,
    pub(crate) stop: u64,
    pub(crate) pause: u64,
    pub(crate) cut_store: u64,
    pub(crate) outage: u64,
    pub(crate) slow_bucket: u64,
    pub(crate) slow_store: u64,
    pub(crate) zombie: u64,
    pub(crate) expire: u64,
    pub(crate) clock: u64,
    pub(crate) compact: u64,
    pub(crate) settings: u64,
    pub(crate) fail_point: u64,
    pub(crate) disk: u64,
    pub(crate) tear: u64,
}

impl Rates {
    /// Nothing fails.
    pub(crate) const NONE: Self = Self {
        store_lost: 0,
        store_unheard: 0,
        bucket_fails: 0,
        bucket_unheard: 0,
        bucket_later: 0,
        bucket_conflict: 0,
        kill: 0,
        stop: 0,
        pause: 0,
        cut_store: 0,
        outage: 0,
        slow_bucket: 0,
        slow_store: 0,
        zombie: 0,
        expire: 0,
        clock: 0,
        compact: 0,
        settings: 0,
        fail_point: 0,
        disk: 0,
        tear: 0,
    };
}

/// How one run is set up.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Swarm {
    pub(crate) rates: Rates,
    pub(crate) brokers: usize,
    pub(crate) partitions: i32,
    pub(crate) producers: u64,
    pub(crate) segment_bytes: u64,
    pub(crate) segment_age: Duration,
    /// Size of what small segments are merged into; 0 leaves them.
    pub(crate) merge_bytes: u64,
    pub(crate) object_interval: Duration,
    pub(crate) trim_every: Duration,
    pub(crate) is_local: bool,
    /// Bytes that the lasting topic keeps of a partition, if it does not keep all.
    pub(crate) retention_bytes: Option<u64>,
    /// Who else works: somebody who deletes records, a topic that comes and goes, a group.
    pub(crate) trims: bool,
    pub(crate) topics: bool,
    pub(crate) commits: bool,
}

impl Swarm {
    pub(crate) fn of(chance: &mut Chance) -> Self {
        // Half of the faults are off, the others between rare and frequent.
        let mut rate = |most: u64| if chance.permille(500) { 0 } else { 1 + chance.below(most) };
        let rates = Rates {
            store_lost: rate(50),
            store_unheard: rate(50),
            bucket_fails: rate(50),
            bucket_unheard: rate(50),
            bucket_later: rate(50),
            bucket_conflict: rate(50),
            kill: rate(4),
            stop: rate(3),
            pause: rate(4),
            cut_store: rate(3),
            outage: rate(2),
            slow_bucket: rate(2),
            slow_store: rate(3),
            zombie: rate(20),
            expire: rate(4),
            clock: rate(10),
            compact: rate(20),
            settings: rate(2),
            fail_point: rate(6),
            disk: rate(4),
            tear: rate(3),
        };
        Self {
            rates,
            brokers: 2 + usize::from(chance.permille(700)),
            partitions: 1 + i32::try_from(chance.below(4)).unwrap_or(0),
            producers: 1 + chance.below(6),
            segment_bytes: chance.pick(&[1 << 10, 4 << 10, 1 << 20]),
            segment_age: Duration::from_millis(chance.pick(&[100, 300, 1_000, 10_000])),
            merge_bytes: chance.pick(&[0, 0, 64 << 10]),
            object_interval: Duration::from_millis(chance.pick(&[1, 20, 100])),
            trim_every: Duration::from_millis(chance.pick(&[10, 200, 10_000])),
            is_local: chance.permille(350),
            retention_bytes: chance.permille(150).then_some(16 << 10),
            trims: chance.permille(300),
            topics: chance.permille(400),
            commits: chance.permille(500),
        }
    }
}
