//! The first bytes of a connection: who speaks something else is told where that is served.

use std::fmt;
use std::net::SocketAddr;

use crate::options::Neighbours;

/// What every HTTP/2 connection begins with.
pub(crate) const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What the first bytes say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Said {
    /// Not enough to tell.
    Unclear,
    /// HTTP/2, as gRPC.
    Http2,
    /// Something else.
    Foreign(Protocol),
}

/// What is not served on this port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    Kafka,
    Tls,
    Unknown,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http1 => "HTTP/1",
            Self::Kafka => "Kafka",
            Self::Tls => "TLS",
            Self::Unknown => "no protocol that is known here",
        })
    }
}

/// Methods of HTTP/1 by their first four bytes.
const METHODS: [&[u8; 4]; 8] = [b"GET ", b"POST", b"PUT ", b"HEAD", b"DELE", b"OPTI", b"PATC", b"CONN"];

/// Enough to tell everything but HTTP/2 apart: the length and the API key of a Kafka request.
const TELLING: usize = 6;

/// Looks at what has arrived so far.
pub(crate) fn recognise(first: &[u8]) -> Said {
    let compared = first.len().min(PREFACE.len());
    if first[..compared] == PREFACE[..compared] {
        return if compared == PREFACE.len() { Said::Http2 } else { Said::Unclear };
    }
    let Some(start) = first.first_chunk::<TELLING>() else { return Said::Unclear };
    Said::Foreign(match start {
        [0x16, 0x03, 0..=4, ..] => Protocol::Tls,
        // A request of less than 16 MiB whose API key is one of Kafka's.
        [0, _, _, _, 0, 0..=95] => Protocol::Kafka,
        _ if METHODS.iter().any(|method| start.starts_with(*method)) => Protocol::Http1,
        _ => Protocol::Unknown,
    })
}

/// A sentence that names the port that the client should have dialled.
pub(crate) fn right_port(protocol: Protocol, neighbours: Neighbours) -> String {
    let at = |name: &str, address: Option<SocketAddr>| {
        address.map_or_else(|| format!("this port speaks gRPC, not {name}"), |a| format!("{name} is served on {a}"))
    };
    match protocol {
        Protocol::Http1 => at("HTTP", neighbours.http),
        Protocol::Kafka => at("Kafka", neighbours.kafka),
        Protocol::Tls => "this port speaks gRPC without TLS (plaintext, http://)".to_owned(),
        Protocol::Unknown => "this port speaks gRPC (HTTP/2 without TLS)".to_owned(),
    }
}

/// What a client of HTTP/1 is answered.
pub(crate) fn http1_answer(neighbours: Neighbours) -> String {
    let body = format!(
        "this port speaks gRPC (HTTP/2 without TLS); {}; {}\n",
        right_port(Protocol::Http1, neighbours),
        right_port(Protocol::Kafka, neighbours),
    );
    format!(
        "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(first: &[u8], expected: Said) {
        assert_eq!(recognise(first), expected, "{first:?}");
    }

    #[test]
    fn the_first_bytes_tell() {
        check(b"", Said::Unclear);
        check(b"PRI * HT", Said::Unclear);
        check(PREFACE, Said::Http2);
        check(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nmore", Said::Http2);
        check(b"PRI * HTTP/1.0\r\n", Said::Foreign(Protocol::Unknown));
        check(b"POST", Said::Unclear);
        check(b"POST / HTTP/1.1", Said::Foreign(Protocol::Http1));
        check(b"\x16\x03\x01\x02\x00\x01\x00", Said::Foreign(Protocol::Tls));
        check(b"\x00\x00\x00\x2a\x00\x12\x00\x03", Said::Foreign(Protocol::Kafka));
        check(b"\xff\xff\xff\xff\xff\xff", Said::Foreign(Protocol::Unknown));
    }

    #[test]
    fn the_right_port_is_named() {
        let neighbours = Neighbours { kafka: Some(([127, 0, 0, 1], 9092).into()), http: None };
        let answer = http1_answer(neighbours);
        assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("127.0.0.1:9092"), "{answer}");
    }
}
