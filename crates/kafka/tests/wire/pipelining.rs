//! Several requests of one connection in flight: started in order, answered in order, bounded.

use std::sync::Arc;

use crate::support::{frame, start};
use kafka_protocol::messages::*;
use runnel_kafka::Options;
use runnel_testkit::{BatchSpec, MemoryBroker, batch};

fn produce(partition: i32) -> ProduceRequest {
    let data = produce_request::PartitionProduceData::default()
        .with_index(partition)
        .with_records(Some(batch(&BatchSpec::default())));
    let topic = produce_request::TopicProduceData::default()
        .with_name(TopicName("t".to_owned().into()))
        .with_partition_data(vec![data]);
    ProduceRequest::default().with_acks(-1).with_timeout_ms(60_000).with_topic_data(vec![topic])
}

async fn appended(broker: &Arc<MemoryBroker>, count: usize) -> Vec<i32> {
    loop {
        let appends = broker.appends();
        if appends.len() >= count {
            return appends;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn appends_begin_and_replies_come_in_the_order_of_requests() {
    let broker = MemoryBroker::with_topic("t", 50);
    let server = start(&broker, Options::default()).await;
    let mut client = server.client().await;
    let gate = broker.hold();
    let partitions: Vec<i32> = (0..50).map(|i| (i * 37) % 50).collect();
    let bytes: Vec<u8> = partitions.iter().flat_map(|p| frame(&produce(*p), 9, *p)).collect();
    client.write(&bytes).await;
    assert_eq!(appended(&broker, 50).await, partitions, "all begun while none is acknowledged");
    drop(gate);
    for partition in partitions {
        let response = client.receive::<ProduceRequest>(9, partition).await;
        assert_eq!(response.responses[0].partition_responses[0].index, partition);
    }
}

#[tokio::test]
async fn a_long_poll_delays_replies_but_not_appends() {
    let broker = MemoryBroker::with_topic("t", 2);
    let server = start(&broker, Options::default()).await;
    let mut client = server.client().await;
    let wanted = fetch_request::FetchPartition::default().with_partition_max_bytes(1 << 20);
    let topic =
        fetch_request::FetchTopic::default().with_topic(TopicName("t".to_owned().into())).with_partitions(vec![wanted]);
    let poll = FetchRequest::default()
        .with_max_wait_ms(60_000)
        .with_min_bytes(1)
        .with_max_bytes(i32::MAX)
        .with_topics(vec![topic]);
    let first = client.send(&poll, 11).await;
    let second = client.send(&produce(1), 9).await;
    appended(&broker, 1).await;
    let third = client.send(&produce(0), 9).await;
    let polled = client.receive::<FetchRequest>(11, first).await;
    assert_eq!(polled.responses[0].partitions[0].high_watermark, 1, "the third request ended the wait of the first");
    client.receive::<ProduceRequest>(9, second).await;
    client.receive::<ProduceRequest>(9, third).await;
}

#[tokio::test]
async fn no_more_requests_are_begun_than_may_be_unanswered() {
    let broker = MemoryBroker::with_topic("t", 10);
    let server = start(&broker, Options { max_inflight_requests: 3, ..Options::default() }).await;
    let (mut client, mut other) = (server.client().await, server.client().await);
    let gate = broker.hold();
    for partition in 0..10 {
        client.write(&frame(&produce(partition), 9, partition)).await;
    }
    appended(&broker, 3).await;
    // By the time another connection has been served a few times, a fourth would have begun.
    for _ in 0..20 {
        other.call(&ApiVersionsRequest::default(), 0).await;
    }
    assert_eq!(broker.appends(), [0, 1, 2]);
    drop(gate);
    for partition in 0..10 {
        client.receive::<ProduceRequest>(9, partition).await;
    }
    assert_eq!(broker.appends(), (0..10).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_reader_that_does_not_read_stops_being_read() {
    let broker = MemoryBroker::with_topic("t", 1);
    let options = Options { max_inflight_requests: 4, ..Options::default() };
    let server = start(&broker, options).await;
    let (mut lazy, mut other) = (server.client().await, server.client().await);
    let value = vec![7; 900_000];
    let records = batch(&BatchSpec { records: &[(None, Some(&value))], ..BatchSpec::default() });
    let data = produce_request::PartitionProduceData::default().with_records(Some(records));
    let topic = produce_request::TopicProduceData::default()
        .with_name(TopicName("t".to_owned().into()))
        .with_partition_data(vec![data]);
    other.call(&ProduceRequest::default().with_acks(-1).with_topic_data(vec![topic]), 9).await;

    let wanted = fetch_request::FetchPartition::default().with_partition_max_bytes(1 << 20);
    let topic =
        fetch_request::FetchTopic::default().with_topic(TopicName("t".to_owned().into())).with_partitions(vec![wanted]);
    let fetch = FetchRequest::default().with_max_bytes(1 << 20).with_topics(vec![topic]);
    let produce = frame(&produce(0), 9, 1000);
    // More replies than socket buffers hold, then an append that must wait for the client to read.
    for id in 0..40 {
        lazy.write(&frame(&fetch, 11, id)).await;
    }
    lazy.write(&produce).await;
    for _ in 0..50 {
        other.call(&ApiVersionsRequest::default(), 0).await;
    }
    assert_eq!(broker.appends().len(), 1, "the append behind unread replies has not begun");
    for id in 0..40 {
        lazy.receive::<FetchRequest>(11, id).await;
    }
    lazy.receive::<ProduceRequest>(9, 1000).await;
}
