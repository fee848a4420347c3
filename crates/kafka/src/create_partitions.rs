//! CreatePartitions (KIP-195).

use std::collections::BTreeMap;
use std::sync::Arc;

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::create_partitions_request::{CreatePartitionsRequest, CreatePartitionsTopic};
use kafka_protocol::messages::create_partitions_response::{CreatePartitionsResponse, CreatePartitionsTopicResult};
use runnel_api::NewPartitions;

use crate::context::Context;
use crate::error::code;
use crate::reply::{Outcome, first_error};
use crate::topics;

pub(crate) async fn handle(
    ctx: Arc<Context>,
    _version: i16,
    request: CreatePartitionsRequest,
) -> CreatePartitionsResponse {
    let mut count = BTreeMap::new();
    for topic in &request.topics {
        *count.entry(topic.name.clone()).or_insert(0) += 1;
    }
    let mut results = Vec::with_capacity(count.len());
    for topic in request.topics {
        let result = CreatePartitionsTopicResult::default().with_name(topic.name.clone());
        results.push(match count.get(&topic.name) {
            Some(1) => add(&ctx, topic, request.validate_only, result).await,
            // Answered once, at the first of them, as Kafka does.
            Some(_) => {
                count.remove(&topic.name);
                result
                    .with_error_code(ResponseError::InvalidRequest.code())
                    .with_error_message(Some(topics::text("the topic appears more than once in the request")))
            }
            None => continue,
        });
    }
    CreatePartitionsResponse::default().with_results(results)
}

async fn add(
    ctx: &Context,
    topic: CreatePartitionsTopic,
    validate_only: bool,
    result: CreatePartitionsTopicResult,
) -> CreatePartitionsTopicResult {
    let brokers = |assigned: Vec<_>| assigned.into_iter().map(i32::from).collect();
    let assignments = topic.assignments.map(|all| all.into_iter().map(|new| brokers(new.broker_ids)).collect());
    let wanted = NewPartitions { topic: topic.name.to_string(), count: topic.count, assignments };
    match ctx.broker.create_partitions(&wanted, validate_only).await {
        Ok(()) => result,
        Err(error) => result.with_error_code(code(error.kind).code()).with_error_message(topics::message(&error)),
    }
}

impl Outcome for CreatePartitionsResponse {
    fn error_code(&self) -> i16 {
        first_error(self.results.iter().map(|result| result.error_code))
    }
}
