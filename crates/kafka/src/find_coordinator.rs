//! FindCoordinator: this broker, for groups; nobody yet, for transactions.
//!
//! Consumer groups come later. A consumer with manual assignment and a group id still looks for its coordinator and
//! asks it for committed offsets before it reads; it gets both answers (there are none), and goes on. Everything
//! that would need a group is refused: commits by an error, membership by not being served at all.

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
    let answer = |key: StrBytes| coordinator(&ctx, node, request.key_type, key);
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

fn coordinator(ctx: &Context, node: i32, key_type: i8, key: StrBytes) -> Coordinator {
    let found = Coordinator::default().with_key(key);
    let refused = |error: ResponseError, why: &str| {
        found
            .clone()
            .with_node_id(BrokerId(-1))
            .with_port(-1)
            .with_error_code(error.code())
            .with_error_message(Some(topics::text(why)))
    };
    match key_type {
        GROUP => found
            .with_node_id(BrokerId(node))
            .with_host(topics::text(&ctx.advertised.host))
            .with_port(i32::from(ctx.advertised.port)),
        // Any code that clients do not expect here makes them give up and show the message.
        TRANSACTION => refused(
            ResponseError::TransactionalIdNotFound,
            "transactions are not supported yet: produce without transactional.id",
        ),
        _ => refused(ResponseError::InvalidRequest, "share groups are not supported yet"),
    }
}

impl Outcome for FindCoordinatorResponse {
    fn error_code(&self) -> i16 {
        first_error(self.coordinators.iter().map(|c| c.error_code).chain([self.error_code]))
    }
}
