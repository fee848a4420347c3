//! The log of a living session over a bucket in memory.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use runnel_blob::testing::{Fault, Op};
use runnel_record::Offset;
use runnel_runtime::FailPoints;
use tokio::time::Instant;

use super::rig::*;
use crate::object::{ObjectLog, ObjectOptions, SealedLane, seal};
use crate::tests::rig::{entry, tp};
use crate::{Error, ErrorKind, LaneSeq};

#[tokio::test(start_paused = true)]
async fn what_is_appended_reads_back() {
    let bucket = store();
    let owner = Owner::new(&bucket, ObjectOptions::default()).await;
    let started = Instant::now();
    for base in 0..20 {
        owner.append(i32::try_from(base % 2).unwrap(), base / 2, format!("body {base}").as_bytes()).unwrap();
    }
    assert!(owner.put(2, 0, b"alone").await);
    assert_eq!(started.elapsed(), Duration::from_millis(10), "the first of all gathers what comes with it");
    assert_eq!(numbers(&slots(&bucket).await), [0], "one slot for all partitions");
    assert!(owner.put(0, 10, b"next").await);
    assert_eq!(started.elapsed(), Duration::from_millis(110), "one interval later");
    let found = owner.log.read(tp(0), Offset(3), ALL, usize::MAX).await.unwrap();
    assert_eq!(found.len(), 8);
    assert_eq!(found[0].batch, entry(0, 3, 1, 1, b"body 6").batch);
    assert_eq!(found[7].batch, entry(0, 10, 1, 1, b"next").batch);
    assert_eq!(found[0].append_time, entry(0, 3, 1, 1, b"").append_time);
    let some = owner.log.read(tp(0), Offset(3), Offset(5), usize::MAX).await.unwrap();
    assert_eq!(bodies(&some), ["body 6", "body 8"]);
    assert_eq!(owner.log.read(tp(0), Offset(3), ALL, 1).await.unwrap().len(), 1, "at least one");
    assert_eq!(owner.log.read(tp(0), Offset(0), ALL, 200).await.unwrap().len(), 2);
    assert!(owner.log.read(tp(0), Offset(11), ALL, 1).await.unwrap().is_empty());
    assert!(matches!(owner.log.read(tp(9), Offset(0), ALL, 1).await, Err(Error::Absent { .. })));
}

#[tokio::test(start_paused = true)]
async fn an_outage_loses_nothing_and_throttles() {
    let (bucket, faults) = behind(&store());
    let owner = Owner::new(&bucket, ObjectOptions { max_unflushed: 2_000, ..one_each() }).await;
    assert!(owner.put(0, 0, b"before").await);
    faults.outage(true);
    let mut base = 1;
    let refused = loop {
        match owner.append(0, base, b"during") {
            Ok(_) => base += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(refused.kind(), ErrorKind::Throttled);
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!((owner.ears.heard().durable, owner.ears.heard().failed), (1, 0));
    faults.outage(false);
    assert!(owner.ears.wait(LaneSeq(base as u64)).await);
    assert!(owner.put(0, base, b"after").await);
    let found = owner.log.read(tp(0), Offset(0), ALL, usize::MAX).await.unwrap();
    assert_eq!(found.len() as i64, base + 1);
    assert_eq!(owner.ears.heard().failed, 0);
}

#[tokio::test(start_paused = true)]
async fn slots_that_are_there_behind_a_hole_are_not_acknowledged() {
    let (bucket, faults) = behind(&store());
    let owner = Owner::new(&bucket, one_each()).await;
    // The first write is lost for a while, those behind it are not.
    faults.once(Op::Create, "00000000000000000000", Fault::Delay(Duration::from_millis(1_500)));
    for base in 0..4 {
        owner.append(0, base, b"x").unwrap();
    }
    tokio::time::sleep(Duration::from_millis(1_000)).await;
    assert_eq!(numbers(&slots(&bucket).await), [1, 2, 3]);
    assert_eq!(owner.ears.heard().durable, 0);
    assert!(owner.log.read(tp(0), Offset(0), ALL, 1).await.unwrap().is_empty(), "nor read");
    assert!(owner.put(0, 4, b"x").await);
    assert_eq!(owner.ears.heard().calls, 5);
}

#[tokio::test(start_paused = true)]
async fn a_sealed_lane_ends_its_owner() {
    let bucket = store();
    let owner = Owner::new(&bucket, one_each()).await;
    assert!(owner.put(0, 0, b"x").await);
    assert_eq!(seal(&bucket, LANE, 8, &FailPoints::default()).await.unwrap(), 1);
    assert!(!owner.put(0, 1, b"y").await, "its outcome is unknown");
    assert_eq!(owner.append(0, 2, b"z").unwrap_err().kind(), ErrorKind::Fenced);
    assert!(!owner.log.is_open());
    assert_eq!(owner.ears.heard().failed, 1);
    owner.log.close().await;
    assert_eq!(owner.log.read(tp(0), Offset(0), ALL, 1).await.unwrap().len(), 1, "reads still work");
}

#[tokio::test(start_paused = true)]
async fn a_lane_that_was_sealed_first_does_not_begin() {
    let bucket = store();
    assert_eq!(seal(&bucket, LANE, 8, &FailPoints::default()).await.unwrap(), 0);
    let refused = ObjectLog::open(bucket.clone(), one_each(), identity(), FailPoints::default()).await;
    assert_eq!(refused.err().unwrap().kind(), ErrorKind::Fenced);
    let sealed = SealedLane::open(&bucket, LANE).await.unwrap();
    assert_eq!((sealed.end(), sealed.session(), sealed.partitions().count()), (0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_header_that_an_earlier_attempt_made_is_ours() {
    let (bucket, faults) = behind(&store());
    faults.once(Op::Create, "hdr", Fault::LoseAnswer);
    (0..5).for_each(|_| faults.once(Op::Get, "hdr", Fault::FailBefore));
    (0..4).for_each(|_| faults.once(Op::Create, "hdr", Fault::FailBefore));
    let unclear = ObjectLog::open(bucket.clone(), one_each(), identity(), FailPoints::default()).await;
    assert_eq!(unclear.err().unwrap().kind(), ErrorKind::Unavailable);
    let owner = Owner::new(&bucket, one_each()).await;
    assert!(owner.put(0, 0, b"x").await);
}

#[tokio::test(start_paused = true)]
async fn what_is_shipped_is_trimmed_now_and_then() {
    let (bucket, faults) = behind(&store());
    let owner = Owner::new(&bucket, one_each()).await;
    for base in 0..6 {
        assert!(owner.put(0, base, b"x").await);
        owner.log.shipped(tp(0), Offset(base + 1));
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    let moves = || faults.requests().iter().filter(|(op, path)| *op == Op::Replace && path.ends_with("hdr")).count();
    assert_eq!((moves(), lane_header(&bucket).await.trim), (2, 5));
    owner.log.close().await;
    assert_eq!((moves(), lane_header(&bucket).await.trim), (3, 6));
    assert_eq!(slots(&bucket).await, []);
    assert_eq!(lane_header(&bucket).await.end, None);
    assert!(matches!(owner.log.read(tp(0), Offset(5), ALL, 1).await, Err(Error::Absent { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_slot_that_goes_while_it_is_read_is_absent_not_damaged() {
    let (bucket, faults) = behind(&store());
    let owner = Owner::new(&bucket, one_each()).await;
    assert!(owner.put(0, 0, b"x").await);
    faults.once(Op::Get, "00000000000000000000", Fault::Delay(Duration::from_secs(1)));
    let read = owner.log.read(tp(0), Offset(0), ALL, 1);
    let ship = async {
        tokio::time::sleep(Duration::from_millis(1)).await;
        owner.log.shipped(tp(0), Offset(1));
    };
    assert!(matches!(tokio::join!(read, ship).0, Err(Error::Absent { .. })));
    // One that goes without a pointer behind it is lost.
    assert!(owner.put(0, 1, b"y").await);
    bucket.delete(&runnel_blob::Key::Slot { lane: LANE, slot: 1 }).await.unwrap();
    assert!(matches!(owner.log.read(tp(0), Offset(1), ALL, 1).await, Err(Error::Corrupt { .. })));
}

#[tokio::test(start_paused = true)]
async fn bodies_too_large_to_be_read_along_are_read_as_asked() {
    let (bucket, faults) = behind(&store());
    let owner = Owner::new(&bucket, ObjectOptions::default()).await;
    let body = vec![7; 30 << 10];
    for base in 0..9 {
        owner.append(0, base, &body).unwrap();
    }
    owner.append(1, 0, b"").unwrap();
    assert!(owner.put(0, 9, &body).await);
    let before = faults.requests().len();
    let found = owner.log.read(tp(0), Offset(4), ALL, 70_000).await.unwrap();
    assert_eq!(found.iter().map(|stored| stored.batch.base_offset().0).collect::<Vec<_>>(), [4, 5]);
    assert_eq!(faults.requests().len() - before, 2, "the rows, and then two bodies");
    assert_eq!(owner.log.read(tp(0), Offset(0), ALL, usize::MAX).await.unwrap().len(), 10);
    assert_eq!(bodies(&owner.log.read(tp(1), Offset(0), ALL, 1).await.unwrap()), [""]);
}

#[tokio::test(start_paused = true)]
async fn damage_is_fetched_again_and_then_named() {
    let bucket = store();
    let owner = Owner::new(&bucket, ObjectOptions::default()).await;
    for base in 0..3 {
        owner.append(0, base, b"body").unwrap();
    }
    assert!(owner.put(1, 0, b"else").await);
    let key = runnel_blob::Key::Slot { lane: LANE, slot: 0 };
    let mut bytes = bucket.get(&key).await.unwrap().unwrap().to_vec();
    let at = bytes.len() - 10;
    bytes[at] ^= 1;
    let (good, bad) = (bucket.get(&key).await.unwrap().unwrap(), Bytes::from(bytes));
    bucket.put(&key, vec![bad.clone()]).await.unwrap();
    let found = owner.log.read(tp(0), Offset(0), ALL, usize::MAX).await.unwrap();
    assert_eq!(found.len(), 1, "what is in front of it is returned");
    match owner.log.read(tp(0), Offset(1), ALL, usize::MAX).await {
        Err(Error::Corrupt { range, .. }) => assert_eq!(range, Offset(1)..Offset(2)),
        other => panic!("{other:?}"),
    }
    assert_eq!(owner.log.read(tp(0), Offset(2), ALL, usize::MAX).await.unwrap().len(), 1);
    assert_eq!(owner.log.read(tp(1), Offset(0), ALL, usize::MAX).await.unwrap().len(), 1);
    // A store that gave a bad answer once gives a good one the second time.
    let (slow, faults) = behind(&bucket);
    let reader = crate::object::read::read;
    let plan = SealedLanePlan::of(&bucket).await;
    faults.once_after(1, Op::Get, "", Fault::Delay(Duration::from_secs(1)));
    let mend = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        bucket.put(&key, vec![good]).await.unwrap();
    };
    let (found, ()) = tokio::join!(reader(&slow, LANE, &plan.0, Offset(1)..ALL, usize::MAX), mend);
    assert_eq!(found.unwrap().len(), 2);
}

/// The runs of the first slot.
struct SealedLanePlan(Vec<runnel_format::wal::SlotRun>);

impl SealedLanePlan {
    async fn of(bucket: &runnel_blob::Bucket) -> Self {
        let bytes = bucket.get(&runnel_blob::Key::Slot { lane: LANE, slot: 0 }).await.unwrap().unwrap();
        let header = runnel_format::wal::SlotHeader::decode(&bytes, LANE, 0).unwrap();
        let facts = (0..3).map(|base| (tp(0), runnel_record::LeaderEpoch(1), Offset(base)..Offset(base + 1), 4));
        Self(crate::object::draft::group(0, header.data_at(), facts))
    }
}

/// On real threads and in real time, which the other tests are not.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn many_threads_append_and_read() {
    let bucket = store();
    let options = ObjectOptions { interval: Duration::from_millis(1), max_bytes: 20_000, ..ObjectOptions::default() };
    let owner = Arc::new(Owner::new(&bucket, options).await);
    let writers = (0..4).map(|partition| {
        let owner = Arc::clone(&owner);
        tokio::spawn(async move {
            let mut last = LaneSeq(0);
            for base in 0..500 {
                last = owner.append(partition, base, format!("{partition}/{base}").as_bytes()).unwrap();
                if base % 50 == 0 {
                    assert!(owner.ears.wait(last).await);
                    owner.log.shipped(tp(partition), Offset(base - 20));
                }
            }
            assert!(owner.ears.wait(last).await);
            let found = owner.log.read(tp(partition), Offset(430), ALL, usize::MAX).await.unwrap();
            assert_eq!(found[0].batch.body(), format!("{partition}/430").as_bytes());
            assert_eq!(found.last().unwrap().batch.next_offset(), Offset(500));
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    owner.log.close().await;
    assert_eq!(owner.ears.heard().failed, 0);
}
