//! Small requests with large answers: they are made no larger than they must be, and not by the dozen.

use crate::support::{Client, Server, start};
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::*;
use runnel_kafka::Options;
use runnel_testkit::{BatchSpec, MemoryBroker, batch};

fn name() -> TopicName {
    TopicName("t".to_owned().into())
}

/// A produce request behind others whose replies nobody reads is not started; returns its correlation id.
async fn held_up(broker: &MemoryBroker, server: &Server, client: &mut Client) -> i32 {
    let data = produce_request::PartitionProduceData::default().with_records(Some(batch(&BatchSpec::default())));
    let topic = produce_request::TopicProduceData::default().with_name(name()).with_partition_data(vec![data]);
    let last = client.send(&ProduceRequest::default().with_acks(-1).with_topic_data(vec![topic]), 9).await;
    let mut neighbour = server.client().await;
    for _ in 0..500 {
        neighbour.call(&ApiVersionsRequest::default(), 0).await;
    }
    assert!(broker.appends().is_empty(), "all replies are in memory");
    last
}

#[tokio::test]
async fn what_is_asked_for_many_times_is_answered_once() {
    let server = start(&MemoryBroker::with_topic("t", 1000), Options::default()).await;
    let mut client = server.client().await;
    let topic = MetadataRequestTopic::default().with_name(Some(name()));
    let metadata = client.call(&MetadataRequest::default().with_topics(Some(vec![topic; 3000])), 12).await;
    assert_eq!(metadata.topics.len(), 1);
    assert_eq!(metadata.topics[0].partitions.len(), 1000);

    let topic = DescribeConfigsResource::default().with_resource_type(2).with_resource_name("t".to_owned().into());
    let broker = |name: &'static str| topic.clone().with_resource_type(4).with_resource_name(name.into());
    let resources = [vec![topic.clone(); 3000], vec![broker("0"), broker("00"), broker("+0")]].concat();
    // Which settings are wanted makes a difference.
    let one = topic.clone().with_configuration_keys(Some(vec!["retention.ms".into()]));
    let resources = [resources, vec![one]].concat();
    let configs = client.call(&DescribeConfigsRequest::default().with_resources(resources), 4).await;
    let described: Vec<_> = configs.results.iter().map(|result| result.resource_name.as_str()).collect();
    assert_eq!(described, ["t", "0", "t"]);
}

#[tokio::test]
async fn many_topics_at_once_are_created_without_repeating_the_settings() {
    let server = start(&MemoryBroker::new(), Options::default()).await;
    let topic = |n: i32| {
        create_topics_request::CreatableTopic::default()
            .with_name(TopicName(format!("t{n}").into()))
            .with_num_partitions(1)
            .with_replication_factor(-1)
    };
    let request = CreateTopicsRequest::default().with_topics((0..1002).map(topic).collect());
    let created = server.client().await.call(&request, 7).await;
    assert!(created.topics.iter().all(|topic| topic.error_code == 0));
    let with_configs = created.topics.iter().filter(|topic| topic.configs.is_some()).count();
    assert_eq!((created.topics.len(), with_configs), (1002, 1000));
}

/// Sixty replies of half a megabyte do not fit into the buffers of the sockets: while none is read, the requests at the
/// end are not started, however often the server gets to run.
#[tokio::test]
async fn replies_that_nobody_reads_hold_up_the_requests_behind_them() {
    let broker = MemoryBroker::with_topic("t", 20_000);
    let server = start(&broker, Options::default()).await;
    let mut client = server.client().await;
    let asked = 60;
    let mut ids = Vec::new();
    for _ in 0..asked {
        ids.push(client.send(&MetadataRequest::default().with_topics(None), 1).await);
    }
    let last = held_up(&broker, &server, &mut client).await;
    for id in ids {
        let response = client.receive::<MetadataRequest>(1, id).await;
        assert_eq!(response.topics[0].partitions.len(), 20_000);
    }
    assert_eq!(client.receive::<ProduceRequest>(9, last).await.responses[0].partition_responses[0].error_code, 0);
}

/// The same for answers that take a moment: each is there, and counted, before the next request is begun.
#[tokio::test]
async fn replies_of_coordinators_that_nobody_reads_do_so_too() {
    let broker = MemoryBroker::with_topic("t", 1);
    let server = start(&broker, Options::default()).await;
    let mut client = server.client().await;
    let groups = 150;
    for n in 0..groups {
        let partition = offset_commit_request::OffsetCommitRequestPartition::default();
        let topic = offset_commit_request::OffsetCommitRequestTopic::default()
            .with_name(name())
            .with_partitions(vec![partition]);
        let id = GroupId(format!("{}{n}", "g".repeat(4000)).into());
        let commit = OffsetCommitRequest::default().with_group_id(id).with_generation_id_or_member_epoch(-1);
        let committed = client.call(&commit.with_topics(vec![topic]), 7).await;
        assert_eq!(committed.topics[0].partitions[0].error_code, 0);
    }
    let mut ids = Vec::new();
    for _ in 0..60 {
        ids.push(client.send(&ListGroupsRequest::default(), 4).await);
    }
    let last = held_up(&broker, &server, &mut client).await;
    for id in ids {
        assert_eq!(client.receive::<ListGroupsRequest>(4, id).await.groups.len(), groups);
    }
    assert_eq!(client.receive::<ProduceRequest>(9, last).await.responses[0].partition_responses[0].error_code, 0);
}

/// The same for answers behind which other requests go on, as far as they are few.
#[tokio::test]
async fn assignments_that_nobody_reads_do_so_too() {
    let broker = MemoryBroker::with_topic("t", 1);
    let server = start(&broker, Options::default()).await;
    let mut client = server.client().await;
    let group = || GroupId("g".to_owned().into());
    let protocol = join_group_request::JoinGroupRequestProtocol::default().with_name("range".into());
    let join = JoinGroupRequest::default()
        .with_group_id(group())
        .with_protocol_type("consumer".into())
        .with_session_timeout_ms(10_000)
        .with_rebalance_timeout_ms(10_000)
        .with_protocols(vec![protocol]);
    let joined = client.call(&join, 3).await;
    let sync = SyncGroupRequest::default()
        .with_group_id(group())
        .with_generation_id(joined.generation_id)
        .with_member_id(joined.member_id.clone());
    let assignment = sync_group_request::SyncGroupRequestAssignment::default()
        .with_member_id(joined.member_id)
        .with_assignment(vec![7; 1 << 19].into());
    client.call(&sync.clone().with_assignments(vec![assignment]), 3).await;
    let mut ids = Vec::new();
    for _ in 0..60 {
        ids.push(client.send(&sync, 3).await);
    }
    let last = held_up(&broker, &server, &mut client).await;
    for id in ids {
        assert_eq!(client.receive::<SyncGroupRequest>(3, id).await.assignment.len(), 1 << 19);
    }
    assert_eq!(client.receive::<ProduceRequest>(9, last).await.responses[0].partition_responses[0].error_code, 0);
}
