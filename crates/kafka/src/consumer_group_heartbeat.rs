//! ConsumerGroupHeartbeat (KIP-848): a sign of life, by which a member also joins, leaves and learns what it may read.

use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::messages::consumer_group_heartbeat_request::ConsumerGroupHeartbeatRequest;
use kafka_protocol::messages::consumer_group_heartbeat_response::{
    Assignment, ConsumerGroupHeartbeatResponse, TopicPartitions,
};
use runnel_api::groups::{ConsumerBeat, ConsumerHeartbeat, Partitions};
use runnel_record::TopicId;

use crate::context::Context;
use crate::error::group_code;
use crate::reply::Outcome;
use crate::topics::{self, text};

/// First version whose clients choose their member id.
const WITH_CHOSEN_ID: i16 = 1;

pub(crate) async fn handle(
    ctx: Arc<Context>,
    version: i16,
    request: ConsumerGroupHeartbeatRequest,
    client_id: String,
) -> ConsumerGroupHeartbeatResponse {
    let owned = request.topic_partitions.map(|topics| {
        let owned = topics.into_iter().map(|topic| (TopicId(topic.topic_id), topic.partitions));
        owned.collect::<Partitions>()
    });
    let beat = ConsumerHeartbeat {
        group: request.group_id.to_string(),
        member_id: request.member_id.to_string(),
        chooses_id: version >= WITH_CHOSEN_ID,
        epoch: request.member_epoch,
        instance_id: request.instance_id.as_ref().map(ToString::to_string),
        rack: request.rack_id.as_ref().map(ToString::to_string),
        rebalance_timeout: u64::try_from(request.rebalance_timeout_ms).ok().map(Duration::from_millis),
        topics: request.subscribed_topic_names.map(|names| names.iter().map(|name| name.to_string()).collect()),
        pattern: request.subscribed_topic_regex.as_ref().map(ToString::to_string),
        assignor: request.server_assignor.as_ref().map(ToString::to_string),
        owned,
        client_id,
        client_host: ctx.peer.clone(),
    };
    match ctx.broker.consumer_heartbeat(beat).await {
        Ok(beat) => accepted(beat),
        Err(error) => ConsumerGroupHeartbeatResponse::default()
            .with_error_code(group_code(error.kind).code())
            .with_error_message(topics::message(&error)),
    }
}

fn accepted(beat: ConsumerBeat) -> ConsumerGroupHeartbeatResponse {
    let assignment = beat.assignment.map(|partitions| {
        let topics = partitions
            .topics()
            .map(|(id, partitions)| TopicPartitions::default().with_topic_id(id.0).with_partitions(partitions));
        Assignment::default().with_topic_partitions(topics.collect())
    });
    ConsumerGroupHeartbeatResponse::default()
        .with_member_id(Some(text(&beat.member_id)))
        .with_member_epoch(beat.epoch)
        .with_heartbeat_interval_ms(i32::try_from(beat.interval.as_millis()).unwrap_or(i32::MAX))
        .with_assignment(assignment)
}

impl Outcome for ConsumerGroupHeartbeatResponse {
    fn error_code(&self) -> i16 {
        self.error_code
    }
}
