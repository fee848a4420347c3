//! OffsetFetch: no group has committed anything, see `find_coordinator`.

use std::sync::Arc;

use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequest;
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponse, OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use kafka_protocol::protocol::StrBytes;

use crate::context::Context;
use crate::reply::Outcome;

/// "Nothing committed" on the wire.
const NONE: i64 = -1;

/// First version that asks for many groups at once.
const WITH_GROUPS: i16 = 8;

pub(crate) async fn handle(_: Arc<Context>, version: i16, request: OffsetFetchRequest) -> OffsetFetchResponse {
    if version < WITH_GROUPS {
        let topics = request.topics.unwrap_or_default().into_iter().map(|topic| {
            let partitions = topic.partition_indexes.into_iter().map(|partition| {
                OffsetFetchResponsePartition::default()
                    .with_partition_index(partition)
                    .with_committed_offset(NONE)
                    .with_metadata(Some(StrBytes::new()))
            });
            OffsetFetchResponseTopic::default().with_name(topic.name).with_partitions(partitions.collect())
        });
        return OffsetFetchResponse::default().with_topics(topics.collect());
    }
    let groups = request.groups.into_iter().map(|group| {
        let topics = group.topics.unwrap_or_default().into_iter().map(|topic| {
            let partitions = topic.partition_indexes.into_iter().map(|partition| {
                OffsetFetchResponsePartitions::default()
                    .with_partition_index(partition)
                    .with_committed_offset(NONE)
                    .with_metadata(Some(StrBytes::new()))
            });
            OffsetFetchResponseTopics::default().with_name(topic.name).with_partitions(partitions.collect())
        });
        OffsetFetchResponseGroup::default().with_group_id(group.group_id).with_topics(topics.collect())
    });
    OffsetFetchResponse::default().with_groups(groups.collect())
}

impl Outcome for OffsetFetchResponse {
    fn error_code(&self) -> i16 {
        0
    }
}
