//! The brokers of a cluster, asked directly.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use runnel_api::Endpoint;
use runnel_broker::Broker;
use runnel_peer::{Peer, Peers};
use runnel_testkit::Relay;

use super::cluster::{Cluster, grpc_port};

/// Those that run when it is made.
pub(crate) struct Direct {
    brokers: BTreeMap<u16, Arc<Broker>>,
    /// Ports that were asked.
    pub(crate) asked: Mutex<Vec<u16>>,
}

impl Peers for Direct {
    fn at(&self, address: &Endpoint) -> Arc<dyn Peer> {
        self.asked.lock().unwrap().push(address.port);
        match self.brokers.get(&address.port) {
            Some(broker) => Arc::clone(broker) as Arc<dyn Peer>,
            None => Arc::new(Relay::<Broker>::to_nobody()),
        }
    }
}

pub(crate) fn direct(cluster: &Cluster) -> Arc<Direct> {
    let brokers = cluster.nodes().map(|(at, node)| (grpc_port(i32::try_from(at).unwrap()), node.broker()));
    Arc::new(Direct { brokers: brokers.collect(), asked: Mutex::default() })
}
