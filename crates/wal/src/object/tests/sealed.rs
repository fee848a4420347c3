//! Sealing, recovery and what the janitor does.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use runnel_blob::testing::{Fault, Op};
use runnel_blob::{Bucket, Key};
use runnel_format::wal::SLOT_HEADER_LEN;
use runnel_record::Offset;
use runnel_runtime::FailPoints;

use super::rig::*;
use crate::object::seal::seal_from;
use crate::object::{ObjectOptions, SealedLane, retire, seal, sweep};
use crate::tests::rig::tp;
use crate::{Error, ErrorKind};

async fn sealed(bucket: &Bucket) -> SealedLane {
    seal(bucket, LANE, 8, &FailPoints::default()).await.unwrap();
    SealedLane::open(bucket, LANE).await.unwrap()
}

/// A lane with `count` slots of one batch each, of three partitions in turn.
async fn lane_of(bucket: &Bucket, count: i64) -> Owner {
    let owner = Owner::new(bucket, one_each()).await;
    for n in 0..count {
        let seq = owner.append(i32::try_from(n % 3).unwrap(), n / 3, format!("body {n}").as_bytes()).unwrap();
        if n % 100 == 99 || n == count - 1 {
            assert!(owner.ears.wait(seq).await);
        }
    }
    owner
}

async fn damage(bucket: &Bucket, slot: u64, at: usize) {
    let key = Key::Slot { lane: LANE, slot };
    let mut bytes = bucket.get(&key).await.unwrap().unwrap().to_vec();
    bytes[at] ^= 1;
    bucket.put(&key, vec![Bytes::from(bytes)]).await.unwrap();
}

/// Whoever calls these may be on a runtime with many threads.
#[tokio::test(start_paused = true)]
async fn everything_can_be_spawned() {
    fn spawnable<T: Send>(future: T) -> T {
        future
    }
    let bucket = store();
    let fail = FailPoints::default();
    let owner = spawnable(lane_of(&bucket, 1)).await;
    spawnable(owner.log.read(tp(0), Offset(0), ALL, 1)).await.unwrap();
    spawnable(owner.log.close()).await;
    spawnable(seal(&bucket, LANE, 8, &fail)).await.unwrap();
    let lane = spawnable(SealedLane::open(&bucket, LANE)).await.unwrap();
    spawnable(lane.tails(&[tp(0)])).await.unwrap();
    spawnable(lane.read(tp(0), Offset(0), ALL, 1)).await.unwrap();
    spawnable(retire(&bucket, LANE, &fail)).await.unwrap();
    spawnable(sweep(&bucket, LANE)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn any_number_of_sealers_agree() {
    let bucket = store();
    let owner = lane_of(&bucket, 3).await;
    let sealers = (0..6).map(|n| {
        let (bucket, faults) = behind(&bucket);
        let fault = [Fault::LoseAnswer, Fault::Conflict, Fault::FailBefore, Fault::HangAfter][n % 4];
        faults.once(Op::Create, "", fault);
        faults.once(Op::Replace, "", fault);
        async move { seal(&bucket, LANE, 8 + n as u64, &FailPoints::default()).await.unwrap() }
    });
    assert_eq!(join_all(sealers).await, [3; 6]);
    assert!(!owner.put(0, 1, b"late").await);
    assert_eq!(slots(&bucket).await.last(), Some(&(3, SLOT_HEADER_LEN as u64)));
}

#[tokio::test(start_paused = true)]
async fn a_lane_ends_at_its_first_hole() {
    let bucket = store();
    let (late, faults) = behind(&bucket);
    let owner = Owner::new(&late, one_each()).await;
    assert!(owner.put(0, 0, b"x").await);
    faults.once(Op::Create, "00000000000000000001", Fault::Delay(Duration::from_secs(1)));
    for base in 1..4 {
        owner.append(0, base, b"y").unwrap();
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    let lane = sealed(&bucket).await;
    assert_eq!(lane.end(), 1);
    assert_eq!(numbers(&slots(&bucket).await), [0, 1, 2, 3], "two of them are dead");
    assert_eq!(bodies(&all_of(&lane, tp(0)).await.unwrap()), ["x"]);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!((owner.ears.heard().durable, owner.ears.heard().failed), (1, 1));
    assert_eq!(retire(&bucket, LANE, &FailPoints::default()).await.unwrap(), 3);
    assert_eq!(slots(&bucket).await, [(1, SLOT_HEADER_LEN as u64)]);
}

#[tokio::test(start_paused = true)]
async fn what_is_retired_while_somebody_reads_it_is_not_damaged() {
    let bucket = store();
    let _owner = lane_of(&bucket, 5).await;
    assert_eq!(sealed(&bucket).await.partitions().count(), 3);
    let (slow, faults) = behind(&bucket);
    faults.once(Op::Get, "00000000000000000003", Fault::Delay(Duration::from_secs(1)));
    let fail = FailPoints::default();
    let (reading, retired) = tokio::join!(SealedLane::open(&slow, LANE), retire(&bucket, LANE, &fail));
    assert_eq!(retired.unwrap(), 5);
    let lane = reading.unwrap();
    assert!(lane.damaged().is_empty(), "{:?}", lane.damaged());
    assert_eq!(lane.partitions().count(), 0);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_sealed_without_a_listing() {
    let bucket = store();
    let _owner = lane_of(&bucket, 5).await;
    let (blind, faults) = behind(&bucket);
    faults.always(Op::List, "", Fault::FailBefore);
    let error = seal(&blind, LANE, 8, &FailPoints::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert_eq!(seal(&bucket, LANE, 8, &FailPoints::default()).await.unwrap(), 5);
}

#[tokio::test(start_paused = true)]
async fn what_was_acknowledged_and_is_gone_is_damage_and_no_end() {
    let bucket = store();
    let _owner = lane_of(&bucket, 20).await;
    for slot in [0, 3] {
        bucket.delete(&Key::Slot { lane: LANE, slot }).await.unwrap();
    }
    assert_eq!(seal(&bucket, LANE, 8, &FailPoints::default()).await.unwrap(), 20);
    assert_eq!(SealedLane::open(&bucket, LANE).await.unwrap().damaged(), [0, 3]);
    // The first of the window is one that might never have been there.
    let bucket = store();
    let _owner = lane_of(&bucket, 20).await;
    bucket.delete(&Key::Slot { lane: LANE, slot: 4 }).await.unwrap();
    assert_eq!(seal(&bucket, LANE, 8, &FailPoints::default()).await.unwrap(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_damaged_slot_is_not_an_end() {
    let bucket = store();
    let _owner = lane_of(&bucket, 3).await;
    damage(&bucket, 1, 40).await;
    assert_eq!(seal_from(&bucket, LANE, 8, 0, &FailPoints::default()).await.unwrap(), 3);
    assert_eq!(SealedLane::open(&bucket, LANE).await.unwrap().damaged(), [1]);
}

#[tokio::test(start_paused = true)]
async fn a_seal_below_the_trim_pointer_is_void() {
    let bucket = store();
    let owner = lane_of(&bucket, 2).await;
    owner.log.shipped(tp(0), Offset(1));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!((lane_header(&bucket).await.trim, numbers(&slots(&bucket).await)), (1, vec![1]));
    // A sealer that had looked before slot 0 was trimmed.
    assert_eq!(seal_from(&bucket, LANE, 8, 0, &FailPoints::default()).await.unwrap(), 2);
    assert_eq!(numbers(&slots(&bucket).await), [0, 1, 2]);
    let lane = SealedLane::open(&bucket, LANE).await.unwrap();
    assert_eq!(bodies(&all_of(&lane, tp(1)).await.unwrap()), ["body 1"]);
    assert!(lane.damaged().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_lane_that_lives_cannot_be_recovered_or_retired() {
    let bucket = store();
    let absent = SealedLane::open(&bucket, LANE).await.unwrap_err();
    assert!(matches!(absent, Error::NotSealed { .. }), "{absent}");
    let _owner = lane_of(&bucket, 1).await;
    for error in [
        SealedLane::open(&bucket, LANE).await.unwrap_err(),
        retire(&bucket, LANE, &FailPoints::default()).await.unwrap_err(),
        sweep(&bucket, LANE).await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    }
    assert_eq!(numbers(&slots(&bucket).await), [0]);
}

#[tokio::test(start_paused = true)]
async fn recovery_reads_the_last_checkpoint_and_what_is_behind_it() {
    let bucket = store();
    let owner = lane_of(&bucket, 200).await;
    owner.log.shipped(tp(0), Offset(10));
    owner.log.shipped(tp(1), Offset(60));
    owner.log.close().await;
    let (watched, faults) = behind(&bucket);
    let lane = sealed(&watched).await;
    let heads: BTreeSet<String> =
        faults.requests().into_iter().filter(|(op, _)| *op == Op::Get).map(|(_, path)| path).collect();
    assert_eq!((lane.end(), heads.len()), (200, 1 + 8), "the lane's header, slots 192 to 199");
    let tails = lane.tails(&[tp(0), tp(1), tp(2), tp(3)]).await.unwrap();
    assert!(tails.corrupt.is_empty());
    for (partition, from) in [(0, 0), (1, 0), (2, 0)] {
        let tail = &tails.tails[&tp(partition)];
        let bases: Vec<i64> = tail.iter().map(|e| i64::from_be_bytes(e.header[..8].try_into().unwrap())).collect();
        let count = 66 + i64::from(partition < 2);
        // The checkpoint may speak of what was shipped behind it, but not of what was trimmed.
        assert!(bases[0] >= from && *bases.last().unwrap() == count - 1, "{bases:?}");
        assert!(bases.windows(2).all(|pair| pair[0] + 1 == pair[1]));
        let found = all_of(&lane, tp(partition)).await.unwrap();
        assert_eq!(found.len(), bases.len());
        assert_eq!(found[0].batch.body(), format!("body {}", bases[0] * 3 + i64::from(partition)).as_bytes());
    }
    assert!(!tails.tails.contains_key(&tp(3)));
    assert_eq!(lane.partitions().count(), 3);
    assert!(lane.read(tp(0), Offset(67), ALL, 1).await.unwrap().is_empty());
    assert_eq!(lane.read(tp(0), Offset(60), Offset(64), usize::MAX).await.unwrap().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn damage_is_reported_where_it_is() {
    let bucket = store();
    let _owner = lane_of(&bucket, 70).await;
    // In front of the checkpoint in slot 64 the runs are known: only one batch of partition 0 is concerned.
    damage(&bucket, 30, SLOT_HEADER_LEN + 3).await;
    // Behind it nothing tells what a slot held: partition 1 has a gap, partition 2 may go on, 0 is continued later.
    damage(&bucket, 67, 40).await;
    bucket.delete(&Key::Slot { lane: LANE, slot: 68 }).await.unwrap();
    let lane = sealed(&bucket).await;
    assert_eq!(lane.end(), 68, "a slot that is gone looks like the end to a sealer");
    assert_eq!(lane.damaged(), [67]);
    let tails = lane.tails(&[tp(0), tp(1), tp(2), tp(9)]).await.unwrap();
    let mut corrupt: Vec<_> = tails.corrupt.iter().map(|hole| (hole.tp.partition, hole.from.0, hole.upto)).collect();
    corrupt.sort();
    assert_eq!(corrupt, [(0, 10, Some(Offset(11))), (0, 23, None), (1, 22, None), (2, 22, None), (9, 0, None)]);
    assert_eq!(tails.tails[&tp(0)].len(), 22, "what can be read is there");
    match lane.read(tp(0), Offset(10), ALL, 1).await {
        Err(Error::Corrupt { range, .. }) => assert_eq!(range, Offset(10)..Offset(11)),
        other => panic!("{other:?}"),
    }
    assert_eq!(lane.read(tp(0), Offset(0), ALL, usize::MAX).await.unwrap().len(), 10);
}

#[tokio::test(start_paused = true)]
async fn a_gap_that_a_later_batch_shows_ends_there() {
    let bucket = store();
    let _owner = lane_of(&bucket, 9).await;
    damage(&bucket, 4, 40).await;
    let lane = sealed(&bucket).await;
    let corrupt = lane.tails(&[tp(0), tp(1), tp(2)]).await.unwrap().corrupt;
    let corrupt: Vec<_> = corrupt.iter().map(|hole| (hole.tp.partition, hole.from.0, hole.upto)).collect();
    assert_eq!(corrupt, [(1, 1, Some(Offset(2)))], "the others prove that nothing of theirs was there");
}

#[tokio::test(start_paused = true)]
async fn a_damaged_checkpoint_costs_reading_more() {
    let bucket = store();
    let _owner = lane_of(&bucket, 140).await;
    damage(&bucket, 128, 40).await;
    let lane = sealed(&bucket).await;
    assert_eq!(lane.damaged(), [128]);
    // Slot 128 held offset 42 of partition 2.
    let tails = lane.tails(&[tp(0), tp(2)]).await.unwrap();
    assert_eq!((tails.tails[&tp(0)].len(), tails.tails[&tp(2)].len()), (47, 45));
    assert_eq!(tails.corrupt.len(), 1);
    assert_eq!((tails.corrupt[0].from, tails.corrupt[0].upto), (Offset(42), Some(Offset(43))));
}

#[tokio::test(start_paused = true)]
async fn a_large_head_takes_a_second_request() {
    let bucket = store();
    let owner = Owner::new(&bucket, ObjectOptions::default()).await;
    for base in 0..999 {
        owner.append(0, base, b"x").unwrap();
    }
    assert!(owner.put(0, 999, b"y").await);
    let lane = sealed(&bucket).await;
    assert_eq!((lane.end(), all_of(&lane, tp(0)).await.unwrap().len()), (1, 1000));
}

#[tokio::test(start_paused = true)]
async fn late_slots_are_swept_and_seal_and_header_stay() {
    let bucket = store();
    let (late, faults) = behind(&bucket);
    let owner = Owner::new(&late, one_each()).await;
    assert!(owner.put(0, 0, b"x").await);
    for (slot, secs) in [("00000000000000000001", 10), ("00000000000000000002", 60)] {
        faults.once(Op::Create, slot, Fault::ApplyLater(Duration::from_secs(secs)));
        (0..9).for_each(|_| faults.once(Op::Create, slot, Fault::FailBefore));
    }
    owner.append(0, 1, b"y").unwrap();
    owner.append(0, 2, b"z").unwrap();
    tokio::time::sleep(Duration::from_millis(10)).await;
    owner.log.kill();
    assert_eq!(sealed(&bucket).await.end(), 1);
    assert_eq!(retire(&bucket, LANE, &FailPoints::default()).await.unwrap(), 1);
    tokio::time::sleep(Duration::from_secs(100)).await;
    assert_eq!(numbers(&slots(&bucket).await), [1, 2], "the SEAL held, and one came late");
    assert_eq!(sweep(&bucket, LANE).await.unwrap(), 1);
    assert_eq!(slots(&bucket).await, [(1, SLOT_HEADER_LEN as u64)]);
    let header = lane_header(&bucket).await;
    assert_eq!((header.trim, header.end), (1, Some(1)));
    assert_eq!(seal(&bucket, LANE, 9, &FailPoints::default()).await.unwrap(), 1);
}
