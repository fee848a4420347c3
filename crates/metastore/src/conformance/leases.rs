//! Leases.

use std::time::Duration;

use super::*;
use crate::{ErrorKind, LeaseId};

const TTL: Duration = Duration::from_secs(60);

fn under(lease: LeaseId, key: &str) -> Op {
    Op::Put(key.to_owned(), Bytes::from_static(b"v"), Some(lease))
}

/// Revoking deletes the keys of the lease, and no others, in one change.
pub async fn a_lease_takes_its_keys_along(factory: &dyn Factory) {
    let store = &*factory.fresh().await;
    let (mine, other) = (store.grant_lease(TTL).await.unwrap(), store.grant_lease(TTL).await.unwrap());
    assert_ne!(mine, other);
    commit(store, vec![under(mine, "a"), under(other, "b"), put("c", "v")]).await;
    let before = commit(store, vec![under(mine, "d")]).await;
    store.keep_alive(mine).await.unwrap();

    store.revoke(mine).await.unwrap();
    assert_eq!(keys(store, "").await, ["b", "c"]);
    assert_eq!(revision(store).await, before + 1);
    for gone in [store.revoke(mine).await, store.keep_alive(mine).await] {
        assert_eq!(gone.unwrap_err().kind(), ErrorKind::NotFound);
    }
    store.keep_alive(other).await.unwrap();
    store.revoke(other).await.unwrap();
    assert_eq!(keys(store, "").await, ["c"]);
}

/// A put under a lease that does not exist stops the whole transaction.
pub async fn an_unknown_lease_is_not_found(factory: &dyn Factory) {
    let store = &*factory.fresh().await;
    let gone = store.grant_lease(TTL).await.unwrap();
    store.revoke(gone).await.unwrap();
    let error = store.txn(Vec::new(), vec![put("a", "v"), under(gone, "b")]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(keys(store, "").await, [""; 0]);
}

/// A key belongs to the lease of its latest put.
pub async fn a_put_without_a_lease_leaves_the_lease(factory: &dyn Factory) {
    let store = &*factory.fresh().await;
    let (first, second) = (store.grant_lease(TTL).await.unwrap(), store.grant_lease(TTL).await.unwrap());
    commit(store, vec![under(first, "freed"), under(first, "moved"), under(first, "created-again")]).await;
    commit(store, vec![put("freed", "v"), under(second, "moved"), delete("created-again")]).await;
    commit(store, vec![put("created-again", "v")]).await;
    store.revoke(first).await.unwrap();
    assert_eq!(keys(store, "").await, ["created-again", "freed", "moved"]);
    store.revoke(second).await.unwrap();
    assert_eq!(keys(store, "").await, ["created-again", "freed"]);
}

/// A lease that ended does not come back under its old name, also not after a restart.
pub async fn lease_ids_are_not_reused(factory: &dyn Factory) {
    let store = factory.fresh().await;
    let first = store.grant_lease(TTL).await.unwrap();
    store.revoke(first).await.unwrap();
    let store = factory.reopen(store).await;
    assert_ne!(store.grant_lease(TTL).await.unwrap(), first);
    assert_eq!(store.keep_alive(first).await.unwrap_err().kind(), ErrorKind::NotFound);
}
