//! Administration beyond topics and configs: every version of each API, on a broker in memory.

use kafka_protocol::messages::alter_client_quotas_request::{EntityData, EntryData, OpData};
use kafka_protocol::messages::alter_configs_request::AlterConfigsResource;
use kafka_protocol::messages::alter_partition_reassignments_request::{ReassignablePartition, ReassignableTopic};
use kafka_protocol::messages::alter_replica_log_dirs_request::{AlterReplicaLogDir, AlterReplicaLogDirTopic};
use kafka_protocol::messages::create_partitions_request::{CreatePartitionsAssignment, CreatePartitionsTopic};
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use kafka_protocol::messages::describe_client_quotas_request::ComponentData;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_log_dirs_request::DescribableLogDirTopic;
use kafka_protocol::messages::describe_producers_request::TopicRequest as ProducersOf;
use kafka_protocol::messages::elect_leaders_request::TopicPartitions;
use kafka_protocol::messages::incremental_alter_configs_request::AlterConfigsResource as IncrementalResource;
use kafka_protocol::messages::*;
use kafka_protocol::protocol::StrBytes;
use runnel_kafka::Options;
use runnel_testkit::MemoryBroker;
use uuid::Uuid;

use crate::support::{Client, start};

use kafka_protocol::error::ResponseError as Wire;

fn text(s: &str) -> StrBytes {
    StrBytes::from_string(s.to_owned())
}

fn name(s: &str) -> TopicName {
    TopicName(text(s))
}

#[tokio::test]
async fn partitions_are_added_in_every_version() {
    let server = start(&MemoryBroker::with_topic("t", 1), Options::default()).await;
    let mut client = server.client().await;
    for version in 0..=3_i16 {
        let topic = |count: i32, topic: &str| CreatePartitionsTopic::default().with_name(name(topic)).with_count(count);
        let assigned = vec![CreatePartitionsAssignment::default().with_broker_ids(vec![BrokerId(0)])];
        let request = |topics| CreatePartitionsRequest::default().with_topics(topics);
        let count = i32::from(version) + 2;
        let topics =
            vec![topic(count, "t").with_assignments(Some(assigned)), topic(1, "u"), topic(1, "u"), topic(1, "v")];
        let response = client.call(&request(topics), version).await;
        let codes: Vec<_> = response.results.iter().map(|r| (r.name.to_string(), r.error_code)).collect();
        let expected = [("t", 0), ("u", Wire::InvalidRequest.code()), ("v", Wire::UnknownTopicOrPartition.code())];
        assert_eq!(codes, expected.map(|(topic, code)| (topic.to_owned(), code)));
        let again = client.call(&request(vec![topic(count, "t")]), version).await;
        assert_eq!(again.results[0].error_code, Wire::InvalidPartitions.code());
        let metadata = client.call(&MetadataRequest::default().with_topics(None), 12).await;
        assert_eq!(metadata.topics[0].partitions.len(), usize::try_from(count).unwrap());
    }
}

#[tokio::test]
async fn records_are_deleted_in_every_version() {
    let server = start(&MemoryBroker::with_topic("t", 1), Options::default()).await;
    let mut client = server.client().await;
    for version in 0..=2 {
        let partition =
            |index, offset| DeleteRecordsPartition::default().with_partition_index(index).with_offset(offset);
        let topic = DeleteRecordsTopic::default().with_name(name("t")).with_partitions(vec![
            partition(0, -1),
            partition(0, 5),
            partition(0, -2),
            partition(7, 0),
        ]);
        let request = DeleteRecordsRequest::default().with_topics(vec![topic]).with_timeout_ms(1000);
        let response = client.call(&request, version).await;
        let results: Vec<_> = response.topics[0].partitions.iter().map(|p| (p.low_watermark, p.error_code)).collect();
        let beyond = (-1, Wire::OffsetOutOfRange.code());
        assert_eq!(results, [(0, 0), beyond, beyond, (-1, Wire::UnknownTopicOrPartition.code())]);
    }
}

#[tokio::test]
async fn leaders_and_replicas_are_where_they_belong() {
    let server = start(&MemoryBroker::with_topic("t", 1), Options::default()).await;
    let mut client = server.client().await;
    for version in 0..=2 {
        let topic = TopicPartitions::default().with_topic(name("t")).with_partitions(vec![0, 1]);
        let request = ElectLeadersRequest::default().with_topic_partitions(Some(vec![topic]));
        let response = client.call(&request, version).await;
        let codes: Vec<_> =
            response.replica_election_results[0].partition_result.iter().map(|p| p.error_code).collect();
        assert_eq!(codes, [Wire::ElectionNotNeeded.code(), Wire::UnknownTopicOrPartition.code()]);
        let all = client.call(&ElectLeadersRequest::default().with_topic_partitions(None), version).await;
        assert_eq!((all.error_code, all.replica_election_results.len()), (0, 0));
    }
    for version in 0..=1 {
        let partition =
            |index, replicas| ReassignablePartition::default().with_partition_index(index).with_replicas(replicas);
        let topic = ReassignableTopic::default().with_name(name("t")).with_partitions(vec![
            partition(0, Some(vec![BrokerId(0)])),
            partition(0, Some(vec![BrokerId(1)])),
            partition(0, None),
            partition(1, None),
        ]);
        let request = AlterPartitionReassignmentsRequest::default().with_topics(vec![topic]);
        let response = client.call(&request, version).await;
        let codes: Vec<_> = response.responses[0].partitions.iter().map(|p| p.error_code).collect();
        let expected = [
            0,
            Wire::InvalidReplicaAssignment.code(),
            Wire::NoReassignmentInProgress.code(),
            Wire::UnknownTopicOrPartition.code(),
        ];
        assert_eq!(codes, expected);
    }
    let moving = client.call(&ListPartitionReassignmentsRequest::default().with_topics(None), 0).await;
    assert_eq!((moving.error_code, moving.topics.len()), (0, 0));
}

#[tokio::test]
async fn log_dirs_and_producers_are_described() {
    let server = start(&MemoryBroker::with_topic("t", 2), Options::default()).await;
    let mut client = server.client().await;
    for version in 1..=4 {
        let topic = DescribableLogDirTopic::default().with_topic(name("t")).with_partitions(vec![1]);
        let request = DescribeLogDirsRequest::default().with_topics(Some(vec![topic]));
        let response = client.call(&request, version).await;
        let partitions: Vec<_> = response.results[0].topics[0].partitions.iter().map(|p| p.partition_index).collect();
        assert_eq!(partitions, [1]);
        let all = client.call(&DescribeLogDirsRequest::default().with_topics(None), version).await;
        assert_eq!(all.results[0].topics[0].partitions.len(), 2);
    }
    let topic = ProducersOf::default().with_name(name("t")).with_partition_indexes(vec![0, 9, 0]);
    let response = client.call(&DescribeProducersRequest::default().with_topics(vec![topic]), 0).await;
    let partitions: Vec<_> =
        response.topics[0].partitions.iter().map(|p| (p.error_code, p.active_producers.len())).collect();
    assert_eq!(partitions, [(0, 0), (Wire::UnknownTopicOrPartition.code(), 0)]);
}

#[tokio::test]
async fn partitions_stay_in_their_directories() {
    let server = start(&MemoryBroker::with_topic("t", 1), Options::default()).await;
    let mut client = server.client().await;
    for version in 1..=2 {
        let topic = AlterReplicaLogDirTopic::default().with_name(name("t")).with_partitions(vec![0, 1]);
        let dir = |path| AlterReplicaLogDir::default().with_path(text(path)).with_topics(vec![topic.clone()]);
        let request = AlterReplicaLogDirsRequest::default().with_dirs(vec![dir("memory"), dir("elsewhere")]);
        let response = client.call(&request, version).await;
        assert_eq!((response.results.len(), &response.results[0].topic_name), (1, &name("t")));
        let codes: Vec<_> = response.results[0].partitions.iter().map(|p| (p.partition_index, p.error_code)).collect();
        let (unknown, no_dir) = (Wire::UnknownTopicOrPartition.code(), Wire::LogDirNotFound.code());
        assert_eq!(codes, [(0, 0), (1, unknown), (0, no_dir), (1, no_dir)]);
    }
}

#[tokio::test]
async fn a_broker_shows_where_it_is() {
    let server = start(&MemoryBroker::new(), Options::default()).await;
    let mut client = server.client().await;
    let show = async |client: &mut Client, kind: i8, of: &str, keys: Option<&[&str]>| {
        let keys = keys.map(|keys| keys.iter().copied().map(text).collect());
        let resource = DescribeConfigsResource::default()
            .with_resource_type(kind)
            .with_resource_name(text(of))
            .with_configuration_keys(keys);
        let request = DescribeConfigsRequest::default().with_resources(vec![resource]);
        let found = client.call(&request, 4).await.results.remove(0).configs;
        found.into_iter().find(|config| &*config.name == "advertised.listeners")
    };
    let listeners = show(&mut client, 4, "0", None).await.unwrap();
    assert_eq!(listeners.value.as_deref(), Some(format!("PLAINTEXT://{}", server.address).as_str()));
    assert_eq!((listeners.config_source, listeners.read_only), (4, true));
    assert!(show(&mut client, 4, "0", Some(&["advertised.listeners"])).await.is_some());
    assert!(show(&mut client, 4, "0", Some(&["num.partitions"])).await.is_none());
    assert!(show(&mut client, 4, "", None).await.is_none());
}

#[tokio::test]
async fn quotas_are_kept() {
    let server = start(&MemoryBroker::new(), Options::default()).await;
    let mut client = server.client().await;
    for version in 0..=1 {
        let entity = |kind: &str, of: Option<&str>| {
            EntityData::default().with_entity_type(text(kind)).with_entity_name(of.map(text))
        };
        let op = OpData::default().with_key(text("producer_byte_rate")).with_value(1024.0);
        let entry = |entities| EntryData::default().with_entity(entities).with_ops(vec![op.clone()]);
        let twice = vec![entity("user", None), entity("user", Some("a"))];
        let request = AlterClientQuotasRequest::default()
            .with_entries(vec![entry(vec![entity("user", Some("ada")), entity("client-id", None)]), entry(twice)]);
        let response = client.call(&request, version).await;
        let codes: Vec<_> = response.entries.iter().map(|entry| entry.error_code).collect();
        assert_eq!(codes, [0, Wire::InvalidRequest.code()]);
        let kinds: Vec<_> = response.entries[0].entity.iter().map(|part| part.entity_type.as_str()).collect();
        assert_eq!(kinds, ["client-id", "user"]);
        // sarama takes any message for a failure.
        assert_eq!(response.entries.iter().map(|e| e.error_message.is_some()).collect::<Vec<_>>(), [false, true]);

        let component = |kind: &str, matching, of: Option<&str>| {
            ComponentData::default().with_entity_type(text(kind)).with_match_type(matching).with_match(of.map(text))
        };
        let ask =
            |components, strict| DescribeClientQuotasRequest::default().with_components(components).with_strict(strict);
        let cases = [
            (vec![], false, Some(1)),
            (vec![component("user", 0, Some("ada"))], false, Some(1)),
            (vec![component("user", 0, Some("ada"))], true, Some(0)),
            (vec![component("user", 2, None), component("client-id", 1, None)], true, Some(1)),
            (vec![component("user", 1, None)], false, Some(0)),
            (vec![component("user", 0, None)], false, None),
            (vec![component("galaxy", 2, None)], false, None),
        ];
        for (components, strict, expected) in cases {
            let response = client.call(&ask(components.clone(), strict), version).await;
            assert_eq!(response.entries.map(|found| found.len()), expected, "{components:?}");
            assert_eq!(response.error_code == 0, expected.is_some(), "{components:?}");
        }
    }
}

#[tokio::test]
async fn clients_are_asked_for_no_metrics() {
    let server = start(&MemoryBroker::new(), Options::default()).await;
    let mut client = server.client().await;
    let asked = client.call(&GetTelemetrySubscriptionsRequest::default(), 0).await;
    assert!(!asked.client_instance_id.is_nil() && asked.requested_metrics.is_empty() && asked.push_interval_ms > 0);
    let mine = Uuid::from_u128(7);
    let again = client.call(&GetTelemetrySubscriptionsRequest::default().with_client_instance_id(mine), 0).await;
    assert_eq!((again.client_instance_id, again.subscription_id), (mine, asked.subscription_id));
    let push = PushTelemetryRequest::default().with_client_instance_id(mine);
    let large = bytes::Bytes::from(vec![0; (1 << 20) + 1]);
    for (request, expected) in [
        (push.clone().with_subscription_id(asked.subscription_id), 0),
        (push.clone().with_subscription_id(77), Wire::UnknownSubscriptionId.code()),
        (push.with_metrics(large), Wire::TelemetryTooLarge.code()),
        (PushTelemetryRequest::default(), Wire::InvalidRequest.code()),
    ] {
        assert_eq!(client.call(&request, 0).await.error_code, expected);
    }
}

#[tokio::test]
async fn what_has_configs_is_listed() {
    let server = start(&MemoryBroker::with_topic("t", 1), Options::default()).await;
    let mut client = server.client().await;
    let metrics = client.call(&ListConfigResourcesRequest::default(), 0).await;
    assert_eq!((metrics.error_code, metrics.config_resources.len()), (0, 0));
    let listed = |kinds: Vec<i8>| ListConfigResourcesRequest::default().with_resource_types(kinds);
    for (kinds, expected) in [(vec![], vec![2, 4]), (vec![2], vec![2]), (vec![32, 16], vec![])] {
        let response = client.call(&listed(kinds), 1).await;
        assert_eq!(response.config_resources.iter().map(|r| r.resource_type).collect::<Vec<i8>>(), expected);
    }
    assert_eq!(client.call(&listed(vec![3]), 1).await.error_code, Wire::UnsupportedVersion.code());
}

/// Where all is well there is no message: null, not an empty text, which clients show or take for a failure.
#[tokio::test]
async fn success_has_no_message() {
    let server = start(&MemoryBroker::with_topic("t", 1), Options::default()).await;
    let mut client = server.client().await;
    for version in 2..=7 {
        let topic = CreatableTopic::default()
            .with_name(name(&format!("u{version}")))
            .with_num_partitions(1)
            .with_replication_factor(1);
        let response = client.call(&CreateTopicsRequest::default().with_topics(vec![topic]), version).await;
        assert_eq!((response.topics[0].error_code, response.topics[0].error_message.as_deref()), (0, None));
    }
    for version in 0..=2 {
        let resource = AlterConfigsResource::default().with_resource_type(2).with_resource_name(text("t"));
        let request = AlterConfigsRequest::default().with_resources(vec![resource]);
        let response = client.call(&request, version).await;
        assert_eq!((response.responses[0].error_code, response.responses[0].error_message.as_deref()), (0, None));
    }
    for version in 0..=1 {
        let resource = IncrementalResource::default().with_resource_type(2).with_resource_name(text("t"));
        let request = IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
        let response = client.call(&request, version).await;
        assert_eq!((response.responses[0].error_code, response.responses[0].error_message.as_deref()), (0, None));

        let partition = ReassignablePartition::default().with_replicas(Some(vec![BrokerId(0)]));
        let topic = ReassignableTopic::default().with_name(name("t")).with_partitions(vec![partition]);
        let request = AlterPartitionReassignmentsRequest::default().with_topics(vec![topic]);
        let response = client.call(&request, version).await;
        let partition = &response.responses[0].partitions[0];
        assert_eq!((partition.error_code, partition.error_message.as_deref()), (0, None));
        assert_eq!(response.error_message, None);

        let response = client.call(&DescribeClientQuotasRequest::default(), version).await;
        assert_eq!((response.error_code, response.error_message), (0, None));
    }
    let response = client.call(&ListPartitionReassignmentsRequest::default().with_topics(None), 0).await;
    assert_eq!((response.error_code, response.error_message), (0, None));
    for version in 1..=3 {
        let response = client.call(&FindCoordinatorRequest::default().with_key(text("g")), version).await;
        assert_eq!((response.error_code, response.error_message), (0, None));
    }
}
