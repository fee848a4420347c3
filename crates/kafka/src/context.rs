//! What a handler may use.

use std::sync::Arc;

use runnel_api::{Broker, Fetch, Node};

use crate::address::HostPort;
use crate::budget::Budget;
use crate::fetch::redirects::Redirects;
use crate::fetch::session::Sessions;
use crate::options::Options;

/// The surroundings of the requests of one connection.
pub(crate) struct Context {
    /// Who does the work.
    pub(crate) broker: Arc<dyn Broker>,
    /// Who reads for consumers that name their zone; nobody where zones do not count.
    pub(crate) reading: Option<Arc<dyn Fetch>>,
    /// Consumers of this connection that were sent to their zone.
    pub(crate) redirects: Redirects,
    /// The settings.
    pub(crate) options: Arc<Options>,
    /// Fetch sessions, shared by all connections.
    pub(crate) sessions: Arc<Sessions>,
    /// The address that this client is told to dial.
    pub(crate) advertised: HostPort,
    /// Where the client is, as Kafka shows it.
    pub(crate) peer: String,
    /// What this connection may hold.
    pub(crate) budget: Budget,
}

impl Context {
    /// Where a client of this connection reaches a broker: this one as it reached it.
    pub(crate) fn host_of<'a>(&'a self, node: &'a Node) -> &'a str {
        node.kafka.as_ref().map_or(&self.advertised.host, |at| &at.host)
    }

    pub(crate) fn port_of(&self, node: &Node) -> i32 {
        i32::from(node.kafka.as_ref().map_or(self.advertised.port, |at| at.port))
    }
}
