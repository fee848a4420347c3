//! FindCoordinator: who leads the group's partition of `__consumer_offsets`; nobody yet, for transactions.
//!
//! Transactions come later. Java and kafka-python give up on an unexpected error and show its message. librdkafka,
//! which asks with versions before 4, would ask again for ever, and takes only "not authorised" as final.

use std::sync::Arc;

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::BrokerId;
use kafka_protocol::messages::find_coordinator_request::FindCoordinatorRequest;
use kafka_protocol::messages::find_coordinator_response::{Coordinator, FindCoordinatorResponse};
use kafka_protocol::protocol::StrBytes;

use runnel_api::{ErrorKind, Node};

use crate::context::Context;
use crate::error::group_code;
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
    let nodes = ctx.broker.describe_cluster().await.nodes;
    let no_transactions = if version >= WITH_KEYS {
        ResponseError::TransactionalIdNotFound
    } else {
        ResponseError::TransactionalIdAuthorizationFailed
    };
    let answer = async |key: StrBytes| {
        let found = Coordinator::default().with_key(key.clone()).with_error_message(None);
        match request.key_type {
            GROUP => of_group(&ctx, &nodes, &key, found).await,
            TRANSACTION => {
                refused(found, no_transactions, "transactions are not supported yet: produce without transactional.id")
            }
            _ => refused(found, ResponseError::InvalidRequest, "share groups are not supported yet"),
        }
    };
    if version >= WITH_KEYS {
        let mut coordinators = Vec::with_capacity(request.coordinator_keys.len());
        for key in request.coordinator_keys {
            coordinators.push(answer(key).await);
        }
        return FindCoordinatorResponse::default().with_coordinators(coordinators);
    }
    let found = answer(request.key).await;
    FindCoordinatorResponse::default()
        .with_error_code(found.error_code)
        .with_error_message(found.error_message)
        .with_node_id(found.node_id)
        .with_host(found.host)
        .with_port(found.port)
}

async fn of_group(ctx: &Context, nodes: &[Node], group: &str, found: Coordinator) -> Coordinator {
    let none = |why: &str| (ResponseError::CoordinatorNotAvailable, why.to_owned());
    let node = match ctx.broker.find_coordinator(group).await {
        Ok(id) => {
            nodes.iter().find(|node| node.id == id).ok_or_else(|| none("the coordinator is not there now: retry"))
        }
        Err(error) if error.kind == ErrorKind::LeaderNotAvailable => Err(none(&error.message)),
        Err(error) => Err((group_code(error.kind), error.message)),
    };
    match node {
        Ok(node) => found
            .with_node_id(BrokerId(node.id))
            .with_host(topics::text(ctx.host_of(node)))
            .with_port(ctx.port_of(node)),
        Err((code, why)) => refused(found, code, &why),
    }
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
