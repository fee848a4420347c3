//! What goes through the partitions of all brokers, for the controller to weigh by.

use std::convert::Infallible;
use std::time::Duration;

use futures::future::join_all;
use runnel_api::{Node, Weigh};

use crate::Peers;

/// How often brokers are asked. What one of them tells of a partition takes some forty bytes.
const LOOK: Duration = Duration::from_secs(10);

/// Asks all brokers now and then, for as long as it is polled, if `here` is the controller.
pub async fn watch_traffic(here: &dyn Weigh, peers: &dyn Peers) -> Infallible {
    loop {
        tokio::time::sleep(LOOK).await;
        ask_traffic(here, peers).await;
    }
}

/// Asks them once.
pub async fn ask_traffic(here: &dyn Weigh, peers: &dyn Peers) {
    let ask = async |node: Node| {
        let told = match &node.grpc {
            Some(at) => peers.at(at).traffic().await,
            None => here.traffic().await,
        };
        told.inspect_err(|error| tracing::debug!(node.id, %error, "a broker does not tell its traffic"))
            .ok()
            .map(|flows| (node.id, flows))
    };
    let told = join_all(here.weighed().into_iter().map(ask)).await;
    here.weigh(told.into_iter().flatten().collect());
}
