#![allow(clippy::unwrap_used, clippy::panic, clippy::single_range_in_vec_init)]

use runnel_record::ids::{LeaderEpoch, Offset, TopicId, TopicPartition};
use uuid::Uuid;

use super::*;
use crate::testing::{Fault, Op};
use crate::{ErrorKind, PART_BYTES};

fn bucket() -> (Bucket, Faults) {
    let faults = Faults::new();
    let bucket = Bucket::open_with_faults(&Options::new("memory:"), FailPoints::default(), &faults).unwrap();
    (bucket, faults)
}

fn segment(topic_name: &str) -> Key {
    let tp = TopicPartition { topic: TopicId(Uuid::from_u128(1)), partition: 0 };
    let (base, last, epoch, id) = (Offset(0), Offset(9), LeaderEpoch(1), Uuid::from_u128(2));
    Key::Segment { topic_name: topic_name.to_owned(), tp, day: 20_000, base, last, epoch, id }
}

#[test]
fn close_ranges_share_a_request() {
    assert_eq!(merge(&[5..6, 0..2, 300_000..300_001]), [0..6, 300_000..300_001]);
    assert_eq!(merge(&[0..10, 2..3]), [0..10]);
    assert_eq!(merge(&[]), Vec::<Range<u64>>::new());
}

#[tokio::test]
async fn topic_names_are_folders_as_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let folder = Options::new(format!("file://{}/with space", dir.path().display()));
    let longest = "x".repeat(249);
    for options in [Options::new("memory:"), folder] {
        let bucket = Bucket::open(&options, FailPoints::default()).unwrap();
        for name in ["flights", "042", "a.b_c-D", "...", ".hidden", "-", "true", &longest] {
            for key in [segment(name), Key::TopicName(name.to_owned())] {
                bucket.put(&key, vec![Bytes::from_static(b"x")]).await.unwrap();
                let listed = bucket.list("").await.unwrap();
                assert_eq!(listed.iter().map(|l| l.path.as_str()).collect::<Vec<_>>(), [key.path()], "{name}");
                bucket.delete(&key).await.unwrap();
            }
            let register = Key::TopicName(name.to_owned());
            bucket.create_register(&register, Bytes::new()).await.unwrap();
            bucket.delete(&register).await.unwrap();
        }
        // Kafka refuses these two names, and so does the bucket, should one get this far.
        for name in [".", "..", "a/../../b"] {
            let error = bucket.put(&Key::TopicName(name.to_owned()), Vec::new()).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid, "{name}: {error}");
        }
    }
    assert!(dir.path().join("with space/topics").is_dir());
}

#[tokio::test(start_paused = true)]
async fn an_upload_that_fails_is_aborted_and_leaves_nothing() {
    for (op, fault) in
        [(Op::PutPart, Fault::FailBefore), (Op::PutPart, Fault::HangAfter), (Op::Complete, Fault::FailBefore)]
    {
        let (bucket, faults) = bucket();
        faults.once(op, "topics/", fault);
        let parts = vec![Bytes::from(vec![1; PART_BYTES]), Bytes::from(vec![2; PART_BYTES])];
        let error = bucket.put(&segment("t"), parts.clone()).await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Timeout), "{error}");
        assert_eq!(faults.requests().last().map(|(op, _)| *op), Some(Op::Abort));
        assert_eq!(bucket.get(&segment("t")).await.unwrap(), None);
        bucket.put(&segment("t"), parts).await.unwrap();
        assert_eq!(bucket.get(&segment("t")).await.unwrap().map(|b| b.len()), Some(2 * PART_BYTES));
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_store_is_a_timeout() {
    let (bucket, faults) = bucket();
    faults.always(Op::Get, "", Fault::Delay(Duration::from_secs(3600)));
    let error = bucket.get(&Key::Pids).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    assert!(error.to_string().contains("30s"), "{error}");
}

#[tokio::test]
async fn an_outage_is_not_an_absent_object() {
    let (bucket, faults) = bucket();
    faults.outage(true);
    for error in [
        bucket.get(&Key::Pids).await.map(drop).unwrap_err(),
        bucket.read_register(&Key::Pids).await.map(drop).unwrap_err(),
        bucket.put(&Key::Pids, Vec::new()).await.unwrap_err(),
        bucket.delete(&Key::Pids).await.unwrap_err(),
        bucket.list("").await.map(drop).unwrap_err(),
        bucket.get_ranges(&Key::Pids, &[0..1, 1_000_000..1_000_001]).await.map(drop).unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    }
    faults.clear();
    assert_eq!(bucket.get(&Key::Pids).await.unwrap(), None);
}

#[test]
fn the_answer_for_a_missing_bucket_is_not_the_one_for_a_missing_object() {
    let (bucket, _) = bucket();
    let not_found = |text: &str| StoreError::NotFound { path: "k".to_owned(), source: text.to_owned().into() };
    let named = |error| bucket.name_error("get", "k", error);
    let missing = named(not_found("404 Not Found: <Code>NoSuchBucket</Code>"));
    assert!(matches!(missing, Error::BucketMissing { .. }), "{missing:?}");
    assert!(matches!(named(not_found("404 Not Found: <Code>NoSuchKey</Code>")), Error::NotFound { .. }));
}

#[test]
fn a_clock_that_is_off_is_named() {
    let answer = "403: <Error><Code>RequestTimeTooSkewed</Code><ServerTime>2026-01-01T00:00:00Z</ServerTime></Error>";
    let error = bucket().0.name_error("put", "x", StoreError::Generic { store: "S3", source: answer.into() });
    assert!(matches!(error, Error::Clock { .. }) && error.kind() == ErrorKind::Denied, "{error:?}");
}

#[test]
fn an_absent_folder_stays_absent() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options::new(format!("file://{}/lake", dir.path().display()));
    assert!(Bucket::open_existing(&options).unwrap().is_none());
    assert!(!dir.path().join("lake").exists());
    Bucket::open(&options, FailPoints::default()).unwrap();
    assert!(Bucket::open_existing(&options).unwrap().is_some());
}
