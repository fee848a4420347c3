#![allow(clippy::unwrap_used, clippy::panic)]

use runnel_api::{Fetched, Room};
use runnel_record::{Batch, HEADER_LEN};

use super::*;

fn asked(partition: i32, offset: i64) -> Asked {
    let position =
        Position { offset: Offset(offset), max_bytes: 1, current_leader_epoch: None, last_fetched_epoch: None };
    Asked { topic: TopicKey::Name("t".to_owned()), partition, position }
}

fn request(id: i32, epoch: i32, asked: Vec<Asked>) -> Request {
    Request { id, epoch, by_id: false, asked, forgotten: Vec::new() }
}

fn data(high_watermark: i64, batches: usize) -> PartitionAnswer {
    PartitionAnswer::Data(Fetched {
        batches: vec![Batch::from_parts([0; HEADER_LEN], bytes::Bytes::new()); batches],
        high_watermark: Offset(high_watermark),
        last_stable_offset: Offset(high_watermark),
        log_start: Offset::ZERO,
        diverging: None,
        reader: None,
        room: Room::default(),
    })
}

fn order(ongoing: &Ongoing) -> Vec<(i32, i64)> {
    ongoing.wanted().iter().map(|w| (w.partition, w.offset.0)).collect()
}

/// Finishes with `answers` and returns the partitions in the reply.
fn told(ongoing: &mut Ongoing, answers: Vec<(i32, PartitionAnswer)>) -> Vec<i32> {
    let topic = || TopicKey::Name("t".to_owned());
    let answers = answers.into_iter().map(|(partition, answer)| (topic(), partition, answer)).collect();
    ongoing.finish(answers).iter().map(|(_, partition, _)| *partition).collect()
}

#[tokio::test]
async fn a_session_remembers_partitions_and_tells_only_news() {
    let sessions = Sessions::new(10);
    let mut full = sessions.begin(request(0, INITIAL_EPOCH, vec![asked(0, 5), asked(1, 6), asked(2, 7)])).unwrap();
    let id = full.id();
    assert!(id > 0);
    assert_eq!(order(&full), [(0, 5), (1, 6), (2, 7)]);
    assert_eq!(told(&mut full, vec![(0, data(5, 0)), (1, data(6, 0)), (2, data(7, 0))]), [0, 1, 2]);

    let mut quiet = sessions.begin(request(id, 1, vec![])).unwrap();
    assert_eq!(order(&quiet), [(0, 5), (1, 6), (2, 7)]);
    assert!(told(&mut quiet, vec![(0, data(5, 0)), (1, data(6, 0)), (2, data(7, 0))]).is_empty());

    let mut news = sessions.begin(request(id, 2, vec![asked(1, 60)])).unwrap();
    assert_eq!(order(&news), [(0, 5), (1, 60), (2, 7)]);
    assert_eq!(
        told(&mut news, vec![(0, data(9, 2)), (1, data(6, 0)), (2, PartitionAnswer::failed(3))]),
        [0, 2],
        "data and errors"
    );

    let mut after = sessions.begin(request(id, 3, vec![])).unwrap();
    assert_eq!(order(&after), [(1, 60), (2, 7), (0, 5)], "who got data goes last");
    assert_eq!(
        told(&mut after, vec![(1, data(8, 0)), (2, data(7, 0)), (0, data(9, 0))]),
        [1, 2],
        "a new high watermark, and the end of an error"
    );
}

#[tokio::test]
async fn partitions_leave_and_an_empty_session_ends() {
    let sessions = Sessions::new(10);
    let id = sessions.begin(request(0, INITIAL_EPOCH, vec![asked(0, 0), asked(1, 0)])).unwrap().id();
    let forget = |epoch, partition| Request {
        forgotten: vec![(TopicKey::Name("t".to_owned()), partition)],
        ..request(id, epoch, vec![])
    };
    let left = sessions.begin(forget(1, 0)).unwrap();
    assert_eq!((left.id(), order(&left)), (id, vec![(1, 0)]));
    let empty = sessions.begin(forget(2, 1)).unwrap();
    assert_eq!((empty.id(), order(&empty)), (NO_SESSION, vec![]));
    assert_eq!(sessions.begin(request(id, 3, vec![])).err(), Some(Refused::UnknownSession));
    assert_eq!(lock(&sessions.cache).partitions, 0);
}

#[tokio::test]
async fn requests_out_of_order_are_refused() {
    let sessions = Sessions::new(10);
    let id = sessions.begin(request(0, INITIAL_EPOCH, vec![asked(0, 0)])).unwrap().id();
    assert_eq!(sessions.begin(request(id, 2, vec![])).err(), Some(Refused::WrongEpoch));
    assert_eq!(sessions.begin(request(id, 1, vec![])).err(), None);
    assert_eq!(sessions.begin(request(id, 1, vec![])).err(), Some(Refused::WrongEpoch), "a repeated request");
    assert_eq!(sessions.begin(Request { by_id: true, ..request(id, 2, vec![]) }).err(), Some(Refused::TopicIdsMixed));
    assert_eq!(sessions.begin(request(id ^ 1, 1, vec![])).err(), Some(Refused::UnknownSession));
    assert_eq!(sessions.begin(request(0, 7, vec![])).err(), Some(Refused::UnknownSession));
}

#[tokio::test]
async fn the_final_epoch_closes_and_an_initial_one_replaces() {
    let sessions = Sessions::new(10);
    let id = sessions.begin(request(0, INITIAL_EPOCH, vec![asked(0, 0)])).unwrap().id();
    let replaced = sessions.begin(request(id, INITIAL_EPOCH, vec![asked(1, 0)])).unwrap().id();
    assert_ne!(id, replaced);
    assert_eq!(sessions.begin(request(id, 1, vec![])).err(), Some(Refused::UnknownSession));
    let last = sessions.begin(request(replaced, FINAL_EPOCH, vec![asked(4, 0)])).unwrap();
    assert_eq!((last.id(), order(&last)), (NO_SESSION, vec![(4, 0)]));
    assert_eq!(lock(&sessions.cache).kept.len(), 0);
}

#[tokio::test]
async fn the_epoch_wraps_past_the_special_ones() {
    let sessions = Sessions::new(1);
    let id = sessions.begin(request(0, INITIAL_EPOCH, vec![asked(0, 0)])).unwrap().id();
    lock(&lock(&sessions.cache).kept[&id].session).next_epoch = i32::MAX;
    assert!(sessions.begin(request(id, i32::MAX, vec![])).is_ok());
    assert!(sessions.begin(request(id, 1, vec![])).is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_full_cache_gives_no_session_until_one_is_stale() {
    let sessions = Sessions::new(2);
    let open = || sessions.begin(request(0, INITIAL_EPOCH, vec![asked(0, 0)])).unwrap().id();
    let (first, second) = (open(), open());
    assert_eq!(open(), NO_SESSION);
    tokio::time::advance(STALE / 2).await;
    sessions.begin(request(second, 1, vec![])).unwrap();
    tokio::time::advance(STALE / 2).await;
    assert_ne!(open(), NO_SESSION);
    assert_eq!(sessions.begin(request(first, 1, vec![])).err(), Some(Refused::UnknownSession));
    assert!(sessions.begin(request(second, 2, vec![])).is_ok());
    assert_eq!(Sessions::new(0).begin(request(0, INITIAL_EPOCH, vec![asked(0, 0)])).unwrap().id(), NO_SESSION);
}

#[tokio::test]
async fn partitions_are_bounded_too() {
    let sessions = Sessions::new(1);
    let many = |n: usize| (0..n).map(|p| asked(i32::try_from(p).unwrap(), 0)).collect::<Vec<_>>();
    let big = sessions.begin(request(0, INITIAL_EPOCH, many(PARTITIONS_PER_SESSION + 1))).unwrap();
    assert_eq!((big.id(), order(&big).len()), (NO_SESSION, PARTITIONS_PER_SESSION + 1), "served all the same");
    let id = sessions.begin(request(0, INITIAL_EPOCH, many(PARTITIONS_PER_SESSION))).unwrap().id();
    assert_ne!(id, NO_SESSION);
    let grown = sessions.begin(request(id, 1, many(PARTITIONS_PER_SESSION + 1)));
    assert_eq!(grown.err(), Some(Refused::UnknownSession));
    assert_eq!(lock(&sessions.cache).partitions, 0);
}
