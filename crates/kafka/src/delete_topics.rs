//! DeleteTopics, by name and (from version 6) by id.

use std::collections::BTreeMap;
use std::sync::Arc;

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::TopicName;
use kafka_protocol::messages::delete_topics_request::DeleteTopicsRequest;
use kafka_protocol::messages::delete_topics_response::{DeletableTopicResult, DeleteTopicsResponse};
use runnel_api::TopicKey;
use runnel_record::TopicId;
use uuid::Uuid;

use crate::context::Context;
use crate::error::code;
use crate::reply::{Outcome, first_error};
use crate::topics;

pub(crate) async fn handle(ctx: Arc<Context>, version: i16, request: DeleteTopicsRequest) -> DeleteTopicsResponse {
    let named = request.topic_names.into_iter().map(|name| (Some(name), Uuid::nil()));
    let wanted: Vec<_> = named.chain(request.topics.into_iter().map(|topic| (topic.name, topic.topic_id))).collect();
    let mut count = BTreeMap::new();
    for topic in &wanted {
        *count.entry(topic.clone()).or_insert(0) += 1;
    }
    let mut responses = Vec::new();
    for (name, id) in wanted {
        let times = count.remove(&(name.clone(), id));
        let why = match (&name, times) {
            // It was answered where it stood first, as Kafka does.
            (_, None) => continue,
            (Some(_), _) if !id.is_nil() => "name the topic or give its id, not both",
            (None, _) if id.is_nil() => "name the topic or give its id",
            (_, Some(2..)) => "the topic appears more than once in the request",
            _ => {
                responses.push(delete(&ctx, version, name, id).await);
                continue;
            }
        };
        responses.push(refused(version, name, id, why));
    }
    DeleteTopicsResponse::default().with_responses(responses)
}

fn refused(version: i16, name: Option<TopicName>, id: Uuid, why: &str) -> DeletableTopicResult {
    let result = DeletableTopicResult::default().with_name(name).with_topic_id(id);
    let result = result.with_error_code(ResponseError::InvalidRequest.code());
    if version >= 5 { result.with_error_message(Some(topics::text(why))) } else { result }
}

async fn delete(ctx: &Context, version: i16, name: Option<TopicName>, id: Uuid) -> DeletableTopicResult {
    let result = DeletableTopicResult::default().with_name(name.clone()).with_topic_id(id);
    let key = match &name {
        Some(name) => topics::by_name(name),
        None => TopicKey::Id(TopicId(id)),
    };
    match ctx.broker.delete_topic(&key).await {
        Ok((name, id)) => {
            let result = result.with_name(Some(topics::wire_name(&name)));
            if version >= 6 { result.with_topic_id(id.0) } else { result }
        }
        Err(error) => {
            let result = result.with_error_code(code(error.kind).code());
            if version >= 5 { result.with_error_message(topics::message(&error)) } else { result }
        }
    }
}

impl Outcome for DeleteTopicsResponse {
    fn error_code(&self) -> i16 {
        first_error(self.responses.iter().map(|topic| topic.error_code))
    }
}
