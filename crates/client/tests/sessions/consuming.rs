//! Each offset once, in order, up to the stop.

use runnel_client::proto::consume::v1::position::Position as At;
use runnel_client::proto::consume::v1::{Position, ReadRange};
use runnel_client::{Consumer, ConsumerOptions, ErrorKind, Event};
use runnel_testkit::MemoryBroker;

use crate::support::{Proxy, START, Server, client, fill, number, whole, within};

/// Every record up to the end of the session: (partition, offset, number).
async fn drain(consumer: &mut Consumer, mut each: impl FnMut()) -> Vec<(i32, i64, u64)> {
    let mut seen = Vec::new();
    while let Some(event) = within(consumer.next()).await.unwrap() {
        if let Event::Batch(batch) = event {
            seen.extend(batch.records.iter().map(|record| (batch.partition, record.offset, number(record))));
            each();
        }
    }
    seen
}

#[tokio::test]
async fn small_credit_brings_everything_up_to_the_stop() {
    let server = Server::start(&MemoryBroker::with_topic("t", 2), None).await;
    let client = client(server.address);
    fill(&client, 2, 500).await;
    let options = ConsumerOptions { credit_records: 7, credit_bytes: 64, ..ConsumerOptions::default() };
    let mut consumer = Consumer::open(client, vec![whole("t")], options).await.unwrap();
    let seen = drain(&mut consumer, || ()).await;
    for partition in 0..2 {
        let numbers: Vec<_> = seen.iter().filter(|(p, ..)| *p == partition).map(|(_, _, n)| *n).collect();
        assert_eq!(numbers, (0..500).collect::<Vec<_>>());
    }
    assert_eq!(consumer.positions().collect::<Vec<_>>(), [("t", 0, 500), ("t", 1, 500)]);
    server.stop().await;
}

#[tokio::test]
async fn cuts_lose_and_repeat_nothing() {
    let server = Server::start(&MemoryBroker::with_topic("t", 2), None).await;
    let proxy = Proxy::start(server.address).await;
    fill(&client(server.address), 2, 1000).await;
    let options = ConsumerOptions { credit_records: 100, ..ConsumerOptions::default() };
    let mut consumer = Consumer::open(client(proxy.address), vec![whole("t")], options).await.unwrap();
    let mut batches = 0;
    let seen = drain(&mut consumer, || {
        batches += 1;
        if batches % 8 == 0 {
            proxy.cut();
        }
    });
    let seen = seen.await;
    assert!(batches > 16, "{batches} batches: too few to cut between");
    for partition in 0..2 {
        let offsets: Vec<_> = seen.iter().filter(|(p, ..)| *p == partition).map(|(_, offset, _)| *offset).collect();
        assert_eq!(offsets, (0..1000).collect::<Vec<_>>());
    }
    server.stop().await;
}

#[tokio::test]
async fn a_count_is_kept_over_a_new_session_and_a_live_reader_outlives_its_server() {
    let broker = MemoryBroker::with_topic("t", 1);
    let server = Server::start(&broker, None).await;
    let address = server.address;
    fill(&client(address), 1, 10).await;
    let range = ReadRange { max_records: Some(15), stop: None, ..whole("t") };
    let mut consumer = Consumer::open(client(address), vec![range], ConsumerOptions::default()).await.unwrap();
    let mut seen = 0;
    while seen < 10 {
        if let Some(Event::Batch(batch)) = within(consumer.next()).await.unwrap() {
            seen += batch.records.len();
        }
    }
    let (_, server) = tokio::join!(
        async {
            let rest = drain(&mut consumer, || ()).await;
            assert_eq!(rest.iter().map(|(_, offset, _)| *offset).collect::<Vec<_>>(), (10..15).collect::<Vec<_>>());
        },
        async {
            server.stop().await;
            let server = Server::start(&broker, Some(address)).await;
            fill(&client(address), 1, 10).await;
            server
        }
    );
    server.stop().await;
}

#[tokio::test]
async fn positions_that_are_not_there_fail_at_once() {
    let server = Server::start(&MemoryBroker::with_topic("t", 1), None).await;
    let open = async |topic: &str, start| {
        let range = ReadRange { start: Some(start), ..whole(topic) };
        Consumer::open(client(server.address), vec![range], ConsumerOptions::default()).await
    };
    assert_eq!(open("nowhere", START).await.unwrap_err().kind(), ErrorKind::NotFound);
    let beyond = Position { position: Some(At::Offset(9)) };
    let error = open("t", beyond).await.unwrap_err();
    assert_eq!((error.kind(), error.reason()), (ErrorKind::OutOfRange, "OFFSET_OUT_OF_RANGE"));
    server.stop().await;
}
