//! Keys, versions and transactions.

use super::*;
use crate::store::{MAX_KEY_BYTES, MAX_TXN_BYTES, MAX_TXN_OPS};
use crate::{Compare, ErrorKind};

/// Reading gives what was written, the revision that wrote it and the one that created the key.
pub async fn a_value_is_read_back_with_its_versions(factory: &dyn Factory) {
    let store = &*factory.fresh().await;
    assert_eq!(get(store, "k").await, None);
    let first = commit(store, vec![put("k", "one")]).await;
    assert_eq!(get(store, "k").await, Some(Versioned { value: "one".into(), revision: first, created: first }));
    let second = commit(store, vec![put("k", "")]).await;
    assert!(second > first);
    assert_eq!(get(store, "k").await, Some(Versioned { value: Bytes::new(), revision: second, created: first }));
    commit(store, vec![delete("k")]).await;
    assert_eq!(get(store, "k").await, None);
    let fourth = commit(store, vec![put("k", "again")]).await;
    assert_eq!(get(store, "k").await, Some(Versioned { value: "again".into(), revision: fourth, created: fourth }));
}

/// A range holds exactly the keys of its prefix, in byte order.
pub async fn a_range_is_sorted_and_ends_with_its_prefix(factory: &dyn Factory) {
    let store = &*factory.fresh().await;
    let all = ["a", "a/", "a/1", "a/10", "a/2", "a0", "b/1", "é/1", "é/\u{10ffff}"];
    commit(store, all.iter().rev().map(|key| put(key, key)).collect()).await;
    assert_eq!(keys(store, "a/").await, ["a/", "a/1", "a/10", "a/2"]);
    assert_eq!(keys(store, "a").await, ["a", "a/", "a/1", "a/10", "a/2", "a0"]);
    assert_eq!(keys(store, "é/").await, ["é/1", "é/\u{10ffff}"]);
    assert_eq!(keys(store, "").await, all);
    assert_eq!(keys(store, "c").await, [""; 0]);
    let values: Vec<_> = store.range("").await.unwrap().into_iter().map(|(_, v)| v.value).collect();
    assert_eq!(values, all);
}

/// What was written after a revision is what later transactions wrote, whether they created it or not.
pub async fn a_range_since_a_revision_holds_what_is_newer(factory: &dyn Factory) {
    let store = &*factory.fresh().await;
    commit(store, vec![put("a/1", "1"), put("a/2", "1"), put("a/3", "1")]).await;
    let then = commit(store, vec![put("a/4", "1"), put("b", "1")]).await;
    let since = async |revision| {
        let entries = store.range_since("a/", revision).await.unwrap();
        entries.into_iter().map(|(key, _)| key).collect::<Vec<_>>()
    };
    assert_eq!(since(0).await, ["a/1", "a/2", "a/3", "a/4"]);
    assert_eq!(since(then - 1).await, ["a/4"]);
    assert_eq!(since(then).await, [""; 0]);
    commit(store, vec![put("a/2", "2"), delete("a/3"), put("a/5", "1")]).await;
    assert_eq!(since(then).await, ["a/2", "a/5"]);
}

/// One condition that does not hold stops every operation.
pub async fn a_transaction_is_applied_wholly_or_not_at_all(factory: &dyn Factory) {
    let store = &*factory.fresh().await;
    let first = commit(store, vec![put("a", "1"), put("b", "1")]).await;
    let conditions = vec![Compare::Revision("a".into(), first), Compare::Absent("b".into())];
    let ops = vec![put("a", "2"), delete("b"), put("c", "2")];
    assert_eq!(store.txn(conditions, ops.clone()).await.unwrap(), TxnOutcome::Refused);
    assert_eq!(revision(store).await, first);
    assert_eq!(keys(store, "").await, ["a", "b"]);
    assert_eq!(value(store, "a").await, Some("1".into()));

    let conditions = vec![Compare::Revision("a".into(), first), Compare::Present("b".into())];
    assert!(matches!(store.txn(conditions, ops).await.unwrap(), TxnOutcome::Committed(r) if r > first));
    assert_eq!(keys(store, "").await, ["a", "c"]);
    assert_eq!(value(store, "a").await, Some("2".into()));
}

/// Each comparison against an absent key, the right version and a wrong one.
pub async fn every_comparison_means_what_it_says(factory: &dyn Factory) {
    let store = &*factory.fresh().await;
    let created = commit(store, vec![put("k", "1")]).await;
    let written = commit(store, vec![put("k", "2")]).await;
    let k = || "k".to_owned();
    let none = || "none".to_owned();
    let cases = [
        (Compare::Absent(none()), true),
        (Compare::Absent(k()), false),
        (Compare::Present(k()), true),
        (Compare::Present(none()), false),
        (Compare::Revision(k(), written), true),
        (Compare::Revision(k(), created), false),
        (Compare::Revision(none(), written), false),
        (Compare::Revision(none(), 0), false),
        (Compare::Created(k(), created), true),
        (Compare::Created(k(), written), false),
        (Compare::Created(none(), created), false),
        (Compare::Created(none(), 0), false),
    ];
    for (condition, holds) in cases {
        let outcome = store.txn(vec![condition.clone()], Vec::new()).await.unwrap();
        let expected = if holds { TxnOutcome::Committed(written) } else { TxnOutcome::Refused };
        assert_eq!(outcome, expected, "{condition:?}");
    }
}

/// All keys of a transaction carry its revision, and revisions grow by one.
pub async fn one_transaction_has_one_revision(factory: &dyn Factory) {
    let store = &*factory.fresh().await;
    let first = commit(store, vec![put("a", "1"), put("b", "1")]).await;
    let second = commit(store, vec![put("b", "2"), put("c", "2")]).await;
    assert_eq!(second, first + 1);
    let revisions: Vec<_> = store.range("").await.unwrap().into_iter().map(|(_, v)| v.revision).collect();
    assert_eq!(revisions, [first, second, second]);
    assert_eq!(revision(store).await, second);
}

/// Nothing done, nothing counted.
pub async fn a_transaction_that_changes_nothing_has_no_revision(factory: &dyn Factory) {
    let store = &*factory.fresh().await;
    let first = commit(store, vec![put("a", "1")]).await;
    assert_eq!(commit(store, Vec::new()).await, first);
    assert_eq!(commit(store, vec![delete("absent")]).await, first);
    assert_eq!(revision(store).await, first);
    // The same value again is a change: the key gets a new revision.
    assert_eq!(commit(store, vec![put("a", "1")]).await, first + 1);
}

/// What exceeds a limit of the contract is `Invalid` and leaves no trace; what just fits is taken.
pub async fn what_breaks_a_limit_is_refused_whole(factory: &dyn Factory) {
    let store = &*factory.fresh().await;
    let many = |n: usize| (0..n).map(|i| put(&format!("many/{i:03}"), "v")).collect::<Vec<_>>();
    let conditions = |n: usize| (0..n).map(|i| Compare::Absent(format!("c{i}"))).collect::<Vec<_>>();
    let long = "k".repeat(MAX_KEY_BYTES + 1);
    let big = |n: usize| vec![Op::Put("big".to_owned(), Bytes::from(vec![7; n]), None)];
    let bad = [
        (Vec::new(), many(MAX_TXN_OPS + 1)),
        (conditions(MAX_TXN_OPS + 1), vec![put("x", "")]),
        (Vec::new(), vec![put("fine", ""), put("", "")]),
        (vec![Compare::Absent(String::new())], vec![put("x", "")]),
        (Vec::new(), vec![put("fine", ""), delete(&long)]),
        (Vec::new(), vec![put("twice", "1"), delete("twice")]),
        (Vec::new(), big(MAX_TXN_BYTES)),
    ];
    for (compare, then) in bad {
        assert_eq!(store.txn(compare, then).await.unwrap_err().kind(), ErrorKind::Invalid);
    }
    assert_eq!(store.get("").await.unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(keys(store, "").await, [""; 0]);

    assert!(matches!(store.txn(conditions(MAX_TXN_OPS), many(MAX_TXN_OPS)).await.unwrap(), TxnOutcome::Committed(_)));
    commit(store, vec![put(&long[1..], "v")]).await;
    commit(store, big(MAX_TXN_BYTES - "big".len())).await;
    assert_eq!(value(store, "big").await.unwrap().len(), MAX_TXN_BYTES - "big".len());
    assert_eq!(keys(store, "many/").await.len(), MAX_TXN_OPS);
}

/// Compare-and-commit is atomic: of all attempts at one revision exactly one wins.
pub async fn concurrent_counters_lose_nothing(factory: &dyn Factory) {
    const TASKS: u32 = 8;
    const EACH: u32 = 10;
    let store = factory.fresh().await;
    commit(&*store, vec![put("n", "0")]).await;
    let tasks: Vec<_> = (0..TASKS).map(|_| tokio::spawn(count(Arc::clone(&store), EACH))).collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(value(&*store, "n").await, Some((TASKS * EACH).to_string().into()));
}

async fn count(store: Arc<dyn MetaStore>, times: u32) {
    let mut done = 0;
    while done < times {
        let now = get(&*store, "n").await.unwrap();
        let n: u32 = std::str::from_utf8(&now.value).unwrap().parse().unwrap();
        let conditions = vec![Compare::Revision("n".into(), now.revision)];
        if store.txn(conditions, vec![put("n", &(n + 1).to_string())]).await.unwrap() != TxnOutcome::Refused {
            done += 1;
        }
    }
}

/// A transaction whose caller has gone is there wholly or not at all.
pub async fn a_dropped_transaction_is_whole(factory: &dyn Factory) {
    let store = factory.fresh().await;
    for i in 0..20 {
        let (a, b) = (format!("a/{i}"), format!("b/{i}"));
        let shared = Arc::clone(&store);
        let task = tokio::spawn(async move { shared.txn(Vec::new(), vec![put(&a, "1"), put(&b, "1")]).await });
        tokio::task::yield_now().await;
        task.abort();
    }
    // Changes are ordered, so whatever the dropped ones became is settled once a later one is there.
    commit(&*store, vec![put("end", "")]).await;
    let half = |key: &String| key[2..].to_owned();
    let (a, b) = (keys(&*store, "a/").await, keys(&*store, "b/").await);
    assert_eq!(a.iter().map(half).collect::<Vec<_>>(), b.iter().map(half).collect::<Vec<_>>());
}

/// Values, versions and the revision are those of before.
pub async fn what_was_committed_survives_a_reopen(factory: &dyn Factory) {
    let store = factory.fresh().await;
    commit(&*store, vec![put("a", "1"), put("b", "1")]).await;
    commit(&*store, vec![put("a", "2"), delete("b")]).await;
    let before = store.snapshot("").await.unwrap();
    let store = factory.reopen(store).await;
    assert_eq!(store.snapshot("").await.unwrap(), before);
    assert_eq!(commit(&*store, vec![put("c", "3")]).await, before.revision + 1);
}
