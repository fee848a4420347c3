//! How a client finds and watches its broker.

use std::time::Duration;

/// Settings of a [`crate::Client`].
#[derive(Debug, Clone)]
pub struct Options {
    /// Addresses `host:port` of any brokers of the cluster; the first that answers is used.
    pub bootstrap: Vec<String>,
    /// How long a connection may take to be made.
    pub connect_timeout: Duration,
    /// How long a call may take. Sessions have no such end.
    pub deadline: Duration,
    /// How often the broker is asked for a sign of life (HTTP/2 PING).
    pub keepalive_interval: Duration,
    /// How long it may take to give one.
    pub keepalive_timeout: Duration,
}

impl Options {
    /// The defaults for a list of addresses.
    pub fn new(bootstrap: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            bootstrap: bootstrap.into_iter().map(Into::into).collect(),
            connect_timeout: Duration::from_secs(5),
            deadline: Duration::from_secs(30),
            keepalive_interval: Duration::from_secs(10),
            keepalive_timeout: Duration::from_secs(10),
        }
    }
}
