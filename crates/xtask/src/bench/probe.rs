//! Small requests to a broker, by hand: the tools' own start would drown what they measure.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result};

const TIMEOUT: Duration = Duration::from_secs(2);

/// A Metadata request, version 1, for no topic; correlation id 7, client id `bench`.
const METADATA: [u8; 23] = *b"\0\0\0\x13\0\x03\0\x01\0\0\0\x07\0\x05bench\0\0\0\0";

/// Whether the broker at `address` answers a Metadata request with at least one broker.
pub(super) fn lists_a_broker(address: &str) -> bool {
    metadata(address).is_ok_and(|reply| brokers(&reply).is_some_and(|count| count >= 1))
}

fn metadata(address: &str) -> Result<Vec<u8>> {
    let mut stream = connect(address)?;
    stream.write_all(&METADATA)?;
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let mut reply = vec![0; usize::try_from(u32::from_be_bytes(length))?.min(1 << 16)];
    stream.read_exact(&mut reply)?;
    Ok(reply)
}

/// How many brokers a reply lists: a count after the correlation id.
fn brokers(reply: &[u8]) -> Option<i32> {
    let (id, rest) = reply.split_first_chunk()?;
    let (count, _) = rest.split_first_chunk()?;
    (u32::from_be_bytes(*id) == 7).then(|| i32::from_be_bytes(*count))
}

/// The value of the metric `name` in the text that `address` serves under `/metrics`.
pub(super) fn metric(address: &str, name: &str) -> Result<f64> {
    let mut stream = connect(address)?;
    write!(stream, "GET /metrics HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    find(&text, name).with_context(|| format!("there is no metric {name}"))
}

fn find(text: &str, name: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

fn connect(address: &str) -> Result<TcpStream> {
    let address: SocketAddr = address.parse().context("not an address")?;
    let stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_brokers_in_an_answer_to_our_request_only() {
        assert_eq!(METADATA.len() - 4, usize::from(METADATA[3]));
        assert_eq!(brokers(b"\0\0\0\x07\0\0\0\x01\0"), Some(1));
        assert_eq!(brokers(b"\0\0\0\x08\0\0\0\x01\0"), None);
        assert_eq!(brokers(b"\0\0\0\x07\0"), None);
    }

    #[test]
    fn finds_a_metric_by_its_whole_name() {
        let text = "# TYPE wal gauge\nwal_bytes_total 7\nwal_bytes 1.5\n";
        assert_eq!(find(text, "wal_bytes"), Some(1.5));
        assert_eq!(find(text, "wal"), None);
    }
}
