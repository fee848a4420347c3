//! Limits and times of a coordinator.

use std::time::Duration;

/// Times of one group in place of those of [`Options`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GroupTimes {
    /// In place of [`Options::consumer_session_timeout`].
    pub session: Option<Duration>,
    /// In place of [`Options::consumer_heartbeat_interval`].
    pub heartbeat: Option<Duration>,
}

/// Settings of a coordinator (section `groups`); Kafka's name in brackets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// How long a group that gets its first member waits for more (`group.initial.rebalance.delay.ms`).
    pub initial_rebalance_delay: Duration,
    /// Shortest session timeout that a member may ask for (`group.min.session.timeout.ms`).
    pub min_session_timeout: Duration,
    /// Longest (`group.max.session.timeout.ms`).
    pub max_session_timeout: Duration,
    /// Most members of one group (`group.max.size`, `group.consumer.max.size`).
    pub max_size: usize,
    /// A member of the consumer protocol that is silent for so long is removed (`group.consumer.session.timeout.ms`).
    pub consumer_session_timeout: Duration,
    /// How often such a member is asked to give a sign of life (`group.consumer.heartbeat.interval.ms`).
    pub consumer_heartbeat_interval: Duration,
    /// How long the offsets of a group are kept that nobody uses (`offsets.retention.minutes`).
    pub offsets_retention: Duration,
    /// How often expired offsets are looked for (`offsets.retention.check.interval.ms`).
    pub expiry_interval: Duration,
    /// Longest metadata of a committed offset, bytes (`offset.metadata.max.bytes`).
    pub max_offset_metadata: usize,
    /// Most bytes of metadata, subscriptions and assignments of one group's members.
    pub max_group_bytes: usize,
    /// Most groups of all coordinators of a broker.
    pub max_groups: usize,
    /// Most bytes that all these groups take, roughly: past it nobody gets more than they have.
    pub max_bytes: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            initial_rebalance_delay: Duration::from_secs(3),
            min_session_timeout: Duration::from_secs(6),
            max_session_timeout: Duration::from_secs(1800),
            max_size: 10_000,
            consumer_session_timeout: Duration::from_secs(45),
            consumer_heartbeat_interval: Duration::from_secs(5),
            offsets_retention: Duration::from_secs(7 * 24 * 3600),
            expiry_interval: Duration::from_secs(600),
            max_offset_metadata: 4096,
            max_group_bytes: 8 << 20,
            max_groups: 100_000,
            max_bytes: 1 << 30,
        }
    }
}
