//! Following changes in etcd, over streams that break.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::{mpsc, watch as signal};
use tokio::time::sleep;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{Code, Streaming};

use super::pb::event::EventType;
use super::pb::watch_request::RequestUnion;
use super::{Shared, convert, failure, pb};
use crate::error::Error;
use crate::watch::{Change, Changes, Event, Watch};

/// Pause before a stream that broke is opened anew; it doubles up to the longest.
const PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// One watch. The stream is opened when it is first asked, and anew where it stood when it breaks.
pub(super) struct EtcdWatch {
    shared: Arc<Shared>,
    closed: signal::Receiver<Option<u64>>,
    key: Bytes,
    range_end: Bytes,
    /// The revision from which everything is still to be told.
    next_revision: u64,
    stream: Option<Stream>,
    /// Came in pieces, of which the last has not come.
    pieces: Vec<pb::Event>,
    /// Came, and was not told.
    waiting: VecDeque<Changes>,
    pause: Duration,
    /// It has ended so.
    end: Option<Error>,
}

struct Stream {
    requests: mpsc::UnboundedSender<pb::WatchRequest>,
    answers: Streaming<pb::WatchResponse>,
    /// It was asked how far it is.
    asked: bool,
}

impl EtcdWatch {
    pub(super) fn new(shared: Arc<Shared>, prefix: &str, from_revision: u64) -> Self {
        let (key, range_end) = shared.space.range(prefix);
        Self {
            closed: shared.closed.subscribe(),
            shared,
            key,
            range_end,
            next_revision: from_revision,
            stream: None,
            pieces: Vec::new(),
            waiting: VecDeque::new(),
            pause: PAUSE,
            end: None,
        }
    }

    /// Opens the stream; nothing if that fails, which is tried again.
    async fn open(&mut self) -> Result<(), Error> {
        let (requests, outgoing) = mpsc::unbounded_channel();
        let create = pb::WatchCreateRequest {
            key: self.key.clone(),
            range_end: self.range_end.clone(),
            start_revision: convert::signed(self.next_revision),
            progress_notify: true,
            fragment: true,
        };
        let stream = Stream::ask(requests, RequestUnion::CreateRequest(create));
        let mut client = self.shared.connection.watches();
        let request = self.shared.connection.request(UnboundedReceiverStream::new(outgoing)).await;
        let opened = match request {
            Ok(request) => client.watch(request).await,
            Err(status) => Err(status),
        };
        match opened {
            Ok(answers) => {
                self.pieces.clear();
                self.stream = Some(Stream { requests: stream, answers: answers.into_inner(), asked: false });
                Ok(())
            }
            Err(status) => self.broke(status).await,
        }
    }

    /// The stream is gone: waits a moment, unless that is no use.
    async fn broke(&mut self, status: tonic::Status) -> Result<(), Error> {
        self.stream = None;
        let hopeless = [Code::Unauthenticated, Code::PermissionDenied, Code::InvalidArgument, Code::Unimplemented];
        if !self.shared.connection.drop_token_for(&status) && hopeless.contains(&status.code()) {
            return Err(failure("watch", status));
        }
        tracing::debug!(%status, "a watch broke and is opened anew");
        sleep(self.pause).await;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        Ok(())
    }

    /// etcd ended the watch: a leader that changed, for one.
    async fn ended(&mut self, answer: pb::WatchResponse) -> Result<(), Error> {
        if answer.compact_revision > 0 {
            let oldest = answer.compact_revision.unsigned_abs();
            return Err(Error::Compacted { requested: self.next_revision, oldest });
        }
        let reason = answer.cancel_reason;
        // Here it is words alone that tell.
        let code = if reason.contains("permission denied") { Code::PermissionDenied } else { Code::Unavailable };
        self.broke(tonic::Status::new(code, reason)).await
    }

    /// Takes an answer in.
    fn take(&mut self, answer: pb::WatchResponse) -> Result<(), Error> {
        self.pause = PAUSE;
        self.pieces.extend(answer.events);
        if answer.fragment || answer.created {
            return Ok(());
        }
        let events = std::mem::take(&mut self.pieces);
        if events.is_empty() {
            // It says how far it is: everything up to there was told.
            let revision = answer.header.unwrap_or_default().revision.unsigned_abs();
            self.next_revision = self.next_revision.max(revision + 1);
        }
        for event in events {
            let Some(kv) = event.kv.clone() else { continue };
            let revision = kv.mod_revision.unsigned_abs();
            let deleted = event.r#type() == EventType::Delete;
            let (key, value) = self.shared.space.entry(kv)?;
            let event = Event { key, change: if deleted { Change::Deleted } else { Change::Put(value) } };
            match self.waiting.back_mut() {
                Some(changes) if changes.revision == revision => changes.events.push(event),
                _ => self.waiting.push_back(Changes { revision, events: vec![event] }),
            }
            self.next_revision = revision + 1;
        }
        Ok(())
    }

    async fn step(&mut self) -> Result<(), Error> {
        let last = *self.closed.borrow_and_update();
        if last.is_some_and(|last| self.next_revision > last) {
            return Err(Error::Closed);
        }
        let Some(stream) = &mut self.stream else { return self.open().await };
        if last.is_some() && !stream.asked {
            stream.asked = true;
            let progress = RequestUnion::ProgressRequest(pb::WatchProgressRequest {});
            drop(stream.requests.send(pb::WatchRequest { request_union: Some(progress) }));
        }
        tokio::select! {
            answer = stream.answers.message() => match answer {
                Ok(Some(answer)) if answer.canceled => self.ended(answer).await,
                Ok(Some(answer)) => self.take(answer),
                Ok(None) => self.broke(tonic::Status::unavailable("the stream ended")).await,
                Err(status) => self.broke(status).await,
            },
            // Whoever closed the store lives as long as the watch does.
            _ = self.closed.changed() => Ok(()),
        }
    }
}

impl Stream {
    /// The way out, with a first request in it.
    fn ask(
        requests: mpsc::UnboundedSender<pb::WatchRequest>,
        first: RequestUnion,
    ) -> mpsc::UnboundedSender<pb::WatchRequest> {
        drop(requests.send(pb::WatchRequest { request_union: Some(first) }));
        requests
    }
}

#[async_trait]
impl Watch for EtcdWatch {
    async fn next(&mut self) -> Result<Changes, Error> {
        loop {
            if let Some(changes) = self.waiting.pop_front() {
                return Ok(changes);
            }
            if let Some(end) = &self.end {
                return Err(end.clone());
            }
            if let Err(end) = self.step().await {
                self.end = Some(end);
            }
        }
    }
}
