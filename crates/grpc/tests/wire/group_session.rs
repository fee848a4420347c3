//! Group sessions: members that come, share, commit and go.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use runnel_api::Groups;
use runnel_api::groups::{ConsumerHeartbeat, FetchOffsets, LEAVE};
use runnel_grpc::Options;
use runnel_proto::consume::v1::group_session_request::commit::Offset;
use runnel_proto::consume::v1::group_session_request::{Commit, Message as Asked, Open, Released};
use runnel_proto::consume::v1::group_session_response::{Message, Revoke};
use runnel_proto::consume::v1::position::{Earliest, Position as Named};
use runnel_proto::consume::v1::{
    AssignedPartitions, GroupSessionRequest, GroupSessionResponse, OutOfRange, Position, ReadCredit,
};
use runnel_proto::produce::v1::{AppendBatch, ProduceRequest};
use runnel_testkit::MemoryBroker;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};
use tonic_types::StatusExt;

use crate::support::{Server, batch, quick, start, within};

const PLENTY: Option<ReadCredit> = Some(ReadCredit { records: 1 << 40, bytes: 1 << 40 });

struct Session {
    requests: Option<mpsc::Sender<GroupSessionRequest>>,
    replies: Streaming<GroupSessionResponse>,
    member_id: String,
}

impl Session {
    async fn begin(server: &Server, first: Asked) -> Self {
        let (requests, stream) = mpsc::channel(16);
        requests.send(GroupSessionRequest { message: Some(first) }).await.unwrap();
        let replies = server.consumer().await.group_session(ReceiverStream::new(stream)).await.unwrap().into_inner();
        Self { requests: Some(requests), replies, member_id: String::new() }
    }

    async fn open(server: &Server, open: Open) -> Self {
        Self::begin(server, Asked::Open(open)).await
    }

    async fn ask(&self, message: Asked) {
        self.requests.as_ref().unwrap().send(GroupSessionRequest { message: Some(message) }).await.unwrap();
    }

    async fn commit(&self, partition: i32, offset: i64) {
        let metadata = format!("at {offset}");
        let offset = Offset { topic: "t".to_owned(), partition, offset, metadata };
        self.ask(Asked::Commit(Commit { offsets: vec![offset] })).await;
    }

    async fn message(&mut self) -> Option<Result<Message, Status>> {
        let reply = within(self.replies.message()).await.transpose()?;
        Some(reply.map(|reply| reply.message.unwrap()))
    }

    /// The next reply in short; `end` at a clean end, the reason of an error.
    async fn reply(&mut self) -> String {
        match self.message().await {
            None => "end".to_owned(),
            Some(Err(status)) => reason(&status),
            Some(Ok(Message::Joined(joined))) => {
                self.member_id = joined.member_id;
                "joined".to_owned()
            }
            Some(Ok(message)) => short(message),
        }
    }

    async fn replies(&mut self, count: usize) -> BTreeSet<String> {
        let mut replies = BTreeSet::new();
        for _ in 0..count {
            replies.insert(self.reply().await);
        }
        replies
    }

    /// Lets go of whatever the next message revokes; returns it.
    async fn release(&mut self) -> Vec<AssignedPartitions> {
        loop {
            if let Message::Revoke(Revoke { partitions, revocation, .. }) = self.message().await.unwrap().unwrap() {
                self.ask(Asked::Released(Released { revocation })).await;
                return partitions;
            }
        }
    }
}

fn reason(status: &Status) -> String {
    status.get_error_details().error_info().unwrap_or_else(|| panic!("{status:?}")).reason.clone()
}

fn listed(partitions: &[AssignedPartitions]) -> String {
    partitions.iter().map(|one| format!(" {}{:?}", one.topic, one.partitions)).collect()
}

fn short(message: Message) -> String {
    match message {
        Message::Joined(_) => "joined".to_owned(),
        Message::Assigned(assigned) => {
            let parts = assigned.partitions.iter().map(|s| format!(" {}{}:{}", s.topic, s.partition, s.offset));
            format!("assigned{}", parts.collect::<String>())
        }
        Message::Revoke(revoke) => format!("revoke{}", listed(&revoke.partitions)),
        Message::Lost(lost) => format!("lost{} {}", listed(&lost.partitions), lost.reason.unwrap().reason),
        Message::Committed(committed) => {
            let failed = committed.failed.into_iter().map(|f| format!(" {}:{}", f.partition, f.error.unwrap().reason));
            format!("committed{}", failed.collect::<String>())
        }
        Message::Batch(batch) => {
            let first = batch.records.first().unwrap().offset;
            format!("{}{}:{first}..{}", batch.topic, batch.partition, batch.next_offset)
        }
        Message::Heartbeat(heartbeat) => {
            let tails = heartbeat.tails.iter().map(|tail| format!(" {}:{}", tail.partition, tail.high_watermark));
            format!("heartbeat{}", tails.collect::<String>())
        }
        Message::CaughtUp(caught_up) => format!("caught up {}:{}", caught_up.partition, caught_up.next_offset),
        Message::Gap(gap) => format!("gap {}:{}..{}", gap.partition, gap.from_offset, gap.to_offset),
        Message::Drain(drain) => format!("drain {}", drain.grace_ms),
    }
}

fn open() -> Open {
    Open {
        group: "g".to_owned(),
        topics: vec!["t".to_owned()],
        start: Some(Position { position: Some(Named::Earliest(Earliest {})) }),
        credit: PLENTY,
        ..Open::default()
    }
}

async fn produce(server: &Server, partition: i32, values: &[&str]) {
    let batch = AppendBatch { partition: Some(partition), ..batch(values) };
    server.producer().await.produce(ProduceRequest { batch: Some(batch), timeout_ms: None }).await.unwrap();
}

async fn topic(partitions: usize, options: Options) -> (Arc<MemoryBroker>, Server) {
    let broker = MemoryBroker::with_topic("t", partitions);
    let server = start(&broker, options).await;
    (broker, server)
}

/// What the group has committed for partition 0, and with what.
async fn committed(broker: &MemoryBroker) -> (i64, String) {
    let topics = Some(vec![("t".to_owned(), vec![0])]);
    let fetch = FetchOffsets { group: "g".to_owned(), topics, member: None };
    let offset = Groups::fetch_offsets(broker, fetch).await.unwrap().remove(0);
    (offset.offset, offset.metadata)
}

/// Nobody, where there is no group.
async fn members(broker: &MemoryBroker) -> Vec<String> {
    let group = Groups::describe_consumer_group(broker, "g").await;
    let members = group.map_or_else(|_| Vec::new(), |group| group.members);
    members.into_iter().map(|member| format!("{}{}", member.client_id, member.client_host)).collect()
}

fn strings(expected: &[&str]) -> BTreeSet<String> {
    expected.iter().map(|text| (*text).to_owned()).collect()
}

#[tokio::test]
async fn a_member_goes_on_where_its_group_has_committed() {
    let (broker, server) = topic(1, quick()).await;
    produce(&server, 0, &["a", "b", "c"]).await;
    let mut session = Session::open(&server, Open { client_id: "ada".to_owned(), ..open() }).await;
    assert_eq!([session.reply().await, session.reply().await], ["joined", "assigned t0:0"]);
    assert_eq!([session.reply().await, session.reply().await], ["t0:0..3", "caught up 0:3"]);
    assert_eq!(members(&broker).await, ["ada/127.0.0.1"]);
    session.commit(0, 2).await;
    assert_eq!(session.reply().await, "committed");
    assert_eq!(committed(&broker).await, (2, "at 2".to_owned()));
    session.commit(0, 3).await;
    session.requests = None;
    assert_eq!([session.reply().await, session.reply().await], ["committed", "end"], "what was asked is answered");
    assert_eq!(members(&broker).await, [] as [&str; 0], "whoever closes its side has left");
    let mut session = Session::open(&server, open()).await;
    assert_eq!([session.reply().await, session.reply().await], ["joined", "assigned t0:3"]);
    server.stop().await;
}

#[tokio::test]
async fn nothing_is_given_to_another_before_it_is_let_go() {
    let (broker, server) = topic(2, quick()).await;
    let mut first = Session::open(&server, open()).await;
    assert_eq!([first.reply().await, first.reply().await], ["joined", "assigned t0:0 t1:0"]);
    assert_eq!(first.replies(2).await, strings(&["caught up 0:0", "caught up 1:0"]));
    let mut second = Session::open(&server, open()).await;
    assert_eq!(second.reply().await, "joined");
    let Message::Revoke(Revoke { partitions, revocation, deadline_ms }) = first.message().await.unwrap().unwrap()
    else {
        panic!("the second member gets a half")
    };
    let [AssignedPartitions { topic, partitions }] = &partitions[..] else { panic!("{partitions:?}") };
    let [moves] = partitions[..] else { panic!("{partitions:?}") };
    assert_eq!((topic.as_str(), deadline_ms), ("t", 300_000));
    // The first may still commit, and the second has nothing yet.
    produce(&server, moves, &["a"]).await;
    first.commit(moves, 0).await;
    assert_eq!(first.reply().await, "committed");
    let described = Groups::describe_consumer_group(&*broker, "g").await.unwrap();
    let has = |id: &str| described.members.iter().find(|m| m.member_id == id).unwrap().assignment.len();
    assert_eq!((has(&first.member_id), has(&second.member_id)), (1, 0));
    first.ask(Asked::Released(Released { revocation })).await;
    assert_eq!(second.reply().await, format!("assigned t{moves}:0"));
    assert_eq!(second.replies(2).await, strings(&[&format!("t{moves}:0..1"), &format!("caught up {moves}:1")]));
    first.commit(moves, 1).await;
    assert_eq!(first.reply().await, format!("committed {moves}:NOT_ASSIGNED"));
    // When one leaves, the other has it all.
    drop(first);
    assert_eq!(second.reply().await, format!("assigned t{}:0", 1 - moves));
    server.stop().await;
}

#[tokio::test]
async fn a_member_that_was_given_up_is_told_and_joins_anew() {
    let (broker, server) = topic(1, quick()).await;
    let mut session = Session::open(&server, open()).await;
    assert_eq!([session.reply().await, session.reply().await], ["joined", "assigned t0:0"]);
    assert_eq!(session.reply().await, "caught up 0:0");
    let leave = ConsumerHeartbeat {
        group: "g".to_owned(),
        member_id: session.member_id.clone(),
        chooses_id: true,
        epoch: LEAVE,
        instance_id: None,
        rack: None,
        rebalance_timeout: None,
        topics: None,
        pattern: None,
        assignor: None,
        owned: None,
        client_id: String::new(),
        client_host: String::new(),
    };
    Groups::consumer_heartbeat(&*broker, leave).await.unwrap();
    assert_eq!(session.reply().await, "lost t[0] FENCED_MEMBER");
    assert_eq!([session.reply().await, session.reply().await], ["joined", "assigned t0:0"]);
    server.stop().await;
}

#[tokio::test]
async fn a_client_that_does_not_let_go_in_time_loses_everything() {
    let (_broker, server) = topic(2, quick()).await;
    let mut first = Session::open(&server, Open { rebalance_timeout_ms: Some(1000), ..open() }).await;
    assert_eq!([first.reply().await, first.reply().await], ["joined", "assigned t0:0 t1:0"]);
    assert_eq!(first.replies(2).await, strings(&["caught up 0:0", "caught up 1:0"]));
    let mut second = Session::open(&server, open()).await;
    assert_eq!(second.reply().await, "joined");
    assert!(first.reply().await.starts_with("revoke t["));
    // It reads on, so that it is heard of, and says nothing.
    assert_eq!(first.reply().await, "lost t[0, 1] FENCED_MEMBER");
    assert_eq!(first.reply().await, "joined");
    assert!(second.reply().await.starts_with("assigned t"));
    server.stop().await;
}

#[tokio::test]
async fn a_client_that_comes_back_replaces_what_it_was() {
    let (broker, server) = topic(1, quick()).await;
    for instance_id in [None, Some("a".to_owned())] {
        let open = Open { instance_id, ..open() };
        let mut before = Session::open(&server, open.clone()).await;
        assert_eq!([before.reply().await, before.reply().await], ["joined", "assigned t0:0"]);
        // Its session has not ended, as far as the broker knows.
        let replaces = Some(before.member_id.clone());
        let mut after = Session::open(&server, Open { replaces, ..open }).await;
        assert_eq!([after.reply().await, after.reply().await], ["joined", "assigned t0:0"]);
        assert_ne!(after.member_id, before.member_id);
        drop(before);
        after.requests = None;
        while after.reply().await != "end" {}
    }
    assert_eq!(members(&broker).await.len(), 1, "the static one may come back");
    server.stop().await;
}

#[tokio::test]
async fn a_static_member_finds_its_place_again() {
    let (broker, server) = topic(2, quick()).await;
    let named = |name: &str| Open { instance_id: Some(name.to_owned()), ..open() };
    let mut first = Session::open(&server, named("a")).await;
    assert_eq!([first.reply().await, first.reply().await], ["joined", "assigned t0:0 t1:0"]);
    let mut second = Session::open(&server, named("b")).await;
    assert_eq!(second.reply().await, "joined");
    let moved = first.release().await;
    let assigned = second.reply().await;
    assert_eq!(assigned, format!("assigned t{}:0", moved[0].partitions[0]));
    let epoch = || async { Groups::describe_consumer_group(&*broker, "g").await.unwrap().epoch };
    let before = epoch().await;
    assert_eq!(Session::open(&server, named("b")).await.reply().await, "UNRELEASED_INSTANCE_ID");
    second.requests = None;
    while second.reply().await != "end" {}
    let mut second = Session::open(&server, named("b")).await;
    assert_eq!([second.reply().await, second.reply().await], ["joined".to_owned(), assigned]);
    assert_eq!(epoch().await, before, "nobody else noticed");
    server.stop().await;
}

#[tokio::test]
async fn topics_are_found_by_their_names() {
    let (_broker, server) = topic(1, quick()).await;
    let pattern = Open { topics: Vec::new(), topic_pattern: "t|u.*".to_owned(), ..open() };
    let mut session = Session::open(&server, pattern).await;
    assert_eq!([session.reply().await, session.reply().await], ["joined", "assigned t0:0"]);
    let broken = Open { topics: Vec::new(), topic_pattern: "t(".to_owned(), ..open() };
    assert_eq!(Session::open(&server, broken).await.reply().await, "INVALID_REGULAR_EXPRESSION");
    server.stop().await;
}

#[tokio::test]
async fn an_offset_that_the_log_does_not_have_ends_or_clamps() {
    let (broker, server) = topic(1, quick()).await;
    produce(&server, 0, &["a", "b"]).await;
    let mut session = Session::open(&server, open()).await;
    session.replies(4).await;
    session.commit(0, 100).await;
    assert_eq!(session.reply().await, "committed");
    session.requests = None;
    assert_eq!(session.reply().await, "end");
    assert_eq!(committed(&broker).await.0, 100);
    let mut strict = Session::open(&server, open()).await;
    assert_eq!([strict.reply().await, strict.reply().await], ["joined", "OFFSET_OUT_OF_RANGE"]);
    let clamp = Open { out_of_range: OutOfRange::Clamp.into(), ..open() };
    let mut session = Session::open(&server, clamp).await;
    assert_eq!([session.reply().await, session.reply().await], ["joined", "assigned t0:2"]);
    server.stop().await;
}

#[tokio::test]
async fn records_flow_as_far_as_there_is_credit_and_heartbeats_go_on() {
    let (_broker, server) = topic(1, quick()).await;
    produce(&server, 0, &["a", "b", "c"]).await;
    let credit = Some(ReadCredit { records: 1, bytes: 1000 });
    let mut session = Session::open(&server, Open { credit, heartbeat_ms: Some(100), ..open() }).await;
    assert_eq!([session.reply().await, session.reply().await], ["joined", "assigned t0:0"]);
    assert_eq!([session.reply().await, session.reply().await], ["t0:0..1", "heartbeat 0:3"]);
    session.ask(Asked::Credit(ReadCredit { records: 5, bytes: 0 })).await;
    while session.reply().await != "t0:1..3" {}
    server.stop().await;
}

#[tokio::test]
async fn what_makes_no_sense_has_a_reason() {
    let (_broker, server) = topic(1, quick()).await;
    let credit = Asked::Credit(ReadCredit { records: 1, bytes: 1 });
    assert_eq!(Session::begin(&server, credit).await.reply().await, "INVALID_REQUEST");
    let nothing = Open { topics: Vec::new(), ..open() };
    for (open, expected) in [
        (nothing, "INVALID_REQUEST"),
        (Open { group: String::new(), ..open() }, "INVALID_REQUEST"),
        (Open { assignor: Some("sticky".to_owned()), ..open() }, "UNSUPPORTED_ASSIGNOR"),
        (Open { max_frame_bytes: Some(1), ..open() }, "INVALID_REQUEST"),
    ] {
        assert_eq!(Session::open(&server, open).await.reply().await, expected);
    }
    let mut session = Session::open(&server, open()).await;
    assert_eq!([session.reply().await, session.reply().await], ["joined", "assigned t0:0"]);
    assert_eq!(session.reply().await, "caught up 0:0");
    session.commit(0, -1).await;
    assert_eq!(session.reply().await, "committed 0:INVALID_REQUEST");
    session.commit(7, 0).await;
    assert_eq!(session.reply().await, "committed 7:NOT_ASSIGNED");
    session.ask(Asked::Released(Released { revocation: 1 })).await;
    assert_eq!(session.reply().await, "INVALID_REQUEST");
    server.stop().await;
}

#[tokio::test]
async fn a_stop_drains_and_the_member_leaves() {
    let options = Options { drain_grace: Duration::from_millis(100), ..Options::default() };
    let (broker, server) = topic(1, options).await;
    let mut session = Session::open(&server, open()).await;
    session.replies(3).await;
    server.shutdown.trigger();
    assert_eq!([session.reply().await, session.reply().await], ["drain 100", "end"]);
    assert_eq!(members(&broker).await, [] as [&str; 0]);
    server.ended().await;
}

#[tokio::test]
async fn a_client_that_takes_nothing_leaves_its_group() {
    let (broker, server) = topic(1, quick()).await;
    // More than what lies on the way to a client that does not read.
    let values = vec!["v".repeat(100 << 10); 10];
    let values: Vec<&str> = values.iter().map(String::as_str).collect();
    for _ in 0..8 {
        produce(&server, 0, &values).await;
    }
    let session = Session::open(&server, Open { rebalance_timeout_ms: Some(1000), ..open() }).await;
    within(async {
        while members(&broker).await.is_empty() {
            tokio::task::yield_now().await;
        }
        while !members(&broker).await.is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    drop(session);
    server.stop().await;
}
