//! Watches, and the end.

use std::collections::BTreeMap;

use super::*;
use crate::{Change, Changes, ErrorKind, Event, Watch};

fn written(key: &str, value: &'static str, revision: u64, created: u64) -> Event {
    let value = Bytes::from_static(value.as_bytes());
    Event { key: key.to_owned(), change: Change::Put(Versioned { value, revision, created }) }
}

fn deleted(key: &str) -> Event {
    Event { key: key.to_owned(), change: Change::Deleted }
}

/// One item per transaction, each once, with the values and versions that a read would have shown.
pub async fn a_watch_sees_every_change_in_order(factory: &dyn Factory) {
    let store = &*factory.fresh().await;
    let start = revision(store).await;
    let mut watch = store.watch("", start + 1);
    let first = commit(store, vec![put("a", "1"), put("b", "1")]).await;
    let second = commit(store, vec![delete("a"), put("b", "2"), delete("absent")]).await;
    commit(store, vec![delete("absent")]).await;
    let third = commit(store, vec![put("a", "3")]).await;
    let expected = [
        (first, vec![written("a", "1", first, first), written("b", "1", first, first)]),
        (second, vec![deleted("a"), written("b", "2", second, first)]),
        (third, vec![written("a", "3", third, third)]),
    ];
    for (revision, mut events) in expected {
        let mut seen = watch.next().await.unwrap();
        // Within a transaction there is no order.
        seen.events.sort_by(|a, b| a.key.cmp(&b.key));
        events.sort_by(|a, b| a.key.cmp(&b.key));
        assert_eq!(seen, Changes { revision, events });
    }
}

/// A transaction appears with the events of the prefix only, and not at all if it has none.
pub async fn a_watch_sees_its_prefix_only(factory: &dyn Factory) {
    let store = &*factory.fresh().await;
    let mut watch = store.watch("p/", revision(store).await + 1);
    commit(store, vec![put("other", "1"), put("p", "1"), put("p0", "1")]).await;
    let second = commit(store, vec![put("other", "2"), put("p/1", "2")]).await;
    assert_eq!(
        watch.next().await.unwrap(),
        Changes { revision: second, events: vec![written("p/1", "2", second, second)] }
    );
}

/// From a past revision all that followed comes; from a future one nothing earlier does.
pub async fn a_watch_may_start_in_the_past_or_future(factory: &dyn Factory) {
    let store = &*factory.fresh().await;
    let first = commit(store, vec![put("a", "1")]).await;
    let second = commit(store, vec![put("a", "2")]).await;
    let mut past = store.watch("", first);
    let mut future = store.watch("", second + 2);
    let (third, fourth) = (commit(store, vec![put("a", "3")]).await, commit(store, vec![put("a", "4")]).await);
    for revision in [first, second, third, fourth] {
        assert_eq!(past.next().await.unwrap().revision, revision);
    }
    assert_eq!(future.next().await.unwrap().revision, fourth);
}

/// A watch that starts too early, or falls behind, is told so and where it could start.
pub async fn a_watch_of_forgotten_changes_is_told(factory: &dyn Factory) {
    let store = &*factory.fresh().await;
    let first = commit(store, vec![put("a", "1")]).await;
    let mut slow = store.watch("a", first);
    commit(store, vec![put("a", "2")]).await;
    factory.compact(store).await;
    for mut watch in [store.watch("a", first), std::mem::replace(&mut slow, store.watch("", u64::MAX))] {
        let Err(crate::Error::Compacted { requested, oldest }) = watch.next().await else {
            panic!("the changes should be gone");
        };
        assert_eq!(requested, first);
        assert!(oldest > first && oldest <= revision(store).await + 1, "{oldest}");
    }
    // What follows the latest snapshot can always be watched.
    let mut fresh = store.watch("a", revision(store).await + 1);
    let next = commit(store, vec![put("a", "3")]).await;
    assert_eq!(fresh.next().await.unwrap().revision, next);
}

/// Snapshot, then watch from its revision + 1, while others write: the result equals the store.
pub async fn a_snapshot_and_a_watch_miss_nothing(factory: &dyn Factory) {
    let store = factory.fresh().await;
    let shared = Arc::clone(&store);
    let writer = tokio::spawn(async move {
        for i in 0..60 {
            let op = if i % 3 == 2 { delete(&format!("k/{}", i % 5)) } else { put(&format!("k/{}", i % 5), "v") };
            commit(&*shared, vec![op]).await;
        }
        commit(&*shared, vec![put("k/end", "v")]).await
    });
    tokio::task::yield_now().await;
    let snapshot = store.snapshot("k/").await.unwrap();
    let mut view: BTreeMap<_, _> = snapshot.entries.into_iter().collect();
    let mut watch = store.watch("k/", snapshot.revision + 1);
    while !view.contains_key("k/end") {
        apply(&mut view, watch.next().await.unwrap());
    }
    let last = writer.await.unwrap();
    assert_eq!(view.get("k/end").unwrap().revision, last);
    assert_eq!(view.into_iter().collect::<Vec<_>>(), store.range("k/").await.unwrap());
}

fn apply(view: &mut BTreeMap<String, Versioned>, changes: Changes) {
    for event in changes.events {
        match event.change {
            Change::Put(value) => view.insert(event.key, value),
            Change::Deleted => view.remove(&event.key),
        };
    }
}

/// After `close`, calls get `Closed`, and a watch ends after what it still had to say.
pub async fn a_closed_store_says_so(factory: &dyn Factory) {
    let store = &*factory.fresh().await;
    let mut watch: Box<dyn Watch> = store.watch("", revision(store).await + 1);
    let first = commit(store, vec![put("a", "1")]).await;
    store.close().await;
    store.close().await;
    assert_eq!(store.get("a").await.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(store.range("").await.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(store.txn(Vec::new(), vec![put("a", "2")]).await.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(watch.next().await.unwrap().revision, first);
    assert_eq!(watch.next().await.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(watch.next().await.unwrap_err().kind(), ErrorKind::Closed);
}
