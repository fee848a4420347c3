//! What the traffic of each partition is, from what its leaders say now and then: how many bytes went through it since they
//! opened it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use runnel_record::{LeaderEpoch, TopicPartition};

/// How fast what is measured is believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// What is so long ago counts for about a third.
    pub memory: Duration,
    /// A partition that has had its leader for so long, as far as is known, may be moved for its traffic.
    pub settled: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self { memory: Duration::from_secs(300), settled: Duration::from_secs(600) }
    }
}

/// Parts of a byte, and of a millisecond, in which is counted what fades.
const FRACTION: u128 = 1 << 16;

/// Weighs partitions. Nothing is known at first, and nothing is settled.
#[derive(Debug, Default)]
pub struct Scales {
    pace: Pace,
    known: BTreeMap<TopicPartition, Weight>,
    /// Brokers that answered the last time.
    heard: BTreeSet<i32>,
}

/// What is known of a partition.
#[derive(Debug, Clone, Copy)]
struct Weight {
    epoch: LeaderEpoch,
    /// When that epoch was heard of, and when of the bytes.
    since_ms: i64,
    told_ms: i64,
    bytes: u64,
    /// Bytes and the time in which they came, both fading, as [`FRACTION`]s: their quotient is an average, however little
    /// is known.
    faded_bytes: u128,
    faded_ms: u128,
}

impl Scales {
    /// Scales that know nothing.
    #[must_use]
    pub fn new(pace: Pace) -> Self {
        Self { pace, ..Self::default() }
    }

    /// Takes in what brokers say at a moment of a clock that may jump. Whoever is left out did not answer. Of each partition
    /// that a broker leads: its epoch, and the bytes that went through it there.
    pub fn weigh(&mut self, now_ms: i64, told: &BTreeMap<i32, Vec<(TopicPartition, LeaderEpoch, u64)>>) {
        for (tp, epoch, bytes) in told.values().flatten() {
            self.take(now_ms, *tp, *epoch, *bytes);
        }
        let forget = millis(self.pace.settled);
        self.known.retain(|_, one| now_ms.saturating_sub(one.told_ms) <= forget);
        self.heard = told.keys().copied().collect();
    }

    fn take(&mut self, now_ms: i64, tp: TopicPartition, epoch: LeaderEpoch, bytes: u64) {
        let new = Weight { epoch, since_ms: now_ms, told_ms: now_ms, bytes, faded_bytes: 0, faded_ms: 0 };
        let one = self.known.entry(tp).or_insert(new);
        if epoch < one.epoch {
            // Its leader of before, which does not know it yet.
            return;
        }
        if epoch > one.epoch {
            // The new leader counts anew; what was known of the traffic stays.
            *one = Weight { faded_bytes: one.faded_bytes, faded_ms: one.faded_ms, ..new };
            return;
        }
        if let (Ok(time @ 1..), Some(more)) =
            (u128::try_from(now_ms.saturating_sub(one.told_ms)), bytes.checked_sub(one.bytes))
        {
            let memory = self.pace.memory.as_millis();
            let fade = |value: u128| value * memory / (memory + time);
            one.faded_bytes = fade(one.faded_bytes + u128::from(more) * FRACTION);
            one.faded_ms = fade(one.faded_ms + time * FRACTION);
        }
        (one.told_ms, one.bytes) = (now_ms, bytes);
        // A clock that was set back does not keep anything from ever being settled.
        one.since_ms = one.since_ms.min(now_ms);
    }

    /// Bytes per second through a partition; none as long as nothing is known.
    #[must_use]
    pub fn traffic(&self, tp: TopicPartition) -> u64 {
        let average = |one: &Weight| (one.faded_bytes * 1000 + one.faded_ms / 2).checked_div(one.faded_ms);
        self.known.get(&tp).and_then(average).map_or(0, |average| u64::try_from(average).unwrap_or(u64::MAX))
    }

    /// Whether a partition has had its leader for long enough that its traffic may move it.
    #[must_use]
    pub fn is_settled(&self, tp: TopicPartition) -> bool {
        let settled = millis(self.pace.settled);
        self.known.get(&tp).is_some_and(|one| one.told_ms.saturating_sub(one.since_ms) >= settled)
    }

    /// Whether a broker answered the last time.
    #[must_use]
    pub fn has_heard(&self, broker: i32) -> bool {
        self.heard.contains(&broker)
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use runnel_record::TopicId;
    use uuid::Uuid;

    use super::*;

    const TP: TopicPartition = TopicPartition { topic: TopicId(Uuid::from_u128(7)), partition: 3 };

    /// What broker 1 says: seconds, the epoch, bytes.
    fn weighed(said: &[(i64, i32, u64)]) -> Scales {
        let pace = Pace { memory: Duration::from_secs(100), settled: Duration::from_secs(60) };
        let mut scales = Scales::new(pace);
        for (second, epoch, bytes) in said {
            scales.weigh(second * 1000, &[(1, vec![(TP, LeaderEpoch(*epoch), *bytes)])].into());
        }
        scales
    }

    #[test]
    fn an_even_flow_is_what_it_is_however_often_one_looks() {
        assert_eq!(weighed(&[(0, 1, 5000)]).traffic(TP), 0, "since when is not known");
        assert_eq!(weighed(&[(0, 1, 5000), (1, 1, 5070)]).traffic(TP), 70);
        assert_eq!(weighed(&[(0, 1, 0), (1, 1, 70), (50, 1, 3500), (52, 1, 3640)]).traffic(TP), 70);
        let often: Vec<_> = (0..300_i64).map(|second| (second, 1, 70 * second.unsigned_abs())).collect();
        assert_eq!(weighed(&often).traffic(TP), 70);
    }

    #[test]
    fn what_is_long_ago_fades() {
        let quiet = |after: i64| weighed(&[(0, 1, 0), (100, 1, 10_000), (100 + after, 1, 10_000)]).traffic(TP);
        assert_eq!([quiet(0), quiet(100), quiet(1000)], [100, 33, 5]);
    }

    #[test]
    fn another_leader_counts_anew_and_nothing_is_forgotten() {
        let moved = weighed(&[(0, 1, 0), (100, 1, 10_000), (130, 2, 50)]);
        assert_eq!(moved.traffic(TP), 100);
        let late = weighed(&[(0, 1, 0), (100, 1, 10_000), (130, 2, 50), (140, 1, 90_000)]);
        assert_eq!(late.traffic(TP), 100, "the leader of before, which has not heard of it");
        let opened_again = weighed(&[(0, 1, 0), (100, 1, 10_000), (130, 1, 50), (140, 1, 1050)]);
        assert_eq!(opened_again.traffic(TP), 100);
    }

    #[test]
    fn who_has_led_for_long_is_settled() {
        assert!(!weighed(&[(0, 1, 0), (59, 1, 0)]).is_settled(TP));
        assert!(weighed(&[(0, 1, 0), (30, 1, 0), (60, 1, 0)]).is_settled(TP));
        assert!(!weighed(&[(0, 1, 0), (60, 1, 0), (61, 2, 0)]).is_settled(TP));
        assert!(weighed(&[(0, 1, 0), (60, 1, 0), (61, 2, 0), (121, 2, 0)]).is_settled(TP));
    }

    #[test]
    fn a_clock_that_jumps_does_no_harm() {
        let back = [(9000, 1, 0), (9100, 1, 10_000), (50, 1, 10_500), (60, 1, 11_500), (109, 1, 16_400)];
        let scales = weighed(&back);
        assert_eq!((scales.traffic(TP), scales.is_settled(TP)), (100, false));
        let scales = weighed(&[&back[..], &[(110, 1, 16_500)]].concat());
        assert_eq!((scales.traffic(TP), scales.is_settled(TP)), (100, true));
        assert_eq!(weighed(&[(i64::MIN / 1000, 1, 0), (i64::MAX / 1000, 1, u64::MAX)]).traffic(TP), 2000);
    }

    #[test]
    fn who_does_not_answer_is_known_and_after_a_while_forgotten() {
        let mut scales = weighed(&[(0, 1, 0), (100, 1, 10_000)]);
        assert!(scales.has_heard(1) && !scales.has_heard(2));
        scales.weigh(160_000, &[(2, Vec::new())].into());
        assert!(!scales.has_heard(1) && scales.has_heard(2));
        assert_eq!(scales.traffic(TP), 100, "it has not become less for that");
        scales.weigh(161_000, &BTreeMap::new());
        assert_eq!(scales.traffic(TP), 0);
    }
}
