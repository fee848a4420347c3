//! ReadSession: records of many partitions, as far as the client has given credit.
//!
//! One task for each session. It fetches once, sends what it got, and fetches again; it waits in the fetch, for
//! credit, or for the client to take a reply. What to send next is decided by [`machine`].

mod machine;
mod plan;

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use prost::Message as _;
use runnel_api::{ErrorKind, Fetch, FetchPartition, FetchRequest, FetchedPartition, Isolation, TopicKey};
use runnel_proto::consume::v1::position::{Latest, Position as Named};
use runnel_proto::consume::v1::read_session_request::{Message as Asked, Open};
use runnel_proto::consume::v1::read_session_response::{Drain, Heartbeat, Message, Opened, Start, Tail};
use runnel_proto::consume::v1::{OutOfRange, ReadCredit, ReadSessionRequest, ReadSessionResponse};
use runnel_record::Offset;
use tokio::time::Instant;
use tonic::{Status, Streaming};

use crate::budget::{Held, Lease};
use crate::door::{Door, duration};
use crate::error::{FRAME_TOO_SMALL, Failure};
use crate::position::{find, within};
use crate::records::unpack;
use crate::session::{self, Life, Outbox, first, max_frame};
use machine::Machine;
use plan::{Planned, plan};

/// Time without records after which a heartbeat is sent.
const HEARTBEAT: Duration = Duration::from_secs(10);
const HEARTBEATS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(300));

/// Bytes that one fetch brings at most, and the least that each partition may bring.
const FETCH_BYTES: i64 = 1 << 20;
const SHARE_BYTES: usize = 64 << 10;

pub(crate) fn handle(
    door: Arc<Door>,
    requests: Streaming<ReadSessionRequest>,
    lease: Arc<Lease>,
) -> BoxStream<'static, Result<ReadSessionResponse, Status>> {
    session::start(door, |outbox, life| run(requests, lease, outbox, life))
}

async fn run(
    mut requests: Streaming<ReadSessionRequest>,
    lease: Arc<Lease>,
    outbox: Outbox<ReadSessionResponse>,
    mut life: Life,
) -> Result<(), Status> {
    let door = Arc::clone(&life.door);
    let Some(Asked::Open(open)) = first(&door, &mut requests).await?.message else {
        return Err(Failure::invalid("the first message of a session is `open`").into());
    };
    let mut session = Session::open(Arc::clone(&door), open, &outbox).await?;
    lease.done();
    let mut heartbeat_at = Instant::now() + session.heartbeat;
    // Kept while other things happen: a fetch from the bucket takes its time and must not begin anew with each credit.
    let mut fetching: Option<BoxFuture<'static, Answers>> = None;
    loop {
        while let Some(message) = session.machine.next()? {
            if matches!(message, Message::Batch(_)) {
                heartbeat_at = Instant::now() + session.heartbeat;
            }
            outbox.send(reply(message)).await;
        }
        if session.machine.finished() || session.is_stuck(&life) {
            return Ok(());
        }
        if fetching.is_none() {
            fetching = session.fetch();
            if fetching.is_some() {
                // Everything that the last one brought has been sent.
                session.held = None;
            }
        }
        tokio::select! {
            biased;
            asked = requests.message(), if !session.no_more_credit => match asked? {
                Some(ReadSessionRequest { message: Some(Asked::Credit(ReadCredit { records, bytes })) }) => {
                    session.machine.credit.add(records, bytes);
                    lease.done();
                }
                Some(_) => return Err(Failure::invalid("only the first message is not `credit`").into()),
                None => session.no_more_credit = true,
            },
            () = life.over() => return Ok(()),
            () = life.drain_due() => outbox.send(reply(Message::Drain(Drain { grace_ms: life.drain() }))).await,
            () = tokio::time::sleep_until(heartbeat_at) => {
                for tails in session.tails().await {
                    outbox.send(reply(Message::Heartbeat(Heartbeat { tails }))).await;
                }
                heartbeat_at = Instant::now() + session.heartbeat;
            }
            fetched = async {
                match &mut fetching {
                    Some(fetch) => fetch.await,
                    None => std::future::pending().await,
                }
            } => {
                fetching = None;
                session.take(fetched).await?;
            }
        }
    }
}

fn reply(message: Message) -> ReadSessionResponse {
    ReadSessionResponse { message: Some(message) }
}

struct Session {
    door: Arc<Door>,
    machine: Machine,
    /// The topic of each partition of the machine.
    topics: Vec<TopicKey>,
    policy: OutOfRange,
    heartbeat: Duration,
    max_frame: usize,
    /// The client has closed its side.
    no_more_credit: bool,
    /// The broker stops, and has nothing more: it would answer every fetch at once.
    dry: bool,
    /// What was fetched and is not sent.
    held: Option<Held>,
}

/// Answers of a fetch, with the index of each partition.
type Answers = Vec<(usize, FetchedPartition)>;

impl Session {
    async fn open(door: Arc<Door>, open: Open, outbox: &Outbox<ReadSessionResponse>) -> Result<Self, Failure> {
        let policy = open.out_of_range();
        let max_frame = max_frame(&door, open.max_frame_bytes)?;
        let heartbeat = duration(open.heartbeat_ms, HEARTBEAT, HEARTBEATS.0, HEARTBEATS.1);
        let planned = plan(&door, open.ranges, policy).await?;
        let opened = reply(Message::Opened(opened(&planned)));
        let needed = opened.encoded_len();
        if needed > max_frame {
            let why = "the names of all partitions do not fit into max_frame_bytes: open the session with more";
            let failure = Failure::new(tonic::Code::FailedPrecondition, FRAME_TOO_SMALL, why);
            return Err(failure.with("needed_bytes", needed));
        }
        outbox.send(opened).await;
        let (goals, topics) = planned.into_iter().map(|planned| (planned.goal, planned.topic)).unzip();
        let mut machine = Machine::new(goals, max_frame);
        let credit = open.credit.unwrap_or_default();
        machine.credit.add(credit.records, credit.bytes);
        Ok(Self { door, machine, topics, policy, heartbeat, max_frame, no_more_credit: false, dry: false, held: None })
    }

    /// Whether nothing can be sent any more.
    fn is_stuck(&self, life: &Life) -> bool {
        self.no_more_credit && (!self.machine.credit.any() || life.draining())
    }

    /// Fetches where the machine wants to go on, if it does; waits for records.
    fn fetch(&self) -> Option<BoxFuture<'static, Answers>> {
        let wanted = self.machine.wanted();
        if wanted.is_empty() || self.dry {
            return None;
        }
        let bytes = self.machine.credit.bytes().clamp(1, FETCH_BYTES);
        let max_bytes = self.door.budget.room(usize::try_from(bytes).unwrap_or(SHARE_BYTES));
        let share = (max_bytes / wanted.len()).max(SHARE_BYTES.min(max_bytes));
        let partition = |(at, offset): &(usize, i64)| FetchPartition {
            topic: self.topics[*at].clone(),
            partition: self.machine.name(*at).1,
            offset: Offset(*offset),
            max_bytes: share,
            current_leader_epoch: None,
            last_fetched_epoch: None,
        };
        let partitions = wanted.iter().map(partition).collect();
        let (max_wait, isolation) = (self.heartbeat, Isolation::ReadCommitted);
        let request = FetchRequest { max_wait, min_bytes: 1, max_bytes, isolation, partitions };
        let door = Arc::clone(&self.door);
        let fetch = async move {
            let answers = Fetch::fetch(&*door.broker, request).await;
            wanted.into_iter().map(|(at, _)| at).zip(answers).collect()
        };
        Some(fetch.boxed())
    }

    /// Hands what was fetched to the machine.
    async fn take(&mut self, answers: Answers) -> Result<(), Failure> {
        let mut empty = true;
        for (at, answer) in answers {
            match answer.outcome {
                Ok(fetched) => {
                    let mut batches = Vec::with_capacity(fetched.batches.len());
                    for batch in fetched.batches {
                        batches.push(unpack(batch).await?);
                    }
                    empty &= batches.is_empty();
                    self.machine.fetched(at, batches, fetched.high_watermark.0);
                }
                Err(error) if error.kind == ErrorKind::OffsetOutOfRange && self.policy == OutOfRange::Clamp => {
                    empty = false;
                    self.clamp(at, answer.partition).await?;
                }
                Err(error) => {
                    let (topic, partition) = self.machine.name(at);
                    return Err(Failure::from(error).at(topic, partition));
                }
            }
        }
        self.held = Some(self.door.budget.hold(self.machine.held()));
        self.dry = empty && self.door.draining.is_triggered();
        Ok(())
    }

    /// The position fell out of the log.
    async fn clamp(&mut self, at: usize, partition: i32) -> Result<(), Failure> {
        let place = find(&self.door, &self.topics[at], partition, Named::Latest(Latest {})).await?;
        let position = self.machine.position(at);
        self.machine.restart(at, within(place.bounds, position, self.policy)?);
        Ok(())
    }

    /// Where every partition stands now, in pieces that fit into a message.
    async fn tails(&self) -> Vec<Vec<Tail>> {
        let (mut pieces, mut piece, mut bytes) = (Vec::new(), Vec::new(), 0);
        for (at, mut tail) in self.machine.tails() {
            // What cannot be told now is told as it was last known.
            if let Ok(place) = find(&self.door, &self.topics[at], tail.partition, Named::Latest(Latest {})).await {
                tail.high_watermark = place.bounds.high_watermark;
            }
            let len = tail.encoded_len() + 4;
            if bytes + len > self.max_frame - 16 && !piece.is_empty() {
                pieces.push(std::mem::take(&mut piece));
                bytes = 0;
            }
            bytes += len;
            piece.push(tail);
        }
        pieces.push(piece);
        pieces
    }
}

fn opened(planned: &[Planned]) -> Opened {
    let start = |Planned { goal, .. }: &Planned| Start {
        topic: goal.topic.clone(),
        partition: goal.partition,
        offset: goal.start,
        stop_offset: goal.stop,
    };
    Opened { partitions: planned.iter().map(start).collect() }
}
