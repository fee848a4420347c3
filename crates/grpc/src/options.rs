//! Settings of the gRPC front door.

use std::net::SocketAddr;
use std::time::Duration;

use crate::error::Error;

/// Settings of the gRPC front door (section `grpc`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Largest request message, in bytes.
    pub max_message_bytes: usize,
    /// Bytes of requests that are read or handled, over all connections; past it requests wait, then fail. Replies
    /// that wait for their reader may hold as much again; past it they get smaller.
    pub max_inflight_bytes: usize,
    /// The same for one connection.
    pub max_inflight_bytes_per_connection: usize,
    /// Open connections; past it new ones are closed at once.
    pub max_connections: usize,
    /// Calls of one connection that may run at once; clients queue what is beyond it.
    pub max_streams_per_connection: u32,
    /// What a connection may take until it has shown that it speaks HTTP/2, and a message until it is complete.
    pub patience: Duration,
    /// A connection on which nothing comes is asked for a sign of life this often, and closed without one.
    pub keepalive: Duration,
    /// The window of an append session: records and bytes that may be unanswered.
    pub session_window_records: u64,
    /// See `session_window_records`.
    pub session_window_bytes: u64,
    /// Age at which a session is asked to end and open anew, so that sessions spread over brokers.
    pub max_session_age: Duration,
    /// Time between that, or the start of a stop, and the end of the session.
    pub drain_grace: Duration,
    /// Where the other front doors listen, to tell a client that dialled the wrong one.
    pub neighbours: Neighbours,
}

/// The other front doors of this broker.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Neighbours {
    /// The Kafka listener.
    pub kafka: Option<SocketAddr>,
    /// The HTTP listener.
    pub http: Option<SocketAddr>,
}

const MIB: usize = 1 << 20;

impl Default for Options {
    fn default() -> Self {
        Self {
            max_message_bytes: 16 * MIB,
            max_inflight_bytes: 256 * MIB,
            max_inflight_bytes_per_connection: 64 * MIB,
            max_connections: 10_000,
            max_streams_per_connection: 128,
            patience: Duration::from_secs(30),
            keepalive: Duration::from_secs(30),
            session_window_records: 100_000,
            session_window_bytes: 8 << 20,
            max_session_age: Duration::from_secs(3600),
            drain_grace: Duration::from_secs(5),
            neighbours: Neighbours::default(),
        }
    }
}

impl Options {
    /// Checks that the limits fit together.
    pub fn check(&self) -> Result<(), Error> {
        let at_least = |name, value: usize, min: usize, why| {
            if value < min { Err(Error::Option { name, value, min, why }) } else { Ok(()) }
        };
        at_least("max_message", self.max_message_bytes, 1024, "no request would fit")?;
        at_least(
            "max_inflight_bytes_per_connection",
            self.max_inflight_bytes_per_connection,
            self.max_message_bytes,
            "a request of max_message would never be read",
        )?;
        at_least(
            "max_inflight",
            self.max_inflight_bytes,
            self.max_message_bytes.max(MIB),
            "a request of max_message would never be read",
        )?;
        at_least("max_connections", self.max_connections, 1, "no client could connect")?;
        let streams = usize::try_from(self.max_streams_per_connection).unwrap_or(usize::MAX);
        at_least("max_streams", streams, 1, "no client could call anything")?;
        let window = usize::try_from(self.session_window_bytes.min(self.session_window_records));
        at_least("session_window", window.unwrap_or(usize::MAX), 1, "no session could append")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn limits_that_cannot_work_are_refused() {
        assert!(Options::default().check().is_ok());
        let small = Options { max_inflight_bytes_per_connection: MIB, ..Options::default() };
        assert!(small.check().unwrap_err().to_string().contains("max_inflight_bytes_per_connection"));
    }
}
