//! CreateTopics.

use std::collections::BTreeMap;
use std::sync::Arc;

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreateTopicsRequest};
use kafka_protocol::messages::create_topics_response::{
    CreatableTopicConfigs, CreatableTopicResult, CreateTopicsResponse,
};
use runnel_api::{CreateTopic, CreatedTopic};

use crate::context::Context;
use crate::describe_configs::source_code;
use crate::error::code;
use crate::reply::{Outcome, first_error};
use crate::topics;

/// Topics of one request that are answered with their settings. The settings are a hundred times larger than the
/// request, and nobody who creates more topics at once looks at them.
const WITH_CONFIGS: usize = 1000;

pub(crate) async fn handle(ctx: Arc<Context>, version: i16, request: CreateTopicsRequest) -> CreateTopicsResponse {
    let mut count = BTreeMap::new();
    for topic in &request.topics {
        *count.entry(topic.name.clone()).or_insert(0) += 1;
    }
    let mut results = Vec::with_capacity(count.len());
    for topic in request.topics {
        // An empty message would be a message: clients look for null (aiokafka's and sarama's own tests do).
        let result = CreatableTopicResult::default()
            .with_name(topic.name.clone())
            .with_num_partitions(-1)
            .with_error_message(None);
        results.push(match count.get(&topic.name) {
            Some(1) => {
                let created = create(&ctx, version, topic, request.validate_only, result).await;
                if results.len() < WITH_CONFIGS { created } else { created.with_configs(None) }
            }
            // Answered once, at the first of them, as Kafka does.
            Some(_) => {
                count.remove(&topic.name);
                refused(result, "the topic appears more than once in the request")
            }
            None => continue,
        });
    }
    CreateTopicsResponse::default().with_topics(results)
}

fn refused(result: CreatableTopicResult, why: &str) -> CreatableTopicResult {
    result.with_error_code(ResponseError::InvalidRequest.code()).with_error_message(Some(topics::text(why)))
}

async fn create(
    ctx: &Context,
    version: i16,
    topic: CreatableTopic,
    validate_only: bool,
    result: CreatableTopicResult,
) -> CreatableTopicResult {
    let assigned = !topic.assignments.is_empty();
    if assigned && (topic.num_partitions != -1 || topic.replication_factor != -1) {
        return refused(result, "give either partitions and replication factor or an assignment, not both");
    }
    let wanted = CreateTopic {
        name: topic.name.to_string(),
        partitions: (topic.num_partitions != -1).then_some(topic.num_partitions),
        replication_factor: (topic.replication_factor != -1).then_some(topic.replication_factor),
        assignments: topic
            .assignments
            .into_iter()
            .map(|a| (a.partition_index, a.broker_ids.into_iter().map(|id| id.0).collect()))
            .collect(),
        configs: topic
            .configs
            .into_iter()
            .map(|c| (c.name.to_string(), c.value.map(|value| value.to_string())))
            .collect(),
    };
    match ctx.broker.create_topic(wanted, validate_only).await {
        Ok(made) => created(version, made, result),
        Err(error) => result.with_error_code(code(error.kind).code()).with_error_message(topics::message(&error)),
    }
}

fn created(version: i16, made: CreatedTopic, result: CreatableTopicResult) -> CreatableTopicResult {
    if version < 5 {
        return result;
    }
    let configs = made.configs.iter().map(|entry| {
        CreatableTopicConfigs::default()
            .with_name(topics::text(&entry.name))
            .with_value(entry.value.as_deref().map(topics::text))
            .with_read_only(entry.read_only)
            .with_config_source(source_code(entry.source))
            .with_is_sensitive(entry.sensitive)
    });
    result
        .with_topic_id(made.id.0)
        .with_num_partitions(made.partitions)
        .with_replication_factor(made.replication_factor)
        .with_configs(Some(configs.collect()))
}

impl Outcome for CreateTopicsResponse {
    fn error_code(&self) -> i16 {
        first_error(self.topics.iter().map(|topic| topic.error_code))
    }
}
