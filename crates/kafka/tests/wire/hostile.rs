//! Broken, hostile and unlucky input: an error or a closed connection, never a harm to anyone else.

use std::time::Duration;

use crate::support::{Client, Server, frame, framed, start};
use kafka_protocol::messages::*;
use proptest::prelude::*;
use runnel_kafka::Options;
use runnel_testkit::MemoryBroker;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn small() -> Options {
    Options {
        max_frame_bytes: 1 << 20,
        max_inflight_bytes_per_connection: 1 << 20,
        max_inflight_bytes: 1 << 20,
        ..Options::default()
    }
}

async fn works(server: &Server) {
    answers(&mut server.client().await).await;
}

async fn answers(client: &mut Client) {
    let response = client.call(&ApiVersionsRequest::default(), 0).await;
    assert_eq!(response.error_code, 0);
}

#[tokio::test]
async fn what_cannot_be_answered_closes_that_connection_alone() {
    let server = start(&MemoryBroker::new(), small()).await;
    let mut neighbour = server.client().await;
    let cases: &[(&str, Vec<u8>)] = &[
        ("a negative length", vec![0xff; 4]),
        ("a length past the limit", vec![0, 0x10, 0, 1]),
        ("TLS", vec![0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc]),
        ("HTTP", b"GET /metrics HTTP/1.1\r\n\r\n".to_vec()),
        ("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec()),
        ("an empty frame", framed(&[])),
        ("half a header", framed(&[0, 3, 0, 1])),
        ("an unknown API", framed(&[0x7f, 0xff, 0, 0, 0, 0, 0, 1, 0xff, 0xff])),
        ("an API that is not served", framed(&[0, 11, 0, 0, 0, 0, 0, 1, 0xff, 0xff])),
        ("an unknown version", framed(&[0, 3, 0, 14, 0, 0, 0, 1, 0xff, 0xff])),
        ("a negative version", framed(&[0, 3, 0xff, 0xff, 0, 0, 0, 1, 0xff, 0xff])),
        ("a client id past the end", framed(&[0, 3, 0, 1, 0, 0, 0, 1, 0, 9])),
        ("a negative client id", framed(&[0, 3, 0, 1, 0, 0, 0, 1, 0xff, 0xfe])),
        ("2^31 topics", framed(&[0, 3, 0, 1, 0, 0, 0, 1, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff])),
        ("2^32 tagged fields", framed(&[0, 3, 0, 9, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f])),
        ("invalid UTF-8", framed(&[0, 3, 0, 1, 0, 0, 0, 1, 0xff, 0xff, 0, 0, 0, 1, 0, 1, 0xff])),
    ];
    for (what, bytes) in cases {
        let mut client = server.client().await;
        client.write(bytes).await;
        assert!(client.is_closed().await, "{what}");
        answers(&mut neighbour).await;
    }
    works(&server).await;
}

#[tokio::test]
async fn many_small_elements_in_one_request_are_refused() {
    let server = start(&MemoryBroker::new(), small()).await;
    let mut client = server.client().await;
    // 20,000 empty names in 40 KB would take some megabytes once decoded.
    let topics = vec![metadata_request::MetadataRequestTopic::default().with_name(Some(TopicName::default())); 20_000];
    client.write(&frame(&MetadataRequest::default().with_topics(Some(topics)), 1, 1)).await;
    assert!(client.is_closed().await);
    works(&server).await;
}

#[tokio::test]
async fn announcing_large_frames_costs_nothing() {
    let server = start(&MemoryBroker::new(), Options::default()).await;
    let before = memory();
    let mut idle = Vec::new();
    for _ in 0..100 {
        let mut client = server.client().await;
        client.write(&(90_u32 << 20).to_be_bytes()).await;
        client.write(&[0, 0, 0, 9]).await;
        idle.push(client);
    }
    tokio::time::timeout(Duration::from_secs(30), works(&server)).await.expect("others are still served");
    let after = memory();
    // Allocated or not, touched or not: other tests run beside this one, hence the room.
    assert!(after.reserved < before.reserved + (3 << 30), "{before:?} {after:?} for 9 GiB announced");
    assert!(after.resident < before.resident + (64 << 20), "{before:?} {after:?} for 9 GiB announced");
}

#[derive(Debug)]
struct Memory {
    reserved: u64,
    resident: u64,
}

fn memory() -> Memory {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let kib = |field| {
        let line = status.lines().find(|line| line.starts_with(field)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
    };
    Memory { reserved: kib("VmSize:") * 1024, resident: kib("VmRSS:") * 1024 }
}

#[tokio::test]
async fn large_requests_that_meet_at_the_shared_limit_all_get_through() {
    let server = start(&MemoryBroker::with_topic("t", 1), small()).await;
    let noise = produce_request::PartitionProduceData::default().with_records(Some(vec![7; 900_000].into()));
    let topic = produce_request::TopicProduceData::default()
        .with_name(TopicName("t".to_owned().into()))
        .with_partition_data(vec![noise]);
    let request = ProduceRequest::default().with_acks(1).with_topic_data(vec![topic]);
    let mut senders = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (mut client, request) = (server.client().await, request.clone());
        senders.spawn(async move { client.call(&request, 9).await.responses[0].partition_responses[0].error_code });
    }
    let all_done = async {
        while let Some(code) = senders.join_next().await {
            assert_eq!(code.unwrap(), kafka_protocol::error::ResponseError::CorruptMessage.code());
        }
    };
    tokio::time::timeout(Duration::from_secs(60), all_done).await.expect("some wait for each other for ever");
}

#[tokio::test]
async fn connections_past_the_limit_are_closed_and_come_back() {
    let server = start(&MemoryBroker::new(), Options { max_connections: 2, ..small() }).await;
    let (mut first, mut second) = (server.client().await, server.client().await);
    answers(&mut first).await;
    answers(&mut second).await;
    assert!(server.client().await.is_closed().await);
    drop(first);
    // Closing takes the server a moment; what counts is that there is room again.
    loop {
        let mut third = server.client().await;
        let bytes = frame(&ApiVersionsRequest::default(), 0, 1);
        if third.socket.write_all(&bytes).await.is_ok() && third.socket.read_u32().await.is_ok() {
            break;
        }
        tokio::task::yield_now().await;
    }
    answers(&mut second).await;
}

#[tokio::test]
async fn silence_closes() {
    let server = start(&MemoryBroker::new(), Options { idle_timeout: Duration::from_millis(50), ..small() }).await;
    let mut client = server.client().await;
    answers(&mut client).await;
    assert!(client.is_closed().await);
    let mut halfway = server.client().await;
    halfway.write(&[0, 0, 0, 50, 0]).await;
    assert!(halfway.is_closed().await);
}

#[tokio::test]
async fn stopping_answers_what_was_started_and_closes() {
    let broker = MemoryBroker::with_topic("t", 1);
    let server = start(&broker, small()).await;
    let mut client = server.client().await;
    let gate = broker.hold();
    let records = runnel_testkit::batch(&runnel_testkit::BatchSpec::default());
    let data = produce_request::PartitionProduceData::default().with_records(Some(records));
    let topic = produce_request::TopicProduceData::default()
        .with_name(TopicName("t".to_owned().into()))
        .with_partition_data(vec![data]);
    let id = client.send(&ProduceRequest::default().with_acks(-1).with_topic_data(vec![topic]), 9).await;
    while broker.appends().is_empty() {
        tokio::task::yield_now().await;
    }
    server.shutdown.trigger();
    drop(gate);
    let response = client.receive::<ProduceRequest>(9, id).await;
    assert_eq!(response.responses[0].partition_responses[0].error_code, 0);
    assert!(client.is_closed().await);
    server.stop().await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn noise_never_hurts_the_server(
        frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..8),
        keys in prop::collection::vec((0_i16..80, -1_i16..20), 8),
        raw in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let server = start(&MemoryBroker::with_topic("t", 1), small()).await;
            let mut neighbour = server.client().await;
            for (body, (key, version)) in frames.iter().zip(&keys) {
                let mut client = server.client().await;
                let mut request = [key.to_be_bytes(), version.to_be_bytes()].concat();
                request.extend_from_slice(body);
                let bytes = if raw { body.clone() } else { framed(&request) };
                client.write(&bytes).await;
                client.socket.shutdown().await.unwrap();
                let mut reply = Vec::new();
                // Whatever comes back, the connection ends.
                drop(client.socket.read_to_end(&mut reply).await);
                answers(&mut neighbour).await;
            }
            server.stop().await;
        });
    }
}
