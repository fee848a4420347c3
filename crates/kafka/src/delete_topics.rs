//! DeleteTopics, by name and (from version 6) by id.

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
    let wanted = named.chain(request.topics.into_iter().map(|topic| (topic.name, topic.topic_id)));
    let mut responses = Vec::new();
    for (name, id) in wanted {
        responses.push(delete(&ctx, version, name, id).await);
    }
    DeleteTopicsResponse::default().with_responses(responses)
}

async fn delete(ctx: &Context, version: i16, name: Option<TopicName>, id: Uuid) -> DeletableTopicResult {
    let result = DeletableTopicResult::default().with_name(name.clone()).with_topic_id(id);
    let key = match &name {
        Some(_) if !id.is_nil() => {
            let why = topics::text("name the topic or give its id, not both");
            return result.with_error_code(ResponseError::InvalidRequest.code()).with_error_message(Some(why));
        }
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
