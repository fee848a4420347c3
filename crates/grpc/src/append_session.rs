//! AppendSession: batches in a row, each answered, in order.
//!
//! One task for each session. It hands each batch to the broker before it reads the next, which fixes the order of
//! appends, and answers the oldest when that is done. It reads no further than the window, and not at all while the
//! client does not take its replies.

mod window;

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures::stream::BoxStream;
use runnel_proto::produce::v1::append_session_request::{Message as Asked, Open};
use runnel_proto::produce::v1::append_session_response::{Ack, Drain, Message, Opened};
use runnel_proto::produce::v1::{AppendBatch, AppendCredit, AppendSessionRequest, AppendSessionResponse};
use tokio_util::task::AbortOnDropHandle;
use tonic::{Code, Status, Streaming};
use tracing::Instrument;

use crate::append::{Outcomes, append, prepare, replies, timeout};
use crate::batches::{self, Share};
use crate::budget::Lease;
use crate::door::Door;
use crate::error::{Failure, RECORD_LIST_TOO_LARGE};
use crate::init_producer::identify;
use crate::session::{self, Life, Outbox, first, max_frame};
use window::{Size, Window};

/// Bytes of a reply that one routed record takes at most.
const INDEX_BYTES: usize = 5;

pub(crate) fn handle(
    door: Arc<Door>,
    requests: Streaming<AppendSessionRequest>,
    lease: Arc<Lease>,
) -> BoxStream<'static, Result<AppendSessionResponse, Status>> {
    session::start(door, |outbox, life| run(requests, lease, outbox, life))
}

async fn run(
    mut requests: Streaming<AppendSessionRequest>,
    lease: Arc<Lease>,
    outbox: Outbox<AppendSessionResponse>,
    mut life: Life,
) -> Result<(), Status> {
    let door = Arc::clone(&life.door);
    let Some(Asked::Open(open)) = first(&door, &mut requests).await?.message else {
        return Err(Failure::invalid("the first message of a session is `open`").into());
    };
    let limit = Size { records: door.options.session_window_records, bytes: door.options.session_window_bytes };
    lease.done();
    let mut session = Session::new(Arc::clone(&door), lease, &open, limit)?;
    let producer = if open.idempotent { Some(identify(&door, None).await?) } else { None };
    outbox.send(reply(Message::Opened(Opened { window: Some(credit(limit)), producer }))).await;
    loop {
        session.start_held().await;
        if let Some(end) = session.ended() {
            return end;
        }
        let reading = session.reading();
        tokio::select! {
            biased;
            outcomes = session.oldest() => outbox.send(session.ack(outcomes)).await,
            () = life.over() => session.close(Ok(())),
            () = life.drain_due() => outbox.send(reply(Message::Drain(Drain { grace_ms: life.drain() }))).await,
            asked = requests.message(), if reading => match asked {
                Ok(Some(AppendSessionRequest { message: Some(Asked::Batch(batch)) })) => session.held = Some(batch),
                Ok(Some(_)) => session.close(Err(Failure::invalid("only the first message is not a batch").into())),
                Ok(None) => session.close(Ok(())),
                Err(status) => session.close(Err(status)),
            },
        }
    }
}

fn reply(message: Message) -> AppendSessionResponse {
    AppendSessionResponse { message: Some(message) }
}

const fn credit(size: Size) -> AppendCredit {
    AppendCredit { records: size.records, bytes: size.bytes }
}

/// A batch that was handed to the broker.
enum Started {
    Done(Outcomes),
    Running(AbortOnDropHandle<Outcomes>),
}

struct Session {
    door: Arc<Door>,
    timeout: Duration,
    max_frame: usize,
    window: Window,
    /// Read, but past the window: nothing is read behind it.
    held: Option<AppendBatch>,
    queue: VecDeque<Started>,
    lease: Arc<Lease>,
    /// No more batches are read; how the session ends once all are answered.
    end: Option<Result<(), Status>>,
}

impl Session {
    fn new(door: Arc<Door>, lease: Arc<Lease>, open: &Open, limit: Size) -> Result<Self, Failure> {
        Ok(Self {
            timeout: timeout(open.timeout_ms),
            max_frame: max_frame(&door, open.max_frame_bytes)?,
            window: Window::new(limit),
            held: None,
            queue: VecDeque::new(),
            end: None,
            lease,
            door,
        })
    }

    const fn reading(&self) -> bool {
        self.held.is_none() && self.end.is_none()
    }

    /// Reads no more. The first reason stands.
    fn close(&mut self, end: Result<(), Status>) {
        self.end.get_or_insert(end);
    }

    /// How the session ended, once everything is answered.
    fn ended(&mut self) -> Option<Result<(), Status>> {
        if self.held.is_some() || !self.queue.is_empty() { None } else { self.end.take() }
    }

    /// Hands the batch that was read to the broker, if the window has room for it.
    async fn start_held(&mut self) {
        let Some(batch) = self.held.take() else { return };
        let bytes = u64::try_from(batches::payload(&batch.records)).unwrap_or(u64::MAX);
        let size = Size { records: u64::try_from(batch.records.len()).unwrap_or(u64::MAX), bytes };
        if !self.window.fits(size) {
            self.held = Some(batch);
            return;
        }
        self.window.take(size);
        let started = self.start(batch).await;
        self.queue.push_back(started);
    }

    async fn start(&self, batch: AppendBatch) -> Started {
        let partition = batch.partition.unwrap_or(-1);
        let refused = |failure| Started::Done(vec![(Share { partition, records: Vec::new() }, Err(failure))]);
        if batch.partition.is_none() && batch.records.len() > self.max_frame / INDEX_BYTES {
            let why = "the reply would be larger than max_frame_bytes: send fewer records, or name their partition";
            return refused(Failure::new(Code::InvalidArgument, RECORD_LIST_TOO_LARGE, why));
        }
        let prepared = match prepare(&self.door, batch).await {
            Ok(prepared) => prepared,
            Err(failure) => return refused(failure),
        };
        let mut appending = append(&self.door, prepared, self.timeout);
        match futures::poll!(tokio::task::unconstrained(&mut appending)) {
            Poll::Ready(outcomes) => Started::Done(outcomes),
            // As a task of its own: it must go on while the client takes no replies, or it would hold up others who
            // append to the partition.
            Poll::Pending => Started::Running(AbortOnDropHandle::new(tokio::spawn(appending.in_current_span()))),
        }
    }

    /// Waits until the oldest batch is done; for ever if there is none. Cancel-safe.
    async fn oldest(&mut self) -> Outcomes {
        let outcomes = match self.queue.front_mut() {
            None => return std::future::pending().await,
            Some(Started::Done(outcomes)) => std::mem::take(outcomes),
            Some(Started::Running(task)) => task.await.unwrap_or_else(|panic| {
                tracing::error!(%panic, "an append failed: this is a defect");
                let failure = Failure::new(Code::Internal, "INTERNAL", "the append failed; its outcome is unknown");
                vec![(Share { partition: -1, records: Vec::new() }, Err(failure))]
            }),
        };
        self.queue.pop_front();
        self.lease.done();
        outcomes
    }

    fn ack(&mut self, outcomes: Outcomes) -> AppendSessionResponse {
        let (batch, freed) = self.window.answer().unwrap_or_default();
        reply(Message::Ack(Ack { batch, outcomes: replies(outcomes), freed: Some(credit(freed)) }))
    }
}
