#![allow(clippy::unwrap_used, clippy::panic)]

use std::time::Duration;

use super::*;
use crate::testing::{Rig, Sent, plain};
use crate::{Options, SegmentLimits};

const MIDNIGHT: i64 = 20_000 * DAY_MS;

/// Segments of 1,000 bytes or 60 seconds.
fn rig(now: i64) -> Rig {
    let segment = SegmentLimits { max_bytes: 1_000, max_age: Duration::from_secs(60) };
    let mut rig = Rig::new(Options { segment, ..Options::default() });
    rig.now = TimestampMs(now);
    rig
}

/// A batch of one record and `bytes` in all.
fn sized(bytes: usize) -> Sent {
    Sent { body: bytes - 61, ..plain(1) }
}

fn candidate(rig: &Rig, force: bool) -> Option<(i64, i64)> {
    rig.partition.seal_candidate(rig.now, force).map(|range| (range.start.0, range.end.0))
}

#[test]
fn nothing_committed_is_nothing_to_seal() {
    let mut rig = rig(MIDNIGHT);
    assert_eq!((candidate(&rig, true), rig.partition.next_seal_at()), (None, None));
    rig.append(sized(5_000));
    rig.now = TimestampMs(MIDNIGHT + 600_000);
    assert_eq!((candidate(&rig, true), candidate(&rig, false)), (None, None), "in flight only");
}

#[test]
fn size_seals_at_the_batch_that_reaches_it() {
    let mut rig = rig(MIDNIGHT);
    rig.commit(sized(600));
    rig.commit(sized(399));
    assert_eq!(candidate(&rig, false), None);
    rig.append(sized(600));
    assert_eq!(candidate(&rig, false), None, "in flight does not count");
    rig.sync();
    rig.commit(sized(600));
    assert_eq!(candidate(&rig, false), Some((0, 3)));
    rig.partition.shipped(Offset(3)).unwrap();
    assert_eq!(candidate(&rig, false), None);
    assert_eq!(candidate(&rig, true), Some((3, 4)));
}

#[test]
fn age_counts_from_the_first_unshipped_append() {
    let mut rig = rig(MIDNIGHT);
    rig.commit(sized(100));
    rig.now = TimestampMs(MIDNIGHT + 59_999);
    rig.commit(sized(100));
    assert_eq!(candidate(&rig, false), None);
    assert_eq!(rig.partition.next_seal_at(), Some(TimestampMs(MIDNIGHT + 60_000)));
    rig.now = TimestampMs(MIDNIGHT + 60_000);
    assert_eq!(candidate(&rig, false), Some((0, 2)));
    rig.partition.shipped(Offset(1)).unwrap();
    assert_eq!(rig.partition.next_seal_at(), Some(TimestampMs(MIDNIGHT + 119_999)));
}

#[test]
fn force_seals_what_there_is_up_to_the_size() {
    let mut rig = rig(MIDNIGHT);
    rig.commit(sized(100));
    assert_eq!((candidate(&rig, false), candidate(&rig, true)), (None, Some((0, 1))));
    rig.commit(sized(5_000));
    rig.commit(sized(100));
    assert_eq!(candidate(&rig, true), Some((0, 2)));
}

#[test]
fn a_segment_never_spans_two_days() {
    let mut rig = rig(MIDNIGHT - 1);
    rig.commit(sized(100));
    rig.now = TimestampMs(MIDNIGHT);
    rig.commit(sized(100));
    assert_eq!(candidate(&rig, false), None, "a closed segment may wait for its age");
    assert_eq!(candidate(&rig, true), Some((0, 1)));
    rig.commit(sized(5_000));
    assert_eq!(candidate(&rig, false), Some((0, 1)), "size of all that waits makes the first day due");
    rig.partition.shipped(Offset(1)).unwrap();
    assert_eq!(candidate(&rig, false), Some((1, 3)));
}

#[test]
fn limits_may_change() {
    let mut rig = rig(MIDNIGHT);
    rig.commit(sized(100));
    assert_eq!(candidate(&rig, false), None);
    rig.partition.set_segment_limits(SegmentLimits { max_bytes: 100, max_age: Duration::MAX });
    assert_eq!(candidate(&rig, false), Some((0, 1)));
    assert_eq!(rig.partition.next_seal_at(), Some(TimestampMs(i64::MAX)));
}

#[test]
fn append_days() {
    let check = |time: i64, day: i32| assert_eq!(append_day(TimestampMs(time)), day, "{time}");
    check(0, 0);
    check(DAY_MS - 1, 0);
    check(DAY_MS, 1);
    check(-1, -1);
    check(-DAY_MS, -1);
    check(-DAY_MS - 1, -2);
    check(1_700_000_000_000, 19_675);
    check(i64::MAX, i32::MAX);
    check(i64::MIN, i32::MIN);
}
