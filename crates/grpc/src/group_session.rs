//! GroupSession: a member of a consumer group, whose heartbeats the broker gives itself for as long as the session lives.
//!
//! One task for each session. What the member holds is decided by [`member`], what is read by [`crate::reader`]. Nothing
//! here waits for the client while the group would wait for the member: messages to it are queued.

mod member;
mod seat;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use prost::Message as _;
use runnel_api::groups::{CommitOffset, ConsumerBeat, Partitions};
use runnel_api::{Error, ErrorKind, TopicKey};
use runnel_proto::consume::v1::group_session_request::{Commit, Message as Asked, Released};
use runnel_proto::consume::v1::group_session_response::committed::Failed;
use runnel_proto::consume::v1::group_session_response::{Assigned, Committed, Joined, Lost, Message, Revoke};
use runnel_proto::consume::v1::read_session_response::{Drain, Message as Read, Start};
use runnel_proto::consume::v1::{AssignedPartitions, GroupSessionRequest, GroupSessionResponse};
use runnel_record::TopicId;
use tokio::time::{Instant, sleep_until};
use tonic::{Code, Status, Streaming};

use crate::budget::Lease;
use crate::door::Door;
use crate::error::Failure;
use crate::reader::{Manner, Planned, Reader, pieces};
use crate::session::{self, Life, Outbox, first, resolved};
use member::{Member, Step};
use seat::{Heard, Leaving, Seat};

/// Messages that wait for the client, past which nothing more is read from it.
const MAX_QUEUED: usize = 16;

/// Offsets in one commit.
const MAX_COMMIT: usize = 10_000;

/// The first pause before a heartbeat that failed is given again; it doubles.
const PAUSE: Duration = Duration::from_millis(100);

/// The most that it doubles, to 3.2 s.
const MOST_DOUBLINGS: u32 = 5;

pub(crate) fn handle(
    door: Arc<Door>,
    requests: Streaming<GroupSessionRequest>,
    lease: Arc<Lease>,
    host: String,
) -> BoxStream<'static, Result<GroupSessionResponse, Status>> {
    session::start(door, |outbox, life| run(requests, lease, host, outbox, life))
}

async fn run(
    mut requests: Streaming<GroupSessionRequest>,
    lease: Arc<Lease>,
    host: String,
    outbox: Outbox<GroupSessionResponse>,
    mut life: Life,
) -> Result<(), Status> {
    let door = Arc::clone(&life.door);
    let Some(Asked::Open(open)) = first(&door, &mut requests).await?.message else {
        return Err(Failure::invalid("the first message of a session is `open`").into());
    };
    let manner = Manner::new(&door, open.out_of_range(), open.heartbeat_ms, open.max_frame_bytes)?;
    let reader = Reader::new(Arc::clone(&door), manner, open.credit);
    let mut seat = Seat::new(door, open, host)?;
    seat.replace().await;
    lease.done();
    let leaving = Leaving::new(seat.clone());
    let ended = Session::new(seat, reader, manner).serve(&mut requests, &lease, &outbox, &mut life).await;
    leaving.now().await;
    Ok(ended?)
}

/// A granted partition and where it begins.
type Begun = Vec<(TopicId, Planned)>;

struct Session {
    seat: Seat,
    member: Member,
    reader: Reader,
    manner: Manner,
    /// What the client is to be told, in order.
    queue: VecDeque<Message>,
    beating: Option<BoxFuture<'static, Result<Heard, Failure>>>,
    beginning: Option<BoxFuture<'static, Result<Begun, Failure>>>,
    committing: Option<BoxFuture<'static, Committed>>,
    beat_at: Instant,
    /// Heartbeats in a row that failed.
    failed: u32,
    heartbeat_at: Instant,
    /// When the client last took something that waited for it.
    taken_at: Instant,
    /// The client has closed its side.
    closed: bool,
}

impl Session {
    fn new(seat: Seat, reader: Reader, manner: Manner) -> Self {
        let now = Instant::now();
        Self {
            seat,
            member: Member::default(),
            reader,
            manner,
            queue: VecDeque::new(),
            beating: None,
            beginning: None,
            committing: None,
            beat_at: now,
            failed: 0,
            heartbeat_at: now + manner.heartbeat,
            taken_at: now,
            closed: false,
        }
    }

    /// Goes on until the client is done, too slow, or the session's time is over.
    async fn serve(
        &mut self,
        requests: &mut Streaming<GroupSessionRequest>,
        lease: &Lease,
        outbox: &Outbox<GroupSessionResponse>,
        life: &mut Life,
    ) -> Result<(), Failure> {
        loop {
            if self.queue.is_empty() {
                self.taken_at = Instant::now();
                if self.closed && self.committing.is_none() {
                    return Ok(());
                }
                self.read_on()?;
            }
            let listens = !self.closed && self.committing.is_none() && self.queue.len() < MAX_QUEUED;
            let too_slow_at = self.taken_at + self.seat.rebalance_timeout();
            tokio::select! {
                biased;
                place = outbox.place(), if !self.queue.is_empty() => {
                    let Some(place) = place else { return Ok(()) };
                    self.taken_at = Instant::now();
                    if let Some(message) = self.queue.pop_front() {
                        place.send(GroupSessionResponse { message: Some(message) });
                    }
                }
                committed = resolved(&mut self.committing) => self.queue.push_back(Message::Committed(committed)),
                heard = resolved(&mut self.beating) => self.hear(heard?),
                () = sleep_until(self.beat_at), if self.beating.is_none() => self.beat(),
                begun = resolved(&mut self.beginning) => self.begin(begun?),
                asked = requests.message(), if listens => match asked {
                    Ok(Some(GroupSessionRequest { message })) => {
                        self.on_request(message)?;
                        lease.done();
                    }
                    Ok(None) => self.closed = true,
                    // The client is gone, and with it whoever would be told why.
                    Err(_) => return Ok(()),
                },
                () = life.over() => return Ok(()),
                () = life.drain_due() => self.queue.push_back(Message::Drain(Drain { grace_ms: life.drain() })),
                () = sleep_until(too_slow_at), if !self.queue.is_empty() => {
                    tracing::info!(member = self.seat.member_id(), "a client takes no messages: it leaves its group");
                    return Ok(());
                }
                () = sleep_until(self.heartbeat_at), if self.queue.is_empty() => {
                    self.queue.extend(self.reader.heartbeats().await.into_iter().map(Message::Heartbeat));
                    self.heartbeat_at = Instant::now() + self.manner.heartbeat;
                }
                fetched = self.reader.fetched(), if !self.closed => {
                    // The coordinator knows of a topic that is deleted, or soon will.
                    let gone = [ErrorKind::UnknownTopicId, ErrorKind::UnknownPartition];
                    let or_else = |error: Error| if gone.contains(&error.kind) { Ok(()) } else { Err(error.into()) };
                    self.reader.take(fetched, or_else).await?;
                }
            }
        }
    }

    /// Queues the next message of what was read.
    fn read_on(&mut self) -> Result<(), Failure> {
        let Some(message) = self.reader.next()? else { return Ok(()) };
        self.queue.push_back(match message {
            Read::Batch(batch) => {
                self.heartbeat_at = Instant::now() + self.manner.heartbeat;
                Message::Batch(batch)
            }
            Read::CaughtUp(caught_up) => Message::CaughtUp(caught_up),
            Read::Gap(gap) => Message::Gap(gap),
            Read::Heartbeat(heartbeat) => Message::Heartbeat(heartbeat),
            Read::Drain(drain) => Message::Drain(drain),
            Read::Opened(_) => return Ok(()),
        });
        Ok(())
    }

    fn on_request(&mut self, message: Option<Asked>) -> Result<(), Failure> {
        match message {
            Some(Asked::Credit(credit)) => self.reader.credit(credit),
            Some(Asked::Commit(commit)) => self.committing = Some(self.commit(commit)?),
            Some(Asked::Released(Released { revocation })) => match self.member.released(revocation) {
                // Others wait for it.
                Some(true) => self.beat_at = Instant::now(),
                Some(false) => {}
                None => return Err(Failure::invalid("`released` names no revocation of this session")),
            },
            Some(Asked::Open(_)) | None => {
                return Err(Failure::invalid("what follows `open` is `credit`, `commit` or `released`"));
            }
        }
        Ok(())
    }

    /// Commits what the client holds, and says of the rest why not.
    fn commit(&self, commit: Commit) -> Result<BoxFuture<'static, Committed>, Failure> {
        if commit.offsets.len() > MAX_COMMIT {
            return Err(Failure::invalid(format!("a commit has at most {MAX_COMMIT} offsets")));
        }
        let (mut offsets, mut failed) = (Vec::new(), Vec::new());
        for offset in commit.offsets {
            let failure = if offset.offset < 0 {
                Failure::invalid("an offset is negative")
            } else if !self.member.holds(&offset.topic, offset.partition) {
                let why = "the partition is not, or no longer, assigned to this session";
                Failure::new(Code::FailedPrecondition, "NOT_ASSIGNED", why)
            } else {
                offsets.push(CommitOffset {
                    topic: offset.topic,
                    partition: offset.partition,
                    offset: offset.offset,
                    leader_epoch: -1,
                    metadata: offset.metadata,
                });
                continue;
            };
            failed.push(refused(offset.topic, offset.partition, failure));
        }
        let places: Vec<_> = offsets.iter().map(|offset| (offset.topic.clone(), offset.partition)).collect();
        let committing = self.seat.clone().commit(self.member.epoch(), offsets);
        let committed = async move {
            for ((topic, partition), outcome) in places.into_iter().zip(committing.await) {
                if let Err(error) = outcome {
                    failed.push(refused(topic, partition, error.into()));
                }
            }
            Committed { failed }
        };
        Ok(committed.boxed())
    }

    fn beat(&mut self) {
        let beat = self.seat.clone().beat(self.member.epoch(), self.member.held().clone());
        self.beating = Some(beat.boxed());
    }

    fn hear(&mut self, heard: Heard) {
        match heard {
            Heard::Beat(beat) => self.on_beat(beat),
            Heard::Fenced(error) => {
                let held = self.member.fenced();
                self.beginning = None;
                self.reader.retain(|_, _| false);
                if !held.is_empty() {
                    let (partitions, reason) = (self.named(&held), Some(Failure::from(error).into_proto()));
                    self.queue.push_back(Message::Lost(Lost { partitions, reason }));
                }
                self.try_again();
            }
            Heard::Retry(error) => {
                tracing::debug!(member = self.seat.member_id(), %error, "a heartbeat failed");
                self.try_again();
            }
        }
    }

    fn try_again(&mut self) {
        self.beat_at = Instant::now() + PAUSE * (1 << self.failed.min(MOST_DOUBLINGS));
        self.failed += 1;
    }

    fn on_beat(&mut self, beat: ConsumerBeat) {
        self.failed = 0;
        self.beat_at = Instant::now() + beat.interval;
        for step in self.member.answered(beat) {
            match step {
                Step::Joined => self.queue.push_back(Message::Joined(Joined {
                    member_id: self.seat.member_id().to_owned(),
                    member_epoch: self.member.epoch(),
                })),
                Step::Begin(granted) => self.beginning = Some(self.seat.clone().begin(granted).boxed()),
                Step::Revoke(revoked, revocation) => {
                    self.reader.retain(|topic, partition| !contains(&revoked, topic, partition));
                    let deadline_ms = u32::try_from(self.seat.rebalance_timeout().as_millis()).unwrap_or(u32::MAX);
                    let partitions = self.named(&revoked);
                    self.queue.push_back(Message::Revoke(Revoke { partitions, deadline_ms, revocation }));
                }
            }
        }
    }

    /// Reads what was granted, from where it begins.
    fn begin(&mut self, begun: Begun) {
        let places = begun.iter().map(|(id, Planned { goal, .. })| (*id, goal.partition, goal.topic.clone()));
        let new = self.member.begun(places);
        let planned = begun.into_iter().map(|(_, planned)| planned);
        let planned: Vec<_> = planned.filter(|one| contains(&new, &one.topic, one.goal.partition)).collect();
        let starts: Vec<_> = planned.iter().map(Planned::start).collect();
        if !starts.is_empty() {
            let pieces = pieces(starts, Start::encoded_len, self.manner.max_frame);
            self.queue.extend(pieces.into_iter().map(|partitions| Message::Assigned(Assigned { partitions })));
            self.reader.add(planned);
        }
    }

    fn named(&self, partitions: &Partitions) -> Vec<AssignedPartitions> {
        let mut named: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
        for (topic, partition) in partitions.iter() {
            named.entry(self.member.name(topic)).or_default().push(partition);
        }
        let assigned = |(topic, partitions): (&str, _)| AssignedPartitions { topic: topic.to_owned(), partitions };
        named.into_iter().map(assigned).collect()
    }
}

fn contains(partitions: &Partitions, topic: &TopicKey, partition: i32) -> bool {
    matches!(topic, TopicKey::Id(id) if partitions.contains(*id, partition))
}

fn refused(topic: String, partition: i32, failure: Failure) -> Failed {
    Failed { topic, partition, error: Some(failure.into_proto()) }
}
