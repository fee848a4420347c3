//! ListOffsets: first, last, by timestamp (KIP-79, KIP-734, KIP-405, KIP-1005).

use std::sync::Arc;

use futures::{StreamExt, stream};
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsRequest};
use kafka_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsResponse, ListOffsetsTopicResponse,
};
use runnel_api::{Isolation, ListedOffset, OffsetSpec, TopicKey};
use runnel_record::{LeaderEpoch, TimestampMs};

use crate::context::Context;
use crate::error::read_code;
use crate::reply::{Outcome, first_error};
use crate::topics;

/// Partitions that one request looks at at a time: those that it is the first to ask wait for the disk together.
const LOOKUPS: usize = 16;

pub(crate) async fn handle(ctx: Arc<Context>, version: i16, request: ListOffsetsRequest) -> ListOffsetsResponse {
    let isolation = isolation(request.isolation_level);
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let key = topics::by_name(&topic.name);
        let lookups = topic.partitions.into_iter();
        let lookups = lookups.map(|wanted| find(Arc::clone(&ctx), version, key.clone(), wanted, isolation));
        let partitions = stream::iter(lookups).buffered(LOOKUPS).collect().await;
        topics.push(ListOffsetsTopicResponse::default().with_name(topic.name).with_partitions(partitions));
    }
    ListOffsetsResponse::default().with_topics(topics)
}

/// The isolation level of a number on the wire.
pub(crate) fn isolation(level: i8) -> Isolation {
    if level == 1 { Isolation::ReadCommitted } else { Isolation::ReadUncommitted }
}

/// A leader epoch on the wire, where −1 means "none given".
pub(crate) fn given_epoch(epoch: i32) -> Option<LeaderEpoch> {
    (epoch >= 0).then_some(LeaderEpoch(epoch))
}

async fn find(
    ctx: Arc<Context>,
    version: i16,
    topic: TopicKey,
    wanted: ListOffsetsPartition,
    isolation: Isolation,
) -> ListOffsetsPartitionResponse {
    let response = ListOffsetsPartitionResponse::default().with_partition_index(wanted.partition_index);
    let Some(spec) = spec(wanted.timestamp, version) else {
        return response.with_error_code(ResponseError::UnsupportedVersion.code());
    };
    let epoch = given_epoch(wanted.current_leader_epoch);
    match ctx.broker.list_offset(&topic, wanted.partition_index, spec, isolation, epoch).await {
        Err(error) => response.with_error_code(read_code(error.kind).code()),
        Ok(None) => response,
        Ok(Some(ListedOffset { offset, timestamp, leader_epoch })) => {
            let response = response.with_offset(offset.0).with_timestamp(timestamp.0);
            // Fields that a version lacks must keep their default, or encoding fails.
            if version >= 4 { response.with_leader_epoch(leader_epoch.map_or(-1, |e| e.0)) } else { response }
        }
    }
}

/// What a timestamp asks for; negative ones have meanings, each since some version.
fn spec(timestamp: i64, version: i16) -> Option<OffsetSpec> {
    match (timestamp, version) {
        (0.., _) => Some(OffsetSpec::Timestamp(TimestampMs(timestamp))),
        (-1, _) => Some(OffsetSpec::Latest),
        (-2, _) | (-4, 8..) => Some(OffsetSpec::Earliest),
        (-3, 7..) => Some(OffsetSpec::MaxTimestamp),
        (-5, 9..) => Some(OffsetSpec::LatestTiered),
        _ => None,
    }
}

impl Outcome for ListOffsetsResponse {
    fn error_code(&self) -> i16 {
        first_error(self.topics.iter().flat_map(|t| &t.partitions).map(|p| p.error_code))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn negative_timestamps_mean_something_only_in_the_versions_that_have_them() {
        assert_eq!(spec(0, 1), Some(OffsetSpec::Timestamp(TimestampMs(0))));
        assert_eq!(spec(-1, 1), Some(OffsetSpec::Latest));
        assert_eq!(spec(-2, 1), Some(OffsetSpec::Earliest));
        assert_eq!((spec(-3, 6), spec(-3, 7)), (None, Some(OffsetSpec::MaxTimestamp)));
        assert_eq!((spec(-4, 7), spec(-4, 8)), (None, Some(OffsetSpec::Earliest)));
        assert_eq!((spec(-5, 8), spec(-5, 9)), (None, Some(OffsetSpec::LatestTiered)));
        assert_eq!((spec(-6, 10), spec(i64::MIN, 10)), (None, None));
    }
}
