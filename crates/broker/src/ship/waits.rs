//! How long partitions have waited to be shipped, by a clock that does not jump.

use std::collections::BTreeMap;
use std::time::Duration;

use runnel_record::{Offset, TopicPartition};
use tokio::time::Instant;

/// Since when each partition has had something to ship from the offset on where it stands.
///
/// Append times come from the wall clock and never fall within a partition: one that was set back by an hour would put
/// everything off for an hour.
#[derive(Debug, Default)]
pub(super) struct Waits(BTreeMap<TopicPartition, (Offset, Instant)>);

impl Waits {
    /// Notes where the partitions stand that have something to ship now; the others wait for nothing.
    pub(super) fn note(&mut self, now: Instant, standing: impl Iterator<Item = (TopicPartition, Offset)>) {
        let mut before = std::mem::take(&mut self.0);
        let since = |(tp, shipped)| match before.remove(&tp) {
            Some((then, since)) if then == shipped => (tp, (shipped, since)),
            _ => (tp, (shipped, now)),
        };
        self.0 = standing.map(since).collect();
    }

    /// How long a partition has waited at the offset where it stands.
    pub(super) fn of(&self, now: Instant, tp: TopicPartition) -> Duration {
        self.0.get(&tp).map_or(Duration::ZERO, |(_, since)| now.saturating_duration_since(*since))
    }
}

#[cfg(test)]
mod tests {
    use runnel_record::TopicId;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_wait_ends_with_a_ship_or_when_there_is_nothing_to_ship() {
        let tp = TopicPartition { topic: TopicId(Uuid::nil()), partition: 0 };
        let (mut waits, start) = (Waits::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(waits.of(at(0), tp), Duration::ZERO);
        waits.note(at(0), [(tp, Offset(5))].into_iter());
        waits.note(at(10), [(tp, Offset(5))].into_iter());
        assert_eq!(waits.of(at(10), tp), Duration::from_secs(10));
        waits.note(at(20), [(tp, Offset(9))].into_iter());
        assert_eq!(waits.of(at(21), tp), Duration::from_secs(1));
        waits.note(at(30), [].into_iter());
        waits.note(at(40), [(tp, Offset(9))].into_iter());
        assert_eq!(waits.of(at(41), tp), Duration::from_secs(1));
    }
}
