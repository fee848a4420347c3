//! Every test in here needs the server; `cargo xtask test --fast` leaves them out by this name.

mod faults;
mod security;
mod server;

use std::sync::Arc;

use async_trait::async_trait;
use runnel_metastore::conformance::Factory;
use runnel_metastore::{Etcd, MetaStore};

use self::server::Server;

/// A new server for every store. They go with the factory.
#[derive(Default)]
struct Servers(tokio::sync::Mutex<Vec<Server>>);

#[async_trait]
impl Factory for Servers {
    async fn fresh(&self) -> Arc<dyn MetaStore> {
        let server = Server::start().await;
        let store = server.store();
        self.0.lock().await.push(server);
        Arc::new(store)
    }

    async fn reopen(&self, store: Arc<dyn MetaStore>) -> Arc<dyn MetaStore> {
        store.close().await;
        let mut servers = self.0.lock().await;
        let server = servers.last_mut().unwrap();
        server.kill();
        server.start_again().await;
        Arc::new(server.store())
    }

    async fn compact(&self, store: &dyn MetaStore) {
        let revision = store.snapshot("").await.unwrap().revision;
        self.0.lock().await.last().unwrap().compact(revision).await;
    }
}

mod conformance {
    use super::Servers;

    runnel_metastore::conformance_tests!(Servers::default());
}

/// An endpoint that nobody listens on does no harm beside one that works.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_endpoint_is_enough() {
    let server = Server::start().await;
    let mut options = server.options();
    options.endpoints.insert(0, format!("127.0.0.1:{}", server::free_port()));
    let store = Etcd::connect(&options).unwrap();
    for round in 0..20 {
        server::put(&store, "k", &round.to_string()).await;
        assert_eq!(store.get("k").await.unwrap().unwrap().value, round.to_string());
    }
}

/// Two clusters share one etcd and see nothing of each other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prefixes_keep_clusters_apart() {
    let server = Server::start().await;
    let store = |prefix: &str| {
        let mut options = server.options();
        options.prefix = prefix.to_owned();
        Etcd::connect(&options).unwrap()
    };
    let (one, two) = (store("/one"), store("one-too/"));
    server::put(&one, "k", "1").await;
    server::put(&two, "k", "2").await;
    for (store, value) in [(&one, "1"), (&two, "2")] {
        let found = store.range("").await.unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].0.as_str(), &found[0].1.value[..]), ("k", value.as_bytes()));
    }
}
