//! The embedded store against the contract, in a file and in memory.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use runnel_metastore::conformance::Factory;
use runnel_metastore::{Embedded, MetaStore, Op, Options};

const HISTORY: usize = 200;

fn options() -> Options {
    Options { history_changes: HISTORY, ..Options::default() }
}

/// Fills the bounded history of an embedded store with other changes.
async fn push_out(store: &dyn MetaStore) {
    for i in 0..HISTORY {
        let op = Op::Put(format!("compaction/{}", i % 7), Bytes::new(), None);
        store.txn(Vec::new(), vec![op]).await.unwrap();
    }
}

mod in_a_file {
    use super::*;

    struct Files(tempfile::TempDir);

    #[async_trait]
    impl Factory for Files {
        async fn fresh(&self) -> Arc<dyn MetaStore> {
            Arc::new(Embedded::open_with(&self.0.path().join("meta.redb"), &options()).unwrap())
        }

        async fn reopen(&self, store: Arc<dyn MetaStore>) -> Arc<dyn MetaStore> {
            store.close().await;
            self.fresh().await
        }

        async fn compact(&self, store: &dyn MetaStore) {
            push_out(store).await;
        }
    }

    runnel_metastore::conformance_tests!(Files(tempfile::tempdir().unwrap()));
}

mod in_memory {
    use super::*;

    struct Memory;

    #[async_trait]
    impl Factory for Memory {
        async fn fresh(&self) -> Arc<dyn MetaStore> {
            Arc::new(Embedded::in_memory_with(&options()).unwrap())
        }

        async fn reopen(&self, store: Arc<dyn MetaStore>) -> Arc<dyn MetaStore> {
            store
        }

        async fn compact(&self, store: &dyn MetaStore) {
            push_out(store).await;
        }
    }

    runnel_metastore::conformance_tests!(Memory);
}
