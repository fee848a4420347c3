//! What no log may do.

use serde::Serialize;

use crate::history::EventId;

/// Something that clients saw and that no log may let them see.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Anomaly {
    /// The topic, but for what concerns a group as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// The partition.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partition: Option<i32>,
    /// The group, if it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// What it is.
    #[serde(flatten)]
    pub finding: Finding,
    /// What shows it.
    pub events: Vec<EventId>,
}

/// The kinds of anomalies; a value is written as its producer and its number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(tag = "kind", rename_all = "kebab-case")]
#[allow(missing_docs)] // the fields are what the messages say
pub enum Finding {
    /// Acknowledged, and readers passed over it, read something else there, or were told that the log ends before it.
    #[error("{value} was acknowledged at offset {offset} and is not there")]
    Lost { value: String, offset: i64 },
    /// Acknowledged, and nobody has read as far.
    #[error("{value} was acknowledged at offset {offset}, and nobody read as far")]
    Unseen { value: String, offset: i64 },
    /// Acknowledged at one offset and read at another.
    #[error("{value} was acknowledged at offset {acknowledged} and read at {offset}")]
    Moved { value: String, acknowledged: i64, offset: i64 },
    /// One value of an idempotent producer at two offsets, or of another at more than it was tried.
    #[error("{value} was read at offset {first} and at offset {offset}")]
    Duplicate { value: String, first: i64, offset: i64 },
    /// A retry was told another offset than the attempt before it.
    #[error("{value} was acknowledged at offset {first} and then at offset {offset}")]
    AckChanged { value: String, first: i64, offset: i64 },
    /// Two values were acknowledged at one offset.
    #[error("offset {offset} was acknowledged to {value} and to {other}")]
    OffsetGivenTwice { offset: i64, value: String, other: String },
    /// Readers saw two records at one offset.
    #[error("offset {offset} was read with two contents: {value} and {other}")]
    TwoContents { offset: i64, value: String, other: String },
    /// Refused, and read.
    #[error("{value} was refused and read at offset {offset}")]
    RefusedRead { value: String, offset: i64 },
    /// Nobody sent what was read.
    #[error("{value} was read at offset {offset}, and nobody sent it")]
    Phantom { value: String, offset: i64 },
    /// An idempotent producer's values in another order than it sent them in.
    #[error("{value} is at offset {offset}, and {earlier}, which was sent before it, at {first}")]
    Reordered { earlier: String, first: i64, value: String, offset: i64 },
    /// Sent once another was acknowledged, and written before it.
    #[error("{value} is at offset {offset}, and {earlier}, acknowledged before it was sent, at {first}")]
    Overtaken { earlier: String, first: i64, value: String, offset: i64 },
    /// A record's leader epoch is less than that of one before it.
    #[error("epoch {epoch} at offset {offset} comes after epoch {before}")]
    EpochBack { offset: i64, epoch: i32, before: i32 },
    /// A consumer got records again, without having been sent back.
    #[error("a consumer that was at offset {expected} went back to {offset}")]
    NonmonotonicPoll { expected: i64, offset: i64 },
    /// A consumer did not get records that others did.
    #[error("a consumer that was at offset {expected} went on at {offset}")]
    PollSkip { expected: i64, offset: i64 },
    /// Offsets at which nobody found anything.
    #[error("there is nothing from offset {from} to {to}")]
    Hole { from: i64, to: i64 },
    /// A client saw the high watermark, or the end of the log, go back.
    #[error("the high watermark went back from {before} to {offset}")]
    WatermarkBack { before: i64, offset: i64 },
    /// A record was read that is not below the high watermark which came with it.
    #[error("offset {offset} was read above the high watermark {high_watermark}")]
    AboveWatermark { offset: i64, high_watermark: i64 },
    /// A client saw the start of the log go back.
    #[error("the log start went back from {before} to {offset}")]
    LogStartBack { before: i64, offset: i64 },
    /// Records are gone that nobody gave up.
    #[error("the log starts at {offset}, and what lies below it was given up to {allowed} only")]
    LogStartAhead { offset: i64, allowed: i64 },
    /// A committed offset was read that another had replaced before.
    #[error("offset {committed} was committed, and then {} was read", shown(*.offset))]
    LostCommit { committed: i64, offset: Option<i64> },
    /// A committed offset that nobody committed.
    #[error("offset {offset} was read as committed, and nobody committed it")]
    PhantomCommit { offset: i64 },
    /// A commit that was refused, and is in force.
    #[error("the commit of offset {offset} was refused, and it was read as committed")]
    RefusedCommit { offset: i64 },
    /// A committed offset behind all that anybody knows of the log.
    #[error("offset {offset} was read as committed, and the log ends at {end}")]
    CommitBeyondEnd { offset: i64, end: i64 },
    /// A group with members got nothing, though there was something and time.
    #[error("the group stays at offset {offset}, and offset {acknowledged} was acknowledged long before")]
    StuckGroup { offset: i64, acknowledged: i64 },
}

fn shown(offset: Option<i64>) -> String {
    offset.map_or_else(|| "none".to_owned(), |offset| format!("offset {offset}"))
}

impl Finding {
    /// Its name, as in `docs/testing.md`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Lost { .. } => "lost",
            Self::Unseen { .. } => "unseen",
            Self::Moved { .. } => "moved",
            Self::Duplicate { .. } => "duplicate",
            Self::AckChanged { .. } => "ack-changed",
            Self::OffsetGivenTwice { .. } => "offset-given-twice",
            Self::TwoContents { .. } => "two-contents",
            Self::RefusedRead { .. } => "refused-read",
            Self::Phantom { .. } => "phantom",
            Self::Reordered { .. } => "reordered",
            Self::Overtaken { .. } => "overtaken",
            Self::EpochBack { .. } => "epoch-back",
            Self::NonmonotonicPoll { .. } => "nonmonotonic-poll",
            Self::PollSkip { .. } => "poll-skip",
            Self::Hole { .. } => "hole",
            Self::WatermarkBack { .. } => "watermark-back",
            Self::AboveWatermark { .. } => "above-watermark",
            Self::LogStartBack { .. } => "log-start-back",
            Self::LogStartAhead { .. } => "log-start-ahead",
            Self::LostCommit { .. } => "lost-commit",
            Self::PhantomCommit { .. } => "phantom-commit",
            Self::RefusedCommit { .. } => "refused-commit",
            Self::CommitBeyondEnd { .. } => "commit-beyond-end",
            Self::StuckGroup { .. } => "stuck-group",
        }
    }
}
