//! The suite that every [`MetaStore`] must pass.
//!
//! [`crate::conformance_tests!`] makes one test of each check. A check gets a store that nobody else uses.
#![allow(clippy::unwrap_used, clippy::panic)] // a test suite: a broken promise must stop it

mod leases;
mod txns;
mod watches;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

pub use leases::*;
pub use txns::*;
pub use watches::*;

use crate::{MetaStore, Op, TxnOutcome, Versioned};

/// Makes the stores that are checked.
#[async_trait]
pub trait Factory: Send + Sync {
    /// A new, empty store.
    async fn fresh(&self) -> Arc<dyn MetaStore>;

    /// Closes `store` and opens it again with what it held; a store that cannot outlive its process returns itself.
    async fn reopen(&self, store: Arc<dyn MetaStore>) -> Arc<dyn MetaStore>;

    /// Makes the store forget the changes up to its present revision, as seen by watches; it may write keys below
    /// `compaction/` to do so.
    async fn compact(&self, store: &dyn MetaStore);
}

/// Makes one `#[tokio::test]` of every check: `conformance_tests!(MyFactory::default())`.
#[macro_export]
macro_rules! conformance_tests {
    ($factory:expr) => {
        $crate::conformance_tests! { $factory =>
            a_value_is_read_back_with_its_versions, a_range_is_sorted_and_ends_with_its_prefix,
            a_range_since_a_revision_holds_what_is_newer,
            a_transaction_is_applied_wholly_or_not_at_all, every_comparison_means_what_it_says,
            one_transaction_has_one_revision, a_transaction_that_changes_nothing_has_no_revision,
            what_breaks_a_limit_is_refused_whole, concurrent_counters_lose_nothing,
            a_dropped_transaction_is_whole, what_was_committed_survives_a_reopen,
            a_lease_takes_its_keys_along, an_unknown_lease_is_not_found, a_put_without_a_lease_leaves_the_lease,
            lease_ids_are_not_reused,
            a_watch_sees_every_change_in_order, a_watch_sees_its_prefix_only, a_watch_may_start_in_the_past_or_future,
            a_watch_of_forgotten_changes_is_told, a_snapshot_and_a_watch_miss_nothing, a_closed_store_says_so
        }
    };
    ($factory:expr => $($check:ident),*) => { $(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $check() {
            $crate::conformance::$check(&$factory).await;
        }
    )* };
}

fn put(key: &str, value: &str) -> Op {
    Op::Put(key.to_owned(), Bytes::copy_from_slice(value.as_bytes()), None)
}

fn delete(key: &str) -> Op {
    Op::Delete(key.to_owned())
}

/// Commits without a condition; returns the revision.
async fn commit(store: &dyn MetaStore, ops: Vec<Op>) -> u64 {
    match store.txn(Vec::new(), ops).await.unwrap() {
        TxnOutcome::Committed(revision) => revision,
        TxnOutcome::Refused => panic!("a transaction without a condition was refused"),
    }
}

async fn get(store: &dyn MetaStore, key: &str) -> Option<Versioned> {
    store.get(key).await.unwrap()
}

async fn value(store: &dyn MetaStore, key: &str) -> Option<Bytes> {
    get(store, key).await.map(|v| v.value)
}

async fn keys(store: &dyn MetaStore, prefix: &str) -> Vec<String> {
    store.range(prefix).await.unwrap().into_iter().map(|(key, _)| key).collect()
}

async fn revision(store: &dyn MetaStore) -> u64 {
    store.snapshot("").await.unwrap().revision
}
