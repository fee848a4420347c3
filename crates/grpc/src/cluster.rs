//! GetCluster, DrainBroker, UpgradeCluster, AcceptLoss and GetHealth.

use runnel_api::{Cluster, ClusterStatus, DiskLoss, SessionState, TopicKey, Upgrade};
use runnel_proto::cluster::v1::accept_loss_response::Loss;
use runnel_proto::cluster::v1::get_health_response::Check;
use runnel_proto::cluster::v1::session::State;
use runnel_proto::cluster::v1::{
    AcceptLossRequest, AcceptLossResponse, DrainBrokerRequest, DrainBrokerResponse, GetClusterResponse,
    GetHealthResponse, Node, Session, UpgradeClusterRequest, UpgradeClusterResponse,
};
use runnel_record::Offset;

use crate::door::Door;
use crate::error::Failure;

pub(crate) async fn get(door: &Door) -> GetClusterResponse {
    let cluster = Cluster::describe_cluster(&*door.broker).await;
    let status = Cluster::cluster_status(&*door.broker).await;
    GetClusterResponse {
        cluster_id: cluster.cluster_id,
        controller_id: cluster.controller.unwrap_or(-1),
        node_id: cluster.this_node,
        nodes: cluster.nodes.into_iter().map(|one| node(one, &status)).collect(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        leaderless_partitions: as_count(status.leaderless),
        sessions: status.sessions.into_iter().map(session).collect(),
        level: status.level,
    }
}

pub(crate) async fn drain(door: &Door, request: DrainBrokerRequest) -> Result<DrainBrokerResponse, Failure> {
    Cluster::drain(&*door.broker, request.node_id, !request.undo).await?;
    Ok(DrainBrokerResponse {})
}

pub(crate) async fn upgrade(door: &Door, request: UpgradeClusterRequest) -> Result<UpgradeClusterResponse, Failure> {
    let Upgrade { from, to, held_back_by } = Cluster::upgrade(&*door.broker, request.dry_run).await?;
    Ok(UpgradeClusterResponse { from, to, held_back_by: held_back_by.into_iter().collect() })
}

pub(crate) async fn accept_loss(door: &Door, request: AcceptLossRequest) -> Result<AcceptLossResponse, Failure> {
    let AcceptLossRequest { topic, partition, losses: told } = request;
    let topic = TopicKey::Name(topic);
    if !told.is_empty() {
        let losses: Vec<DiskLoss> = told.iter().map(loss_of).collect();
        Cluster::accept_disk_losses(&*door.broker, &topic, &losses).await?;
        return Ok(AcceptLossResponse { losses: told });
    }
    let losses = Cluster::disk_losses(&*door.broker, &topic, partition).await?;
    let losses = losses.into_iter().map(|loss| Loss {
        partition: loss.partition,
        from_offset: loss.from.0,
        known_end_offset: loss.known_end.0,
        brokers: loss.brokers.into_iter().collect(),
    });
    Ok(AcceptLossResponse { losses: losses.collect() })
}

fn loss_of(loss: &Loss) -> DiskLoss {
    DiskLoss {
        partition: loss.partition,
        from: Offset(loss.from_offset),
        known_end: Offset(loss.known_end_offset),
        brokers: loss.brokers.iter().cloned().collect(),
    }
}

fn as_count(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn session(session: runnel_api::Session) -> Session {
    let state = match session.state {
        SessionState::Active => State::Active,
        SessionState::Fencing => State::Fencing,
        SessionState::Sealed => State::Sealed,
    };
    let id = format!("{:016x}", session.id);
    Session { id, node: session.node, state: state.into(), lanes: as_count(session.lanes) }
}

fn node(node: runnel_api::Node, status: &ClusterStatus) -> Node {
    let address = |at: runnel_api::Endpoint| format!("{}:{}", at.host, at.port);
    let (kafka_address, grpc_address) = (node.kafka.map(address), node.grpc.map(address));
    let build = status.builds.get(&node.id);
    let leads = status.leads.get(&node.id).copied().unwrap_or(0);
    Node {
        id: node.id,
        name: node.name,
        zone: node.zone,
        kafka_address,
        grpc_address,
        leads: as_count(leads),
        draining: status.draining.contains(&node.id),
        version: build.and_then(|build| build.version.clone()),
        lowest_level: build.map_or(0, |build| build.lowest),
        highest_level: build.map_or(0, |build| build.highest),
    }
}

pub(crate) async fn health(door: &Door) -> GetHealthResponse {
    let health = Cluster::health(&*door.broker).await;
    let checks = health.checks.into_iter().map(|(name, passed, message)| Check { name, passed, message });
    GetHealthResponse { ready: health.ready && !door.draining.is_triggered(), checks: checks.collect() }
}
