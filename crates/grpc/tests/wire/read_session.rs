//! Read sessions: credits, stops, heartbeats, drains.

use std::time::Duration;

use runnel_api::{Admin, TopicKey};
use runnel_grpc::Options;
use runnel_proto::consume::v1::position::{Earliest, Latest, Position as Named};
use runnel_proto::consume::v1::read_session_request::{Message as Asked, Open};
use runnel_proto::consume::v1::read_session_response::Message;
use runnel_proto::consume::v1::{OutOfRange, Position, ReadCredit, ReadRange, ReadSessionRequest, ReadSessionResponse};
use runnel_proto::produce::v1::{AppendBatch, ProduceRequest};
use runnel_proto::record::v1::Compression;
use runnel_testkit::MemoryBroker;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};
use tonic_types::StatusExt;

use crate::support::{NOW, Server, batch, quick, start, within};

const PLENTY: Option<ReadCredit> = Some(ReadCredit { records: 1 << 40, bytes: 1 << 40 });

struct Session {
    requests: Option<mpsc::Sender<ReadSessionRequest>>,
    replies: Streaming<ReadSessionResponse>,
}

impl Session {
    async fn open(server: &Server, open: Open) -> Self {
        let (requests, stream) = mpsc::channel(16);
        requests.send(ReadSessionRequest { message: Some(Asked::Open(open)) }).await.unwrap();
        let replies = server.consumer().await.read_session(ReceiverStream::new(stream)).await.unwrap().into_inner();
        Self { requests: Some(requests), replies }
    }

    async fn credit(&self, records: u64, bytes: u64) {
        let request = ReadSessionRequest { message: Some(Asked::Credit(ReadCredit { records, bytes })) };
        self.requests.as_ref().unwrap().send(request).await.unwrap();
    }

    /// The next reply in short; `end` at a clean end, the reason of an error.
    async fn reply(&mut self) -> String {
        match within(self.replies.message()).await {
            Ok(None) => "end".to_owned(),
            Ok(Some(reply)) => short(reply.message.unwrap()),
            Err(status) => reason(&status),
        }
    }

    async fn replies(&mut self, count: usize) -> Vec<String> {
        let mut replies = Vec::new();
        for _ in 0..count {
            replies.push(self.reply().await);
        }
        replies
    }
}

fn reason(status: &Status) -> String {
    status.get_error_details().error_info().unwrap_or_else(|| panic!("{status:?}")).reason.clone()
}

fn short(message: Message) -> String {
    match message {
        Message::Opened(opened) => {
            let parts = opened.partitions.iter().map(|start| {
                let stop = start.stop_offset.map_or_else(String::new, |stop| stop.to_string());
                format!(" {}{}:{}..{stop}", start.topic, start.partition, start.offset)
            });
            format!("opened{}", parts.collect::<String>())
        }
        Message::Batch(batch) => {
            let first = batch.records.first().unwrap().offset;
            format!("{}{}:{first}..{}/{}", batch.topic, batch.partition, batch.next_offset, batch.high_watermark)
        }
        Message::Heartbeat(heartbeat) => {
            let tails =
                heartbeat.tails.iter().map(|t| format!(" {}:{}/{}", t.partition, t.next_offset, t.high_watermark));
            format!("heartbeat{}", tails.collect::<String>())
        }
        Message::CaughtUp(caught_up) => format!("caught up {}:{}", caught_up.partition, caught_up.next_offset),
        Message::Gap(gap) => format!("gap {}:{}..{}", gap.partition, gap.from_offset, gap.to_offset),
        Message::Drain(drain) => format!("drain {}", drain.grace_ms),
    }
}

fn position(named: Named) -> Option<Position> {
    Some(Position { position: Some(named) })
}

/// All of topic `t` from its start.
fn range() -> ReadRange {
    ReadRange { topic: "t".to_owned(), start: position(Named::Earliest(Earliest {})), ..ReadRange::default() }
}

fn open(range: ReadRange) -> Open {
    Open { ranges: vec![range], credit: PLENTY, ..Open::default() }
}

async fn produce(server: &Server, partition: i32, values: &[&str]) {
    let batch = AppendBatch { partition: Some(partition), compression: Compression::Lz4.into(), ..batch(values) };
    server.producer().await.produce(ProduceRequest { batch: Some(batch), timeout_ms: None }).await.unwrap();
}

async fn topic(partitions: usize, options: Options) -> Server {
    start(&MemoryBroker::with_topic("t", partitions), options).await
}

#[tokio::test]
async fn from_the_start_to_the_end_and_on() {
    let server = topic(1, quick()).await;
    produce(&server, 0, &["a", "b"]).await;
    produce(&server, 0, &["c"]).await;
    let mut session = Session::open(&server, open(range())).await;
    assert_eq!(session.replies(3).await, ["opened t0:0..", "t0:0..3/3", "caught up 0:3"]);
    produce(&server, 0, &["d"]).await;
    assert_eq!(session.reply().await, "t0:3..4/4");
    server.stop().await;
}

#[tokio::test]
async fn every_start_and_every_stop() {
    let server = topic(1, quick()).await;
    produce(&server, 0, &["0", "1", "2", "3"]).await;
    produce(&server, 0, &["4", "5"]).await;
    let latest = || position(Named::Latest(Latest {}));
    let cases = [
        (position(Named::Offset(2)), position(Named::Offset(5)), None, "opened t0:2..5, t0:2..5/6, end"),
        (position(Named::BeforeLatest(2)), latest(), None, "opened t0:4..6, t0:4..6/6, caught up 0:6, end"),
        (position(Named::TimestampMs(NOW)), None, Some(3), "opened t0:0.., t0:0..3/6, end"),
        (position(Named::Offset(1)), position(Named::TimestampMs(NOW + 1)), Some(1), "opened t0:1.., t0:1..2/6, end"),
        (None, latest(), None, "opened t0:6..6, caught up 0:6, end"),
        (position(Named::Offset(3)), position(Named::Earliest(Earliest {})), None, "opened t0:3..0, end"),
    ];
    for (start, stop, max_records, expected) in cases {
        let range = ReadRange { start, stop, max_records, ..range() };
        let mut session = Session::open(&server, open(range)).await;
        let mut replies = Vec::new();
        while replies.last().is_none_or(|last| last != "end") {
            replies.push(session.reply().await);
        }
        assert_eq!(replies.join(", "), expected);
    }
    server.stop().await;
}

#[tokio::test]
async fn records_flow_as_far_as_there_is_credit() {
    let server = topic(1, quick()).await;
    produce(&server, 0, &["0", "1", "2", "3", "4", "5"]).await;
    let credit = Some(ReadCredit { records: 2, bytes: 100 });
    let ask = Open { credit, heartbeat_ms: Some(100), ..open(range()) };
    let mut session = Session::open(&server, ask).await;
    assert_eq!(session.replies(3).await, ["opened t0:0..", "t0:0..2/6", "heartbeat 0:2/6"]);
    session.credit(1, 0).await;
    while session.reply().await != "t0:2..3/6" {}
    session.credit(10, 10).await;
    while session.reply().await != "t0:3..6/6" {}
    session.requests = None;
    produce(&server, 0, &["6", "7", "8", "9", "10", "11", "12", "13"]).await;
    while session.reply().await != "t0:6..13/14" {}
    assert_eq!(session.reply().await, "end", "the client has closed its side and its credit is used up");
    server.stop().await;
}

#[tokio::test]
async fn many_partitions_and_heartbeats_with_the_end_of_the_log() {
    let server = topic(3, quick()).await;
    for partition in 0..3 {
        produce(&server, partition, &["a", "b"]).await;
    }
    let ask = Open { heartbeat_ms: Some(100), ..open(ReadRange { partitions: vec![2, 0], ..range() }) };
    let mut session = Session::open(&server, ask).await;
    assert_eq!(session.reply().await, "opened t2:0.. t0:0..");
    let mut got = session.replies(4).await;
    got.sort();
    assert_eq!(got, ["caught up 0:2", "caught up 2:2", "t0:0..2/2", "t2:0..2/2"]);
    assert_eq!(session.reply().await, "heartbeat 2:2/2 0:2/2");
    produce(&server, 0, &["c"]).await;
    while session.reply().await != "t0:2..3/3" {}
    server.stop().await;
}

#[tokio::test]
async fn what_cannot_be_read_has_a_reason() {
    let server = topic(1, quick()).await;
    produce(&server, 0, &["a"]).await;
    produce(&server, 0, &["v".repeat(3000).as_str()]).await;
    let offset = |offset| ReadRange { start: position(Named::Offset(offset)), ..range() };
    let cases = [
        (Open { ranges: vec![], ..open(range()) }, "INVALID_REQUEST"),
        (Open { ranges: vec![range(), range()], ..open(range()) }, "INVALID_REQUEST"),
        (Open { max_frame_bytes: Some(1), ..open(range()) }, "INVALID_REQUEST"),
        (open(ReadRange { start: Some(Position { position: None }), ..range() }), "INVALID_REQUEST"),
        (open(ReadRange { topic: "missing".to_owned(), ..range() }), "UNKNOWN_TOPIC"),
        (open(ReadRange { partitions: vec![1], ..range() }), "UNKNOWN_PARTITION"),
        (open(offset(3)), "OFFSET_OUT_OF_RANGE"),
        (Open { out_of_range: OutOfRange::Clamp.into(), ..open(offset(3)) }, "opened t0:2.."),
    ];
    for (ask, expected) in cases {
        assert_eq!(Session::open(&server, ask).await.reply().await, expected);
    }
    let mut session = Session::open(&server, Open { max_frame_bytes: Some(1024), ..open(range()) }).await;
    assert_eq!(session.replies(3).await, ["opened t0:0..", "t0:0..1/2", "FRAME_TOO_SMALL"]);
    let mut session = Session::open(&server, open(range())).await;
    session.reply().await;
    let twice = ReadSessionRequest { message: Some(Asked::Open(Open::default())) };
    session.requests.as_ref().unwrap().send(twice).await.unwrap();
    while session.reply().await != "INVALID_REQUEST" {}
    server.stop().await;
}

#[tokio::test]
async fn a_topic_created_anew_under_the_name_is_another_one() {
    let broker = MemoryBroker::with_topic("t", 1);
    let server = start(&broker, quick()).await;
    let ask = Open { heartbeat_ms: Some(100), ..open(range()) };
    let mut session = Session::open(&server, ask).await;
    assert_eq!(session.replies(2).await, ["opened t0:0..", "caught up 0:0"]);
    broker.delete_topic(&TopicKey::Name("t".to_owned())).await.unwrap();
    produce(&server, 0, &["of another"]).await;
    let mut reply = session.reply().await;
    while reply.starts_with("heartbeat") {
        reply = session.reply().await;
    }
    assert_eq!(reply, "UNKNOWN_TOPIC_ID");
    server.stop().await;
}

#[tokio::test]
async fn a_stop_drains_and_so_does_age() {
    let grace = Duration::from_millis(100);
    let server = topic(1, Options { drain_grace: grace, ..quick() }).await;
    let mut session = Session::open(&server, open(range())).await;
    assert_eq!(session.replies(2).await, ["opened t0:0..", "caught up 0:0"]);
    server.shutdown.trigger();
    assert_eq!(session.replies(2).await, ["drain 100", "end"]);
    server.ended().await;

    let old = Options { drain_grace: grace, max_session_age: Duration::from_millis(50), ..quick() };
    let server = topic(1, old).await;
    let mut session = Session::open(&server, open(range())).await;
    assert_eq!(session.replies(4).await, ["opened t0:0..", "caught up 0:0", "drain 100", "end"]);
    server.stop().await;
}

#[tokio::test]
async fn clients_that_never_read_hold_a_bounded_part_and_disturb_nobody() {
    let broker = MemoryBroker::with_topic("t", 1);
    let server = start(&broker, Options { drain_grace: Duration::from_millis(50), ..quick() }).await;
    let value = "v".repeat(100_000);
    for _ in 0..20 {
        let request = ProduceRequest { batch: Some(batch(&[value.as_str(); 5])), timeout_ms: None };
        server.producer().await.produce(request).await.unwrap();
    }
    let mut silent = Vec::new();
    for _ in 0..10 {
        silent.push(Session::open(&server, open(range())).await);
    }
    let mut session =
        Session::open(&server, open(ReadRange { stop: position(Named::Latest(Latest {})), ..range() })).await;
    let mut records = 0;
    while let Some(reply) = within(session.replies.message()).await.unwrap() {
        if let Some(Message::Batch(batch)) = reply.message {
            records += batch.records.len();
        }
    }
    assert_eq!(records, 100);
    server.shutdown.trigger();
    server.ended().await;
    for mut session in silent {
        // What was buffered may still be read; then it is over, one way or the other.
        while within(session.replies.message()).await.is_ok_and(|reply| reply.is_some()) {}
    }
}

#[tokio::test]
async fn a_call_that_is_not_a_session_is_none() {
    let server = topic(1, Options { patience: Duration::from_millis(100), ..quick() }).await;
    let (requests, stream) = mpsc::channel::<ReadSessionRequest>(1);
    let mut replies = server.consumer().await.read_session(ReceiverStream::new(stream)).await.unwrap().into_inner();
    let status = within(replies.message()).await.unwrap_err();
    assert_eq!((status.code(), reason(&status)), (Code::InvalidArgument, "INVALID_REQUEST".to_owned()));
    drop(requests);
    server.stop().await;
}

#[tokio::test]
async fn a_session_gives_back_what_its_credits_held() {
    let options = Options { max_message_bytes: 1 << 20, max_inflight_bytes: 1 << 20, ..quick() };
    let server = topic(1, options).await;
    let mut session = Session::open(&server, Open { credit: None, ..open(range()) }).await;
    assert_eq!(session.replies(2).await, ["opened t0:0..", "caught up 0:0"]);
    for _ in 0..3000 {
        within(session.credit(1, 1)).await;
    }
    produce(&server, 0, &["v"]).await;
    assert_eq!(session.reply().await, "t0:0..1/1");
    server.stop().await;
}
