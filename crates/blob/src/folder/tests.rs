#![allow(clippy::unwrap_used, clippy::panic)]

use super::*;
use crate::{Bucket, CasOutcome, ErrorKind, Key, Options};
use runnel_runtime::FailAction;

fn open(dir: &Path, fail: &FailPoints) -> Bucket {
    Bucket::open(&Options::new(format!("file://{}", dir.display())), fail.clone()).unwrap()
}

fn text(s: &'static str) -> Bytes {
    Bytes::from_static(s.as_bytes())
}

#[tokio::test]
async fn a_crash_before_the_rename_leaves_the_old_register() {
    let dir = tempfile::tempdir().unwrap();
    let fail = FailPoints::default();
    let bucket = open(dir.path(), &fail);
    let CasOutcome::Done(version) = bucket.create_register(&Key::Pids, text("old")).await.unwrap() else { panic!() };
    fail.arm("bucket.staged", FailAction::ErrorAlways);
    assert!(bucket.replace_register(&Key::Pids, &version, text("new")).await.is_err());
    let after = open(dir.path(), &FailPoints::default());
    assert_eq!(after.read_register(&Key::Pids).await.unwrap().unwrap().payload, text("old"));
    assert_eq!(after.list("").await.unwrap().len(), 1, "what was staged is in no listing");
}

#[tokio::test]
async fn after_a_failed_sync_nothing_is_believed() {
    let dir = tempfile::tempdir().unwrap();
    let fail = FailPoints::default();
    let bucket = open(dir.path(), &fail);
    let CasOutcome::Done(version) = bucket.create_register(&Key::Pids, text("old")).await.unwrap() else { panic!() };
    fail.arm("bucket.renamed", FailAction::Error);
    // The new bytes are visible now, so a read-back alone would call this a success.
    let error = bucket.replace_register(&Key::Pids, &version, text("new")).await.unwrap_err();
    assert!(matches!(error, Error::SyncFailed { .. }), "{error:?}");
    for error in [
        bucket.read_register(&Key::Pids).await.map(drop).unwrap_err(),
        bucket.put(&Key::Pids, vec![text("x")]).await.unwrap_err(),
        bucket.list("").await.map(drop).unwrap_err(),
    ] {
        assert!(matches!(error, Error::SyncFailed { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn a_folder_that_went_away_is_no_empty_bucket() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bucket");
    let bucket = open(&path, &FailPoints::default());
    assert_eq!(bucket.get(&Key::Pids).await.unwrap(), None);
    std::fs::remove_dir_all(&path).unwrap();
    let error = bucket.get(&Key::Pids).await.unwrap_err();
    assert!(matches!(error, Error::BucketMissing { .. }), "{error:?}");
}

/// Another process is as another open file here.
#[tokio::test]
async fn another_process_that_swaps_is_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let bucket = open(dir.path(), &FailPoints::default());
    let folder = Folder::create(dir.path(), FailPoints::default()).unwrap();
    let held: Vec<File> = (0..LOCKS.len()).map(|slot| folder.lock_slot(slot).unwrap()).collect();
    let mut create = std::pin::pin!(bucket.create_register(&Key::Pids, text("new")));
    let waited = tokio::time::timeout(std::time::Duration::from_millis(50), &mut create).await;
    assert!(waited.is_err(), "it did not wait");
    drop(held);
    assert!(matches!(create.await.unwrap(), CasOutcome::Done(_)));
    assert_eq!(bucket.list("").await.unwrap().len(), 1, "locks are in no listing");
}

#[tokio::test]
async fn two_handles_on_one_folder_have_one_winner() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (open(dir.path(), &FailPoints::default()), open(dir.path(), &FailPoints::default()));
    let CasOutcome::Done(version) = one.create_register(&Key::Pids, text("old")).await.unwrap() else { panic!() };
    let race = [&one, &two].map(|b| b.replace_register(&Key::Pids, &version, text("new")));
    let outcomes = futures::future::try_join_all(race).await.unwrap();
    assert_eq!(outcomes.iter().filter(|o| matches!(o, CasOutcome::Done(_))).count(), 1, "{outcomes:?}");
}

#[test]
fn the_folder_is_held_by_one_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (open(dir.path(), &FailPoints::default()), open(dir.path(), &FailPoints::default()));
    let held = one.try_lock().unwrap();
    assert!(held.is_some());
    assert_eq!(two.try_lock().unwrap_err().kind(), ErrorKind::Conflict);
    drop(held);
    assert!(two.try_lock().unwrap().is_some());
    let memory = Bucket::open(&Options::new("memory:"), FailPoints::default()).unwrap();
    assert!(memory.try_lock().unwrap().is_none());
}

#[test]
fn a_folder_that_cannot_be_made_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, b"").unwrap();
    let options = Options::new(format!("file://{}/bucket", file.display()));
    let error = Bucket::open(&options, FailPoints::default()).unwrap_err();
    assert!(error.to_string().contains("file/bucket"), "{error}");
}
