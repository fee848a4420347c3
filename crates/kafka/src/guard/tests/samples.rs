//! A filled-in request of every API and version, encoded by `kafka-protocol`.

use bytes::Bytes;
use kafka_protocol::messages::alter_client_quotas_request::{EntityData, EntryData, OpData};
use kafka_protocol::messages::alter_configs_request::{
    AlterConfigsResource as FullResource, AlterableConfig as FullConfig,
};
use kafka_protocol::messages::alter_partition_reassignments_request::{ReassignablePartition, ReassignableTopic};
use kafka_protocol::messages::alter_replica_log_dirs_request::{AlterReplicaLogDir, AlterReplicaLogDirTopic};
use kafka_protocol::messages::consumer_group_heartbeat_request::TopicPartitions as OwnedPartitions;
use kafka_protocol::messages::create_partitions_request::{CreatePartitionsAssignment, CreatePartitionsTopic};
use kafka_protocol::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig,
};
use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::describe_client_quotas_request::ComponentData;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_log_dirs_request::DescribableLogDirTopic;
use kafka_protocol::messages::describe_producers_request::TopicRequest as ProducersOf;
use kafka_protocol::messages::describe_topic_partitions_request::{Cursor, TopicRequest};
use kafka_protocol::messages::elect_leaders_request::TopicPartitions;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic, ForgottenTopic, ReplicaState};
use kafka_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::list_partition_reassignments_request::ListPartitionReassignmentsTopics;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use kafka_protocol::messages::offset_delete_request::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic};
use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use kafka_protocol::messages::offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::*;
use kafka_protocol::protocol::{Encodable, StrBytes};
use uuid::Uuid;

/// A request with `n` items in every array, `text` in every string, and an unknown tagged field wherever one goes.
pub(super) fn request(key: ApiKey, version: i16, n: usize, text: &str) -> Vec<u8> {
    let make = Make { n, text: StrBytes::from_string(text.to_owned()) };
    match key {
        ApiKey::Produce => encode(&make.produce(version), version),
        ApiKey::Fetch => encode(&make.fetch(version), version),
        ApiKey::ListOffsets => encode(&make.list_offsets(version), version),
        ApiKey::Metadata => encode(&make.metadata(version), version),
        ApiKey::OffsetCommit => encode(&make.offset_commit(version), version),
        ApiKey::OffsetFetch => encode(&make.offset_fetch(version), version),
        ApiKey::FindCoordinator => encode(&make.find_coordinator(version), version),
        ApiKey::JoinGroup => encode(&make.join_group(version), version),
        ApiKey::Heartbeat => encode(&make.heartbeat(version), version),
        ApiKey::LeaveGroup => encode(&make.leave_group(version), version),
        ApiKey::SyncGroup => encode(&make.sync_group(version), version),
        ApiKey::ConsumerGroupHeartbeat => encode(&make.consumer_group_heartbeat(version), version),
        ApiKey::ConsumerGroupDescribe => {
            let request = ConsumerGroupDescribeRequest::default().with_group_ids(make.many(GroupId(make.text())));
            encode(&request.with_unknown_tagged_field(9, make.blob()), version)
        }
        ApiKey::DescribeGroups => {
            encode(&DescribeGroupsRequest::default().with_groups(make.many(GroupId(make.text()))), version)
        }
        ApiKey::ListGroups => encode(&make.list_groups(version), version),
        ApiKey::DeleteGroups => {
            encode(&DeleteGroupsRequest::default().with_groups_names(make.many(GroupId(make.text()))), version)
        }
        ApiKey::OffsetDelete => encode(&make.offset_delete(), version),
        ApiKey::ApiVersions => {
            let request = ApiVersionsRequest::default().with_unknown_tagged_field(9, make.blob());
            let request = if version >= 3 {
                request.with_client_software_name(make.text()).with_client_software_version(make.text())
            } else {
                request
            };
            encode(&request, version)
        }
        ApiKey::CreateTopics => encode(&make.create_topics(), version),
        ApiKey::DeleteTopics => encode(&make.delete_topics(version), version),
        ApiKey::InitProducerId => {
            let request = InitProducerIdRequest::default()
                .with_transactional_id(Some(TransactionalId(make.text())))
                .with_unknown_tagged_field(9, make.blob());
            encode(&request, version)
        }
        ApiKey::OffsetForLeaderEpoch => encode(&make.leader_epoch(), version),
        ApiKey::DescribeConfigs => encode(&make.describe_configs(), version),
        ApiKey::AlterConfigs => encode(&make.alter_configs(), version),
        ApiKey::IncrementalAlterConfigs => encode(&make.incremental_alter_configs(), version),
        ApiKey::DescribeCluster => {
            encode(&DescribeClusterRequest::default().with_unknown_tagged_field(9, make.blob()), version)
        }
        ApiKey::DescribeTopicPartitions => encode(&make.describe_topic_partitions(), version),
        ApiKey::DeleteRecords => encode(&make.delete_records(), version),
        ApiKey::AlterReplicaLogDirs => {
            let topic = AlterReplicaLogDirTopic::default().with_name(make.name()).with_partitions(make.many(3));
            let dir = AlterReplicaLogDir::default().with_path(make.text()).with_topics(make.many(topic));
            encode(&AlterReplicaLogDirsRequest::default().with_dirs(make.many(dir)), version)
        }
        ApiKey::DescribeLogDirs => {
            let topic = DescribableLogDirTopic::default().with_topic(make.name()).with_partitions(make.many(3));
            encode(&DescribeLogDirsRequest::default().with_topics(Some(make.many(topic))), version)
        }
        ApiKey::CreatePartitions => encode(&make.create_partitions(), version),
        ApiKey::ElectLeaders => {
            let topic = TopicPartitions::default().with_topic(make.name()).with_partitions(make.many(3));
            encode(&ElectLeadersRequest::default().with_topic_partitions(Some(make.many(topic))), version)
        }
        ApiKey::AlterPartitionReassignments => encode(&make.reassign(), version),
        ApiKey::ListPartitionReassignments => {
            let topic =
                ListPartitionReassignmentsTopics::default().with_name(make.name()).with_partition_indexes(make.many(3));
            encode(&ListPartitionReassignmentsRequest::default().with_topics(Some(make.many(topic))), version)
        }
        ApiKey::DescribeClientQuotas => {
            let component = ComponentData::default().with_entity_type(make.text()).with_match_type(2);
            encode(&DescribeClientQuotasRequest::default().with_components(make.many(component)), version)
        }
        ApiKey::AlterClientQuotas => encode(&make.alter_client_quotas(), version),
        ApiKey::DescribeProducers => {
            let topic = ProducersOf::default().with_name(make.name()).with_partition_indexes(make.many(3));
            encode(&DescribeProducersRequest::default().with_topics(make.many(topic)), version)
        }
        ApiKey::GetTelemetrySubscriptions => {
            let request = GetTelemetrySubscriptionsRequest::default().with_client_instance_id(Uuid::max());
            encode(&request.with_unknown_tagged_field(9, make.blob()), version)
        }
        ApiKey::PushTelemetry => {
            let request = PushTelemetryRequest::default().with_metrics(make.blob());
            encode(&request.with_unknown_tagged_field(9, make.blob()), version)
        }
        ApiKey::ListConfigResources => {
            let request = ListConfigResourcesRequest::default().with_unknown_tagged_field(9, make.blob());
            encode(&if version >= 1 { request.with_resource_types(make.many(2)) } else { request }, version)
        }
        other => panic!("no sample of {other:?}"),
    }
}

fn encode(request: &impl Encodable, version: i16) -> Vec<u8> {
    let mut out = Vec::new();
    request.encode(&mut out, version).unwrap();
    out
}

struct Make {
    n: usize,
    text: StrBytes,
}

impl Make {
    fn text(&self) -> StrBytes {
        self.text.clone()
    }

    fn name(&self) -> TopicName {
        TopicName(self.text())
    }

    fn blob(&self) -> Bytes {
        Bytes::from(vec![0xff; self.n * 50])
    }

    fn many<T: Clone>(&self, item: T) -> Vec<T> {
        vec![item; self.n]
    }

    fn produce(&self, version: i16) -> ProduceRequest {
        let data = PartitionProduceData::default().with_records(Some(self.blob()));
        let topic = TopicProduceData::default()
            .with_partition_data(self.many(data.with_unknown_tagged_field(9, self.blob())))
            .with_unknown_tagged_field(9, self.blob());
        let topic = if version >= 13 { topic.with_topic_id(Uuid::max()) } else { topic.with_name(self.name()) };
        ProduceRequest::default()
            .with_transactional_id(Some(TransactionalId(self.text())))
            .with_topic_data(self.many(topic))
            .with_unknown_tagged_field(9, self.blob())
    }

    fn fetch(&self, version: i16) -> FetchRequest {
        let mut partition = FetchPartition::default().with_unknown_tagged_field(9, self.blob());
        let mut topic = FetchTopic::default().with_unknown_tagged_field(9, self.blob());
        let mut forgotten = ForgottenTopic::default().with_partitions(self.many(7));
        let mut request = FetchRequest::default().with_unknown_tagged_field(9, self.blob());
        if version >= 18 {
            partition = partition.with_high_watermark(7);
        }
        if version >= 17 {
            partition = partition.with_replica_directory_id(Uuid::max());
        }
        if version >= 13 {
            (topic, forgotten) = (topic.with_topic_id(Uuid::max()), forgotten.with_topic_id(Uuid::max()));
        } else {
            (topic, forgotten) = (topic.with_topic(self.name()), forgotten.with_topic(self.name()));
        }
        if version >= 15 {
            let state = ReplicaState::default().with_replica_epoch(3).with_unknown_tagged_field(9, self.blob());
            request = request.with_replica_state(state);
        }
        if version >= 12 {
            request = request.with_cluster_id(Some(self.text()));
        }
        if version >= 11 {
            request = request.with_rack_id(self.text());
        }
        if version >= 7 {
            request = request.with_forgotten_topics_data(self.many(forgotten));
        }
        request.with_topics(self.many(topic.with_partitions(self.many(partition))))
    }

    fn list_offsets(&self, version: i16) -> ListOffsetsRequest {
        let mut partition = ListOffsetsPartition::default().with_unknown_tagged_field(9, self.blob());
        if version >= 4 {
            partition = partition.with_current_leader_epoch(2);
        }
        let topic = ListOffsetsTopic::default().with_name(self.name()).with_partitions(self.many(partition));
        ListOffsetsRequest::default().with_topics(self.many(topic)).with_unknown_tagged_field(9, self.blob())
    }

    fn metadata(&self, version: i16) -> MetadataRequest {
        let mut topic =
            MetadataRequestTopic::default().with_name(Some(self.name())).with_unknown_tagged_field(9, self.blob());
        if version >= 10 {
            topic = topic.with_topic_id(Uuid::max());
        }
        MetadataRequest::default().with_topics(Some(self.many(topic))).with_unknown_tagged_field(9, self.blob())
    }

    fn offset_commit(&self, version: i16) -> OffsetCommitRequest {
        let partition = OffsetCommitRequestPartition::default()
            .with_committed_metadata(Some(self.text()))
            .with_unknown_tagged_field(9, self.blob());
        let topic = OffsetCommitRequestTopic::default().with_name(self.name()).with_partitions(self.many(partition));
        let request = OffsetCommitRequest::default()
            .with_group_id(GroupId(self.text()))
            .with_member_id(self.text())
            .with_topics(self.many(topic))
            .with_unknown_tagged_field(9, self.blob());
        if version >= 7 { request.with_group_instance_id(Some(self.text())) } else { request }
    }

    fn offset_fetch(&self, version: i16) -> OffsetFetchRequest {
        let request = OffsetFetchRequest::default().with_unknown_tagged_field(9, self.blob());
        if version < 8 {
            let topic = OffsetFetchRequestTopic::default().with_name(self.name()).with_partition_indexes(self.many(3));
            return request.with_group_id(GroupId(self.text())).with_topics(Some(self.many(topic)));
        }
        let topic = OffsetFetchRequestTopics::default().with_name(self.name()).with_partition_indexes(self.many(3));
        let mut group =
            OffsetFetchRequestGroup::default().with_group_id(GroupId(self.text())).with_topics(Some(self.many(topic)));
        if version >= 9 {
            group = group.with_member_id(Some(self.text())).with_member_epoch(3);
        }
        request.with_groups(self.many(group))
    }

    fn find_coordinator(&self, version: i16) -> FindCoordinatorRequest {
        let request = FindCoordinatorRequest::default().with_unknown_tagged_field(9, self.blob());
        if version >= 4 { request.with_coordinator_keys(self.many(self.text())) } else { request.with_key(self.text()) }
    }

    fn consumer_group_heartbeat(&self, version: i16) -> ConsumerGroupHeartbeatRequest {
        let owned = OwnedPartitions::default()
            .with_topic_id(Uuid::max())
            .with_partitions(self.many(3))
            .with_unknown_tagged_field(9, self.blob());
        let request = ConsumerGroupHeartbeatRequest::default()
            .with_group_id(GroupId(self.text()))
            .with_member_id(self.text())
            .with_instance_id(Some(self.text()))
            .with_rack_id(Some(self.text()))
            .with_subscribed_topic_names(Some(self.many(self.name())))
            .with_server_assignor(Some(self.text()))
            .with_topic_partitions(Some(self.many(owned)))
            .with_unknown_tagged_field(9, self.blob());
        if version >= 1 { request.with_subscribed_topic_regex(Some(self.text())) } else { request }
    }

    fn join_group(&self, version: i16) -> JoinGroupRequest {
        let protocol = JoinGroupRequestProtocol::default()
            .with_name(self.text())
            .with_metadata(self.blob())
            .with_unknown_tagged_field(9, self.blob());
        let request = JoinGroupRequest::default()
            .with_group_id(GroupId(self.text()))
            .with_member_id(self.text())
            .with_protocol_type(self.text())
            .with_protocols(self.many(protocol));
        let request = if version >= 5 { request.with_group_instance_id(Some(self.text())) } else { request };
        if version >= 8 { request.with_reason(Some(self.text())) } else { request }
    }

    fn sync_group(&self, version: i16) -> SyncGroupRequest {
        let assignment = SyncGroupRequestAssignment::default().with_member_id(self.text()).with_assignment(self.blob());
        let request = SyncGroupRequest::default()
            .with_group_id(GroupId(self.text()))
            .with_member_id(self.text())
            .with_assignments(self.many(assignment));
        let request = if version >= 3 { request.with_group_instance_id(Some(self.text())) } else { request };
        if version >= 5 {
            request.with_protocol_type(Some(self.text())).with_protocol_name(Some(self.text()))
        } else {
            request
        }
    }

    fn heartbeat(&self, version: i16) -> HeartbeatRequest {
        let request = HeartbeatRequest::default().with_group_id(GroupId(self.text())).with_member_id(self.text());
        if version >= 3 { request.with_group_instance_id(Some(self.text())) } else { request }
    }

    fn leave_group(&self, version: i16) -> LeaveGroupRequest {
        let request = LeaveGroupRequest::default().with_group_id(GroupId(self.text()));
        if version < 3 {
            return request.with_member_id(self.text());
        }
        let member = MemberIdentity::default().with_member_id(self.text()).with_group_instance_id(Some(self.text()));
        let member = if version >= 5 { member.with_reason(Some(self.text())) } else { member };
        request.with_members(self.many(member))
    }

    fn list_groups(&self, version: i16) -> ListGroupsRequest {
        let request = ListGroupsRequest::default();
        let request = if version >= 4 { request.with_states_filter(self.many(self.text())) } else { request };
        if version >= 5 { request.with_types_filter(self.many(self.text())) } else { request }
    }

    fn offset_delete(&self) -> OffsetDeleteRequest {
        let topic = OffsetDeleteRequestTopic::default()
            .with_name(self.name())
            .with_partitions(self.many(OffsetDeleteRequestPartition::default()));
        OffsetDeleteRequest::default().with_group_id(GroupId(self.text())).with_topics(self.many(topic))
    }

    fn create_topics(&self) -> CreateTopicsRequest {
        let config = CreatableTopicConfig::default().with_name(self.text()).with_value(Some(self.text()));
        let assignment = CreatableReplicaAssignment::default().with_broker_ids(self.many(BrokerId(1)));
        let topic = CreatableTopic::default()
            .with_name(self.name())
            .with_assignments(self.many(assignment.with_unknown_tagged_field(9, self.blob())))
            .with_configs(self.many(config))
            .with_unknown_tagged_field(9, self.blob());
        CreateTopicsRequest::default().with_topics(self.many(topic)).with_unknown_tagged_field(9, self.blob())
    }

    fn delete_topics(&self, version: i16) -> DeleteTopicsRequest {
        let request = DeleteTopicsRequest::default().with_unknown_tagged_field(9, self.blob());
        if version < 6 {
            return request.with_topic_names(self.many(self.name()));
        }
        let topic = DeleteTopicState::default().with_name(Some(self.name())).with_topic_id(Uuid::max());
        request.with_topics(self.many(topic))
    }

    fn leader_epoch(&self) -> OffsetForLeaderEpochRequest {
        let partition = OffsetForLeaderPartition::default().with_unknown_tagged_field(9, self.blob());
        let topic = OffsetForLeaderTopic::default().with_topic(self.name()).with_partitions(self.many(partition));
        OffsetForLeaderEpochRequest::default().with_topics(self.many(topic)).with_unknown_tagged_field(9, self.blob())
    }

    fn describe_configs(&self) -> DescribeConfigsRequest {
        let resource = DescribeConfigsResource::default()
            .with_resource_name(self.text())
            .with_configuration_keys(Some(self.many(self.text())))
            .with_unknown_tagged_field(9, self.blob());
        DescribeConfigsRequest::default().with_resources(self.many(resource))
    }

    fn alter_configs(&self) -> AlterConfigsRequest {
        let config = FullConfig::default().with_name(self.text()).with_value(Some(self.text()));
        let resource = FullResource::default()
            .with_resource_name(self.text())
            .with_configs(self.many(config.with_unknown_tagged_field(9, self.blob())));
        AlterConfigsRequest::default().with_resources(self.many(resource))
    }

    fn incremental_alter_configs(&self) -> IncrementalAlterConfigsRequest {
        let config = AlterableConfig::default().with_name(self.text()).with_value(Some(self.text()));
        let resource = AlterConfigsResource::default()
            .with_resource_name(self.text())
            .with_configs(self.many(config.with_unknown_tagged_field(9, self.blob())));
        IncrementalAlterConfigsRequest::default().with_resources(self.many(resource))
    }

    fn delete_records(&self) -> DeleteRecordsRequest {
        let partition = DeleteRecordsPartition::default().with_unknown_tagged_field(9, self.blob());
        let topic = DeleteRecordsTopic::default().with_name(self.name()).with_partitions(self.many(partition));
        DeleteRecordsRequest::default().with_topics(self.many(topic)).with_unknown_tagged_field(9, self.blob())
    }

    fn create_partitions(&self) -> CreatePartitionsRequest {
        let assignment = CreatePartitionsAssignment::default().with_broker_ids(self.many(BrokerId(1)));
        let topic = CreatePartitionsTopic::default()
            .with_name(self.name())
            .with_assignments(Some(self.many(assignment)))
            .with_unknown_tagged_field(9, self.blob());
        CreatePartitionsRequest::default().with_topics(self.many(topic))
    }

    fn reassign(&self) -> AlterPartitionReassignmentsRequest {
        let partition = ReassignablePartition::default().with_replicas(Some(self.many(BrokerId(1))));
        let topic = ReassignableTopic::default()
            .with_name(self.name())
            .with_partitions(self.many(partition.with_unknown_tagged_field(9, self.blob())));
        AlterPartitionReassignmentsRequest::default().with_topics(self.many(topic))
    }

    fn alter_client_quotas(&self) -> AlterClientQuotasRequest {
        let entity = EntityData::default().with_entity_type(self.text()).with_entity_name(Some(self.text()));
        let op = OpData::default().with_key(self.text()).with_value(1.5).with_unknown_tagged_field(9, self.blob());
        let entry = EntryData::default().with_entity(self.many(entity)).with_ops(self.many(op));
        AlterClientQuotasRequest::default().with_entries(self.many(entry))
    }

    fn describe_topic_partitions(&self) -> DescribeTopicPartitionsRequest {
        let cursor = (self.n > 0).then(|| Cursor::default().with_topic_name(self.name()));
        DescribeTopicPartitionsRequest::default()
            .with_topics(self.many(TopicRequest::default().with_name(self.name())))
            .with_cursor(cursor)
            .with_unknown_tagged_field(9, self.blob())
    }
}
