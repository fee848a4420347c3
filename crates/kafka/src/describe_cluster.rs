//! DescribeCluster (KIP-700).

use std::sync::Arc;

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::BrokerId;
use kafka_protocol::messages::describe_cluster_request::DescribeClusterRequest;
use kafka_protocol::messages::describe_cluster_response::{DescribeClusterBroker, DescribeClusterResponse};

use crate::context::Context;
use crate::reply::Outcome;
use crate::topics::{self, ALL_CLUSTER_OPERATIONS, NO_OPERATIONS};

/// The endpoint type of brokers; controllers (2) have no listener of their own here.
const BROKERS: i8 = 1;
const CONTROLLERS: i8 = 2;

pub(crate) async fn handle(
    ctx: Arc<Context>,
    _version: i16,
    request: DescribeClusterRequest,
) -> DescribeClusterResponse {
    match request.endpoint_type {
        BROKERS => {}
        CONTROLLERS => return wrong(ResponseError::MismatchedEndpointType, "this is a broker, not a controller"),
        _ => return wrong(ResponseError::UnsupportedEndpointType, "only brokers (1) can be described"),
    }
    let cluster = ctx.broker.describe_cluster().await;
    let brokers = cluster.nodes.iter().map(|node| {
        DescribeClusterBroker::default()
            .with_broker_id(BrokerId(node.id))
            .with_host(topics::text(ctx.host_of(node)))
            .with_port(ctx.port_of(node))
            .with_rack(node.zone.as_deref().map(topics::text))
    });
    let operations = request.include_cluster_authorized_operations;
    DescribeClusterResponse::default()
        .with_cluster_id(topics::text(&cluster.cluster_id))
        .with_controller_id(BrokerId(cluster.controller.unwrap_or(cluster.this_node)))
        .with_brokers(brokers.collect())
        .with_cluster_authorized_operations(if operations { ALL_CLUSTER_OPERATIONS } else { NO_OPERATIONS })
}

fn wrong(error: ResponseError, why: &str) -> DescribeClusterResponse {
    DescribeClusterResponse::default().with_error_code(error.code()).with_error_message(Some(topics::text(why)))
}

impl Outcome for DescribeClusterResponse {
    fn error_code(&self) -> i16 {
        self.error_code
    }
}
