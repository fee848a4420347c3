//! What every store must do for runnel; run against memory, a folder and a real S3 server.
#![allow(clippy::single_range_in_vec_init)] // lists of ranges that happen to be short

use bytes::Bytes;
use futures::future::join_all;
use runnel_record::ids::{LeaderEpoch, TopicId, TopicPartition};
use uuid::Uuid;

use crate::{Bucket, CasOutcome, Created, Error, ErrorKind, Key, PART_BYTES, Register, Version};

/// Racers in the races.
const RACERS: usize = 32;

/// Runs the suite on an empty corner of `bucket`.
///
/// # Panics
/// With what the store did wrong.
pub async fn conformance(bucket: &Bucket) {
    bucket.probe().await.expect("the probe passes");
    let tp = TopicPartition { topic: TopicId(Uuid::new_v4()), partition: 0 };
    objects(bucket, tp).await;
    creations(bucket).await;
    large_object(bucket, tp).await;
    ranges(bucket, tp).await;
    listings(bucket, tp).await;
    registers(bucket, tp).await;
    create_race(bucket, TopicPartition { partition: 1, ..tp }).await;
    replace_race(bucket, TopicPartition { partition: 2, ..tp }).await;
}

fn object(tp: TopicPartition, id: u128) -> Key {
    Key::Chunk { tp, epoch: LeaderEpoch(1), id: Uuid::from_u128(id) }
}

fn done(outcome: Result<CasOutcome, Error>) -> Version {
    match outcome {
        Ok(CasOutcome::Done(version)) => version,
        other => unreachable!("the write was not refused: {other:?}"),
    }
}

fn conflict(outcome: Result<CasOutcome, Error>) -> Option<Register> {
    match outcome {
        Ok(CasOutcome::Conflict(found)) => found,
        other => unreachable!("the write was refused: {other:?}"),
    }
}

async fn objects(bucket: &Bucket, tp: TopicPartition) {
    let key = object(tp, 1);
    assert_eq!(bucket.get(&key).await.expect("get"), None);
    bucket.put(&key, vec![Bytes::from_static(b"one "), Bytes::from_static(b"two")]).await.expect("put");
    assert_eq!(bucket.get(&key).await.expect("get").as_deref(), Some(&b"one two"[..]));
    bucket.put(&key, vec![Bytes::from_static(b"again")]).await.expect("put once more");
    assert_eq!(bucket.get(&key).await.expect("get").as_deref(), Some(&b"again"[..]));
    let empty = object(tp, 2);
    bucket.put(&empty, Vec::new()).await.expect("put nothing");
    assert_eq!(bucket.get(&empty).await.expect("get").as_deref(), Some(&b""[..]));
    for key in [&key, &empty, &key] {
        bucket.delete(key).await.expect("delete, also of what is absent");
        assert_eq!(bucket.get(key).await.expect("get"), None);
    }
}

async fn creations(bucket: &Bucket) {
    let key = Key::Slot { lane: Uuid::new_v4(), slot: 7 };
    let racers: Vec<Bytes> = (0..RACERS).map(|n| Bytes::from(format!("{n:02}, and then some"))).collect();
    assert_eq!(bucket.get_start(&key, 2).await.expect("start of what is absent"), None);
    let outcomes = join_all(racers.iter().map(|bytes| bucket.create(&key, std::slice::from_ref(bytes), 2))).await;
    let first = bucket.get(&key).await.expect("get").expect("present");
    for (bytes, outcome) in racers.iter().zip(outcomes) {
        let expected = if *bytes == first { Created::Done } else { Created::Taken(first.slice(..2)) };
        assert_eq!(outcome.expect("create"), expected, "one racer wins, and the others see it");
    }
    for (max, len) in [(2, 2), (1000, first.len())] {
        assert_eq!(bucket.get_start(&key, max).await.expect("start"), Some(first.slice(..len)));
    }
    bucket.delete(&key).await.expect("delete");
}

async fn large_object(bucket: &Bucket, tp: TopicPartition) {
    let key = object(tp, 3);
    let body: Vec<u8> = (0..PART_BYTES + 70_000).map(|i| (i % 251) as u8).collect();
    let body = Bytes::from(body);
    bucket.put(&key, vec![body.slice(..1000), body.slice(1000..)]).await.expect("multipart put");
    let found = bucket.get(&key).await.expect("get").expect("present");
    assert!(found == body, "a multipart object is what was put");
    let end = body.len() as u64;
    let ranges = [end - 10..end, 0..10, PART_BYTES as u64 - 5..PART_BYTES as u64 + 5];
    let parts = bucket.get_ranges(&key, &ranges).await.expect("ranges");
    for (range, part) in ranges.iter().zip(parts) {
        let at = |n: u64| usize::try_from(n).expect("small");
        assert!(part == body[at(range.start)..at(range.end)], "range {range:?}");
    }
    bucket.delete(&key).await.expect("delete");
}

async fn ranges(bucket: &Bucket, tp: TopicPartition) {
    let key = object(tp, 4);
    bucket.put(&key, vec![Bytes::from_static(b"0123456789")]).await.expect("put");
    let parts = bucket.get_ranges(&key, &[7..10, 0..1, 2..8, 2..8]).await.expect("ranges");
    assert_eq!(parts, [&b"789"[..], b"0", b"234567", b"234567"]);
    assert_eq!(bucket.get_ranges(&key, &[]).await.expect("no ranges"), Vec::<Bytes>::new());
    for past_the_end in [[5..11], [10..11], [50..60]] {
        let error = bucket.get_ranges(&key, &past_the_end).await.expect_err("shorter than the range");
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{past_the_end:?}: {error}");
    }
    let error = bucket.get_ranges(&key, &[3..3]).await.expect_err("no range");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    bucket.delete(&key).await.expect("delete");
    let error = bucket.get_ranges(&key, &[0..1, 2..3]).await.expect_err("absent");
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
}

async fn listings(bucket: &Bucket, tp: TopicPartition) {
    let folder = crate::key::chunk_prefix(tp);
    assert_eq!(bucket.list(&folder).await.expect("list of nothing"), Vec::new());
    let keys: Vec<Key> = (10..17).map(|id| object(tp, id)).collect();
    // A neighbour whose name only begins alike is not below the folder.
    let neighbour = Key::TopicName("p".to_owned());
    bucket.put(&neighbour, vec![Bytes::from_static(b"x")]).await.expect("put");
    for (i, key) in keys.iter().enumerate().rev() {
        bucket.put(key, vec![Bytes::from(vec![1; i])]).await.expect("put");
    }
    let listed = bucket.list(&folder).await.expect("list");
    let names: Vec<_> = keys.iter().map(Key::path).collect();
    assert_eq!(listed.iter().map(|l| l.path.clone()).collect::<Vec<_>>(), names);
    assert_eq!(listed.iter().map(|l| l.bytes).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5, 6]);

    let (mut paged, mut after) = (Vec::new(), String::new());
    loop {
        let page = bucket.list_after(&folder, &after, 3).await.expect("page");
        let last_page = page.len() < 3;
        paged.extend(page);
        if last_page {
            break;
        }
        after = paged.last().map(|l| l.path.clone()).unwrap_or_default();
    }
    assert_eq!(paged, listed);

    let (mut walk, mut walked) = (bucket.walk(&folder).expect("walk"), Vec::new());
    loop {
        let page = walk.next().await.expect("page of a walk");
        if page.is_empty() {
            break;
        }
        walked.extend(page);
    }
    walked.sort();
    assert_eq!(walked, listed);
    assert_eq!(walk.next().await.expect("behind the end"), Vec::new());
    for key in keys.iter().chain([&neighbour]) {
        bucket.delete(key).await.expect("delete");
    }
    assert_eq!(bucket.list(&folder).await.expect("list"), Vec::new());
}

async fn registers(bucket: &Bucket, tp: TopicPartition) {
    let key = Key::Root(tp);
    let payload = |text: &'static str| Bytes::from_static(text.as_bytes());
    assert_eq!(bucket.read_register(&key).await.expect("read"), None);
    let absent = done(bucket.create_register(&key, payload("gone")).await);
    bucket.delete(&key).await.expect("delete");
    assert_eq!(conflict(bucket.replace_register(&key, &absent, payload("x")).await), None);

    let first = done(bucket.create_register(&key, payload("first")).await);
    assert_eq!(conflict(bucket.create_register(&key, payload("x")).await).map(|r| r.payload), Some(payload("first")));
    let second = done(bucket.replace_register(&key, &first, payload("second")).await);
    let found = conflict(bucket.replace_register(&key, &first, payload("x")).await).expect("present");
    assert_eq!((found.payload, found.version.same_write(&second)), (payload("second"), true));
    // The same bytes again are another write: a reader of the one before must not pass for a reader of this.
    let third = done(bucket.replace_register(&key, &second, payload("second")).await);
    assert!(!third.same_write(&second));
    assert!(conflict(bucket.replace_register(&key, &second, payload("x")).await).is_some());
    // A version survives being stored as text.
    let kept: Version = third.to_string().parse().expect("a version");
    let fourth = done(bucket.replace_register(&key, &kept, Bytes::new()).await);
    let read = bucket.read_register(&key).await.expect("read").expect("present");
    assert_eq!((read.payload.len(), read.version.same_write(&fourth)), (0, true));
    bucket.delete(&key).await.expect("delete");
}

async fn create_race(bucket: &Bucket, tp: TopicPartition) {
    let key = Key::Root(tp);
    let outcomes = join_all((0..RACERS).map(|i| {
        let (bucket, key) = (bucket.clone(), key.clone());
        tokio::spawn(async move { bucket.create_register(&key, Bytes::from(i.to_string())).await })
    }))
    .await;
    one_winner(bucket, &key, outcomes).await;
}

async fn replace_race(bucket: &Bucket, tp: TopicPartition) {
    let key = Key::Root(tp);
    let start = done(bucket.create_register(&key, Bytes::from_static(b"start")).await);
    let outcomes = join_all((0..RACERS).map(|i| {
        let (bucket, key, start) = (bucket.clone(), key.clone(), start.clone());
        tokio::spawn(async move { bucket.replace_register(&key, &start, Bytes::from(i.to_string())).await })
    }))
    .await;
    one_winner(bucket, &key, outcomes).await;
}

async fn one_winner(
    bucket: &Bucket,
    key: &Key,
    outcomes: Vec<Result<Result<CasOutcome, Error>, tokio::task::JoinError>>,
) {
    let read = bucket.read_register(key).await.expect("read").expect("present");
    let mut winners = Vec::new();
    for (i, outcome) in outcomes.into_iter().enumerate() {
        match outcome.expect("no racer panics").expect("no racer fails") {
            CasOutcome::Done(version) => winners.push((i, version)),
            CasOutcome::Conflict(found) => {
                let found = found.expect("a loser sees the winner");
                assert_eq!(found.payload, read.payload);
            }
        }
    }
    assert_eq!(winners.len(), 1, "one winner");
    assert_eq!(read.payload, Bytes::from(winners[0].0.to_string()));
    assert!(read.version.same_write(&winners[0].1));
    bucket.delete(key).await.expect("delete");
}
