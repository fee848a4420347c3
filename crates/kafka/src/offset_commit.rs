//! OffsetCommit: what a group has read.

use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::offset_commit_request::OffsetCommitRequest;
use kafka_protocol::messages::offset_commit_response::{
    OffsetCommitResponse, OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use runnel_api::TopicKey;
use runnel_api::groups::{CommitOffset, CommitOffsets};

use crate::context::Context;
use crate::error::{group_code, group_outcome};
use crate::membership::membership;
use crate::reply::{Outcome, first_error};
use crate::topics;

/// Last version in which a commit may say how long it is kept (KIP-211).
const WITH_RETENTION: i16 = 4;

/// First version whose clients know of member epochs (KIP-848).
const WITH_MEMBER_EPOCH: i16 = 9;

pub(crate) async fn handle(ctx: Arc<Context>, version: i16, request: OffsetCommitRequest) -> OffsetCommitResponse {
    let mut offsets = Vec::new();
    for topic in &request.topics {
        let TopicKey::Name(name) = topics::by_name(&topic.name) else { continue };
        offsets.extend(topic.partitions.iter().map(|partition| CommitOffset {
            topic: name.clone(),
            partition: partition.partition_index,
            offset: partition.committed_offset,
            leader_epoch: partition.committed_leader_epoch,
            metadata: partition.committed_metadata.as_ref().map(ToString::to_string).unwrap_or_default(),
        }));
    }
    let retention = u64::try_from(request.retention_time_ms).ok().filter(|_| version <= WITH_RETENTION);
    let commit = CommitOffsets {
        group: request.group_id.to_string(),
        member: membership(
            request.generation_id_or_member_epoch,
            &request.member_id,
            request.group_instance_id.as_ref(),
        ),
        knows_epochs: version >= WITH_MEMBER_EPOCH,
        retention: retention.map(Duration::from_millis),
        offsets,
    };
    let (each, whole) = match ctx.broker.commit_offsets(commit).await {
        Ok(each) => (each, 0),
        Err(error) => (Vec::new(), group_code(error.kind).code()),
    };
    let mut codes = each.into_iter().map(group_outcome);
    let missing = if whole == 0 { ResponseError::UnknownServerError.code() } else { whole };
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.into_iter().map(|partition| {
            OffsetCommitResponsePartition::default()
                .with_partition_index(partition.partition_index)
                .with_error_code(codes.next().unwrap_or(missing))
        });
        OffsetCommitResponseTopic::default().with_name(topic.name).with_partitions(partitions.collect())
    });
    OffsetCommitResponse::default().with_topics(topics.collect())
}

impl Outcome for OffsetCommitResponse {
    fn error_code(&self) -> i16 {
        first_error(self.topics.iter().flat_map(|t| &t.partitions).map(|p| p.error_code))
    }
}
