//! What every session that reads has: partitions that are fetched as far as there is credit, in turn.
//!
//! One fetch at a time for all partitions. What to send next is decided by [`machine`].

mod machine;

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use prost::Message as _;
use runnel_api::{ErrorKind, Fetch, FetchPartition, FetchRequest, FetchedPartition, Isolation, TopicKey};
use runnel_proto::consume::v1::position::{Latest, Position as Named};
use runnel_proto::consume::v1::read_session_response::{Heartbeat, Message, Start, Tail};
use runnel_proto::consume::v1::{OutOfRange, ReadCredit};
use runnel_record::Offset;

use crate::budget::Held;
use crate::door::{Door, duration};
use crate::error::Failure;
use crate::position::{find, within};
use crate::records::unpack;
use crate::session::{max_frame, resolved};
pub(crate) use machine::Goal;
use machine::Machine;

/// Time without records after which a heartbeat is sent.
const HEARTBEAT: Duration = Duration::from_secs(10);
const HEARTBEATS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(300));

/// Bytes that one fetch brings at most, and the least that each partition may bring.
const FETCH_BYTES: i64 = 1 << 20;
const SHARE_BYTES: usize = 64 << 10;

/// A partition to read, with the topic as this session knows it: a topic that is created anew under the name is
/// another one.
pub(crate) struct Planned {
    pub(crate) goal: Goal,
    pub(crate) topic: TopicKey,
}

impl Planned {
    /// As clients are told.
    pub(crate) fn start(&self) -> Start {
        let Goal { topic, partition, start, stop, .. } = &self.goal;
        Start { topic: topic.clone(), partition: *partition, offset: *start, stop_offset: *stop }
    }
}

/// What the client of a session asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Manner {
    /// What to do about a position outside the log.
    pub(crate) policy: OutOfRange,
    /// Time without records after which a heartbeat is sent.
    pub(crate) heartbeat: Duration,
    /// Largest message that the client takes, in bytes.
    pub(crate) max_frame: usize,
}

impl Manner {
    /// As the client asked, within the limits.
    pub(crate) fn new(
        door: &Door,
        policy: OutOfRange,
        heartbeat_ms: Option<u32>,
        max_frame_bytes: Option<u32>,
    ) -> Result<Self, Failure> {
        let heartbeat = duration(heartbeat_ms, HEARTBEAT, HEARTBEATS.0, HEARTBEATS.1);
        Ok(Self { policy, heartbeat, max_frame: max_frame(door, max_frame_bytes)? })
    }
}

/// Answers of a fetch, with the index of each partition.
type Answers = Vec<(usize, FetchedPartition)>;

/// The partitions of a session.
pub(crate) struct Reader {
    door: Arc<Door>,
    machine: Machine,
    /// The topic of each partition of the machine.
    topics: Vec<TopicKey>,
    manner: Manner,
    /// Kept while other things happen: a fetch from the bucket takes its time and must not begin anew with each credit.
    fetching: Option<BoxFuture<'static, Answers>>,
    /// The broker stops, and has nothing more: it would answer every fetch at once.
    dry: bool,
    /// What was fetched and is not sent.
    held: Option<Held>,
}

impl Reader {
    pub(crate) fn new(door: Arc<Door>, manner: Manner, credit: Option<ReadCredit>) -> Self {
        let machine = Machine::new(manner.max_frame);
        let mut reader = Self { door, machine, topics: Vec::new(), manner, fetching: None, dry: false, held: None };
        reader.credit(credit.unwrap_or_default());
        reader
    }

    pub(crate) fn credit(&mut self, ReadCredit { records, bytes }: ReadCredit) {
        self.machine.credit.add(records, bytes);
    }

    pub(crate) fn has_credit(&self) -> bool {
        self.machine.credit.any()
    }

    /// Reads these as well.
    pub(crate) fn add(&mut self, planned: Vec<Planned>) {
        // What is fetched is told apart by its index; a fetch that waits for records would not know of the new ones.
        self.fetching = None;
        for Planned { goal, topic } in planned {
            self.machine.add(goal);
            self.topics.push(topic);
        }
    }

    /// Reads no others than these; what was fetched of the others is not sent.
    pub(crate) fn retain(&mut self, keep: impl Fn(&TopicKey, i32) -> bool) {
        self.fetching = None;
        for at in (0..self.topics.len()).rev() {
            if !keep(&self.topics[at], self.machine.name(at).1) {
                self.machine.remove(at);
                self.topics.remove(at);
            }
        }
    }

    /// The next message that may be sent now.
    pub(crate) fn next(&mut self) -> Result<Option<Message>, Failure> {
        self.machine.next()
    }

    /// Whether every partition has reached its stop.
    pub(crate) fn finished(&self) -> bool {
        self.machine.finished()
    }

    /// The next fetch, for as long as there is one to make; waits for records. Dropping the future loses nothing.
    pub(crate) async fn fetched(&mut self) -> Answers {
        if self.fetching.is_none() {
            self.fetching = self.fetch();
            if self.fetching.is_some() {
                // Everything that the last one brought has been sent.
                self.held = None;
            }
        }
        resolved(&mut self.fetching).await
    }

    /// Fetches where the machine wants to go on, if it does.
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
            zone: None,
        };
        let partitions = wanted.iter().map(partition).collect();
        let (max_wait, isolation) = (self.manner.heartbeat, Isolation::ReadCommitted);
        let request = FetchRequest { max_wait, min_bytes: 1, max_bytes, isolation, partitions };
        let door = Arc::clone(&self.door);
        let fetch = async move {
            let answers = Fetch::fetch(&*door.broker, request).await;
            wanted.into_iter().map(|(at, _)| at).zip(answers).collect()
        };
        Some(fetch.boxed())
    }

    /// Hands what was fetched to the machine; `or_else` says what becomes of a partition that cannot be read.
    pub(crate) async fn take(
        &mut self,
        answers: Answers,
        or_else: impl Fn(runnel_api::Error) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
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
                Err(error) if error.kind == ErrorKind::OffsetOutOfRange && self.manner.policy == OutOfRange::Clamp => {
                    empty = false;
                    self.clamp(at, answer.partition).await?;
                }
                Err(error) => {
                    let (topic, partition) = self.machine.name(at);
                    or_else(error).map_err(|failure| failure.at(topic, partition))?;
                    self.machine.finish(at);
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
        self.machine.restart(at, within(place.bounds, position, self.manner.policy)?);
        Ok(())
    }

    /// Where every partition stands now.
    pub(crate) async fn heartbeats(&mut self) -> Vec<Heartbeat> {
        let mut tails = Vec::new();
        for (at, mut tail) in self.machine.tails() {
            // What cannot be told now is told as it was last known.
            if let Ok(place) = find(&self.door, &self.topics[at], tail.partition, Named::Latest(Latest {})).await {
                tail.high_watermark = place.bounds.high_watermark;
            }
            tails.push(tail);
        }
        pieces(tails, Tail::encoded_len, self.manner.max_frame).into_iter().map(|tails| Heartbeat { tails }).collect()
    }
}

/// Splits what one message would have to list into lists that fit into messages of `max_frame` bytes; at least one.
pub(crate) fn pieces<T>(items: Vec<T>, encoded_len: impl Fn(&T) -> usize, max_frame: usize) -> Vec<Vec<T>> {
    /// What surrounds an item, and the list.
    const AROUND: (usize, usize) = (4, 16);
    let (mut pieces, mut piece, mut bytes) = (Vec::new(), Vec::new(), 0);
    for item in items {
        let len = encoded_len(&item) + AROUND.0;
        if bytes + len > max_frame - AROUND.1 && !piece.is_empty() {
            pieces.push(std::mem::take(&mut piece));
            bytes = 0;
        }
        bytes += len;
        piece.push(item);
    }
    pieces.push(piece);
    pieces
}
