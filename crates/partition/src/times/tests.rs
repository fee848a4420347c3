#![allow(clippy::unwrap_used, clippy::panic)]

use super::*;
use crate::Options;
use crate::testing::{Rig, Sent, plain};

fn stamped(max_timestamp: i64) -> Sent {
    Sent { max_timestamp, ..plain(2) }
}

fn base(found: Option<TimedBatch>) -> Option<i64> {
    found.map(|batch| batch.base.0)
}

#[test]
fn the_first_batch_that_reaches_a_time() {
    let mut rig = Rig::new(Options::default());
    for time in [50, 10, 70, 70, 20] {
        rig.commit(stamped(time));
    }
    rig.append(stamped(900));
    let at = |rig: &Rig, time| base(rig.partition.batch_at_time(TimestampMs(time)));
    assert_eq!(at(&rig, 0), Some(0));
    assert_eq!(at(&rig, 50), Some(0));
    assert_eq!(at(&rig, 51), Some(4));
    assert_eq!(at(&rig, 71), None, "in flight is not there yet");
    rig.partition.shipped(Offset(2)).unwrap();
    assert_eq!(at(&rig, 0), Some(2), "the rest is for the root to answer");
    rig.partition.advance_log_start(Offset(5)).unwrap();
    assert_eq!(at(&rig, 0), Some(4), "a batch that the log start cuts is still there");
    rig.partition.advance_log_start(Offset(6)).unwrap();
    assert_eq!(at(&rig, 0), Some(6));
}

#[test]
fn the_first_batch_with_the_largest_time() {
    let mut rig = Rig::new(Options::default());
    assert_eq!(rig.partition.batch_of_max_timestamp(), None);
    rig.commit(stamped(-1));
    assert_eq!(rig.partition.batch_of_max_timestamp(), None, "a record without a timestamp has none to offer");
    for time in [50, 70, 70, 20] {
        rig.commit(stamped(time));
    }
    rig.append(stamped(900));
    let found = TimedBatch { base: Offset(4), next: Offset(6), max_timestamp: TimestampMs(70) };
    assert_eq!(rig.partition.batch_of_max_timestamp(), Some(found));
    rig.partition.shipped(Offset(6)).unwrap();
    assert_eq!(base(rig.partition.batch_of_max_timestamp()), Some(6));
}
