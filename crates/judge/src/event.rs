//! What a client can tell, and its line of JSON.

use serde::{Deserialize, Serialize};

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It was acknowledged.
    Ok,
    /// It was refused, and did nothing.
    Refused,
    /// Nobody knows: there was no answer, or one that leaves it open.
    Unknown,
}

/// A record that was read: `[offset, producer, value, content]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record<N>(
    /// Its offset.
    pub i64,
    /// Who sent it.
    pub N,
    /// Which of the producer's values it is.
    pub u64,
    /// A digest of all that a reader sees of it, its timestamp included; 0 if there is none.
    pub u32,
);

/// Records of one partition that a consumer got at once, in the order in which it got them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Poll<N> {
    /// When it had them.
    pub at: u64,
    /// The consumer.
    pub client: N,
    /// The topic.
    pub topic: N,
    /// The partition.
    pub partition: i32,
    /// The high watermark that came with them, or later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub high_watermark: Option<i64>,
    /// The log start that came with them, or later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_start: Option<i64>,
    /// The leader epoch of all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<i32>,
    /// The records.
    pub records: Box<[Record<N>]>,
}

/// One line of a history. `N` is a name: text on the line, a number in memory.
///
/// Times are microseconds of a clock that all clients share: `begin` is taken before a request is made, `at` before a
/// `send` and behind everything else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[allow(missing_docs)] // the fields mean the same throughout
pub enum Event<N> {
    /// The log start of this topic moves by itself.
    Expires { topic: N },
    /// A producer that may write a value again: after each attempt, or, with `retries`, whenever its library sees fit.
    /// Without this line a producer is idempotent.
    Repeats { client: N, retries: bool },
    /// An attempt to write a value, about to be made. A producer never uses a value twice in a partition, but to try again.
    Send { at: u64, client: N, topic: N, partition: i32, value: u64 },
    /// It is written.
    Acked { at: u64, client: N, topic: N, partition: i32, value: u64, offset: i64 },
    /// An attempt was refused, and wrote nothing. Attempts of which nothing is told may have written.
    Refused { at: u64, client: N, topic: N, partition: i32, value: u64 },
    /// What the consumer polls next of a partition is at this offset, or anywhere: it was assigned, or sought.
    Seek { at: u64, client: N, topic: N, partition: i32, offset: Option<i64> },
    /// A consumer got records, or none.
    Poll(Box<Poll<N>>),
    /// A client asked where a log begins or ends.
    Offsets { begin: u64, at: u64, client: N, topic: N, partition: i32, log_start: Option<i64>, end: Option<i64> },
    /// A consumer became a member of a group, for this topic.
    Subscribe { at: u64, client: N, group: N, topic: N },
    /// A consumer is gone.
    Close { at: u64, client: N },
    /// A client committed an offset.
    Commit { begin: u64, at: u64, client: N, group: N, topic: N, partition: i32, offset: i64, outcome: Outcome },
    /// A client asked for the committed offset.
    Committed { begin: u64, at: u64, client: N, group: N, topic: N, partition: i32, offset: Option<i64> },
    /// Somebody asks for records below an offset to be deleted.
    Trim { at: u64, client: N, topic: N, partition: i32, before: i64 },
    /// An operator gave up what there was from this offset on, and offsets begin there anew.
    Loss { at: u64, client: N, topic: N, partition: i32, from: i64 },
    /// There was time for the group, from `since` on, to get all that was acknowledged by then.
    Patience { since: u64, at: u64, client: N, group: N },
}

impl<N> Record<N> {
    fn map<M>(self, f: &mut impl FnMut(N) -> M) -> Record<M> {
        Record(self.0, f(self.1), self.2, self.3)
    }
}

impl<N> Poll<N> {
    fn map<M>(self, f: &mut impl FnMut(N) -> M) -> Poll<M> {
        let Self { at, client, topic, partition, high_watermark, log_start, epoch, records } = self;
        let (client, topic) = (f(client), f(topic));
        let records = records.into_iter().map(|record| record.map(f)).collect();
        Poll { at, client, topic, partition, high_watermark, log_start, epoch, records }
    }
}

impl<N> Event<N> {
    /// The same with other names.
    pub(crate) fn map<M>(self, f: &mut impl FnMut(N) -> M) -> Event<M> {
        match self {
            Self::Expires { topic } => Event::Expires { topic: f(topic) },
            Self::Repeats { client, retries } => Event::Repeats { client: f(client), retries },
            Self::Send { at, client, topic, partition, value } => {
                Event::Send { at, client: f(client), topic: f(topic), partition, value }
            }
            Self::Acked { at, client, topic, partition, value, offset } => {
                Event::Acked { at, client: f(client), topic: f(topic), partition, value, offset }
            }
            Self::Refused { at, client, topic, partition, value } => {
                Event::Refused { at, client: f(client), topic: f(topic), partition, value }
            }
            Self::Seek { at, client, topic, partition, offset } => {
                Event::Seek { at, client: f(client), topic: f(topic), partition, offset }
            }
            Self::Poll(poll) => Event::Poll(Box::new(poll.map(f))),
            Self::Offsets { begin, at, client, topic, partition, log_start, end } => {
                Event::Offsets { begin, at, client: f(client), topic: f(topic), partition, log_start, end }
            }
            Self::Subscribe { at, client, group, topic } => {
                Event::Subscribe { at, client: f(client), group: f(group), topic: f(topic) }
            }
            Self::Close { at, client } => Event::Close { at, client: f(client) },
            Self::Commit { begin, at, client, group, topic, partition, offset, outcome } => {
                let (client, group, topic) = (f(client), f(group), f(topic));
                Event::Commit { begin, at, client, group, topic, partition, offset, outcome }
            }
            Self::Committed { begin, at, client, group, topic, partition, offset } => {
                Event::Committed { begin, at, client: f(client), group: f(group), topic: f(topic), partition, offset }
            }
            Self::Trim { at, client, topic, partition, before } => {
                Event::Trim { at, client: f(client), topic: f(topic), partition, before }
            }
            Self::Loss { at, client, topic, partition, from } => {
                Event::Loss { at, client: f(client), topic: f(topic), partition, from }
            }
            Self::Patience { since, at, client, group } => {
                Event::Patience { since, at, client: f(client), group: f(group) }
            }
        }
    }

    /// When it was told; declarations hold at all times.
    pub(crate) fn at(&self) -> u64 {
        match self {
            Self::Expires { .. } | Self::Repeats { .. } => 0,
            Self::Poll(poll) => poll.at,
            Self::Send { at, .. }
            | Self::Acked { at, .. }
            | Self::Refused { at, .. }
            | Self::Seek { at, .. }
            | Self::Offsets { at, .. }
            | Self::Subscribe { at, .. }
            | Self::Close { at, .. }
            | Self::Commit { at, .. }
            | Self::Committed { at, .. }
            | Self::Trim { at, .. }
            | Self::Loss { at, .. }
            | Self::Patience { at, .. } => *at,
        }
    }
}
