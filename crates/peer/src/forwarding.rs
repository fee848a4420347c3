//! A broker that answers everything: what it does not lead itself it asks those who do.

mod admin;
mod cluster;
mod fetch;
mod groups;
mod offsets;
mod produce;
mod segments;

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use runnel_api::error::Result;
use runnel_api::{Broker, Endpoint, ErrorKind, Node, TopicKey, Traffic};
use tokio::time::Instant;

use crate::{Peer, Peers, Reading};

pub use cluster::THE_ONE;

/// How long a request goes on asking while leaders change, and how long it waits before it asks again. Clients ask again,
/// too; this spares them most of the moves.
const PATIENCE: Duration = Duration::from_secs(2);
const AGAIN: Duration = Duration::from_millis(50);

/// A broker of a cluster, as a front door sees it whose clients cannot choose whom they ask.
pub struct Forwarding {
    /// Who answers what is the same everywhere, and knows who leads what.
    local: Arc<dyn Broker>,
    /// The same broker, as one of those that lead.
    here: Arc<dyn Peer>,
    peers: Arc<dyn Peers>,
    /// Reads what is led in other zones, if there are any.
    reading: Option<Arc<Reading>>,
    /// Clients see a single broker, [`THE_ONE`].
    as_one: bool,
}

impl Forwarding {
    /// `broker`, which must answer for itself alone, and behind it all others.
    pub fn new<B: Broker + Traffic>(broker: Arc<B>, peers: Arc<dyn Peers>) -> Self {
        Self { local: Arc::clone(&broker) as _, here: broker, peers, reading: None, as_one: false }
    }

    /// The same for clients that all go through one address: they see a cluster of one broker, which leads everything and
    /// is wherever they are.
    pub fn as_one<B: Broker + Traffic>(broker: Arc<B>, peers: Arc<dyn Peers>) -> Self {
        Self { as_one: true, ..Self::new(broker, peers) }
    }

    /// Reads what brokers of other zones lead by way of this one.
    pub fn reading(self, reading: Arc<Reading>) -> Self {
        Self { reading: Some(reading), ..self }
    }

    /// Where a partition is led; `None` here, or if nobody leads it: this broker knows best what to say then.
    async fn leader(&self, topic: &TopicKey, partition: i32) -> Option<Endpoint> {
        self.local.leader_of(topic, partition).await?.0.grpc
    }

    /// This broker's zone, if the leader is in another.
    fn zone_to_read_in(&self, leader: &Node) -> Option<Arc<str>> {
        let (own, other) = (self.reading.as_ref()?.zone(), leader.zone.as_deref()?);
        (other != &**own).then(|| Arc::clone(own))
    }

    fn peer(&self, at: Option<&Endpoint>) -> Arc<dyn Peer> {
        at.map_or_else(|| Arc::clone(&self.here), |at| self.peers.at(at))
    }

    /// Asks the leader of a partition, and the next one where leaders change.
    async fn ask_leader<T>(
        &self,
        topic: &TopicKey,
        partition: i32,
        ask: impl Fn(Arc<dyn Peer>) -> BoxFuture<'static, Result<T>> + Send + Sync,
    ) -> Result<T> {
        let until = Instant::now() + PATIENCE;
        loop {
            let leader = self.leader(topic, partition).await;
            match ask(self.peer(leader.as_ref())).await {
                Err(error) if is_moving(error.kind) && Instant::now() < until => tokio::time::sleep(AGAIN).await,
                answered => return answered,
            }
        }
    }
}

/// Whether somebody else may lead in a moment.
const fn is_moving(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::NotLeader | ErrorKind::LeaderNotAvailable)
}
