//! What answers at an address where gRPC failed: the commonest mistake is the port of another door.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Duration, timeout};

/// What an HTTP/2 client says first: the preface and an empty SETTINGS frame.
const HELLO: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
const FRAME_HEADER: usize = 9;
const GOAWAY: u8 = 7;
const SETTINGS: u8 = 4;
/// Enough for the first frames or a short answer.
const MAX_ANSWER: usize = 4096;

/// Where to look for the right address.
const RIGHT: &str = "the gRPC address of a broker is its setting grpc.listen, 127.0.0.1:9093 by default";

/// A sentence about an address where something speaks HTTP/2 that is no broker, such as the HTTP port of one.
pub(crate) fn not_a_broker(address: &str, answer: &str) -> String {
    format!("{address} does not answer as the gRPC port of a broker does ({answer}): {RIGHT}")
}

/// A sentence about who answers at `address`; nothing if that is HTTP/2, or nobody.
pub(crate) async fn probe(address: &str, patience: Duration) -> Option<String> {
    let answer = timeout(patience, ask(address)).await.ok()?.ok()?;
    explain(address, &answer)
}

async fn ask(address: &str) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(HELLO).await?;
    let mut answer = Vec::new();
    let mut rest = stream.take(MAX_ANSWER as u64);
    // A peer that speaks HTTP/2 keeps the connection open: its first frame is answer enough.
    while !(answer.len() > FRAME_HEADER && answer[3] == SETTINGS) {
        match rest.read_buf(&mut answer).await {
            Ok(0) => break,
            Ok(_) => {}
            // A reset after the answer, or instead of one.
            Err(_) => break,
        }
    }
    Ok(answer)
}

fn explain(address: &str, answer: &[u8]) -> Option<String> {
    let told = |text: &str| match text.trim() {
        "" => RIGHT.to_owned(),
        text => text.to_owned(),
    };
    if answer.is_empty() {
        return Some(format!(
            "{address} does not speak gRPC (is it the Kafka port? That is for Kafka clients): {RIGHT}"
        ));
    }
    if answer.starts_with(b"HTTP/1.") {
        let text = String::from_utf8_lossy(answer);
        let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        return Some(format!("{address} speaks HTTP/1, not gRPC: {}", told(body)));
    }
    match answer.get(3) {
        Some(&GOAWAY) => {
            // Last stream and error code come before the text.
            let text = answer.get(FRAME_HEADER + 8..).unwrap_or_default();
            Some(format!("{address} does not speak gRPC: {}", told(&String::from_utf8_lossy(text))))
        }
        Some(&SETTINGS) => None,
        _ => Some(format!("{address} speaks something else than gRPC: {RIGHT}")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn an_answer_tells_who_it_is() {
        assert_eq!(explain("a:1", b"\0\0\x06\x04\0\0\0\0\0......"), None);
        let check = |answer: &[u8], parts: &[&str]| {
            let text = explain("a:1", answer).unwrap();
            assert!(parts.iter().all(|part| text.contains(part)), "{text}");
        };
        check(b"", &["a:1", "Kafka", "grpc.listen", "9093"]);
        check(b"HTTP/1.1 400 Bad Request\r\n\r\n", &["HTTP/1", "grpc.listen"]);
        check(b"HTTP/1.1 400 Bad Request\r\n\r\ngRPC is served on b:2\n", &["gRPC is served on b:2"]);
        check(b"\0\0\x1d\x07\0\0\0\0\0\0\0\0\0\0\0\0\x01gRPC is served on b:2", &["gRPC is served on b:2"]);
        check(b"\x15\x03\x03", &["something else"]);
    }
}
