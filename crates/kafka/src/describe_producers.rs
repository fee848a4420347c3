//! DescribeProducers: who writes to a partition, as far as idempotence remembers (KIP-664).

use std::collections::BTreeSet;
use std::sync::Arc;

use kafka_protocol::messages::ProducerId as WireId;
use kafka_protocol::messages::describe_producers_request::DescribeProducersRequest;
use kafka_protocol::messages::describe_producers_response::{
    DescribeProducersResponse, PartitionResponse, ProducerState, TopicResponse,
};
use runnel_api::{ActiveProducer, TopicKey};

use crate::context::Context;
use crate::error::code;
use crate::reply::{Outcome, first_error};
use crate::topics;

pub(crate) async fn handle(
    ctx: Arc<Context>,
    _version: i16,
    request: DescribeProducersRequest,
) -> DescribeProducersResponse {
    let mut results = Vec::with_capacity(request.topics.len());
    // Each once: the answer to a partition that is repeated could be as large as anyone likes.
    let mut seen = BTreeSet::new();
    for topic in request.topics {
        let key = topics::by_name(&topic.name);
        let mut partitions = Vec::with_capacity(topic.partition_indexes.len());
        for partition in topic.partition_indexes {
            if !seen.insert((key.clone(), partition)) {
                continue;
            }
            partitions.push(describe(&ctx, &key, partition).await);
        }
        results.push(TopicResponse::default().with_name(topic.name).with_partitions(partitions));
    }
    DescribeProducersResponse::default().with_topics(results)
}

async fn describe(ctx: &Context, topic: &TopicKey, partition: i32) -> PartitionResponse {
    let response = PartitionResponse::default().with_partition_index(partition);
    match ctx.broker.active_producers(topic, partition).await {
        Ok(active) => response.with_active_producers(active.iter().map(state).collect()),
        Err(error) => response.with_error_code(code(error.kind).code()).with_error_message(topics::message(&error)),
    }
}

/// Without transactions there is neither a coordinator nor an open transaction.
fn state(producer: &ActiveProducer) -> ProducerState {
    ProducerState::default()
        .with_producer_id(WireId(producer.identity.id.0))
        .with_producer_epoch(i32::from(producer.identity.epoch))
        .with_last_sequence(producer.last_sequence)
        .with_last_timestamp(producer.last_append.0)
        .with_coordinator_epoch(-1)
        .with_current_txn_start_offset(-1)
}

impl Outcome for DescribeProducersResponse {
    fn error_code(&self) -> i16 {
        first_error(self.topics.iter().flat_map(|t| &t.partitions).map(|p| p.error_code))
    }
}
