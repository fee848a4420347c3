#![allow(clippy::unwrap_used, clippy::panic)]

use runnel_blob::Options;
use runnel_blob::testing::{Fault, Faults, Op};
use runnel_record::{LeaderEpoch, TopicId, TopicPartition};
use runnel_runtime::FailPoints;
use uuid::Uuid;

use super::*;
use crate::testing::{Record, encoded, log, object, seen};
use crate::{Encoded, ErrorKind, ParquetCodec, decode_run};

/// Three runs, keys included.
fn example() -> (Vec<SourceBatch>, Encoded) {
    let lists: Vec<_> = (0..60u8)
        .map(|n| vec![Record { key: Some(vec![n]), ..Record::of(vec![n; 25 << 10]) }, Record::of(vec![n; 25 << 10])])
        .collect();
    let batches = log(1000, &lists);
    let encoded = encoded(&batches, ParquetCodec::None);
    (batches, encoded)
}

fn key(encoded: &Encoded) -> Key {
    Key::Segment {
        topic_name: "flights".to_owned(),
        tp: TopicPartition { topic: TopicId(Uuid::from_u128(0xab)), partition: 3 },
        day: 20_780,
        base: encoded.base,
        last: Offset(encoded.next.0 - 1),
        epoch: LeaderEpoch(1),
        id: Uuid::from_u128(0xcd),
    }
}

async fn bucket_with(key: &Key, encoded: &Encoded) -> (Bucket, Faults) {
    let faults = Faults::new();
    let bucket = Bucket::open_with_faults(&Options::new("memory:"), FailPoints::default(), &faults).unwrap();
    bucket.put(key, encoded.bytes.clone()).await.unwrap();
    (bucket, faults)
}

#[tokio::test]
async fn runs_are_read_from_the_bucket_in_few_requests() {
    let (batches, encoded) = example();
    let key = key(&encoded);
    let (bucket, faults) = bucket_with(&key, &encoded).await;
    let gets = || faults.requests().iter().filter(|(op, _)| *op == Op::Get).count();
    let segment = Segment::open(&bucket, &key, encoded.len).await.unwrap();
    assert_eq!(gets(), 1);
    let mut found = Vec::new();
    for run in segment.runs() {
        let before = gets();
        let run_batches = segment.read_run(run.index).await.unwrap();
        assert!(gets() - before <= 2, "{} requests", gets() - before);
        assert_eq!(run_batches[0].batch.base_offset(), run.base);
        assert_eq!(run_batches.last().unwrap().batch.next_offset(), run.next);
        found.extend(run_batches);
    }
    assert_eq!(segment.runs().len(), 3);
    assert_eq!(seen(&found), seen(&batches));
}

#[tokio::test]
async fn neighbouring_runs_are_fetched_like_one() {
    let (batches, encoded) = example();
    let key = key(&encoded);
    let (bucket, faults) = bucket_with(&key, &encoded).await;
    let gets = || faults.requests().iter().filter(|(op, _)| *op == Op::Get).count();
    let segment = Segment::open(&bucket, &key, encoded.len).await.unwrap();
    let before = gets();
    let fetched = segment.fetch(0..3).await.unwrap();
    assert!(gets() - before <= 2, "{} requests", gets() - before);
    let mut found = Vec::new();
    for run in 0..3 {
        found.extend(decode_run(&segment.decode(run, &fetched).unwrap()).unwrap());
    }
    assert_eq!(seen(&found), seen(&batches));
    // What was not fetched is not made up.
    let last = segment.fetch(2..3).await.unwrap();
    assert_eq!(segment.decode(1, &last).unwrap_err().kind(), ErrorKind::Corrupt);
    assert!(matches!(segment.fetch(2..4).await, Err(Error::NoSuchRun { run: 3 })));
}

#[tokio::test]
async fn every_offset_has_its_run() {
    let (_, encoded) = example();
    let key = key(&encoded);
    let (bucket, _) = bucket_with(&key, &encoded).await;
    let segment = Segment::open(&bucket, &key, encoded.len).await.unwrap();
    for offset in (encoded.base.0..encoded.next.0).map(Offset) {
        let run = segment.run_for(offset).unwrap();
        assert!(run.base <= offset && offset < run.next);
    }
    assert_eq!(segment.run_for(Offset(encoded.base.0 - 1)), None);
    assert_eq!(segment.run_for(encoded.next), None);
    assert!(matches!(segment.read_run(3).await, Err(Error::NoSuchRun { run: 3 })));
}

#[tokio::test]
async fn a_flipped_bit_in_a_page_blocks_only_its_run() {
    let (batches, encoded) = example();
    let key = key(&encoded);
    let mut damaged = object(&encoded);
    let footer = crate::verify::parse(&encoded).unwrap();
    let value = footer.ranges(1).unwrap()[crate::schema::leaf::VALUE].clone();
    damaged[usize::try_from(value.start).unwrap() + 5000] ^= 4;
    let (bucket, _) = bucket_with(&key, &Encoded { bytes: vec![damaged.into()], ..encoded.clone() }).await;
    let segment = Segment::open(&bucket, &key, encoded.len).await.unwrap();
    assert_eq!(segment.read_run(1).await.unwrap_err().kind(), ErrorKind::Corrupt);
    let mut found = segment.read_run(0).await.unwrap();
    found.extend(segment.read_run(2).await.unwrap());
    let whole = |b: &&SourceBatch| segment.run_for(b.batch.base_offset()).unwrap().index != 1;
    assert_eq!(seen(&found), seen(&batches.iter().filter(whole).cloned().collect::<Vec<_>>()));
}

#[tokio::test]
async fn what_is_not_the_named_segment_is_corrupt() {
    let (_, encoded) = example();
    let right = key(&encoded);
    let Key::Segment { topic_name, tp, day, base, last, epoch, id } = right.clone() else { panic!() };
    let named = |tp, base, last| Key::Segment { topic_name: topic_name.clone(), tp, day, base, last, epoch, id };
    let other_topic = TopicPartition { topic: TopicId(Uuid::from_u128(1)), ..tp };
    let wrong = [
        named(other_topic, base, last),
        named(TopicPartition { partition: 4, ..tp }, base, last),
        named(tp, Offset(999), last),
        named(tp, base, last.plus(1)),
        Key::ClusterId,
    ];
    for key in wrong {
        let (bucket, _) = bucket_with(&key, &encoded).await;
        let error = Segment::open(&bucket, &key, encoded.len).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{}: {error}", key.path());
    }
}

#[tokio::test]
async fn a_truncated_object_is_corrupt_and_a_dead_bucket_is_not() {
    let (_, encoded) = example();
    let key = key(&encoded);
    let short = object(&encoded)[..object(&encoded).len() - 1].to_vec();
    let (bucket, _) = bucket_with(&key, &Encoded { bytes: vec![short.into()], ..encoded.clone() }).await;
    for bytes in [encoded.len, encoded.len - 1, 0] {
        let error = Segment::open(&bucket, &key, bytes).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{bytes} bytes: {error}");
    }
    let (bucket, faults) = bucket_with(&key, &encoded).await;
    faults.always(Op::Get, "", Fault::FailBefore);
    let error = Segment::open(&bucket, &key, encoded.len).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Storage, "{error}");
}

#[tokio::test]
async fn a_large_footer_takes_a_second_request() {
    let header = vec![(vec![0xff; 200 << 10], None)];
    let batches = log(0, &[vec![Record { headers: header, ..Record::default() }]]);
    let encoded = encoded(&batches, ParquetCodec::default());
    let key = key(&encoded);
    let (bucket, faults) = bucket_with(&key, &encoded).await;
    let segment = Segment::open(&bucket, &key, encoded.len).await.unwrap();
    assert_eq!(faults.requests().iter().filter(|(op, _)| *op == Op::Get).count(), 2);
    assert_eq!(seen(&segment.read_run(0).await.unwrap()), seen(&batches));
}
