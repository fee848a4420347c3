//! OffsetCommit: refused, see `find_coordinator`.

use std::sync::Arc;

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::offset_commit_request::OffsetCommitRequest;
use kafka_protocol::messages::offset_commit_response::{
    OffsetCommitResponse, OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};

use crate::context::Context;
use crate::reply::{Outcome, first_error};

/// Not retriable, so that a commit fails at once and a consumer that commits in the background only logs it.
const REFUSED: ResponseError = ResponseError::InvalidGroupId;

pub(crate) async fn handle(_: Arc<Context>, _version: i16, request: OffsetCommitRequest) -> OffsetCommitResponse {
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.into_iter().map(|partition| {
            OffsetCommitResponsePartition::default()
                .with_partition_index(partition.partition_index)
                .with_error_code(REFUSED.code())
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
