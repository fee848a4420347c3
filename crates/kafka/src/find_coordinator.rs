//! FindCoordinator: this broker, for groups; nobody yet, for transactions.
//!
//! Transactions come later. Java and kafka-python give up on an unexpected error and show its message. librdkafka,
//! which asks with versions before 4, would ask again for ever, and takes only "not authorised" as final.

use std::sync::Arc;

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::BrokerId;
use kafka_protocol::messages::find_coordinator_request::FindCoordinatorRequest;
use kafka_protocol::messages::find_coordinator_response::{Coordinator, FindCoordinatorResponse};
use kafka_protocol::protocol::StrBytes;

use crate::context::Context;
use crate::reply::{Outcome, first_error};
use crate::topics;

/// First version that asks for many keys at once.
const WITH_KEYS: i16 = 4;

const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;

pub(crate) async fn handle(
    ctx: Arc<Context>,
    version: i16,
    request: FindCoordinatorRequest,
) -> FindCoordinatorResponse {
    let node = ctx.broker.describe_cluster().await.this_node;
    let no_transactions = if version >= WITH_KEYS {
        ResponseError::TransactionalIdNotFound
    } else {
        ResponseError::TransactionalIdAuthorizationFailed
    };
    let answer = |key: StrBytes| {
        let found = Coordinator::default().with_key(key).with_error_message(None);
        match request.key_type {
            GROUP => found
                .with_node_id(BrokerId(node))
                .with_host(topics::text(&ctx.advertised.host))
                .with_port(i32::from(ctx.advertised.port)),
            TRANSACTION => {
                refused(found, no_transactions, "transactions are not supported yet: produce without transactional.id")
            }
            _ => refused(found, ResponseError::InvalidRequest, "share groups are not supported yet"),
        }
    };
    if version >= WITH_KEYS {
        let coordinators = request.coordinator_keys.into_iter().map(answer);
        return FindCoordinatorResponse::default().with_coordinators(coordinators.collect());
    }
    let found = answer(request.key);
    FindCoordinatorResponse::default()
        .with_error_code(found.error_code)
        .with_error_message(found.error_message)
        .with_node_id(found.node_id)
        .with_host(found.host)
        .with_port(found.port)
}

fn refused(asked: Coordinator, error: ResponseError, why: &str) -> Coordinator {
    asked
        .with_node_id(BrokerId(-1))
        .with_port(-1)
        .with_error_code(error.code())
        .with_error_message(Some(topics::text(why)))
}

impl Outcome for FindCoordinatorResponse {
    fn error_code(&self) -> i16 {
        first_error(self.coordinators.iter().map(|c| c.error_code).chain([self.error_code]))
    }
}
