//! OffsetForLeaderEpoch: where an epoch ends (KIP-101, KIP-320).

use std::sync::Arc;

use kafka_protocol::messages::offset_for_leader_epoch_request::OffsetForLeaderEpochRequest;
use kafka_protocol::messages::offset_for_leader_epoch_response::{
    EpochEndOffset, OffsetForLeaderEpochResponse, OffsetForLeaderTopicResult,
};
use runnel_api::EpochEnd;
use runnel_record::LeaderEpoch;

use crate::context::Context;
use crate::error::read_code;
use crate::list_offsets::given_epoch;
use crate::reply::{Outcome, first_error};
use crate::topics;

pub(crate) async fn handle(
    ctx: Arc<Context>,
    _version: i16,
    request: OffsetForLeaderEpochRequest,
) -> OffsetForLeaderEpochResponse {
    let mut results = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let key = topics::by_name(&topic.topic);
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for wanted in &topic.partitions {
            let (epoch, current) = (LeaderEpoch(wanted.leader_epoch), given_epoch(wanted.current_leader_epoch));
            let response = EpochEndOffset::default().with_partition(wanted.partition);
            partitions.push(match ctx.broker.epoch_end(&key, wanted.partition, epoch, current).await {
                Ok(Some(EpochEnd { epoch, end_offset })) => {
                    response.with_leader_epoch(epoch.0).with_end_offset(end_offset.0)
                }
                Ok(None) => response,
                Err(error) => response.with_error_code(read_code(error.kind).code()),
            });
        }
        results.push(OffsetForLeaderTopicResult::default().with_topic(topic.topic).with_partitions(partitions));
    }
    OffsetForLeaderEpochResponse::default().with_topics(results)
}

impl Outcome for OffsetForLeaderEpochResponse {
    fn error_code(&self) -> i16 {
        first_error(self.topics.iter().flat_map(|t| &t.partitions).map(|p| p.error_code))
    }
}
