//! What goes through partitions.

use bytes::Bytes;
use runnel_api::Flow;
use runnel_api::error::Result;
use runnel_proto::peer::v1::{TrafficResponse, traffic_response as pb};
use runnel_record::{LeaderEpoch, TopicPartition};

use super::topic_id;

/// What a broker says of all that it leads.
pub fn told(flows: Vec<Flow>) -> TrafficResponse {
    let of = |flow: Flow| pb::Flow {
        topic_id: Bytes::copy_from_slice(flow.tp.topic.0.as_bytes()),
        partition: flow.tp.partition,
        epoch: flow.epoch.0,
        bytes: flow.bytes,
    };
    TrafficResponse { flows: flows.into_iter().map(of).collect() }
}

/// The same, on the other side.
///
/// # Errors
/// For a message that does not make sense.
pub fn found(response: TrafficResponse) -> Result<Vec<Flow>> {
    let of = |flow: pb::Flow| {
        let tp = TopicPartition { topic: topic_id(&flow.topic_id)?, partition: flow.partition };
        Ok(Flow { tp, epoch: LeaderEpoch(flow.epoch), bytes: flow.bytes })
    };
    response.flows.into_iter().map(of).collect()
}
