//! Settings of the Kafka front door.

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::address::HostPort;
use crate::error::Error;

/// Settings of the Kafka front door (section `kafka`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// The address that clients are told to dial; by default the one that they dialled.
    pub advertise: Option<HostPort>,
    /// Largest request, in bytes. A connection that announces more is closed.
    pub max_frame_bytes: usize,
    /// Bytes of requests being read or handled and of replies being written, for one connection. Past it the
    /// connection is not read until earlier requests are done. At least `max_frame_bytes`.
    pub max_inflight_bytes_per_connection: usize,
    /// The same for all connections together. One request more is let through, so that there is always progress.
    pub max_inflight_bytes: usize,
    /// Requests of one connection that may be unanswered; past it the connection is not read.
    pub max_inflight_requests: usize,
    /// Open connections; past it new ones are closed at once.
    pub max_connections: usize,
    /// A connection is closed after this time without a byte in or out, unless a request is being handled.
    #[serde(with = "duration")]
    pub idle_timeout: Duration,
    /// Incremental fetch sessions that are remembered (KIP-227); 0 turns them off. Fetches work without.
    pub fetch_sessions: usize,
    /// Where the other front doors listen, to tell a client that dialled the wrong one.
    #[serde(skip)]
    pub neighbours: Neighbours,
}

/// The other front doors of this broker.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Neighbours {
    /// The gRPC listener.
    pub grpc: Option<SocketAddr>,
    /// The HTTP listener.
    pub http: Option<SocketAddr>,
}

const MIB: usize = 1 << 20;

impl Default for Options {
    fn default() -> Self {
        Self {
            advertise: None,
            max_frame_bytes: 100 * MIB,
            max_inflight_bytes_per_connection: 128 * MIB,
            max_inflight_bytes: 512 * MIB,
            max_inflight_requests: 64,
            max_connections: 10_000,
            idle_timeout: Duration::from_secs(600),
            fetch_sessions: 1_000,
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
        at_least("max_frame_bytes", self.max_frame_bytes, 1024, "no client could connect")?;
        at_least(
            "max_inflight_bytes_per_connection",
            self.max_inflight_bytes_per_connection,
            self.max_frame_bytes,
            "a request of max_frame_bytes would never be read",
        )?;
        at_least("max_inflight_bytes", self.max_inflight_bytes, MIB, "connections would only take turns")?;
        at_least("max_inflight_requests", self.max_inflight_requests, 1, "nothing would be answered")?;
        at_least("max_connections", self.max_connections, 1, "no client could connect")
    }
}

/// Durations as text with a unit: `500ms`, `30s`, `10m`, `1h`.
mod duration {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(value: &Duration, to: S) -> Result<S::Ok, S::Error> {
        let ms = value.as_millis();
        let text = if ms.is_multiple_of(1000) { format!("{}s", ms / 1000) } else { format!("{ms}ms") };
        to.serialize_str(&text)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(from)?;
        parse(&text)
            .ok_or_else(|| de::Error::custom(format!("`{text}` is not a duration such as 500ms, 30s, 10m or 1h")))
    }

    fn parse(text: &str) -> Option<Duration> {
        let digits = text.find(|c: char| !c.is_ascii_digit())?;
        let (number, unit) = text.split_at(digits);
        let ms = match unit.trim() {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return None,
        };
        number.parse::<u64>().ok()?.checked_mul(ms).map(Duration::from_millis)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn options_survive_text() {
        let options = Options { advertise: Some("broker:1".parse().unwrap()), ..Options::default() };
        let text = serde_json::to_string(&options).unwrap();
        assert!(text.contains(r#""idle_timeout":"600s""#), "{text}");
        assert_eq!(serde_json::from_str::<Options>(&text).unwrap(), options);
        assert!(serde_json::from_str::<Options>(r#"{"idle_timeout":"soon"}"#).is_err());
        assert!(serde_json::from_str::<Options>(r#"{"idle_time":"1s"}"#).is_err());
    }

    #[test]
    fn limits_that_cannot_work_are_refused() {
        assert!(Options::default().check().is_ok());
        let small = Options { max_inflight_bytes_per_connection: MIB, ..Options::default() };
        assert!(small.check().unwrap_err().to_string().contains("max_inflight_bytes_per_connection"));
    }
}
