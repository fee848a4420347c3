#![allow(clippy::unwrap_used, clippy::panic)]

mod disk;
mod opening;

use std::pin::Pin;
use std::task::{Context, Waker};

use bytes::Bytes;

use self::disk::{PowerlessDisk, Survivors};
use super::*;
use crate::ErrorKind;

fn put(key: String, value: String) -> Op {
    Op::Put(key, Bytes::from(value), None)
}

/// One transaction of the workload: two keys of its own, one that all share, and a deletion.
fn step(i: u32) -> Vec<Op> {
    vec![
        put(format!("a/{i}"), "x".repeat(300)),
        put(format!("b/{i}"), i.to_string()),
        put("last".to_owned(), i.to_string()),
        Op::Delete(format!("b/{}", i.wrapping_sub(2))),
    ]
}

const STEPS: u32 = 6;

/// Runs the workload until the disk loses power; returns how many transactions were acknowledged.
async fn work(disk: &PowerlessDisk) -> u32 {
    let Ok(store) = Embedded::on_backend(disk.clone(), &Options::default()) else { return 0 };
    let mut acked = 0;
    for i in 0..STEPS {
        match store.txn(Vec::new(), step(i)).await {
            Ok(outcome) => assert!(outcome.is_committed()),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Unavailable);
                // A failed commit is final, also for reads: what they would see might not be durable.
                assert_eq!(store.get("last").await.unwrap_err().kind(), ErrorKind::Unavailable);
                assert_eq!(store.txn(Vec::new(), step(i)).await.unwrap_err().kind(), ErrorKind::Unavailable);
                break;
            }
        }
        acked += 1;
    }
    store.close().await;
    acked
}

/// Opens what survived: all that was acknowledged is there, what was not is there wholly or not at all, and the store
/// goes on. Returns how many transactions are there.
async fn check(disk: PowerlessDisk, acked: u32) -> u32 {
    let store = Embedded::on_backend(disk, &Options::default()).unwrap();
    let snapshot = store.snapshot("").await.unwrap();
    let applied = u32::try_from(snapshot.revision).unwrap();
    assert!(applied >= acked && applied <= acked + 1, "{acked} acknowledged, {applied} found");
    let mut expected = std::collections::BTreeMap::new();
    for i in 0..applied {
        for op in step(i) {
            match op {
                Op::Put(key, value, _) => drop(expected.insert(key, value)),
                Op::Delete(key) => drop(expected.remove(&key)),
            }
        }
    }
    let found = snapshot.entries.into_iter().map(|(key, v)| (key, v.value)).collect();
    assert_eq!(expected, found, "{applied} transactions");
    assert_eq!(store.txn(Vec::new(), step(99)).await.unwrap(), TxnOutcome::Committed(snapshot.revision + 1));
    store.close().await;
    applied
}

#[tokio::test]
async fn a_power_loss_at_any_write_keeps_what_was_acknowledged() {
    let (mut lost, mut kept) = (0, 0);
    for fuse in 0.. {
        // A store that is there already: creation is made safe by a rename, see `opening`.
        let disk = PowerlessDisk::default();
        Embedded::on_backend(disk.clone(), &Options::default()).unwrap().close().await;
        disk.cut_power_after(fuse);
        let acked = work(&disk).await;
        if !disk.is_dead() {
            assert_eq!(acked, STEPS);
            assert!(fuse > 30, "the workload makes {fuse} writes only");
            break;
        }
        for survivors in [Survivors::All, Survivors::Chance(fuse), Survivors::Chance(fuse + 10_000)] {
            match check(disk.after_power_loss(survivors), acked).await {
                applied if applied > acked => kept += 1,
                _ => lost += 1,
            }
        }
    }
    // Both kinds of unknown outcome were met, else this test proves little.
    assert!(lost > 0 && kept > 0, "{lost} lost, {kept} kept");
}

#[tokio::test]
async fn a_disk_that_lies_about_its_sync_is_noticed_by_the_test_above() {
    let disk = PowerlessDisk::default();
    disk.lie();
    assert_eq!(work(&disk).await, STEPS);
    let survived = disk.after_power_loss(Survivors::Chance(1));
    let store = Embedded::on_backend(survived, &Options::default());
    let revision = match store {
        Ok(store) => store.snapshot("").await.unwrap().revision,
        Err(_) => 0,
    };
    assert!(revision < u64::from(STEPS));
}

fn queue_up<F: Future>(call: &mut Pin<Box<F>>) {
    assert!(call.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
}

#[tokio::test]
async fn callers_that_wait_together_share_one_sync() {
    const CALLERS: u32 = 64;
    let disk = PowerlessDisk::default();
    let store = Embedded::on_backend(disk.clone(), &Options::default()).unwrap();
    // The first is held in its sync while the others queue up: a call is in the queue once it was polled.
    let mut calls: Vec<_> = (0..CALLERS).map(|i| Box::pin(store.txn(Vec::new(), step(i)))).collect();
    let (first, others) = calls.split_at_mut(1);
    let held = disk.hold_syncs();
    first.iter_mut().for_each(queue_up);
    held.wait_for_a_sync();
    let before = disk.syncs();
    others.iter_mut().for_each(queue_up);
    drop(held);
    let mut revisions = Vec::new();
    for call in calls {
        match call.await.unwrap() {
            TxnOutcome::Committed(revision) => revisions.push(revision),
            TxnOutcome::Refused => panic!("nothing to refuse"),
        }
    }
    assert_eq!(revisions, (1..=u64::from(CALLERS)).collect::<Vec<_>>());
    // The one that was held, the one that the others share, and one in case that redb makes the file larger.
    let shared = disk.syncs() - before;
    assert!(shared <= 3, "{shared} syncs for {CALLERS} callers");
}

#[tokio::test]
async fn nothing_is_synced_for_a_refusal() {
    let disk = PowerlessDisk::default();
    let store = Embedded::on_backend(disk.clone(), &Options::default()).unwrap();
    store.txn(Vec::new(), step(0)).await.unwrap();
    let before = disk.syncs();
    let refused = store.txn(vec![Compare::Absent("last".into())], step(1)).await.unwrap();
    assert_eq!(refused, TxnOutcome::Refused);
    assert_eq!(store.txn(Vec::new(), Vec::new()).await.unwrap(), TxnOutcome::Committed(1));
    assert_eq!(disk.syncs(), before);
}

#[tokio::test]
async fn a_failed_commit_is_never_seen() {
    let disk = PowerlessDisk::default();
    let store = Embedded::on_backend(disk.clone(), &Options::default()).unwrap();
    let mut watch = store.watch("", 1);
    store.txn(Vec::new(), step(0)).await.unwrap();
    disk.cut_power_after(0);
    assert_eq!(store.txn(Vec::new(), step(1)).await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(watch.next().await.unwrap().revision, 1);
    assert_eq!(watch.next().await.unwrap_err().kind(), ErrorKind::Closed);
}

#[tokio::test]
async fn closing_waits_for_what_was_taken() {
    let disk = PowerlessDisk::default();
    let store = Arc::new(Embedded::on_backend(disk.clone(), &Options::default()).unwrap());
    let held = disk.hold_syncs();
    let taken: Vec<_> = (0..10)
        .map(|i| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { store.txn(Vec::new(), step(i)).await })
        })
        .collect();
    tokio::task::yield_now().await;
    held.wait_for_a_sync();
    // Two at once: the second must not take the file from under the first.
    let closing = [Arc::clone(&store), Arc::clone(&store)].map(|s| tokio::spawn(async move { s.close().await }));
    tokio::task::yield_now().await;
    drop(held);
    for task in taken {
        assert!(task.await.unwrap().unwrap().is_committed());
    }
    for task in closing {
        task.await.unwrap();
    }
    assert_eq!(store.txn(Vec::new(), step(11)).await.unwrap_err().kind(), ErrorKind::Closed);
}
