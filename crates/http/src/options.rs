//! Settings of the HTTP front door.

use std::net::SocketAddr;
use std::time::Duration;

/// Limits of the HTTP front door. None of them is a setting of the broker: probes and scrapers are few.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Open connections; past it the oldest is closed.
    pub max_connections: usize,
    /// How long a new connection may say nothing.
    pub first_byte_timeout: Duration,
    /// How long a connection may stand still, between two requests too.
    pub idle_timeout: Duration,
    /// Where the other front doors listen, to tell a client that dialled the wrong one.
    pub neighbours: Neighbours,
}

/// The other front doors of this broker.
#[derive(Debug, Clone, Copy, Default)]
pub struct Neighbours {
    /// The Kafka listener.
    pub kafka: Option<SocketAddr>,
    /// The gRPC listener.
    pub grpc: Option<SocketAddr>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            max_connections: 256,
            first_byte_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
            neighbours: Neighbours::default(),
        }
    }
}
