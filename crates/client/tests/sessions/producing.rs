//! Each record once, in order, whatever the wire does.

use runnel_client::{ErrorKind, Producer, ProducerOptions, Target};
use runnel_testkit::MemoryBroker;

use crate::support::{Proxy, Server, client, number, read, record, within};

#[tokio::test]
async fn keys_choose_their_partition_and_keep_their_order() {
    let server = Server::start(&MemoryBroker::with_topic("t", 3), None).await;
    let client = client(server.address);
    let producer = Producer::new(client.clone(), ProducerOptions::default());
    let mut deliveries = Vec::new();
    for n in 0..1000 {
        let key = format!("key-{}", n % 10);
        deliveries.push((n, key.clone(), producer.send("t", Target::Key, record(Some(&key), n)).await.unwrap()));
    }
    within(producer.flush()).await.unwrap();
    let mut logs = Vec::new();
    for partition in 0..3 {
        logs.push(read(&client, "t", partition).await);
    }
    for (n, key, delivery) in deliveries {
        let delivered = within(delivery).await.unwrap();
        assert_eq!(delivered.partition, runnel_record::partition_for_key(key.as_bytes(), 3));
        let log = &logs[usize::try_from(delivered.partition).unwrap()];
        assert_eq!(number(&log[usize::try_from(delivered.offset.unwrap()).unwrap()]), n);
    }
    for log in logs {
        assert!(log.iter().map(number).is_sorted(), "the order of sending");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_batch_whose_reply_was_lost_is_stored_once() {
    let broker = MemoryBroker::with_topic("t", 1);
    let server = Server::start(&broker, None).await;
    let proxy = Proxy::start(server.address).await;
    let producer = Producer::new(client(proxy.address), ProducerOptions::default());
    let gate = broker.hold();
    let delivery = producer.send("t", Target::Key, record(None, 7)).await.unwrap();
    while broker.appends().is_empty() {
        tokio::task::yield_now().await;
    }
    proxy.cut();
    drop(gate);
    assert_eq!(within(delivery).await.unwrap().offset, Some(0));
    assert_eq!(broker.appends().len(), 2, "it was sent twice");
    assert_eq!(read(&client(server.address), "t", 0).await.len(), 1);
    server.stop().await;
}

#[tokio::test]
async fn cuts_under_load_lose_and_repeat_nothing() {
    const RECORDS: u64 = 3000;
    let server = Server::start(&MemoryBroker::with_topic("t", 2), None).await;
    let proxy = Proxy::start(server.address).await;
    let options = ProducerOptions { batch_bytes: 500, ..ProducerOptions::default() };
    let producer = Producer::new(client(proxy.address), options);
    let mut deliveries = Vec::new();
    for n in 0..RECORDS {
        let target = Target::Partition(i32::try_from(n % 2).unwrap());
        deliveries.push(producer.send("t", target, record(None, n)).await.unwrap());
        if n % 300 == 299 {
            proxy.cut();
        }
    }
    for delivery in deliveries {
        within(delivery).await.unwrap();
    }
    let client = client(server.address);
    for partition in 0..2 {
        let numbers: Vec<_> = read(&client, "t", partition).await.iter().map(number).collect();
        let expected: Vec<_> = (0..RECORDS).filter(|n| n % 2 == u64::try_from(partition).unwrap()).collect();
        assert_eq!(numbers, expected);
    }
    server.stop().await;
}

#[tokio::test]
async fn a_server_that_drains_is_left_and_found_again() {
    let broker = MemoryBroker::with_topic("t", 1);
    let server = Server::start(&broker, None).await;
    let address = server.address;
    let producer = Producer::new(client(address), ProducerOptions::default());
    let send = async |n: u64| producer.send("t", Target::Key, record(None, n)).await.unwrap();
    within(send(0).await).await.unwrap();
    server.stop().await;
    let waiting = send(1).await;
    let server = Server::start(&broker, Some(address)).await;
    within(waiting).await.unwrap();
    let numbers: Vec<_> = read(&client(address), "t", 0).await.iter().map(number).collect();
    assert_eq!(numbers, [0, 1]);
    server.stop().await;
}

#[tokio::test]
async fn mistakes_are_told_at_once() {
    let server = Server::start(&MemoryBroker::with_topic("t", 2), None).await;
    let producer = Producer::new(client(server.address), ProducerOptions::default());
    for (topic, target) in [("nowhere", Target::Key), ("t", Target::Partition(2)), ("t", Target::Partition(-1))] {
        let error = producer.send(topic, target, record(None, 1)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{topic} {target:?}: {error}");
    }
    server.stop().await;
}
