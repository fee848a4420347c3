//! Reading records.
//!
//! [`Consumer`] is the handle and talks to the broker; `cursors.rs` knows where each partition stands.

mod cursors;

use std::time::Duration;

use runnel_proto::consume::v1 as wire;
use runnel_proto::consume::v1::consumer_service_client::ConsumerServiceClient;
use runnel_proto::consume::v1::read_session_request::{Message as Ask, Open};
use runnel_proto::consume::v1::read_session_response::{Batch, CaughtUp, Gap, Message as Reply};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::Streaming;

use crate::backoff::Mending;
use crate::credit::Credit;
use crate::offsets::MAX_MESSAGE;
use crate::{Client, Error, ErrorKind, Result};
use cursors::Cursors;

/// A session without a sign of life for this many heartbeats is broken.
pub(crate) const MISSED_HEARTBEATS: u32 = 3;

/// Without a message for this long, all that is owed is given back.
pub(crate) const LULL: Duration = Duration::from_millis(100);

/// Settings of a [`Consumer`].
#[derive(Debug, Clone)]
pub struct ConsumerOptions {
    /// Records that may be under way at most.
    pub credit_records: u64,
    /// Bytes that may be under way at most.
    pub credit_bytes: u64,
    /// Largest message that is taken; a larger record is an error.
    pub max_frame_bytes: u32,
    /// Silence after which the broker says that it is there.
    pub heartbeat: Duration,
    /// What to do about a position outside the log.
    pub out_of_range: wire::OutOfRange,
    /// How long a broken session may take to come back.
    pub patience: Duration,
}

impl Default for ConsumerOptions {
    fn default() -> Self {
        Self {
            credit_records: 50_000,
            credit_bytes: 16 << 20,
            max_frame_bytes: 16 << 20,
            heartbeat: Duration::from_secs(10),
            out_of_range: wire::OutOfRange::Error,
            patience: Duration::from_secs(60),
        }
    }
}

/// What a consumer hears.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// Records of one partition, in order.
    Batch(Batch),
    /// A partition was read up to what was committed.
    CaughtUp(CaughtUp),
    /// Offsets that hold no records were passed over.
    Gap(Gap),
}

/// Reads partitions, in a session that is opened anew where it stopped when it breaks.
#[derive(Debug)]
pub struct Consumer {
    client: Client,
    options: ConsumerOptions,
    cursors: Cursors,
    session: Option<Session>,
    credit: Credit,
    mending: Mending,
}

/// The way out holds one request for many batches, so it needs no bound.
#[derive(Debug)]
struct Session {
    requests: mpsc::UnboundedSender<wire::ReadSessionRequest>,
    replies: Streaming<wire::ReadSessionResponse>,
}

impl Consumer {
    /// Opens a session over `ranges`. Fails at once if that fails; from then on breaks are mended.
    pub async fn open(client: Client, ranges: Vec<wire::ReadRange>, options: ConsumerOptions) -> Result<Self> {
        let credit = Credit::new(options.credit_records, options.credit_bytes);
        let mut consumer =
            Self { client, options, cursors: Cursors::new(ranges), session: None, credit, mending: Mending::default() };
        consumer.session = Some(consumer.connect().await?);
        Ok(consumer)
    }

    /// Where reading stands: (topic, partition, next offset).
    pub fn positions(&self) -> impl Iterator<Item = (&str, i32, i64)> {
        self.cursors.positions()
    }

    /// The next event; nothing once every partition has reached its stop.
    ///
    /// What an earlier call returned counts as worked off. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Result<Option<Event>> {
        loop {
            if self.session.is_none() {
                if self.cursors.are_finished() {
                    return Ok(None);
                }
                self.reconnect().await?;
            }
            match self.receive().await {
                Ok(Some(reply)) => {
                    if let Some(event) = self.on_reply(reply.message) {
                        return Ok(Some(event));
                    }
                }
                Ok(None) if self.session.is_some() => return Ok(None),
                Ok(None) => {}
                Err(error) => self.broke(error)?,
            }
        }
    }

    /// The next message of the session; nothing at its end.
    async fn receive(&mut self) -> Result<Option<wire::ReadSessionResponse>> {
        let silence = self.options.heartbeat.saturating_mul(MISSED_HEARTBEATS);
        let Some(session) = &mut self.session else { return Ok(None) };
        session.give(self.credit.half());
        let received = match timeout(LULL, session.replies.message()).await {
            Ok(received) => received,
            Err(_) => {
                session.give(self.credit.all());
                timeout(silence, session.replies.message()).await.map_err(|_| {
                    Error::new(ErrorKind::Unavailable, format!("the broker has been silent for {silence:?}"))
                })?
            }
        };
        match received {
            Ok(reply) => Ok(reply),
            Err(status) => Err(self.client.session_error(&status).await),
        }
    }

    fn on_reply(&mut self, reply: Option<Reply>) -> Option<Event> {
        self.mending.works();
        match reply? {
            Reply::Batch(batch) => {
                self.mending.delivers();
                self.credit.took(&batch);
                self.cursors.read(&batch.topic, batch.partition, batch.records.len(), batch.next_offset);
                Some(Event::Batch(batch))
            }
            Reply::CaughtUp(caught_up) => Some(Event::CaughtUp(caught_up)),
            Reply::Gap(gap) => {
                self.cursors.read(&gap.topic, gap.partition, 0, gap.to_offset);
                Some(Event::Gap(gap))
            }
            Reply::Drain(_) => {
                // What is under way is read again from where we stand.
                self.session = None;
                self.mending.ended();
                None
            }
            Reply::Heartbeat(_) | Reply::Opened(_) => None,
        }
    }

    /// The session is gone: mend it if that may help.
    fn broke(&mut self, error: Error) -> Result<()> {
        self.session = None;
        self.mending.broke(error, self.options.patience)
    }

    async fn reconnect(&mut self) -> Result<()> {
        self.mending.pause().await;
        match self.connect().await {
            Ok(session) => {
                self.session = Some(session);
                Ok(())
            }
            Err(error) => self.broke(error),
        }
    }

    async fn connect(&mut self) -> Result<Session> {
        let (requests, outgoing) = mpsc::unbounded_channel();
        let heartbeat = u32::try_from(self.options.heartbeat.as_millis()).unwrap_or(u32::MAX);
        let open = Open {
            ranges: self.cursors.ranges(),
            credit: Some(self.credit.opened()),
            max_frame_bytes: Some(self.options.max_frame_bytes),
            heartbeat_ms: Some(heartbeat),
            out_of_range: self.options.out_of_range.into(),
        };
        send(&requests, Ask::Open(open));
        let call = |channel| async {
            let mut service = ConsumerServiceClient::new(channel).max_decoding_message_size(MAX_MESSAGE);
            service.read_session(UnboundedReceiverStream::new(outgoing)).await
        };
        let mut replies = self.client.call(call).await?;
        let deadline = self.client.options().deadline;
        let first = timeout(deadline, replies.message())
            .await
            .map_err(|_| Error::new(ErrorKind::Unavailable, format!("no session was opened within {deadline:?}")))?;
        match first {
            Ok(Some(wire::ReadSessionResponse { message: Some(Reply::Opened(opened)) })) => {
                self.cursors.opened(opened.partitions);
                Ok(Session { requests, replies })
            }
            Ok(_) => Err(Error::new(ErrorKind::Unavailable, "the broker opened no session")),
            Err(status) => Err(self.client.session_error(&status).await),
        }
    }
}

impl Session {
    fn give(&self, credit: Option<wire::ReadCredit>) {
        if let Some(credit) = credit {
            send(&self.requests, Ask::Credit(credit));
        }
    }
}

/// The receiving end lives as long as the call; if that is gone, its replies tell.
fn send(requests: &mpsc::UnboundedSender<wire::ReadSessionRequest>, message: Ask) {
    drop(requests.send(wire::ReadSessionRequest { message: Some(message) }));
}
