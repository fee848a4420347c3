//! Which neighbours become one object: pure.

use std::ops::Range;

use runnel_format::manifest::SegmentRef;
use runnel_record::ids::TimestampMs;

const DAY_MS: i64 = 86_400_000;
/// A day takes no more segments so long after its end: what was appended in its last minutes is shipped by then.
const SETTLED_MS: i64 = 3_600_000;
/// Neighbours that make a merge worth its while before their day is over.
const FEWEST: usize = 8;
/// The largest of the merged is at most this part of the whole: so an object grows at least as much each time that its
/// records are written anew, and they are written a few times only.
const GROWTH: u64 = 4;
/// Most sources of one merge.
const MOST: usize = 1024;

/// When segments are merged, and how far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MergePolicy {
    /// Bytes of an object that merging works towards and does not exceed.
    pub target: u64,
    /// Milliseconds since the last append that a segment has to wait for: what is read most is left in its place.
    pub after_ms: u64,
    /// Most milliseconds between the first and the last append of a merged segment, so that a log whose records expire
    /// does not keep them much longer.
    pub span_ms: Option<u64>,
}

impl MergePolicy {
    /// Only objects that are smaller are ever written anew.
    pub(super) const fn small(&self) -> u64 {
        self.target / GROWTH
    }

    fn is_small(&self, segment: &SegmentRef, now: TimestampMs) -> bool {
        let age = now.0.saturating_sub(segment.last_append_time.0);
        segment.bytes < self.small() && u64::try_from(age).is_ok_and(|age| age >= self.after_ms)
    }

    /// How many of `segments`, from the first on, fit into one object.
    fn fitting(&self, segments: &[SegmentRef]) -> usize {
        let Some(first) = segments.first() else { return 0 };
        let (mut bytes, mut records) = (0, 0_u32);
        let fits = |segment: &&SegmentRef| {
            bytes += segment.bytes;
            let counted = records.checked_add(segment.records);
            records = counted.unwrap_or(records);
            let span = segment.last_append_time.0.saturating_sub(first.first_append_time.0);
            let short = self.span_ms.is_none_or(|most| u64::try_from(span).is_ok_and(|span| span <= most));
            bytes <= self.target && counted.is_some() && short
        };
        segments.iter().take(MOST).take_while(fits).count()
    }
}

/// The first neighbours among `segments`, which follow each other, that should become one object.
///
/// Never across days, since a day is a folder that analysts prune by. While a day goes on, a merge waits for company;
/// what is left of a day that is over is put together at last.
pub(super) fn plan(segments: &[SegmentRef], policy: &MergePolicy, now: TimestampMs) -> Option<Range<usize>> {
    let mut start = 0;
    while start < segments.len() {
        let day = segments[start].day;
        let alike = |segment: &&SegmentRef| segment.day == day && policy.is_small(segment, now);
        let run = segments[start..].iter().take_while(alike).count();
        let over = now.0 >= (i64::from(day) + 1) * DAY_MS + SETTLED_MS;
        if let Some(found) = within(&segments[start..start + run], policy, over) {
            return Some(start + found.start..start + found.end);
        }
        start += run.max(1);
    }
    None
}

/// As [`plan`], among small neighbours of one day.
fn within(run: &[SegmentRef], policy: &MergePolicy, over: bool) -> Option<Range<usize>> {
    (0..run.len()).find_map(|first| {
        let count = policy.fitting(&run[first..]);
        let chosen = &run[first..first + count];
        let total: u64 = chosen.iter().map(|segment| segment.bytes).sum();
        let largest = chosen.iter().map(|segment| segment.bytes).max().unwrap_or(0);
        let grows = count >= FEWEST && largest.saturating_mul(GROWTH) <= total;
        (grows || (over && count > 1)).then_some(first..first + count)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;
    use crate::manifest::tests::segment;

    const POLICY: MergePolicy = MergePolicy { target: 256 << 20, after_ms: 1000, span_ms: None };
    const DAY: i32 = 20_000;
    const NOON: TimestampMs = TimestampMs(DAY as i64 * DAY_MS + DAY_MS / 2);
    const NEXT_DAY: TimestampMs = TimestampMs(NOON.0 + DAY_MS);

    /// Neighbours of these sizes in KiB, appended on `DAY` a second apart.
    fn log(sizes: &[u64]) -> Vec<SegmentRef> {
        let mut at = i64::from(DAY) * DAY_MS;
        sizes
            .iter()
            .zip(0..)
            .map(|(kib, i)| {
                let first = at;
                at += 1000;
                let times = (TimestampMs(first), TimestampMs(at));
                SegmentRef {
                    bytes: kib << 10,
                    day: DAY,
                    first_append_time: times.0,
                    last_append_time: times.1,
                    ..segment(1, i * 10, 10)
                }
            })
            .collect()
    }

    #[test]
    fn small_neighbours_are_merged_once_there_are_enough() {
        assert_eq!(plan(&log(&[100; 7]), &POLICY, NOON), None);
        assert_eq!(plan(&log(&[100; 8]), &POLICY, NOON), Some(0..8));
        assert_eq!(plan(&log(&[100; 20]), &POLICY, NOON), Some(0..20));
        assert_eq!(plan(&[], &POLICY, NOON), None);
        assert_eq!(plan(&log(&[10; 3000]), &POLICY, NOON), Some(0..MOST));
    }

    #[test]
    fn what_is_left_of_a_day_is_merged_when_it_is_over() {
        assert_eq!(plan(&log(&[100; 7]), &POLICY, NEXT_DAY), Some(0..7));
        assert_eq!(plan(&log(&[30_000, 1]), &POLICY, NEXT_DAY), Some(0..2));
        assert_eq!(plan(&log(&[100]), &POLICY, NEXT_DAY), None);
        let midnight = TimestampMs(i64::from(DAY + 1) * DAY_MS);
        assert_eq!(plan(&log(&[100; 7]), &POLICY, midnight), None, "the last of the day are still on their way");
    }

    #[test]
    fn large_and_young_segments_stay_as_they_are() {
        let mib = 1 << 10;
        assert_eq!(plan(&log(&[64 * mib; 20]), &POLICY, NEXT_DAY), None);
        assert_eq!(plan(&log(&[1, 64 * mib, 1, 1]), &POLICY, NEXT_DAY), Some(2..4));
        let segments = log(&[100; 9]);
        let now = TimestampMs(segments[8].last_append_time.0 + 999);
        assert_eq!(plan(&segments, &POLICY, now), Some(0..8), "the ninth is too young");
    }

    #[test]
    fn one_that_outweighs_its_neighbours_waits_for_more_of_them() {
        let mut sizes = vec![1000];
        sizes.extend([10; 9]);
        assert_eq!(plan(&log(&sizes), &POLICY, NOON), Some(1..10), "1,000 would be written anew for the sake of 90");
        sizes.extend([300; 10]);
        assert_eq!(plan(&log(&sizes), &POLICY, NOON), Some(0..20));
    }

    #[test]
    fn days_are_kept_apart() {
        let mut segments = log(&[100; 10]);
        segments[5..].iter_mut().for_each(|segment| segment.day = DAY + 1);
        assert_eq!(plan(&segments, &POLICY, NOON), None);
        assert_eq!(plan(&segments, &POLICY, NEXT_DAY), Some(0..5));
        assert_eq!(plan(&segments[5..], &POLICY, NEXT_DAY), None);
    }

    #[test]
    fn a_merged_segment_spans_no_more_than_it_may() {
        let policy = MergePolicy { span_ms: Some(8000), ..POLICY };
        assert_eq!(plan(&log(&[100; 20]), &policy, NOON), Some(0..8));
        let policy = MergePolicy { span_ms: Some(500), ..POLICY };
        assert_eq!(plan(&log(&[100; 20]), &policy, NEXT_DAY), None);
    }

    #[test]
    fn records_are_counted_in_32_bits() {
        let mut segments = log(&[100; 10]);
        segments.iter_mut().for_each(|segment| segment.records = 1 << 30);
        assert_eq!(plan(&segments, &POLICY, NEXT_DAY), Some(0..3));
    }

    proptest! {
        /// Merging comes to an end, keeps what it must, and writes no record anew more often than it grows.
        #[test]
        fn a_log_settles(sizes in prop::collection::vec(1_u64..100_000, 0..300)) {
            let mut segments = log(&sizes);
            let whole: u64 = segments.iter().map(|s| s.bytes).sum();
            let mut written = 0;
            for now in [NOON, NEXT_DAY] {
                while let Some(run) = plan(&segments, &POLICY, now) {
                    let chosen = &segments[run.clone()];
                    prop_assert!(chosen.len() > 1 && chosen.iter().all(|s| s.bytes < POLICY.small()));
                    let bytes: u64 = chosen.iter().map(|s| s.bytes).sum();
                    prop_assert!(bytes <= POLICY.target);
                    written += bytes;
                    let (first, last) = (chosen[0].clone(), chosen[chosen.len() - 1].clone());
                    let into = SegmentRef {
                        next: last.next,
                        bytes,
                        records: chosen.iter().map(|s| s.records).sum(),
                        last_append_time: last.last_append_time,
                        ..first
                    };
                    segments.splice(run, [into]);
                }
            }
            prop_assert_eq!(segments.iter().map(|s| s.bytes).sum::<u64>(), whole);
            // From 1 KiB to 64 MiB in steps of four, and once more at the end of the day.
            prop_assert!(written <= 10 * whole, "{written} bytes written anew of {whole}");
            let pairs = segments.windows(2).filter(|pair| pair[0].bytes + pair[1].bytes <= POLICY.target);
            prop_assert_eq!(pairs.filter(|pair| pair.iter().all(|s| s.bytes < POLICY.small())).count(), 0);
        }
    }
}
