//! The process dies between any two durable steps; someone else takes over.

use runnel_record::Offset;
use runnel_runtime::{FailAction, FailPoints};

use super::rig::*;
use crate::Error;
use crate::object::{ObjectLog, ObjectOptions, SealedLane, retire, seal};
use crate::tests::rig::tp;

/// Appends, ships and trims until the armed point is reached at its `nth` chance; returns what was heard and shipped.
async fn live_until(bucket: &runnel_blob::Bucket, point: &str, nth: u64) -> (u64, i64) {
    let fail = FailPoints::default();
    let options = ObjectOptions { trim_every: std::time::Duration::from_millis(1), ..one_each() };
    let owner = Owner::of(ObjectLog::open(bucket.clone(), options, identity(), fail.clone()).await.unwrap());
    let mut shipped = 0;
    for base in 0..20 {
        if base as u64 == nth {
            fail.arm(point, FailAction::Error);
        }
        let Ok(seq) = owner.append(0, base, format!("body {base}").as_bytes()) else { break };
        if !owner.ears.wait(seq).await {
            break;
        }
        if base % 2 == 1 {
            owner.log.shipped(tp(0), Offset(base));
            shipped = base;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    assert!(!fail.is_armed(point) && !owner.log.is_open(), "{point} was not reached");
    (owner.ears.heard().durable, shipped)
}

#[tokio::test(start_paused = true)]
async fn what_was_acknowledged_outlives_its_writer() {
    for point in ["wal.object.put", "wal.object.trim.recorded", "wal.object.trim.deleted"] {
        for nth in 0..6 {
            let bucket = store();
            let (durable, shipped) = live_until(&bucket, point, nth).await;
            let end = seal(&bucket, LANE, 8, &FailPoints::default()).await.unwrap();
            assert!(durable <= end, "{point} {nth}: {durable} acknowledged, the lane ends at {end}");
            let header = lane_header(&bucket).await;
            assert!(header.trim <= u64::try_from(shipped).unwrap());
            let lane = SealedLane::open(&bucket, LANE).await.unwrap();
            assert!(lane.damaged().is_empty(), "{point} {nth}: {:?}", lane.damaged());
            let found = all_of(&lane, tp(0)).await.unwrap();
            assert!(found[0].batch.base_offset().0 <= shipped);
            assert_eq!(found.last().unwrap().batch.next_offset().0, i64::try_from(end).unwrap());
            for stored in &found {
                assert_eq!(stored.batch.body(), format!("body {}", stored.batch.base_offset()).as_bytes());
            }
            retire(&bucket, LANE, &FailPoints::default()).await.unwrap();
            assert_eq!(numbers(&slots(&bucket).await), [end]);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_owner_that_died_before_its_first_slot_leaves_an_empty_lane() {
    let bucket = store();
    let fail = FailPoints::default();
    fail.arm("wal.object.header.created", FailAction::Error);
    let died = ObjectLog::open(bucket.clone(), one_each(), identity(), fail).await;
    assert!(matches!(died.err(), Some(Error::Injected(_))));
    assert_eq!(seal(&bucket, LANE, 8, &FailPoints::default()).await.unwrap(), 0);
    assert_eq!(lane_header(&bucket).await.session, 7);
}

#[tokio::test(start_paused = true)]
async fn a_sealer_that_died_is_followed_by_another() {
    let bucket = store();
    let owner = Owner::new(&bucket, one_each()).await;
    assert!(owner.put(0, 0, b"x").await);
    let fail = FailPoints::default();
    fail.arm("wal.object.seal.placed", FailAction::Error);
    assert!(seal(&bucket, LANE, 8, &fail).await.is_err());
    assert_eq!(lane_header(&bucket).await.end, None);
    assert!(!owner.put(0, 1, b"y").await, "the SEAL alone stops the owner");
    assert_eq!(seal(&bucket, LANE, 9, &fail).await.unwrap(), 1);
    fail.arm("wal.object.retire.recorded", FailAction::Error);
    assert!(retire(&bucket, LANE, &fail).await.is_err());
    assert_eq!((lane_header(&bucket).await.trim, numbers(&slots(&bucket).await)), (1, vec![0, 1]));
    assert_eq!(retire(&bucket, LANE, &fail).await.unwrap(), 1);
}
