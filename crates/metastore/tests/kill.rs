//! A process that is killed while it writes leaves a store that opens with everything it had acknowledged.
#![allow(clippy::unwrap_used, clippy::print_stdout)] // the process to kill reports on its standard output

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use bytes::Bytes;
use runnel_metastore::{Embedded, MetaStore, Op};

const TEST: &str = "a_killed_process_loses_nothing_acknowledged";
const STORE: &str = "RUNNEL_TEST_STORE";

/// The test, and when started by it, the process to kill.
#[tokio::test]
async fn a_killed_process_loses_nothing_acknowledged() {
    match std::env::var_os(STORE) {
        Some(path) => write_until_killed(&PathBuf::from(path)).await,
        None => kill_and_look().await,
    }
}

async fn write_until_killed(path: &Path) {
    let store = Embedded::open(path).unwrap();
    let first = store.snapshot("").await.unwrap().entries.len() / 2;
    for i in first.. {
        let op = |side: &str| Op::Put(format!("{side}/{i:06}"), Bytes::from(vec![7; 400]), None);
        store.txn(Vec::new(), vec![op("a"), op("b")]).await.unwrap();
        println!("\nacknowledged {i}");
    }
}

async fn kill_and_look() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("meta.redb");
    for round in 1..=5 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", TEST, "--nocapture"])
            .env(STORE, &path)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let acknowledged = lines.filter_map(|line| line.strip_prefix("acknowledged ")?.parse::<usize>().ok());
        let last = acknowledged.take(7 * round).last().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();

        let store = Embedded::open(&path).unwrap();
        let found = store.snapshot("").await.unwrap();
        let (a, b) = found.entries.split_at(found.entries.len() / 2);
        assert!(a.len() > last, "{} transactions found, {last} acknowledged", a.len());
        for (i, (a, b)) in a.iter().zip(b).enumerate() {
            assert_eq!((a.0.clone(), b.0.clone()), (format!("a/{i:06}"), format!("b/{i:06}")));
            assert_eq!((a.1.revision, b.1.revision), (i as u64 + 1, i as u64 + 1));
        }
        assert_eq!(found.revision, a.len() as u64);
        store.close().await;
    }
}
