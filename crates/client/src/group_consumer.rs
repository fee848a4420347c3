//! Reading as a member of a consumer group.
//!
//! [`GroupConsumer`] is the handle and talks to the broker; `holdings.rs` knows what the member holds.

mod holdings;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use runnel_proto::consume::v1 as wire;
use runnel_proto::consume::v1::consumer_service_client::ConsumerServiceClient;
use runnel_proto::consume::v1::group_session_request::commit::Offset;
use runnel_proto::consume::v1::group_session_request::{Commit, Message as Ask, Open, Released};
use runnel_proto::consume::v1::group_session_response::{Committed, Message as Reply};
use runnel_proto::consume::v1::read_session_response::{Batch, CaughtUp, Gap, Start};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::Streaming;

use crate::backoff::Mending;
use crate::consumer::{LULL, MISSED_HEARTBEATS};
use crate::credit::Credit;
use crate::offsets::MAX_MESSAGE;
use crate::{Client, ConsumerOptions, Error, ErrorKind, Result};
use holdings::Holdings;

/// Which group to join, and what for.
#[derive(Debug, Clone, Default)]
pub struct Membership {
    /// The group.
    pub group: String,
    /// Topics by name.
    pub topics: Vec<String>,
    /// Regular expression of names of topics; empty for none.
    pub topic_pattern: String,
    /// Makes the member a static one.
    pub instance_id: Option<String>,
    /// Where partitions without a committed offset begin; the latest, if absent.
    pub start: Option<wire::Position>,
    /// `uniform` or `range`.
    pub assignor: Option<String>,
    /// Who this is, for people.
    pub client_id: String,
}

/// What a member hears.
#[derive(Debug, Clone, PartialEq)]
pub enum GroupEvent {
    /// These partitions are ours from now on, and begin there.
    Assigned(Vec<Start>),
    /// Others are to get these: commit what was worked off. The next call of [`GroupConsumer::next`] lets go of them.
    Revoked(Vec<wire::AssignedPartitions>),
    /// These are others' already, or the session broke: what was not committed is read again.
    Lost(Vec<wire::AssignedPartitions>),
    /// Records of one partition, in order.
    Batch(Batch),
    /// A partition was read up to what was committed.
    CaughtUp(CaughtUp),
    /// Offsets that hold no records were passed over.
    Gap(Gap),
}

/// A member of a group, in a session that is opened anew when it breaks.
#[derive(Debug)]
pub struct GroupConsumer {
    client: Client,
    membership: Membership,
    options: ConsumerOptions,
    session: Option<Session>,
    /// The member that the present session is, or that the last one was.
    member_id: Option<String>,
    holdings: Holdings,
    credit: Credit,
    /// Came while a commit was waited for.
    waiting: VecDeque<GroupEvent>,
    /// A revocation that the caller knows of.
    revoked: Option<u64>,
    /// Commits of this session without an answer: of a call that was dropped, for one.
    unanswered: usize,
    mending: Mending,
}

/// The way out holds what one caller asks, one thing after the other, so it needs no bound.
#[derive(Debug)]
struct Session {
    requests: mpsc::UnboundedSender<wire::GroupSessionRequest>,
    replies: Streaming<wire::GroupSessionResponse>,
}

impl GroupConsumer {
    /// Opens a session. Fails at once if that fails; from then on breaks are mended. `options.patience` is also how long
    /// the first answer of the group may take.
    pub async fn join(client: Client, membership: Membership, options: ConsumerOptions) -> Result<Self> {
        let credit = Credit::new(options.credit_records, options.credit_bytes);
        let mut consumer = Self {
            client,
            membership,
            options,
            session: None,
            member_id: None,
            holdings: Holdings::default(),
            credit,
            waiting: VecDeque::new(),
            revoked: None,
            unanswered: 0,
            mending: Mending::default(),
        };
        consumer.session = Some(consumer.connect().await?);
        Ok(consumer)
    }

    /// The next event. What an earlier call returned counts as worked off: partitions that it revoked are let go.
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Result<GroupEvent> {
        if let (Some(revocation), Some(session)) = (self.revoked.take(), &self.session) {
            self.holdings.let_go();
            session.ask(Ask::Released(Released { revocation }));
        }
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return Ok(event);
            }
            if self.session.is_none() {
                self.reconnect().await?;
                continue;
            }
            match self.receive().await {
                Ok(Reply::Committed(_)) => self.unanswered = self.unanswered.saturating_sub(1),
                Ok(reply) => {
                    let event = self.on_reply(reply);
                    self.waiting.extend(event);
                }
                Err(error) => self.broke(error)?,
            }
        }
    }

    /// Commits offsets, each the next one to read. What comes meanwhile is for [`Self::next`]. Fails if one of them fails, and
    /// if the session breaks: then it is not known whether they are committed.
    pub async fn commit(&mut self, offsets: &BTreeMap<(String, i32), i64>) -> Result<()> {
        let Some(session) = &self.session else {
            return Err(Error::new(ErrorKind::Unavailable, "the session is broken: nothing can be committed now"));
        };
        let offset = |((topic, partition), offset): (&(String, i32), &i64)| Offset {
            topic: topic.clone(),
            partition: *partition,
            offset: *offset,
            metadata: String::new(),
        };
        session.ask(Ask::Commit(Commit { offsets: offsets.iter().map(offset).collect() }));
        self.unanswered += 1;
        loop {
            match self.receive().await {
                Ok(Reply::Committed(_)) if self.unanswered > 1 => self.unanswered -= 1,
                Ok(Reply::Committed(Committed { failed })) => {
                    self.unanswered = 0;
                    let first = failed.into_iter().find_map(|failed| failed.error);
                    return first.map_or(Ok(()), |error| Err(error.into()));
                }
                Ok(reply) => {
                    let event = self.on_reply(reply);
                    self.waiting.extend(event);
                }
                Err(error) => {
                    self.broke(error.clone())?;
                    return Err(error);
                }
            }
        }
    }

    /// Leaves the group; resolves when the broker knows.
    pub async fn leave(mut self) {
        if let Some(Session { requests, mut replies }) = self.session.take() {
            drop(requests);
            // A broker that does not answer misses the member in time.
            let end = async { while let Ok(Some(_)) = replies.message().await {} };
            drop(timeout(self.client.options().deadline, end).await);
        }
    }

    /// The next message of the session.
    async fn receive(&mut self) -> Result<Reply> {
        let silence = self.options.heartbeat.saturating_mul(MISSED_HEARTBEATS);
        let gone = || Error::new(ErrorKind::Unavailable, "the session has ended");
        let Some(session) = &mut self.session else { return Err(gone()) };
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
            Ok(Some(reply)) => reply.message.ok_or_else(gone),
            Ok(None) => Err(gone()),
            Err(status) => Err(self.client.session_error(&status).await),
        }
    }

    fn on_reply(&mut self, reply: Reply) -> Option<GroupEvent> {
        // Also one without partitions has sessions that work.
        self.mending.delivers();
        match reply {
            Reply::Assigned(assigned) => {
                self.holdings.assigned(&assigned.partitions);
                Some(GroupEvent::Assigned(assigned.partitions))
            }
            Reply::Revoke(revoke) => {
                self.holdings.revoked(&revoke.partitions);
                self.revoked = Some(revoke.revocation);
                Some(GroupEvent::Revoked(revoke.partitions))
            }
            Reply::Lost(lost) => {
                self.revoked = None;
                self.holdings.lost();
                Some(GroupEvent::Lost(lost.partitions))
            }
            Reply::Batch(batch) => {
                self.credit.took(&batch);
                Some(GroupEvent::Batch(batch))
            }
            Reply::CaughtUp(caught_up) => Some(GroupEvent::CaughtUp(caught_up)),
            Reply::Gap(gap) => Some(GroupEvent::Gap(gap)),
            Reply::Drain(_) => {
                self.mending.ended();
                self.ended()
            }
            Reply::Joined(_) | Reply::Heartbeat(_) | Reply::Committed(_) => None,
        }
    }

    /// The session is no more, and with it the membership.
    fn ended(&mut self) -> Option<GroupEvent> {
        (self.session, self.revoked, self.unanswered) = (None, None, 0);
        Some(self.holdings.lost()).filter(|lost| !lost.is_empty()).map(GroupEvent::Lost)
    }

    /// The session is gone: mend it if that may help.
    fn broke(&mut self, error: Error) -> Result<()> {
        let lost = self.ended();
        self.waiting.extend(lost);
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
        let Membership { group, topics, topic_pattern, instance_id, start, assignor, client_id } =
            self.membership.clone();
        let open = Open {
            group,
            topics,
            topic_pattern,
            instance_id,
            start,
            assignor,
            client_id,
            out_of_range: self.options.out_of_range.into(),
            credit: Some(self.credit.opened()),
            max_frame_bytes: Some(self.options.max_frame_bytes),
            heartbeat_ms: Some(u32::try_from(self.options.heartbeat.as_millis()).unwrap_or(u32::MAX)),
            rebalance_timeout_ms: None,
            rack: None,
            replaces: self.member_id.clone(),
        };
        let open = wire::GroupSessionRequest { message: Some(Ask::Open(open)) };
        drop(requests.send(open));
        let call = |channel| async {
            let mut service = ConsumerServiceClient::new(channel).max_decoding_message_size(MAX_MESSAGE);
            service.group_session(UnboundedReceiverStream::new(outgoing)).await
        };
        let mut replies = self.client.call(call).await?;
        let patience: Duration = self.options.patience;
        let first = timeout(patience, replies.message())
            .await
            .map_err(|_| Error::new(ErrorKind::Unavailable, format!("the group did not answer within {patience:?}")))?;
        match first {
            Ok(Some(wire::GroupSessionResponse { message: Some(Reply::Joined(joined)) })) => {
                self.member_id = Some(joined.member_id);
                Ok(Session { requests, replies })
            }
            Ok(_) => Err(Error::new(ErrorKind::Unavailable, "the broker opened no session")),
            Err(status) => Err(self.client.session_error(&status).await),
        }
    }
}

impl Session {
    /// The receiving end lives as long as the call; if that is gone, its replies tell.
    fn ask(&self, message: Ask) {
        drop(self.requests.send(wire::GroupSessionRequest { message: Some(message) }));
    }

    fn give(&self, credit: Option<wire::ReadCredit>) {
        if let Some(credit) = credit {
            self.ask(Ask::Credit(credit));
        }
    }
}
