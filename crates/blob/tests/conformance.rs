//! The conformance suite on every kind of store, and the errors of a real S3 server.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod s3_server;

use runnel_blob::testing::{Faults, conformance};
use runnel_blob::{Bucket, Error, ErrorKind, Key, Options};
use runnel_runtime::FailPoints;
use s3_server::S3Server;

fn open(options: &Options) -> Bucket {
    Bucket::open(options, FailPoints::default()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn memory() {
    conformance(&open(&Options::new("memory:"))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn memory_below_the_fault_layer() {
    let faults = Faults::new();
    conformance(&Bucket::open_with_faults(&Options::new("memory:"), FailPoints::default(), &faults).unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn folder() {
    let dir = tempfile::tempdir().unwrap();
    conformance(&open(&Options::new(format!("file://{}", dir.path().display())))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn s3() {
    let server = S3Server::get();
    for prefix in ["/some/prefix", ""] {
        let bucket = open(&server.options(prefix));
        conformance(&bucket).await;
        let leftovers = bucket.list("cluster/probe").await.unwrap();
        assert_eq!(leftovers, Vec::new(), "the probe cleans up");
    }
}

#[tokio::test]
async fn s3_prefixes_do_not_see_each_other() {
    let server = S3Server::get();
    let (a, ab) = (open(&server.options("/iso/a")), open(&server.options("/iso/ab")));
    ab.put(&Key::Pids, vec![bytes::Bytes::from_static(b"x")]).await.unwrap();
    assert_eq!(a.list("").await.unwrap(), Vec::new());
    assert_eq!(ab.list("").await.unwrap().len(), 1);
    ab.delete(&Key::Pids).await.unwrap();
}

#[tokio::test]
async fn s3_errors_say_what_to_do() {
    let server = S3Server::get();
    let options = server.options("");

    let missing = open(&Options { url: "s3://no-such-bucket-here".to_owned(), ..options.clone() });
    for error in [
        missing.probe().await.unwrap_err(),
        missing.get(&Key::Pids).await.map(drop).unwrap_err(),
        missing.read_register(&Key::Pids).await.map(drop).unwrap_err(),
        missing.list("").await.map(drop).unwrap_err(),
    ] {
        assert!(matches!(error, Error::BucketMissing { .. }), "{error:?}");
        assert!(error.to_string().contains("no-such-bucket-here"), "{error}");
    }

    let wrong = Some("wrong-secret-wrong-secret".to_owned());
    let locked_out = open(&Options { secret_access_key: wrong, ..options.clone() });
    for denied in [locked_out.probe().await.unwrap_err(), locked_out.list("").await.map(drop).unwrap_err()] {
        assert_eq!(denied.kind(), ErrorKind::Denied, "{denied:?}");
    }

    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let nobody = Options { endpoint: Some(format!("http://{closed}")), ..options.clone() };
    let unreachable = open(&nobody).get(&Key::Pids).await.unwrap_err();
    assert_eq!(unreachable.kind(), ErrorKind::Unavailable, "{unreachable:?}");
    assert!(unreachable.to_string().contains(&closed.to_string()), "{unreachable}");

    let plain = Options { allow_http: false, ..options };
    let error = Bucket::open(&plain, FailPoints::default()).unwrap_err();
    assert!(error.to_string().contains("storage.allow_http"), "{error}");
}
