#![allow(clippy::unwrap_used)]

use std::io::Result;
use std::sync::Arc;

use runnel_runtime::Shutdown;
use runnel_testkit::MemoryBroker;

use super::*;

/// A door with little patience; its address.
async fn door(options: Options) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let metrics: crate::RenderMetrics = Arc::new(String::new);
    tokio::spawn(crate::serve(listener, MemoryBroker::new(), metrics, options, Shutdown::new()));
    address
}

fn impatient() -> Options {
    Options {
        max_connections: 2,
        first_byte_timeout: Duration::from_millis(50),
        idle_timeout: Duration::from_millis(50),
        ..Options::default()
    }
}

async fn dial(address: SocketAddr, say: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(say).await.unwrap();
    stream
}

/// All that comes until the connection ends.
async fn answer(mut stream: TcpStream) -> Result<String> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[tokio::test]
async fn whoever_says_nothing_or_stops_is_closed() {
    let address = door(impatient()).await;
    for begun in [&b""[..], b"G", b"GET /livez HTTP/1.1\r\n", b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"] {
        let answer = answer(dial(address, begun).await).await.unwrap();
        assert_eq!(answer.starts_with("HTTP/1.1 200"), begun.ends_with(b"\r\n\r\n"), "{answer}");
    }
}

#[tokio::test]
async fn past_the_limit_the_oldest_connection_is_closed() {
    let patient = Duration::from_secs(60);
    let address = door(Options { first_byte_timeout: patient, idle_timeout: patient, ..impatient() }).await;
    let silent = dial(address, b"").await;
    let halfway = dial(address, b"GET /livez HTTP/1.1\r\n").await;
    let mut others = Vec::new();
    for held in [silent, halfway] {
        let newest = answer(dial(address, b"GET /livez HTTP/1.0\r\n\r\n").await).await.unwrap();
        assert!(newest.ends_with("ok\n"), "{newest}");
        let oldest = answer(held).await;
        assert!(oldest.is_err() || oldest.is_ok_and(|text| text.is_empty()), "closed without an answer");
        others.push(dial(address, b"").await);
    }
}

#[tokio::test]
async fn the_wrong_port_is_told_the_right_one() {
    let kafka = SocketAddr::from(([127, 0, 0, 1], 19092));
    let neighbours = Neighbours { kafka: Some(kafka), grpc: None };
    let address = door(Options { neighbours, ..Options::default() }).await;
    for (begun, says) in [
        (&b"\0\0\0\x20\0\x12\0\x03"[..], "Kafka is served on 127.0.0.1:19092"),
        (b"\x16\x03\x01\x02\0", "speaks TLS"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "speaks HTTP/2"),
    ] {
        let mut stream = dial(address, begun).await;
        stream.shutdown().await.unwrap();
        let answer = answer(stream).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 400") && answer.contains(says), "{answer}");
    }
}
