//! Servers that go and come back.

use std::time::Duration;

use bytes::Bytes;
use runnel_metastore::{Change, Error, ErrorKind, MetaStore, Op, Watch};

use super::server::{Server, put};

/// What a watch tells next: keys and values.
async fn told(watch: &mut Box<dyn Watch>) -> Vec<(String, Option<Bytes>)> {
    let changes = watch.next().await.unwrap();
    let value = |change| match change {
        Change::Put(found) => Some(found.value),
        Change::Deleted => None,
    };
    changes.events.into_iter().map(|event| (event.key, value(event.change))).collect()
}

/// A watch goes on where it stood, whatever was written before etcd died, and after.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_outlives_the_server() {
    let mut server = Server::start().await;
    let store = server.store();
    let mut watch = store.watch("k", 1);
    for round in 0..3 {
        for n in 0..3 {
            put(&store, &format!("k{n}"), &format!("{round}")).await;
            if n == 0 {
                assert_eq!(told(&mut watch).await, [("k0".to_owned(), Some(format!("{round}").into()))]);
            }
        }
        server.kill();
        server.start_again().await;
        for n in 1..3 {
            assert_eq!(told(&mut watch).await, [(format!("k{n}"), Some(format!("{round}").into()))]);
        }
    }
}

/// A watch that had to reopen behind a compaction says so; it does not leave changes out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_that_missed_forgotten_changes_says_so() {
    let mut server = Server::start().await;
    let store = server.store();
    let mut watch = store.watch("k", 1);
    put(&store, "k", "1").await;
    told(&mut watch).await;
    server.kill();
    server.start_again().await;
    // Another store, since the watch reconnects only when it is asked.
    let other = server.store();
    put(&other, "k", "2").await;
    put(&other, "k", "3").await;
    server.compact(other.snapshot("").await.unwrap().revision).await;
    let end = watch.next().await.unwrap_err();
    assert!(matches!(end, Error::Compacted { .. }), "{end}");
}

/// Without a server a change has an unknown outcome, soon, and a read waits a moment; both work when it is back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_absent_server_is_told_and_comes_back() {
    let mut server = Server::start().await;
    let store = server.store();
    put(&store, "k", "1").await;
    server.kill();
    let change = vec![Op::Put("k".to_owned(), "2".into(), None)];
    let failed = store.txn(Vec::new(), change).await.unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::Unavailable, "{failed}");
    let (read, ()) = tokio::join!(store.get("k"), server.start_again());
    assert_eq!(read.unwrap().unwrap().value, "1");
    put(&store, "k", "3").await;
}

/// A lease that nobody keeps takes its keys along, and one that is kept does not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_that_nobody_keeps_ends() {
    let server = Server::start().await;
    let store = server.store();
    let (left, kept) = (
        store.grant_lease(Duration::from_millis(900)).await.unwrap(),
        store.grant_lease(Duration::from_secs(1)).await.unwrap(),
    );
    let under = |key: &str, lease| Op::Put(key.to_owned(), Bytes::new(), Some(lease));
    store.txn(Vec::new(), vec![under("left", left), under("kept", kept)]).await.unwrap();
    let mut watch = store.watch("", 1);
    assert_eq!(told(&mut watch).await.len(), 2);
    let mut keeping = tokio::time::interval(Duration::from_millis(200));
    let gone = loop {
        tokio::select! {
            gone = told(&mut watch) => break gone,
            _ = keeping.tick() => store.keep_alive(kept).await.unwrap(),
        }
    };
    assert_eq!(gone, [("left".to_owned(), None)]);
    assert_eq!(store.keep_alive(left).await.unwrap_err().kind(), ErrorKind::NotFound);
}

/// A range of more keys than one answer holds is whole, and of one revision.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_range_comes_in_pages() {
    let server = Server::start().await;
    let store = server.store();
    let key = |n: usize| format!("n/{n:05}");
    for first in (0..4_992).step_by(128) {
        let puts = (first..first + 128).map(|n| Op::Put(key(n), Bytes::new(), None));
        store.txn(Vec::new(), puts.collect()).await.unwrap();
    }
    put(&store, "o", "").await;
    let found = store.snapshot("n/").await.unwrap();
    assert!(found.entries.iter().map(|(key, _)| key.clone()).eq((0..4_992).map(key)));
    assert_eq!(found.revision, store.get("o").await.unwrap().unwrap().revision);
}
