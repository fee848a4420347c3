//! The address that clients are told to dial.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A host name or address and a port, written `host:port` (IPv6 as `[::1]:9092`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct HostPort {
    /// The host, without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl FromStr for HostPort {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        let wrong = || format!("`{s}` is not of the form host:port, for example broker.example.org:9092");
        let (host, port) = s.rsplit_once(':').ok_or_else(wrong)?;
        let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
        let port = port.parse().map_err(|_| wrong())?;
        match bare.unwrap_or(host) {
            "" => Err(wrong()),
            h if bare.is_none() && h.contains(':') => Err(wrong()),
            h => Ok(Self { host: h.to_owned(), port }),
        }
    }
}

impl TryFrom<String> for HostPort {
    type Error = String;
    fn try_from(s: String) -> Result<Self, String> {
        s.parse()
    }
}

impl From<HostPort> for String {
    fn from(address: HostPort) -> Self {
        address.to_string()
    }
}

impl From<SocketAddr> for HostPort {
    /// An IPv4 client of an IPv6 wildcard listener is told the IPv4 address that it dialled.
    fn from(address: SocketAddr) -> Self {
        Self { host: address.ip().to_canonical().to_string(), port: address.port() }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn check(text: &str, expected: Option<(&str, u16)>) {
        let got = text.parse::<HostPort>().ok();
        assert_eq!(got.as_ref().map(|a| (a.host.as_str(), a.port)), expected, "{text}");
        if let Some(address) = got {
            assert_eq!(address.to_string(), text);
        }
    }

    #[test]
    fn reads_and_writes_host_and_port() {
        check("localhost:9092", Some(("localhost", 9092)));
        check("10.0.0.1:1", Some(("10.0.0.1", 1)));
        check("[::1]:9092", Some(("::1", 9092)));
        check("::1:9092", None);
        check("localhost", None);
        check(":9092", None);
        check("localhost:70000", None);
    }

    #[test]
    fn a_mapped_address_is_shown_as_ipv4() {
        let mapped: SocketAddr = "[::ffff:127.0.0.1]:9092".parse().unwrap();
        assert_eq!(HostPort::from(mapped).to_string(), "127.0.0.1:9092");
    }
}
