#![allow(clippy::unwrap_used, clippy::panic)]

use runnel_record::{LeaderEpoch, Offset};

use crate::testing::{Rig, plain, replies};
use crate::{Effect, Error, Options};

#[test]
fn the_high_watermark_moves_before_the_replies_leave_in_order() {
    let mut rig = Rig::new(Options::default());
    for _ in 0..3 {
        rig.append(plain(2));
    }
    assert_eq!(rig.partition.high_watermark(), Offset(0));
    assert_eq!(rig.durable(0), []);
    let effects = rig.durable(2);
    assert_eq!(effects[0], Effect::HighWatermark(Offset(4)));
    assert_eq!(replies(&effects), [(1, Some(0)), (2, Some(2))]);
    assert_eq!((rig.partition.high_watermark(), rig.partition.in_flight()), (Offset(4), 1));
    assert_eq!(rig.partition.last_stable_offset(), Offset(4));
    assert_eq!(rig.partition.epoch_end(LeaderEpoch(1)).unwrap().end, Offset(4), "what is above may still be lost");
    assert_eq!(rig.durable(1), [], "old news");
    assert_eq!(replies(&rig.durable(100)), [(3, Some(4))]);
    assert_eq!(rig.partition.high_watermark(), Offset(6));
}

#[test]
fn a_failure_leaves_every_outcome_unknown() {
    let mut rig = Rig::new(Options::default());
    rig.commit(plain(1));
    rig.append(plain(1));
    rig.append(plain(1));
    assert_eq!(replies(&rig.fail()), [(2, None), (3, None)]);
    assert_eq!(rig.durable(3), [], "declared unknown, so never a success");
    assert_eq!(rig.partition.high_watermark(), Offset(1));
    assert_eq!(rig.send(plain(1)).1, Err(Error::Closed));
    assert_eq!(rig.fail(), [], "nobody is answered twice");
    assert_eq!(rig.partition.seal_candidate(rig.now, true), Some(Offset(0)..Offset(1)), "the rest may be shipped");
}
