//! What may be opened and what may not.

use std::fs;
use std::path::PathBuf;

use redb::TableDefinition;
use tempfile::TempDir;

use super::*;

fn folder() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("meta.redb");
    (dir, path)
}

/// Makes a store with some keys, and closes it.
async fn fill(path: &Path) {
    let store = Embedded::open(path).unwrap();
    for i in 0..STEPS {
        store.txn(Vec::new(), step(i)).await.unwrap();
    }
    store.close().await;
}

fn refusal(path: &Path) -> Error {
    Embedded::open(path).map(drop).unwrap_err()
}

#[tokio::test]
async fn a_second_open_is_refused_until_the_first_is_closed_or_dropped() {
    let (_dir, path) = folder();
    let first = Embedded::open(&path).unwrap();
    let error = refusal(&path);
    assert_eq!(error.kind(), ErrorKind::InUse);
    assert!(error.to_string().contains("another broker"), "{error}");
    first.close().await;
    let second = Embedded::open(&path).unwrap();
    second.txn(Vec::new(), step(0)).await.unwrap();
    assert_eq!(refusal(&path).kind(), ErrorKind::InUse);
    drop(second);
    assert!(Embedded::open(&path).unwrap().get("last").await.unwrap().is_some());
}

#[tokio::test]
async fn a_store_opened_by_something_else_is_refused() {
    let (_dir, path) = folder();
    fill(&path).await;
    // Another program that knows redb but not our lock file.
    let other = Database::open(&path).unwrap();
    assert_eq!(refusal(&path).kind(), ErrorKind::InUse);
    drop(other);
    Embedded::open(&path).unwrap();
}

#[tokio::test]
async fn a_newer_format_is_refused_and_left_alone() {
    let (_dir, path) = folder();
    fill(&path).await;
    let db = Database::open(&path).unwrap();
    let txn = db.begin_write().unwrap();
    txn.open_table(TableDefinition::<&str, u64>::new("meta")).unwrap().insert("format", 2).unwrap();
    txn.commit().unwrap();
    drop(db);
    let error = refusal(&path);
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("run a newer release"), "{error}");
    assert_eq!(refusal(&path).kind(), ErrorKind::Unsupported);
}

#[tokio::test]
async fn what_is_not_a_store_is_corrupt() {
    let (dir, path) = folder();
    for content in [&b""[..], b"x", &[0; 100_000], b"redb", b"not a database, but quite some text anyway"] {
        fs::write(&path, content).unwrap();
        assert_eq!(refusal(&path).kind(), ErrorKind::Corrupt, "{} bytes", content.len());
        assert_eq!(fs::read(&path).unwrap(), content, "a refused file must stay as it is");
    }
    let foreign = dir.path().join("foreign.redb");
    let db = Database::create(&foreign).unwrap();
    let txn = db.begin_write().unwrap();
    txn.open_table(TableDefinition::<&str, &str>::new("meta")).unwrap().insert("format", "1").unwrap();
    txn.commit().unwrap();
    drop(db);
    let error = refusal(&foreign);
    assert!(matches!(&error, Error::Corrupt { reason, .. } if reason.contains("not a metadata store")), "{error}");
    let folder = dir.path().join("folder");
    fs::create_dir(&folder).unwrap();
    assert_eq!(refusal(&folder).kind(), ErrorKind::Unavailable);
    assert_eq!(refusal(&dir.path().join("absent/meta.redb")).kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn a_creation_cut_off_is_begun_again() {
    let (dir, path) = folder();
    fs::write(dir.path().join("meta.redb.new"), [0; 5_000]).unwrap();
    fill(&path).await;
    assert!(!dir.path().join("meta.redb.new").exists());
    assert_eq!(Embedded::open(&path).unwrap().snapshot("").await.unwrap().revision, u64::from(STEPS));
}

/// A flipped bit anywhere, or a cut, is reported or (in free space) without effect; it is never a panic nor other data.
#[tokio::test]
async fn a_damaged_file_is_reported() {
    let (dir, path) = folder();
    fill(&path).await;
    let good = fs::read(&path).unwrap();
    let expected = Embedded::open(&path).unwrap().snapshot("").await.unwrap();
    let damaged = dir.path().join("damaged.redb");
    // Every page's head and middle where something is written.
    let written =
        good.chunks(4_096).enumerate().filter(|(_, page)| page.iter().any(|b| *b != 0)).map(|(i, _)| i * 4_096);
    let places: Vec<usize> = written.flat_map(|page| [page, page + 9, page + 64, page + 700]).collect();
    let (mut reported, mut harmless) = (0, 0);
    for at in places {
        let mut bytes = good.clone();
        bytes[at] ^= 0x04;
        match survey(&damaged, &bytes).await {
            Ok(snapshot) => {
                assert_eq!(snapshot, expected, "byte {at}");
                harmless += 1;
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Corrupt, "byte {at}: {error}");
                reported += 1;
            }
        }
    }
    assert!(reported > 0 && harmless > 0, "{reported} reported, {harmless} harmless");
    for len in [1, 320, 4_096, good.len() / 2, good.len() - 4_096] {
        match survey(&damaged, &good[..len]).await {
            Ok(snapshot) => assert_eq!(snapshot, expected, "cut at {len}"),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Corrupt, "cut at {len}: {error}"),
        }
    }
}

async fn survey(path: &Path, bytes: &[u8]) -> Result<Snapshot, Error> {
    fs::write(path, bytes).unwrap();
    let store = Embedded::open(path)?;
    let snapshot = store.snapshot("").await;
    store.close().await;
    snapshot
}
