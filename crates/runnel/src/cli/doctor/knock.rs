//! Who answers on a port? Short exchanges in HTTP and in Kafka's protocol, each bounded in time and bytes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(1);
/// The most that is read of an answer.
const MOST_BYTES: u64 = 4 << 20;

/// What a port is expected to speak.
#[derive(Debug, Clone, Copy)]
pub(super) enum Protocol {
    Http,
    Kafka,
}

/// Who listens on a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Holder {
    /// The HTTP door of a runnel.
    Runnel {
        /// Its release.
        version: String,
    },
    /// A broker that speaks Kafka's protocol.
    Kafka {
        /// Its cluster.
        cluster: String,
    },
    /// It takes connections and says neither.
    Unknown,
    /// Nobody takes connections.
    Nobody,
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Runnel { version } => write!(f, "runnel {version}"),
            Self::Kafka { cluster } => write!(f, "a Kafka broker of cluster {cluster}"),
            Self::Unknown => f.write_str("another program"),
            Self::Nobody => f.write_str("a program that takes no connections"),
        }
    }
}

/// Asks who listens there, in the protocol that is `expected` first: the wrong one is noted in the log of a broker.
pub(super) async fn who(listen: SocketAddr, expected: Protocol) -> Holder {
    let address = dialled(listen);
    let order = match expected {
        Protocol::Http => [Protocol::Http, Protocol::Kafka],
        Protocol::Kafka => [Protocol::Kafka, Protocol::Http],
    };
    for protocol in order {
        let known = match protocol {
            Protocol::Http => http_get(address, "/metrics").await.and_then(|(_, metrics)| version_in(&metrics)),
            Protocol::Kafka => kafka_cluster(address).await,
        };
        match (protocol, known) {
            (Protocol::Http, Some(version)) => return Holder::Runnel { version },
            (Protocol::Kafka, Some(cluster)) => return Holder::Kafka { cluster },
            (_, None) => {}
        }
    }
    match tokio::time::timeout(PATIENCE, TcpStream::connect(address)).await {
        Ok(Ok(_)) => Holder::Unknown,
        _ => Holder::Nobody,
    }
}

/// The address that reaches a listener from this machine.
pub(super) fn dialled(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

/// GET over HTTP/1.0, whose answer ends with the connection: status and body.
pub(super) async fn http_get(address: SocketAddr, path: &str) -> Option<(u16, String)> {
    let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n");
    let mut answer = String::new();
    let talk = async {
        let mut socket = TcpStream::connect(address).await?;
        socket.write_all(request.as_bytes()).await?;
        socket.take(MOST_BYTES).read_to_string(&mut answer).await
    };
    tokio::time::timeout(PATIENCE, talk).await.ok()?.ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
    Some((status, body.to_owned()))
}

/// The cluster of the Kafka broker that answers there.
async fn kafka_cluster(address: SocketAddr) -> Option<String> {
    let talk = async {
        let mut socket = TcpStream::connect(address).await?;
        socket.write_all(&METADATA).await?;
        let length = socket.read_u32().await?;
        let mut answer = Vec::new();
        socket.take(u64::from(length).min(MOST_BYTES)).read_to_end(&mut answer).await?;
        std::io::Result::Ok(answer)
    };
    cluster_in(&tokio::time::timeout(PATIENCE, talk).await.ok()?.ok()?)
}

fn version_in(metrics: &str) -> Option<String> {
    let line = metrics.lines().find_map(|line| line.strip_prefix("runnel_build_info{version=\""))?;
    Some(line.split('"').next()?.to_owned())
}

/// A Metadata request, version 2, for no topic: length, API key 3, version, correlation id, client id, topics.
const METADATA: [u8; 24] = *b"\0\0\0\x14\0\x03\0\x02\0\0\0\x01\0\x06doctor\0\0\0\0";

/// The cluster id in the answer: behind correlation id and the brokers (id, host, port, rack).
fn cluster_in(answer: &[u8]) -> Option<String> {
    let mut rest = answer.get(4..)?;
    let brokers = i32::from_be_bytes(take(&mut rest, 4)?.try_into().ok()?);
    for _ in 0..brokers {
        take(&mut rest, 4)?;
        text(&mut rest)?;
        take(&mut rest, 4)?;
        text(&mut rest)?;
    }
    text(&mut rest)
}

fn take<'a>(rest: &mut &'a [u8], bytes: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(bytes)?;
    *rest = left;
    Some(taken)
}

/// A text behind its length; a null is empty.
fn text(rest: &mut &[u8]) -> Option<String> {
    let length = i16::from_be_bytes(take(rest, 2)?.try_into().ok()?);
    let bytes = take(rest, usize::try_from(length).unwrap_or(0))?;
    String::from_utf8(bytes.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cluster_is_found_behind_the_brokers() {
        let answer = b"\0\0\0\x01\0\0\0\x01\0\0\0\x07\0\x04host\0\0\x23\x84\xff\xff\0\x03abc\0\0\0\x07";
        assert_eq!(cluster_in(answer).as_deref(), Some("abc"));
        for cut in 0..answer.len() - 4 {
            assert_eq!(cluster_in(&answer[..cut]), None, "{cut}");
        }
        assert_eq!(cluster_in(b"HTTP/1.1 400 Bad Request\r\n\r\n"), None);
    }

    #[test]
    fn the_release_is_found_in_the_metrics() {
        let metrics = "# TYPE runnel_build_info gauge\nrunnel_build_info{version=\"0.1.0\"} 1\n";
        assert_eq!(version_in(metrics).as_deref(), Some("0.1.0"));
        assert_eq!(version_in("up 1\n"), None);
    }

    #[test]
    fn a_wildcard_is_dialled_on_loopback() {
        let dial = |listen: &str| listen.parse().ok().map(dialled).map(|a| a.to_string());
        assert_eq!(dial("0.0.0.0:9092").as_deref(), Some("127.0.0.1:9092"));
        assert_eq!(dial("[::]:9092").as_deref(), Some("[::1]:9092"));
        assert_eq!(dial("10.0.0.1:9092").as_deref(), Some("10.0.0.1:9092"));
    }
}
