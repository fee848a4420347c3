//! GetCluster and GetHealth.

use runnel_api::Cluster;
use runnel_proto::cluster::v1::{GetClusterResponse, GetHealthResponse, Node, get_health_response::Check};

use crate::door::Door;

pub(crate) async fn get(door: &Door) -> GetClusterResponse {
    let cluster = Cluster::describe_cluster(&*door.broker).await;
    GetClusterResponse {
        cluster_id: cluster.cluster_id,
        controller_id: cluster.controller.unwrap_or(-1),
        node_id: cluster.this_node,
        nodes: cluster.nodes.into_iter().map(node).collect(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

fn node(node: runnel_api::Node) -> Node {
    let address = |at: runnel_api::Endpoint| format!("{}:{}", at.host, at.port);
    let (kafka_address, grpc_address) = (node.kafka.map(address), node.grpc.map(address));
    Node { id: node.id, name: node.name, zone: node.zone, kafka_address, grpc_address }
}

pub(crate) async fn health(door: &Door) -> GetHealthResponse {
    let health = Cluster::health(&*door.broker).await;
    let checks = health.checks.into_iter().map(|(name, passed, message)| Check { name, passed, message });
    GetHealthResponse { ready: health.ready && !door.draining.is_triggered(), checks: checks.collect() }
}
