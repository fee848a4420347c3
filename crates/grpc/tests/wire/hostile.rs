//! Broken, hostile and unlucky input: an error or a closed connection, never a harm to anyone else.

use std::time::Duration;

use runnel_grpc::{Neighbours, Options};
use runnel_proto::cluster::v1::GetHealthRequest;
use runnel_proto::produce::v1::ProduceRequest;
use runnel_testkit::MemoryBroker;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic_types::StatusExt;

use crate::support::{Server, batch, quick, start, within};

async fn works(server: &Server) {
    assert!(server.cluster().await.get_health(GetHealthRequest {}).await.unwrap().into_inner().ready);
}

/// What the server says before it closes.
async fn last_words(socket: &mut TcpStream) -> Vec<u8> {
    let mut said = Vec::new();
    match within(socket.read_to_end(&mut said)).await {
        Ok(_) => said,
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => said,
        Err(error) => panic!("{error}"),
    }
}

fn hasty() -> Options {
    let kafka = Some(([127, 0, 0, 1], 9092).into());
    Options { patience: Duration::from_millis(200), neighbours: Neighbours { kafka, http: None }, ..quick() }
}

/// A frame of HTTP/2.
fn frame(kind: u8, flags: u8, stream: u32, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), body].concat()
}

/// Preface, settings, and a call of `path` that goes on.
fn call(path: &str) -> Vec<u8> {
    let header = |name: &str, value: &str| {
        let text = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
        [vec![0], text(name), text(value)].concat()
    };
    let headers = [
        header(":method", "POST"),
        header(":scheme", "http"),
        header(":path", path),
        header(":authority", "x"),
        header("content-type", "application/grpc"),
        header("te", "trailers"),
    ];
    [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        frame(4, 0, 0, &[]),
        frame(4, 1, 0, &[]),
        frame(1, 4, 1, &headers.concat()),
    ]
    .concat()
}

const PRODUCE: &str = "/runnel.produce.v1.ProducerService/Produce";

/// Reads frames until call 1 has its status, in headers that end the stream.
async fn answered(socket: &mut TcpStream) {
    loop {
        let mut head = [0; 9];
        within(socket.read_exact(&mut head)).await.expect("closed without an answer");
        let [a, b, c, kind, flags, stream @ ..] = head;
        let mut body = vec![0; usize::try_from(u32::from_be_bytes([0, a, b, c])).unwrap()];
        within(socket.read_exact(&mut body)).await.unwrap();
        if (kind, flags & 1, u32::from_be_bytes(stream)) == (1, 1, 1) {
            break;
        }
    }
}

#[tokio::test]
async fn who_dials_the_wrong_port_is_told_or_closed() {
    let server = start(&MemoryBroker::new(), hasty()).await;
    let cases: &[(&str, &[u8], &str)] = &[
        ("HTTP/1", b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", "Kafka is served on 127.0.0.1:9092"),
        ("TLS", &[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc], ""),
        ("Kafka", &[0, 0, 0, 20, 0, 18, 0, 3, 0, 0, 0, 1, 0, 4], ""),
        ("noise", b"\xff\x00\xfe\x01\xfd\x02\xfc", ""),
        ("half a preface", b"PRI * HT", ""),
        ("nothing", b"", ""),
    ];
    for (what, bytes, expected) in cases {
        let mut socket = server.dial().await;
        socket.write_all(bytes).await.unwrap();
        let said = String::from_utf8(last_words(&mut socket).await).unwrap();
        assert!(said.contains(expected) && said.is_empty() == expected.is_empty(), "{what}: {said:?}");
        assert!(said.is_empty() || said.starts_with("HTTP/1.1 400 "), "{what}");
    }
    works(&server).await;
    server.stop().await;
}

#[tokio::test]
async fn garbage_behind_the_preface_closes_that_connection() {
    let server = start(&MemoryBroker::new(), hasty()).await;
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    for garbage in [vec![0xff; 100], frame(0, 0, 0, b"data of no stream"), frame(1, 4, 1, &[0xff; 40]), vec![0; 9]] {
        let mut socket = server.dial().await;
        socket.write_all(&[preface.clone(), garbage].concat()).await.unwrap();
        last_words(&mut socket).await;
        works(&server).await;
    }
    server.stop().await;
}

#[tokio::test]
async fn a_message_that_is_announced_too_large_is_refused_at_once() {
    let server = start(&MemoryBroker::with_topic("t", 1), hasty()).await;
    let mut socket = server.dial().await;
    socket.write_all(&[call(PRODUCE), frame(0, 0, 1, &[0, 0x7f, 0, 0, 0])].concat()).await.unwrap();
    answered(&mut socket).await;

    let large = vec!["v".repeat(1000); 2 << 10];
    let large: Vec<_> = large.iter().map(String::as_str).collect();
    let small = Options { max_message_bytes: 1 << 20, ..quick() };
    let server = start(&MemoryBroker::with_topic("t", 1), small).await;
    let request = ProduceRequest { batch: Some(batch(&large)), timeout_ms: None };
    let status = server.producer().await.produce(request).await.unwrap_err();
    assert_eq!(status.get_error_details().error_info().unwrap().reason, "MESSAGE_TOO_LARGE");
    works(&server).await;
    server.stop().await;
}

#[tokio::test]
async fn a_message_that_never_becomes_complete_is_given_up() {
    let server = start(&MemoryBroker::with_topic("t", 1), hasty()).await;
    let mut socket = server.dial().await;
    socket.write_all(&[call(PRODUCE), frame(0, 0, 1, &[0, 0, 0, 1, 0, 1, 2, 3])].concat()).await.unwrap();
    answered(&mut socket).await;
    works(&server).await;
    server.stop().await;
}

#[tokio::test]
async fn messages_that_are_none_of_ours() {
    let server = start(&MemoryBroker::with_topic("t", 1), hasty()).await;
    for message in [&[0, 0, 0, 0, 3, 0xff, 0xff, 0xff][..], &[7, 0, 0, 0, 0], &[1, 0, 0, 0, 1, 9]] {
        let mut socket = server.dial().await;
        socket.write_all(&[call(PRODUCE), frame(0, 1, 1, message)].concat()).await.unwrap();
        answered(&mut socket).await;
    }
    let mut socket = server.dial().await;
    socket.write_all(&[call("/runnel.produce.v1.ProducerService/Steal"), frame(0, 1, 1, &[])].concat()).await.unwrap();
    answered(&mut socket).await;
    works(&server).await;
    server.stop().await;
}

#[tokio::test]
async fn large_messages_that_hold_the_budget_do_not_stop_small_ones() {
    let options = Options { max_message_bytes: 2 << 20, max_inflight_bytes: 2 << 20, ..quick() };
    let server = start(&MemoryBroker::with_topic("t", 1), options).await;
    let mut stuck = Vec::new();
    for _ in 0..12 {
        let mut socket = server.dial().await;
        let announced = [&[0, 0, 0x1f, 0, 0][..], &[0; 16_000]].concat();
        socket.write_all(&[call(PRODUCE), frame(0, 0, 1, &announced)].concat()).await.unwrap();
        for _ in 0..11 {
            socket.write_all(&frame(0, 0, 1, &[0; 16_384])).await.unwrap();
        }
        stuck.push(socket);
    }
    let mut producer = server.producer().await;
    for _ in 0..10 {
        let request = ProduceRequest { batch: Some(batch(&["small"])), timeout_ms: None };
        within(producer.produce(request)).await.unwrap();
    }
    drop(stuck);
    works(&server).await;
    server.stop().await;
}

#[tokio::test]
async fn requests_past_the_budget_wait_and_are_told_to_retry() {
    let broker = MemoryBroker::with_topic("t", 1);
    let server = start(&broker, Options { max_message_bytes: 2 << 20, max_inflight_bytes: 2 << 20, ..hasty() }).await;
    let value = "v".repeat(1_200_000);
    let large = || ProduceRequest { batch: Some(batch(&[value.as_str()])), timeout_ms: None };
    let gate = broker.hold();
    let (mut producer, request) = (server.producer().await, large());
    let first = tokio::spawn(async move { producer.produce(request).await });
    while broker.appends().is_empty() {
        tokio::task::yield_now().await;
    }
    let status = server.producer().await.produce(large()).await.unwrap_err();
    let details = status.get_error_details();
    assert_eq!(details.error_info().unwrap().reason, "THROTTLED");
    assert!(details.retry_info().is_some());
    drop(gate);
    within(first).await.unwrap().unwrap();
    server.producer().await.produce(large()).await.unwrap();
    server.stop().await;
}

#[tokio::test]
async fn connections_past_the_limit_are_closed() {
    let server = start(&MemoryBroker::new(), Options { max_connections: 2, ..hasty() }).await;
    let held = [server.channel().await, server.channel().await];
    assert!(last_words(&mut server.dial().await).await.is_empty());
    drop(held);
    let mut refused = 0;
    loop {
        // The two are closed when their sockets are, which the server sees in its own time.
        let mut socket = server.dial().await;
        socket.write_all(&call("/grpc.health.v1.Health/Check")).await.unwrap();
        socket.write_all(&frame(0, 1, 1, &[0; 5])).await.ok();
        let mut said = [0; 9];
        if within(socket.read_exact(&mut said)).await.is_ok() {
            break;
        }
        refused += 1;
        assert!(refused < 100_000);
    }
    server.stop().await;
}
