//! Append sessions: order, windows, drains, and clients that do not read.

use std::time::Duration;

use runnel_api::ErrorKind;
use runnel_grpc::Options;
use runnel_proto::produce::v1::append_outcome::Outcome;
use runnel_proto::produce::v1::append_session_request::{Message as Asked, Open};
use runnel_proto::produce::v1::append_session_response::{Ack, Message, Opened};
use runnel_proto::produce::v1::{
    AppendBatch, AppendCredit, AppendSessionRequest, AppendSessionResponse, ProducerSequence,
};
use runnel_testkit::MemoryBroker;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};
use tonic_types::StatusExt;

use crate::support::{Server, batch, quick, record, start, within};

struct Session {
    requests: Option<mpsc::Sender<AppendSessionRequest>>,
    replies: Streaming<AppendSessionResponse>,
}

impl Session {
    /// A session that was opened, and what the broker said to that.
    async fn open(server: &Server, open: Open) -> (Self, Opened) {
        let mut session = Self::begin(server, Asked::Open(open)).await;
        let Some(Ok(Message::Opened(opened))) = session.reply().await else { panic!("not opened") };
        (session, opened)
    }

    async fn begin(server: &Server, first: Asked) -> Self {
        let (requests, stream) = mpsc::channel(1024);
        requests.send(AppendSessionRequest { message: Some(first) }).await.unwrap();
        let replies = server.producer().await.append_session(ReceiverStream::new(stream)).await.unwrap().into_inner();
        Self { requests: Some(requests), replies }
    }

    async fn send(&self, batch: AppendBatch) {
        let request = AppendSessionRequest { message: Some(Asked::Batch(batch)) };
        within(self.requests.as_ref().unwrap().send(request)).await.unwrap();
    }

    fn close(&mut self) {
        self.requests = None;
    }

    /// The next reply; `None` at a clean end.
    async fn reply(&mut self) -> Option<Result<Message, Status>> {
        let reply = within(self.replies.message()).await.transpose()?;
        Some(reply.map(|reply| reply.message.unwrap()))
    }

    async fn ack(&mut self) -> Ack {
        match self.reply().await {
            Some(Ok(Message::Ack(ack))) => ack,
            other => panic!("{other:?}"),
        }
    }
}

fn base(ack: &Ack) -> i64 {
    match &ack.outcomes[0].outcome {
        Some(Outcome::Appended(appended)) => appended.base_offset,
        other => panic!("{other:?}"),
    }
}

fn reason(status: &Status) -> String {
    status.get_error_details().error_info().unwrap().reason.clone()
}

#[tokio::test]
async fn every_batch_is_answered_in_order_over_topics_and_partitions() {
    let broker = MemoryBroker::with_topic("t", 2);
    let server = start(&broker, quick()).await;
    let (mut session, opened) = Session::open(&server, Open { idempotent: true, ..Open::default() }).await;
    assert!(opened.window.unwrap().bytes >= 1 << 20);
    let producer = opened.producer;
    let gate = broker.hold();
    for n in 0..20 {
        let sequence = Some(ProducerSequence { producer, base_sequence: n / 2 });
        session.send(AppendBatch { partition: Some(n % 2), sequence, ..batch(&["v"]) }).await;
    }
    session.send(AppendBatch { topic: "other".to_owned(), ..batch(&["v"]) }).await;
    session.send(AppendBatch { partition: Some(9), ..batch(&["v"]) }).await;
    session.close();
    drop(gate);
    for n in 0..20 {
        let ack = session.ack().await;
        assert_eq!(
            (ack.batch, base(&ack), ack.outcomes[0].partition),
            (n, i64::try_from(n).unwrap() / 2, (n % 2) as i32)
        );
        assert_eq!(ack.freed, Some(AppendCredit { records: 1, bytes: 1 }));
    }
    assert_eq!(base(&session.ack().await), 0, "a topic that was not there before");
    let refused = session.ack().await;
    let Some(Outcome::Error(error)) = &refused.outcomes[0].outcome else { panic!("{refused:?}") };
    assert_eq!((refused.batch, error.reason.as_str()), (21, "UNKNOWN_PARTITION"));
    assert!(session.reply().await.is_none(), "a clean end after the last reply");
    server.stop().await;
}

#[tokio::test]
async fn nothing_is_read_past_the_window_but_what_is_larger_goes_alone() {
    let broker = MemoryBroker::with_topic("t", 1);
    let server = start(&broker, Options { session_window_records: 3, ..quick() }).await;
    let (mut session, opened) = Session::open(&server, Open::default()).await;
    assert_eq!(opened.window.unwrap().records, 3);
    let gate = broker.hold();
    for _ in 0..5 {
        session.send(batch(&["v"])).await;
    }
    session.send(batch(&["a", "b", "c", "d", "e"])).await;
    while broker.appends().len() < 3 {
        tokio::task::yield_now().await;
    }
    // What does not come cannot be waited for; a call that goes by shows that the broker had time.
    let next = AppendBatch { topic: "u".to_owned(), ..batch(&[]) };
    server
        .producer()
        .await
        .produce(runnel_proto::produce::v1::ProduceRequest { batch: Some(next), timeout_ms: None })
        .await
        .unwrap_err();
    assert_eq!(broker.appends().len(), 3);
    drop(gate);
    for n in 0..6 {
        assert_eq!(base(&session.ack().await), n);
    }
    session.close();
    assert!(session.reply().await.is_none());
    server.stop().await;
}

#[tokio::test]
async fn a_session_ends_when_it_breaks_the_rules_but_not_before_its_replies() {
    let server = start(&MemoryBroker::with_topic("t", 1), quick()).await;
    let mut session = Session::begin(&server, Asked::Batch(batch(&["v"]))).await;
    let status = session.reply().await.unwrap().unwrap_err();
    assert_eq!((status.code(), reason(&status)), (Code::InvalidArgument, "INVALID_REQUEST".to_owned()));

    let (mut session, _) = Session::open(&server, Open::default()).await;
    session.send(batch(&["v"])).await;
    let twice = AppendSessionRequest { message: Some(Asked::Open(Open::default())) };
    session.requests.as_ref().unwrap().send(twice).await.unwrap();
    session.ack().await;
    assert_eq!(reason(&session.reply().await.unwrap().unwrap_err()), "INVALID_REQUEST");

    let tiny = Open { max_frame_bytes: Some(10), ..Open::default() };
    let mut session = Session::begin(&server, Asked::Open(tiny)).await;
    assert_eq!(reason(&session.reply().await.unwrap().unwrap_err()), "INVALID_REQUEST");
    server.stop().await;
}

#[tokio::test]
async fn a_reply_that_would_not_fit_is_refused_before_it_is_appended() {
    let broker = MemoryBroker::with_topic("t", 4);
    let server = start(&broker, quick()).await;
    let (mut session, _) = Session::open(&server, Open { max_frame_bytes: Some(1024), ..Open::default() }).await;
    let records = (0..300).map(|n| record(Some(&n.to_string()), "v")).collect();
    session.send(AppendBatch { partition: None, records, ..batch(&[]) }).await;
    let ack = session.ack().await;
    let Some(Outcome::Error(error)) = &ack.outcomes[0].outcome else { panic!("{ack:?}") };
    assert_eq!(error.reason, "RECORD_LIST_TOO_LARGE");
    assert!(broker.appends().is_empty());
    server.stop().await;
}

#[tokio::test]
async fn a_stop_drains_sessions_and_answers_what_is_under_way() {
    let broker = MemoryBroker::with_topic("t", 1);
    let server = start(&broker, Options { drain_grace: Duration::from_millis(300), ..quick() }).await;
    let (mut session, _) = Session::open(&server, Open::default()).await;
    let gate = broker.hold();
    session.send(batch(&["v"])).await;
    while broker.appends().is_empty() {
        tokio::task::yield_now().await;
    }
    server.shutdown.trigger();
    let Some(Ok(Message::Drain(drain))) = session.reply().await else { panic!("no drain") };
    assert_eq!(drain.grace_ms, 300);
    drop(gate);
    assert_eq!(base(&session.ack().await), 0);
    assert!(session.reply().await.is_none(), "the broker ends it, cleanly");
    server.ended().await;
}

#[tokio::test]
async fn an_old_session_is_asked_to_open_anew() {
    let options =
        Options { max_session_age: Duration::from_millis(50), drain_grace: Duration::from_millis(50), ..quick() };
    let server = start(&MemoryBroker::with_topic("t", 1), options).await;
    let (mut session, _) = Session::open(&server, Open::default()).await;
    assert!(matches!(session.reply().await, Some(Ok(Message::Drain(_)))));
    assert!(session.reply().await.is_none());
    server.stop().await;
}

#[tokio::test]
async fn a_client_that_never_reads_is_not_read_for_ever_and_disturbs_nobody() {
    let broker = MemoryBroker::with_topic("t", 1);
    let options = Options { drain_grace: Duration::from_millis(100), session_window_records: 50, ..quick() };
    let server = start(&broker, options).await;
    let (session, _) = Session::open(&server, Open::default()).await;
    let requests = session.requests.clone().unwrap();
    let flood = tokio::spawn(async move {
        loop {
            let request = AppendSessionRequest { message: Some(Asked::Batch(batch(&["v"]))) };
            if requests.send(request).await.is_err() {
                break;
            }
        }
    });
    let (mut other, _) = Session::open(&server, Open::default()).await;
    for _ in 0..20 {
        other.send(batch(&["mine"])).await;
        other.ack().await;
    }
    server.shutdown.trigger();
    server.ended().await;
    drop(session);
    within(flood).await.unwrap();
}

#[tokio::test]
async fn a_session_goes_on_behind_a_batch_that_fails() {
    let broker = MemoryBroker::with_topic("t", 1);
    let server = start(&broker, quick()).await;
    let (mut session, _) = Session::open(&server, Open::default()).await;
    broker.fail("t", ErrorKind::Throttled);
    session.send(batch(&["v"])).await;
    let ack = session.ack().await;
    let Some(Outcome::Error(error)) = &ack.outcomes[0].outcome else { panic!("{ack:?}") };
    assert_eq!((error.reason.as_str(), error.retry_after_ms), ("THROTTLED", Some(1000)));
    session.send(AppendBatch { topic: "u".to_owned(), ..batch(&["v"]) }).await;
    assert_eq!(base(&session.ack().await), 0);
    server.stop().await;
}

#[tokio::test]
async fn a_session_gives_back_what_its_batches_held() {
    let options = Options { max_message_bytes: 1 << 20, max_inflight_bytes: 1 << 20, ..quick() };
    let server = start(&MemoryBroker::with_topic("t", 1), options).await;
    let (mut session, _) = Session::open(&server, Open::default()).await;
    let value = "v".repeat(100_000);
    for n in 0..30 {
        session.send(batch(&[value.as_str()])).await;
        assert_eq!(base(&session.ack().await), n);
    }
    server.stop().await;
}
