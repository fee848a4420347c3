//! Members of a group: nothing is skipped, whatever the connection does, and what was committed is not read again.

use std::collections::BTreeMap;

use runnel_client::proto::consume::v1::AssignedPartitions;
use runnel_client::{ConsumerOptions, ErrorKind, GroupConsumer, GroupEvent, Membership};
use runnel_testkit::MemoryBroker;

use crate::support::{Proxy, START, Server, client, fill, number, within};

fn membership() -> Membership {
    Membership { group: "g".to_owned(), topics: vec!["t".to_owned()], start: Some(START), ..Membership::default() }
}

async fn join(address: std::net::SocketAddr) -> GroupConsumer {
    GroupConsumer::join(client(address), membership(), ConsumerOptions::default()).await.unwrap()
}

/// Reads and commits until the partitions have been read up to these offsets; returns every number by partition.
async fn read_to(consumer: &mut GroupConsumer, ends: &[i64], mut each: impl FnMut()) -> Vec<Vec<u64>> {
    let mut numbers = vec![Vec::new(); ends.len()];
    let mut next = BTreeMap::new();
    while ends.iter().zip(0..).any(|(end, partition)| next.get(&("t".to_owned(), partition)) != Some(end)) {
        if let GroupEvent::Batch(batch) = within(consumer.next()).await.unwrap() {
            numbers[usize::try_from(batch.partition).unwrap()].extend(batch.records.iter().map(number));
            let read = BTreeMap::from([((batch.topic, batch.partition), batch.next_offset)]);
            if consumer.commit(&read).await.is_ok() {
                next.extend(read);
            }
            each();
        }
    }
    numbers
}

#[tokio::test]
async fn what_is_committed_is_read_once_and_goes_on() {
    let broker = MemoryBroker::with_topic("t", 2);
    let server = Server::start(&broker, None).await;
    fill(&client(server.address), 2, 100).await;
    let mut consumer = join(server.address).await;
    assert_eq!(read_to(&mut consumer, &[100, 100], || ()).await, [(0..100).collect::<Vec<_>>(), (0..100).collect()]);
    consumer.leave().await;
    fill(&client(server.address), 2, 10).await;
    let mut consumer = join(server.address).await;
    assert_eq!(read_to(&mut consumer, &[110, 110], || ()).await, [(0..10).collect::<Vec<_>>(), (0..10).collect()]);
    server.stop().await;
}

#[tokio::test]
async fn cuts_skip_nothing() {
    let server = Server::start(&MemoryBroker::with_topic("t", 2), None).await;
    let proxy = Proxy::start(server.address).await;
    fill(&client(server.address), 2, 1000).await;
    let options = ConsumerOptions { credit_records: 50, ..ConsumerOptions::default() };
    let mut consumer = GroupConsumer::join(client(proxy.address), membership(), options).await.unwrap();
    let mut batches = 0;
    let numbers = read_to(&mut consumer, &[1000, 1000], || {
        batches += 1;
        if batches % 8 == 0 {
            proxy.cut();
        }
    });
    for numbers in numbers.await {
        let mut high = 0;
        for n in &numbers {
            assert!(*n <= high, "{n} after {high}: {numbers:?}");
            high = high.max(n + 1);
        }
        assert_eq!(high, 1000);
    }
    assert!(batches > 16, "{batches} batches: too few to cut between");
    server.stop().await;
}

#[tokio::test]
async fn what_is_revoked_is_let_go_with_the_next_call() {
    let server = Server::start(&MemoryBroker::with_topic("t", 2), None).await;
    let mut first = join(server.address).await;
    let GroupEvent::Assigned(starts) = within(first.next()).await.unwrap() else { panic!("it has everything") };
    assert_eq!(starts.len(), 2);
    let mut second = join(server.address).await;
    let revoked = loop {
        if let GroupEvent::Revoked(partitions) = within(first.next()).await.unwrap() {
            break partitions;
        }
    };
    let [AssignedPartitions { partitions, .. }] = &revoked[..] else { panic!("{revoked:?}") };
    // It still holds it, and commits.
    first.commit(&BTreeMap::from([(("t".to_owned(), partitions[0]), 0)])).await.unwrap();
    let given = tokio::select! {
        event = second.next() => event.unwrap(),
        event = async { loop { first.next().await.unwrap(); } } => event,
    };
    let GroupEvent::Assigned(starts) = given else { panic!("{given:?}") };
    assert_eq!(starts[0].partition, partitions[0]);
    let error = first.commit(&BTreeMap::from([(("t".to_owned(), partitions[0]), 0)])).await.unwrap_err();
    assert_eq!((error.kind(), error.reason()), (ErrorKind::Conflict, "NOT_ASSIGNED"));
    server.stop().await;
}

#[tokio::test]
async fn what_makes_no_sense_fails_at_once() {
    let server = Server::start(&MemoryBroker::with_topic("t", 1), None).await;
    let membership = Membership { assignor: Some("sticky".to_owned()), ..membership() };
    let failed = GroupConsumer::join(client(server.address), membership, ConsumerOptions::default()).await;
    assert_eq!(failed.unwrap_err().reason(), "UNSUPPORTED_ASSIGNOR");
    server.stop().await;
}
