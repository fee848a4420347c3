//! OffsetDelete: forgetting what a group has committed (KIP-496).

use std::sync::Arc;

use kafka_protocol::messages::offset_delete_request::OffsetDeleteRequest;
use kafka_protocol::messages::offset_delete_response::{
    OffsetDeleteResponse, OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use runnel_api::TopicKey;
use runnel_api::groups::DeleteOffsets;

use crate::context::Context;
use crate::error::{group_code, group_outcome};
use crate::reply::{Outcome, first_error};
use crate::topics;

pub(crate) async fn handle(ctx: Arc<Context>, _version: i16, request: OffsetDeleteRequest) -> OffsetDeleteResponse {
    let mut partitions = Vec::new();
    for topic in &request.topics {
        let TopicKey::Name(name) = topics::by_name(&topic.name) else { continue };
        partitions.extend(topic.partitions.iter().map(|partition| (name.clone(), partition.partition_index)));
    }
    let delete = DeleteOffsets { group: request.group_id.to_string(), partitions };
    let each = match ctx.broker.delete_offsets(delete).await {
        Ok(each) => each,
        Err(error) => return OffsetDeleteResponse::default().with_error_code(group_code(error.kind).code()),
    };
    let mut codes = each.into_iter().map(group_outcome);
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.into_iter().map(|partition| {
            OffsetDeleteResponsePartition::default()
                .with_partition_index(partition.partition_index)
                .with_error_code(codes.next().unwrap_or(0))
        });
        OffsetDeleteResponseTopic::default().with_name(topic.name).with_partitions(partitions.collect())
    });
    OffsetDeleteResponse::default().with_topics(topics.collect())
}

impl Outcome for OffsetDeleteResponse {
    fn error_code(&self) -> i16 {
        let each = self.topics.iter().flat_map(|topic| &topic.partitions).map(|partition| partition.error_code);
        first_error(each.chain([self.error_code]))
    }
}
