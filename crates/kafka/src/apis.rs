//! The APIs and versions that we serve.

use kafka_protocol::messages::ApiKey;

use crate::guard::layout::{self, Layout};

/// One API.
pub(crate) struct Api {
    pub(crate) key: ApiKey,
    pub(crate) name: &'static str,
    /// Oldest version that is handled. `advertised_min` differs for Produce alone.
    pub(crate) min: i16,
    /// Newest version that is handled.
    pub(crate) max: i16,
    /// First version with compact lengths and tagged fields.
    flexible: i16,
    pub(crate) layout: &'static Layout,
}

impl Api {
    /// Whether `version` is one that we handle.
    pub(crate) fn serves(&self, version: i16) -> bool {
        (self.min..=self.max).contains(&version)
    }

    /// Whether `version` has compact lengths and tagged fields.
    pub(crate) fn is_flexible(&self, version: i16) -> bool {
        version >= self.flexible
    }

    /// Kafka 4 lists Produce from version 0 though it serves it from 3, because librdkafka only compresses where it
    /// sees version 0 (KAFKA-18659).
    fn advertised_min(&self) -> i16 {
        if self.key == ApiKey::Produce { 0 } else { self.min }
    }
}

const fn api(key: ApiKey, name: &'static str, (min, max): (i16, i16), flexible: i16, layout: &'static Layout) -> Api {
    Api { key, name, min, max, flexible, layout }
}

/// Of an API without flexible versions.
const NEVER: i16 = i16::MAX;

/// Every API, by key. A range is what Kafka 4.x serves, as far as `kafka-protocol` decodes the request *and* encodes
/// the reply (a test holds it to that).
pub(crate) static APIS: [Api; 40] = [
    api(ApiKey::Produce, "Produce", (3, 13), 9, &layout::PRODUCE),
    api(ApiKey::Fetch, "Fetch", (4, 18), 12, &layout::FETCH),
    api(ApiKey::ListOffsets, "ListOffsets", (1, 10), 6, &layout::LIST_OFFSETS),
    api(ApiKey::Metadata, "Metadata", (0, 13), 9, &layout::METADATA),
    api(ApiKey::OffsetCommit, "OffsetCommit", (2, 9), 8, &layout::OFFSET_COMMIT),
    api(ApiKey::OffsetFetch, "OffsetFetch", (1, 9), 6, &layout::OFFSET_FETCH),
    api(ApiKey::FindCoordinator, "FindCoordinator", (0, 6), 3, &layout::FIND_COORDINATOR),
    api(ApiKey::JoinGroup, "JoinGroup", (2, 9), 6, &layout::JOIN_GROUP),
    api(ApiKey::Heartbeat, "Heartbeat", (0, 4), 4, &layout::HEARTBEAT),
    api(ApiKey::LeaveGroup, "LeaveGroup", (0, 5), 4, &layout::LEAVE_GROUP),
    api(ApiKey::SyncGroup, "SyncGroup", (0, 5), 4, &layout::SYNC_GROUP),
    api(ApiKey::DescribeGroups, "DescribeGroups", (0, 6), 5, &layout::DESCRIBE_GROUPS),
    api(ApiKey::ListGroups, "ListGroups", (0, 5), 3, &layout::LIST_GROUPS),
    api(ApiKey::ApiVersions, "ApiVersions", (0, 4), 3, &layout::API_VERSIONS),
    api(ApiKey::CreateTopics, "CreateTopics", (2, 7), 5, &layout::CREATE_TOPICS),
    api(ApiKey::DeleteTopics, "DeleteTopics", (1, 6), 4, &layout::DELETE_TOPICS),
    api(ApiKey::DeleteRecords, "DeleteRecords", (0, 2), 2, &layout::DELETE_RECORDS),
    api(ApiKey::InitProducerId, "InitProducerId", (0, 5), 2, &layout::INIT_PRODUCER_ID),
    api(ApiKey::OffsetForLeaderEpoch, "OffsetForLeaderEpoch", (2, 4), 4, &layout::OFFSET_FOR_LEADER_EPOCH),
    api(ApiKey::DescribeConfigs, "DescribeConfigs", (1, 4), 4, &layout::DESCRIBE_CONFIGS),
    api(ApiKey::AlterConfigs, "AlterConfigs", (0, 2), 2, &layout::ALTER_CONFIGS),
    api(ApiKey::AlterReplicaLogDirs, "AlterReplicaLogDirs", (1, 2), 2, &layout::ALTER_REPLICA_LOG_DIRS),
    api(ApiKey::DescribeLogDirs, "DescribeLogDirs", (1, 4), 2, &layout::DESCRIBE_LOG_DIRS),
    api(ApiKey::CreatePartitions, "CreatePartitions", (0, 3), 2, &layout::CREATE_PARTITIONS),
    api(ApiKey::DeleteGroups, "DeleteGroups", (0, 2), 2, &layout::DELETE_GROUPS),
    api(ApiKey::ElectLeaders, "ElectLeaders", (0, 2), 2, &layout::ELECT_LEADERS),
    api(ApiKey::IncrementalAlterConfigs, "IncrementalAlterConfigs", (0, 1), 1, &layout::INCREMENTAL_ALTER_CONFIGS),
    api(
        ApiKey::AlterPartitionReassignments,
        "AlterPartitionReassignments",
        (0, 1),
        0,
        &layout::ALTER_PARTITION_REASSIGNMENTS,
    ),
    api(
        ApiKey::ListPartitionReassignments,
        "ListPartitionReassignments",
        (0, 0),
        0,
        &layout::LIST_PARTITION_REASSIGNMENTS,
    ),
    api(ApiKey::OffsetDelete, "OffsetDelete", (0, 0), NEVER, &layout::OFFSET_DELETE),
    api(ApiKey::DescribeClientQuotas, "DescribeClientQuotas", (0, 1), 1, &layout::DESCRIBE_CLIENT_QUOTAS),
    api(ApiKey::AlterClientQuotas, "AlterClientQuotas", (0, 1), 1, &layout::ALTER_CLIENT_QUOTAS),
    api(ApiKey::DescribeCluster, "DescribeCluster", (0, 2), 0, &layout::DESCRIBE_CLUSTER),
    api(ApiKey::DescribeProducers, "DescribeProducers", (0, 0), 0, &layout::DESCRIBE_PRODUCERS),
    api(ApiKey::ConsumerGroupHeartbeat, "ConsumerGroupHeartbeat", (0, 1), 0, &layout::CONSUMER_GROUP_HEARTBEAT),
    api(ApiKey::ConsumerGroupDescribe, "ConsumerGroupDescribe", (0, 1), 0, &layout::CONSUMER_GROUP_DESCRIBE),
    api(
        ApiKey::GetTelemetrySubscriptions,
        "GetTelemetrySubscriptions",
        (0, 0),
        0,
        &layout::GET_TELEMETRY_SUBSCRIPTIONS,
    ),
    api(ApiKey::PushTelemetry, "PushTelemetry", (0, 0), 0, &layout::PUSH_TELEMETRY),
    api(ApiKey::ListConfigResources, "ListConfigResources", (0, 1), 0, &layout::LIST_CONFIG_RESOURCES),
    api(ApiKey::DescribeTopicPartitions, "DescribeTopicPartitions", (0, 0), 0, &layout::DESCRIBE_TOPIC_PARTITIONS),
];

/// The API of a key on the wire, if we serve it.
pub(crate) fn find(key: i16) -> Option<&'static Api> {
    APIS.iter().find(|api| api.key as i16 == key)
}

/// What ApiVersions lists: (key, oldest version, newest version).
pub fn served_versions() -> impl Iterator<Item = (i16, i16, i16)> {
    APIS.iter().map(|api| (api.key as i16, api.advertised_min(), api.max))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic)]
    use kafka_protocol::messages::*;
    use kafka_protocol::protocol::{Message, Request};

    use super::*;

    fn check<Q: Request>() {
        let Some(api) = find(Q::KEY) else { panic!("no API {}", Q::KEY) };
        let both = Q::VERSIONS.intersect(&<Q::Response as Message>::VERSIONS);
        assert!(both.min <= api.min && api.max <= both.max, "{}: the crate handles {both}", api.name);
        for version in api.min..=api.max {
            assert_eq!(api.is_flexible(version), Q::header_version(version) == 2, "{} v{version}", api.name);
        }
    }

    #[test]
    fn what_we_list_is_what_the_codec_really_handles() {
        check::<ProduceRequest>();
        check::<FetchRequest>();
        check::<ListOffsetsRequest>();
        check::<MetadataRequest>();
        check::<OffsetCommitRequest>();
        check::<OffsetFetchRequest>();
        check::<FindCoordinatorRequest>();
        check::<JoinGroupRequest>();
        check::<HeartbeatRequest>();
        check::<LeaveGroupRequest>();
        check::<SyncGroupRequest>();
        check::<DescribeGroupsRequest>();
        check::<ListGroupsRequest>();
        check::<DeleteGroupsRequest>();
        check::<OffsetDeleteRequest>();
        check::<ApiVersionsRequest>();
        check::<CreateTopicsRequest>();
        check::<DeleteTopicsRequest>();
        check::<InitProducerIdRequest>();
        check::<OffsetForLeaderEpochRequest>();
        check::<DescribeConfigsRequest>();
        check::<AlterConfigsRequest>();
        check::<IncrementalAlterConfigsRequest>();
        check::<DescribeClusterRequest>();
        check::<DescribeTopicPartitionsRequest>();
        check::<DeleteRecordsRequest>();
        check::<AlterReplicaLogDirsRequest>();
        check::<DescribeLogDirsRequest>();
        check::<CreatePartitionsRequest>();
        check::<ElectLeadersRequest>();
        check::<AlterPartitionReassignmentsRequest>();
        check::<ListPartitionReassignmentsRequest>();
        check::<DescribeClientQuotasRequest>();
        check::<AlterClientQuotasRequest>();
        check::<DescribeProducersRequest>();
        check::<ConsumerGroupHeartbeatRequest>();
        check::<ConsumerGroupDescribeRequest>();
        check::<GetTelemetrySubscriptionsRequest>();
        check::<PushTelemetryRequest>();
        check::<ListConfigResourcesRequest>();
        assert_eq!(APIS.len(), 40, "an API without a check above");
    }

    #[test]
    fn the_documentation_lists_what_is_served() {
        let package = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
        let page = std::fs::read_to_string(format!("{package}/../../docs/kafka-compatibility.md")).unwrap_or_default();
        let mut table = "| key | API | versions |\n|---|---|---|\n".to_owned();
        for (api, (key, min, max)) in APIS.iter().zip(served_versions()) {
            let versions = if min == max { min.to_string() } else { format!("{min}–{max}") };
            table.push_str(&format!("| {key} | {} | {versions} |\n", api.name));
        }
        assert!(page.contains(&table), "docs/kafka-compatibility.md should list:\n{table}");
    }

    #[test]
    fn produce_alone_is_listed_from_zero() {
        for (api, (key, min, _)) in APIS.iter().zip(served_versions()) {
            assert_eq!(min != api.min, key == ApiKey::Produce as i16);
        }
    }
}
