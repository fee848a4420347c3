//! The cluster, and topics page by page.

use kafka_protocol::error::ResponseError as Wire;
use kafka_protocol::messages::*;
use runnel_kafka::Options;
use runnel_testkit::MemoryBroker;

use crate::exchange::{name, topic_id};
use crate::support::{Client, start};

#[tokio::test]
async fn the_cluster_and_pages_of_topics_are_described() {
    let broker = MemoryBroker::with_topic("a", 3);
    let server = start(&broker, Options::default()).await;
    let mut client = server.client().await;
    for version in 0..=2 {
        let response = client.call(&DescribeClusterRequest::default(), version).await;
        assert_eq!((response.error_code, response.brokers.len(), response.controller_id), (0, 1, BrokerId(0)));
        assert_eq!(response.brokers[0].rack.as_deref(), Some("here"));
    }
    let controllers = client.call(&DescribeClusterRequest::default().with_endpoint_type(2), 1).await;
    assert_eq!(controllers.error_code, Wire::MismatchedEndpointType.code());

    topic_id(&mut client, "b").await;
    let mut pages: Vec<Vec<(String, usize)>> = Vec::new();
    let mut cursor = None;
    loop {
        let from = cursor.take().map(|at: describe_topic_partitions_response::Cursor| {
            describe_topic_partitions_request::Cursor::default()
                .with_topic_name(at.topic_name)
                .with_partition_index(at.partition_index)
        });
        let request = DescribeTopicPartitionsRequest::default().with_response_partition_limit(2).with_cursor(from);
        let page = client.call(&request, 0).await;
        pages.push(page.topics.iter().map(|t| (t.name.clone().unwrap().to_string(), t.partitions.len())).collect());
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    let expected: Vec<Vec<(String, usize)>> = vec![vec![("a".into(), 2)], vec![("a".into(), 1), ("b".into(), 1)]];
    assert_eq!(pages, expected);
    let named = describe_topic_partitions_request::TopicRequest::default().with_name(name("nope"));
    let request = DescribeTopicPartitionsRequest::default().with_topics(vec![named]).with_response_partition_limit(10);
    assert_eq!(client.call(&request, 0).await.topics[0].error_code, Wire::UnknownTopicOrPartition.code());
}

#[tokio::test]
async fn pages_go_on_only_from_a_cursor_that_can_be() {
    let server = start(&MemoryBroker::with_topic("a", 3), Options::default()).await;
    let mut client = server.client().await;
    let ask = async |client: &mut Client, named: &[&'static str], from: &'static str, partition| {
        let topic = |of: &&'static str| describe_topic_partitions_request::TopicRequest::default().with_name(name(of));
        let cursor = describe_topic_partitions_request::Cursor::default()
            .with_topic_name(name(from))
            .with_partition_index(partition);
        let request = DescribeTopicPartitionsRequest::default()
            .with_topics(named.iter().map(topic).collect())
            .with_response_partition_limit(10)
            .with_cursor(Some(cursor));
        let page = client.call(&request, 0).await;
        page.topics.iter().map(|t| (t.error_code, t.partitions.len())).collect::<Vec<_>>()
    };
    let refused = (Wire::InvalidRequest.code(), 0);
    assert_eq!(ask(&mut client, &["a"], "a", 2).await, [(0, 1)]);
    assert_eq!(ask(&mut client, &["a"], "a", -1).await, [refused]);
    assert_eq!(ask(&mut client, &["a", "b"], "c", 0).await, [refused, refused]);
    // The answer has nowhere else to put an error.
    assert_eq!(ask(&mut client, &[], "a", -1).await, []);
    assert_eq!(ask(&mut client, &[], "", 0).await, [(0, 3)]);
}
