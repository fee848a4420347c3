#![allow(clippy::unwrap_used, clippy::panic)]

use runnel_format::manifest::EpochStart;
use runnel_record::LeaderEpoch;

use super::*;
use crate::testing::{Rig, facts, idempotent, plain};
use crate::{Options, Start};

fn rig() -> Rig {
    let mut rig = Rig::new(Options::default());
    rig.commit(idempotent(7, 0, 0, 2));
    rig.commit(plain(3));
    rig.commit(idempotent(7, 0, 2, 2));
    rig.append(plain(1));
    rig
}

#[test]
fn facts_are_dropped_once_shipped() {
    let mut rig = rig();
    rig.partition.shipped(Offset(5)).unwrap();
    let p = &rig.partition;
    assert_eq!((p.shipped_end(), p.unshipped_batches(), p.unshipped_bytes()), (Offset(5), 2, 100));
    rig.partition.shipped(Offset(5)).unwrap();
    assert_eq!(rig.partition.shipped_end(), Offset(5), "the same news again");
    rig.sync();
    rig.partition.shipped(Offset(8)).unwrap();
    assert_eq!((rig.partition.unshipped_batches(), rig.partition.unshipped_bytes()), (0, 0));
}

#[test]
fn memory_is_given_back() {
    let mut rig = Rig::new(Options::default());
    for _ in 0..20_000 {
        rig.append(plain(1));
    }
    rig.sync();
    rig.partition.shipped(Offset(20_000)).unwrap();
    assert!(rig.partition.facts.capacity() <= 2 * SPARE, "{}", rig.partition.facts.capacity());
}

#[test]
fn snapshots_stand_at_batch_boundaries_below_the_high_watermark() {
    let rig = rig();
    let at = |offset| rig.partition.snapshot_at(Offset(offset)).map(|s| (s.offset.0, s.producers.len()));
    assert_eq!(at(0), Ok((0, 0)));
    assert_eq!(at(2), Ok((2, 1)));
    assert_eq!(at(7), Ok((7, 1)));
    for offset in [-1, 1, 3, 8, 100] {
        assert!(matches!(at(offset), Err(Error::Invariant(_))), "{offset}");
    }
    assert!(!rig.partition.is_closed(), "asking changes nothing");
}

#[test]
fn a_root_ahead_of_or_behind_the_machine_closes_it() {
    for offset in [0, 4, 6, 8, 9] {
        let mut rig = rig();
        rig.partition.shipped(Offset(5)).unwrap();
        assert!(matches!(rig.partition.shipped(Offset(offset)), Err(Error::Invariant(_))), "{offset}");
        assert!(rig.partition.is_closed(), "{offset}");
    }
}

#[test]
fn the_log_start_moves_up_to_the_high_watermark() {
    let mut rig = rig();
    rig.partition.advance_log_start(Offset(6)).unwrap();
    rig.partition.advance_log_start(Offset(3)).unwrap();
    assert_eq!(rig.partition.log_start(), Offset(6), "never back");
    assert!(matches!(rig.partition.advance_log_start(Offset(8)), Err(Error::Invariant(_))));
}

/// Epochs below the log start go, but never those that a reopen needs for what is not shipped.
#[test]
fn old_epochs_collapse() {
    let starts = |list: &[(i32, i64)]| -> Vec<EpochStart> {
        list.iter().map(|&(epoch, start)| EpochStart { epoch: LeaderEpoch(epoch), start: Offset(start) }).collect()
    };
    let tail = [facts(1, 0, 10, 0), facts(2, 10, 10, 0), facts(3, 20, 10, 0)];
    let mut p = Partition::open(Options::default(), &Start::never_shipped(LeaderEpoch(5)), tail).unwrap();
    assert_eq!(p.epochs(), starts(&[(1, 0), (2, 10), (3, 20), (5, 30)]));
    p.advance_log_start(Offset(25)).unwrap();
    assert_eq!(p.epochs(), starts(&[(1, 0), (2, 10), (3, 20), (5, 30)]));
    p.shipped(Offset(20)).unwrap();
    assert_eq!(p.epochs(), starts(&[(3, 20), (5, 30)]));
    p.shipped(Offset(30)).unwrap();
    assert_eq!(p.epochs(), starts(&[(3, 25), (5, 30)]));
    assert_eq!(p.epoch_end(LeaderEpoch(3)).unwrap().end, Offset(30));
    assert_eq!(p.epoch_end(LeaderEpoch(5)).unwrap().end, Offset(30), "the current epoch ends at the high watermark");
}
