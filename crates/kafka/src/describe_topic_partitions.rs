//! DescribeTopicPartitions: topics in pages (KIP-966).

use std::collections::BTreeSet;
use std::sync::Arc;

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::describe_topic_partitions_request::DescribeTopicPartitionsRequest;
use kafka_protocol::messages::describe_topic_partitions_response::{
    Cursor, DescribeTopicPartitionsResponse, DescribeTopicPartitionsResponsePartition,
    DescribeTopicPartitionsResponseTopic,
};
use kafka_protocol::messages::{BrokerId, TopicName};
use runnel_api::{Error, PartitionDescription, TopicDescription, TopicKey};

use crate::context::Context;
use crate::error::code;
use crate::reply::{Outcome, first_error};
use crate::topics::{self, ALL_TOPIC_OPERATIONS};

/// Most partitions in one page, as in Kafka (`max.request.partition.size.limit`).
const MAX_PAGE: usize = 2000;

pub(crate) async fn handle(
    ctx: Arc<Context>,
    _version: i16,
    request: DescribeTopicPartitionsRequest,
) -> DescribeTopicPartitionsResponse {
    let Ok(from) = start(&request) else {
        return refuse(&request);
    };
    let page = usize::try_from(request.response_partition_limit).unwrap_or(0).clamp(1, MAX_PAGE);
    let first = from.as_ref().map_or("", |(name, _)| name.as_str());
    let mut room = page;
    let mut shown = Vec::new();
    // Names in order, so that a cursor means something.
    for (name, topic) in wanted(&ctx, request.topics.iter().map(|t| t.name.to_string()), first).await {
        let skip = from.as_ref().filter(|(at, _)| *at == name).map_or(0, |(_, partition)| *partition);
        if room == 0 {
            return respond(shown, Some((&name, skip)));
        }
        match topic {
            Err(error) => shown.push(not_found(&name, &error)),
            Ok(topic) => {
                let partitions: Vec<_> = topic.partitions.iter().skip(skip).take(room).map(partition).collect();
                let (end, all) = (skip + partitions.len(), topic.partitions.len());
                room -= partitions.len();
                shown.push(found(&topic, partitions));
                if end < all {
                    return respond(shown, Some((&name, end)));
                }
            }
        }
    }
    respond(shown, None)
}

/// The cursor is none that we gave out.
struct NotOurs;

/// The topic and the partition to go on with.
fn start(request: &DescribeTopicPartitionsRequest) -> Result<Option<(String, usize)>, NotOurs> {
    let Some(cursor) = &request.cursor else { return Ok(None) };
    let named = |name: &TopicName| request.topics.iter().any(|topic| topic.name == *name);
    if !request.topics.is_empty() && !named(&cursor.topic_name) {
        return Err(NotOurs);
    }
    let partition = usize::try_from(cursor.partition_index).map_err(|_| NotOurs)?;
    Ok(Some((cursor.topic_name.to_string(), partition)))
}

/// The answer has no error of its own: as in Kafka each topic that was named has it, and without one nothing is said.
fn refuse(request: &DescribeTopicPartitionsRequest) -> DescribeTopicPartitionsResponse {
    let refused = |name: &TopicName| {
        DescribeTopicPartitionsResponseTopic::default()
            .with_name(Some(name.clone()))
            .with_error_code(ResponseError::InvalidRequest.code())
    };
    let topics = request.topics.iter().map(|topic| refused(&topic.name)).collect();
    DescribeTopicPartitionsResponse::default().with_topics(topics)
}

/// The topics asked for (all, if none is named) from `first` on, by name.
async fn wanted(
    ctx: &Context,
    names: impl Iterator<Item = String>,
    first: &str,
) -> Vec<(String, Result<TopicDescription, Error>)> {
    let names: BTreeSet<String> = names.collect();
    let mut wanted = Vec::new();
    if names.is_empty() {
        wanted.extend(ctx.broker.list_topics().await.into_iter().map(|topic| (topic.name.clone(), Ok(topic))));
        wanted.sort_by(|(a, _), (b, _)| a.cmp(b));
    }
    wanted.retain(|(name, _)| name.as_str() >= first);
    for name in names.into_iter().filter(|name| name.as_str() >= first) {
        let topic = ctx.broker.describe_topic(&TopicKey::Name(name.clone()), false).await;
        wanted.push((name, topic));
    }
    wanted
}

fn respond(
    topics: Vec<DescribeTopicPartitionsResponseTopic>,
    next: Option<(&str, usize)>,
) -> DescribeTopicPartitionsResponse {
    let cursor = next.map(|(name, partition)| {
        Cursor::default()
            .with_topic_name(topics::wire_name(name))
            .with_partition_index(i32::try_from(partition).unwrap_or(i32::MAX))
    });
    DescribeTopicPartitionsResponse::default().with_topics(topics).with_next_cursor(cursor)
}

fn not_found(name: &str, error: &Error) -> DescribeTopicPartitionsResponseTopic {
    DescribeTopicPartitionsResponseTopic::default()
        .with_name(Some(topics::wire_name(name)))
        .with_error_code(code(error.kind).code())
}

fn found(
    topic: &TopicDescription,
    partitions: Vec<DescribeTopicPartitionsResponsePartition>,
) -> DescribeTopicPartitionsResponseTopic {
    DescribeTopicPartitionsResponseTopic::default()
        .with_name(Some(topics::wire_name(&topic.name)))
        .with_topic_id(topic.id.0)
        .with_is_internal(topic.internal)
        .with_partitions(partitions)
        .with_topic_authorized_operations(ALL_TOPIC_OPERATIONS)
}

fn partition(partition: &PartitionDescription) -> DescribeTopicPartitionsResponsePartition {
    let error = if partition.leader.is_some() { 0 } else { ResponseError::LeaderNotAvailable.code() };
    let ids = |ids: &[i32]| ids.iter().copied().map(BrokerId).collect();
    DescribeTopicPartitionsResponsePartition::default()
        .with_error_code(error)
        .with_partition_index(partition.partition)
        .with_leader_id(BrokerId(partition.leader.unwrap_or(-1)))
        .with_leader_epoch(partition.leader_epoch.0)
        .with_replica_nodes(ids(&partition.replicas))
        .with_isr_nodes(ids(&partition.in_sync))
        // Java's admin client fails on null here.
        .with_eligible_leader_replicas(Some(Vec::new()))
        .with_last_known_elr(Some(Vec::new()))
}

impl Outcome for DescribeTopicPartitionsResponse {
    fn error_code(&self) -> i16 {
        first_error(self.topics.iter().map(|topic| topic.error_code))
    }
}
