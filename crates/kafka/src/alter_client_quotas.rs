//! AlterClientQuotas (KIP-546). Quotas are kept and reported; the log says that they do not hold anybody up yet: clients
//! take a message in the answer for a failure.

use std::sync::Arc;

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::alter_client_quotas_request::{AlterClientQuotasRequest, EntryData};
use kafka_protocol::messages::alter_client_quotas_response::{
    AlterClientQuotasResponse, EntityData, EntryData as EntryResult,
};
use runnel_api::{QuotaChange, QuotaEntity};

use crate::context::Context;
use crate::error::code;
use crate::reply::{Outcome, first_error};
use crate::topics;

pub(crate) async fn handle(
    ctx: Arc<Context>,
    _version: i16,
    request: AlterClientQuotasRequest,
) -> AlterClientQuotasResponse {
    let mut results = Vec::with_capacity(request.entries.len());
    for entry in request.entries {
        results.push(alter(&ctx, entry, request.validate_only).await);
    }
    AlterClientQuotasResponse::default().with_entries(results)
}

async fn alter(ctx: &Context, mut entry: EntryData, validate_only: bool) -> EntryResult {
    // The order of an entity's parts means nothing; Kafka answers client-id first, and tests of clients look at that.
    entry.entity.sort_by(|a, b| a.entity_type.cmp(&b.entity_type));
    let shown = entry.entity.iter().map(|part| {
        EntityData::default().with_entity_type(part.entity_type.clone()).with_entity_name(part.entity_name.clone())
    });
    let result = EntryResult::default().with_entity(shown.collect()).with_error_message(None);
    let parts = entry.entity.len();
    let entity: QuotaEntity = entry
        .entity
        .into_iter()
        .map(|part| (part.entity_type.to_string(), part.entity_name.map(|name| name.to_string())))
        .collect();
    if entity.len() < parts {
        let why = topics::text("a type of entity is named twice");
        return result.with_error_code(ResponseError::InvalidRequest.code()).with_error_message(Some(why));
    }
    let limits = entry.ops.into_iter().map(|op| (op.key.to_string(), (!op.remove).then_some(op.value))).collect();
    let shown = format!("{entity:?}");
    let changed = ctx.broker.alter_client_quotas(&[QuotaChange { entity, limits }], validate_only).await;
    match changed.into_iter().find_map(Result::err) {
        None => {
            if !validate_only {
                tracing::warn!(entity = shown, "a quota was set: it is kept and reported, but not enforced yet");
            }
            result
        }
        Some(error) => result.with_error_code(code(error.kind).code()).with_error_message(topics::message(&error)),
    }
}

impl Outcome for AlterClientQuotasResponse {
    fn error_code(&self) -> i16 {
        first_error(self.entries.iter().map(|entry| entry.error_code))
    }
}
