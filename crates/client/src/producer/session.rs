//! Carries the decisions of the pipeline to the broker and back.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, PoisonError};

use runnel_proto::produce::v1 as wire;
use runnel_proto::produce::v1::append_session_request::{Message as Ask, Open};
use runnel_proto::produce::v1::append_session_response::{Message as Reply, Opened};
use runnel_proto::produce::v1::producer_service_client::ProducerServiceClient;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::Streaming;

use super::batch::Entry;
use super::pipeline::Pipeline;
use super::{ProducerOptions, Topic, Topics};
use crate::backoff::Backoff;
use crate::{Client, Error, ErrorKind, Result};

/// What the handle asks for.
#[derive(Debug)]
pub(super) enum Command {
    Append { topic: Arc<Topic>, partition: Option<i32>, entry: Entry },
    Flush(oneshot::Sender<()>),
}

/// Runs until every handle is dropped and everything handed in is done.
pub(super) async fn run(client: Client, options: ProducerOptions, commands: mpsc::Receiver<Command>, topics: Topics) {
    // Where keyless records begin: anywhere, so that many short-lived producers spread.
    let first = i32::try_from(RandomState::new().hash_one(0) & 0xFFFF).unwrap_or_default();
    let pipeline = Pipeline::new(options, first);
    let driver = Driver { client, pipeline, commands, closing: false, flushes: Vec::new(), topics };
    driver.run().await;
}

/// How a session ended.
enum End {
    /// The broker asked for a new one, or nothing is left to do.
    Clean,
    /// It broke.
    Broken(Error),
}

/// An open session. What is sent is bounded by the broker's window, so the way out needs no bound of its own.
struct Session {
    requests: mpsc::UnboundedSender<wire::AppendSessionRequest>,
    replies: Streaming<wire::AppendSessionResponse>,
}

struct Driver {
    client: Client,
    pipeline: Pipeline,
    commands: mpsc::Receiver<Command>,
    closing: bool,
    flushes: Vec<(u64, oneshot::Sender<()>)>,
    topics: Topics,
}

impl Driver {
    async fn run(mut self) {
        let mut backoff = Backoff::default();
        loop {
            while self.pipeline.is_empty() {
                self.finish_flushes();
                match self.commands.recv().await {
                    Some(command) => self.on_command(command),
                    None => return,
                }
            }
            let error = match self.open().await {
                Ok(session) => {
                    backoff.reset();
                    match self.drive(session).await {
                        End::Clean => continue,
                        End::Broken(error) => error,
                    }
                }
                Err(error) => error,
            };
            self.pipeline.on_disconnected();
            if error.is_retryable() || error.kind() == ErrorKind::Timeout {
                self.pause(Instant::now() + backoff.next(error.retry_after()), &error).await;
            } else {
                self.fail(&error);
            }
        }
    }

    async fn open(&mut self) -> Result<Session> {
        let (requests, outgoing) = mpsc::unbounded_channel();
        let idempotent = self.pipeline.identity().is_none();
        send(&requests, Ask::Open(Open { idempotent, ..Open::default() }));
        let call = |channel| async {
            let mut service = ProducerServiceClient::new(channel).max_encoding_message_size(usize::MAX);
            service.append_session(UnboundedReceiverStream::new(outgoing)).await
        };
        let mut replies = self.client.call(call).await?;
        let deadline = self.client.options().deadline;
        let first = timeout(deadline, replies.message())
            .await
            .map_err(|_| Error::new(ErrorKind::Unavailable, format!("no session was opened within {deadline:?}")))?;
        match first {
            Ok(Some(wire::AppendSessionResponse { message: Some(Reply::Opened(Opened { window, producer })) })) => {
                self.pipeline.on_opened(window.unwrap_or_default(), producer);
            }
            Ok(_) => return Err(Error::new(ErrorKind::Unavailable, "the broker opened no session")),
            Err(status) => return Err(self.client.session_error(&status).await),
        }
        match self.pipeline.identity() {
            Some(_) => Ok(Session { requests, replies }),
            None => Err(Error::new(ErrorKind::Internal, "the broker gave the producer no identity")),
        }
    }

    /// Works until the session ends.
    async fn drive(&mut self, mut session: Session) -> End {
        let mut draining = false;
        loop {
            let now = Instant::now();
            self.pipeline.expire(now, None);
            self.finish_flushes();
            if !draining {
                if self.pipeline.needs_identity()
                    && let Err(error) = self.next_epoch().await
                {
                    return End::Broken(error);
                }
                while let Some(batch) = self.pipeline.take(now) {
                    send(&session.requests, Ask::Batch(batch));
                }
            }
            let done = draining || (self.closing && self.pipeline.is_empty());
            if done && !self.pipeline.is_waiting() {
                return End::Clean;
            }
            let wake = self.pipeline.wake_at(now);
            tokio::select! {
                reply = session.replies.message() => match reply {
                    Ok(Some(reply)) => match reply.message {
                        Some(Reply::Ack(ack)) => {
                            self.forget_missing(&ack);
                            if let Err(error) = self.pipeline.on_ack(Instant::now(), ack) {
                                return End::Broken(error);
                            }
                        }
                        Some(Reply::Drain(_)) => draining = true,
                        Some(Reply::Opened(_)) | None => {}
                    },
                    Ok(None) => return End::Broken(Error::new(ErrorKind::Unavailable, "the broker ended the session")),
                    Err(status) => return End::Broken(self.client.session_error(&status).await),
                },
                command = self.commands.recv(), if !self.closing => match command {
                    Some(command) => self.on_commands(command),
                    None => self.closing = true,
                },
                () = sleep_until(wake.unwrap_or(now)), if wake.is_some() => {}
            }
        }
    }

    /// The next epoch of the identity.
    async fn next_epoch(&mut self) -> Result<()> {
        let request = wire::InitProducerRequest { current: self.pipeline.identity() };
        let call = |channel| async { ProducerServiceClient::new(channel).init_producer(request).await };
        let reply = self.client.call(call).await?;
        let producer = reply.producer.ok_or_else(|| Error::new(ErrorKind::Internal, "the reply has no identity"))?;
        self.pipeline.on_identity(producer);
        Ok(())
    }

    /// Waits before the next session, and goes on taking commands meanwhile.
    async fn pause(&mut self, until: Instant, error: &Error) {
        loop {
            self.pipeline.expire(Instant::now(), Some(error));
            self.finish_flushes();
            tokio::select! {
                () = sleep_until(until) => return,
                command = self.commands.recv(), if !self.closing => match command {
                    Some(command) => self.on_commands(command),
                    None => self.closing = true,
                },
            }
        }
    }

    /// A command, and those that came with it: batches grow without a turn of the loop for each record.
    fn on_commands(&mut self, first: Command) {
        self.on_command(first);
        while let Ok(next) = self.commands.try_recv() {
            self.on_command(next);
        }
    }

    fn on_command(&mut self, command: Command) {
        match command {
            Command::Append { topic, partition, entry } => {
                self.pipeline.push(Instant::now(), &topic, partition, entry);
            }
            Command::Flush(reply) => self.flushes.push((self.pipeline.flush(), reply)),
        }
    }

    fn finish_flushes(&mut self) {
        let pipeline = &self.pipeline;
        for (_, reply) in self.flushes.extract_if(.., |(id, _)| pipeline.is_done_before(*id)) {
            // Whoever asked may have lost interest.
            reply.send(()).unwrap_or_default();
        }
    }

    fn fail(&mut self, error: &Error) {
        self.pipeline.fail(error);
        self.topics.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// A topic that is gone may come back with another number of partitions: what is known of topics is asked anew.
    fn forget_missing(&self, ack: &wire::append_session_response::Ack) {
        let missing = |outcome: &wire::AppendOutcome| {
            matches!(&outcome.outcome, Some(wire::append_outcome::Outcome::Error(error))
                if Error::from(error.clone()).kind() == ErrorKind::NotFound)
        };
        if ack.outcomes.iter().any(missing) {
            self.topics.lock().unwrap_or_else(PoisonError::into_inner).clear();
        }
    }
}

/// The receiving end lives as long as the call; if that is gone, its replies tell.
fn send(requests: &mpsc::UnboundedSender<wire::AppendSessionRequest>, message: Ask) {
    drop(requests.send(wire::AppendSessionRequest { message: Some(message) }));
}
