//! What can go wrong, as a client sees it.

use runnel_group::Error as GroupError;
use runnel_record::Offset;

/// What a caller may do about an error. Front doors map every kind, without a catch-all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ErrorKind {
    /// No topic of that name.
    UnknownTopic,
    /// No live topic of that id (deleted, or never here).
    UnknownTopicId,
    /// The topic exists, the partition does not.
    UnknownPartition,
    /// Not a legal topic name.
    InvalidTopicName,
    /// A topic of that name exists.
    TopicExists,
    /// Fewer than one partition, or more than allowed.
    InvalidPartitions,
    /// A replication factor that cannot be met.
    InvalidReplicationFactor,
    /// A manual replica assignment that cannot be met.
    InvalidReplicaAssignment,
    /// A configuration key or value that is not accepted.
    InvalidConfig,
    /// The request itself makes no sense.
    InvalidRequest,
    /// A valid request for something that does not exist (yet).
    Unsupported,
    /// The batch's CRC or framing is wrong; nothing was stored.
    CorruptMessage,
    /// The batch is well framed but not acceptable; nothing was stored.
    InvalidRecord,
    /// A record timestamp outside the accepted range; nothing was stored.
    InvalidTimestamp,
    /// A message format older than RecordBatch v2.
    UnsupportedFormat,
    /// One batch exceeds `max.message.bytes`.
    MessageTooLarge,
    /// The records of one partition exceed the limit for a request.
    RecordListTooLarge,
    /// The offset is below the log start or above the high watermark.
    OffsetOutOfRange,
    /// The records were to begin at an offset that is not the next one of the partition; nothing was stored.
    OffsetMismatch {
        /// The next offset of the partition.
        next_offset: Offset,
    },
    /// The client knows a newer leader epoch than the broker.
    UnknownLeaderEpoch,
    /// The client's leader epoch is older than the broker's.
    FencedLeaderEpoch,
    /// The sequence number leaves a gap.
    OutOfOrderSequence,
    /// A duplicate older than the batches that are remembered.
    DuplicateSequence,
    /// The producer's state has expired.
    UnknownProducerId,
    /// The producer epoch is older than the one known.
    InvalidProducerEpoch,
    /// This broker does not (or no longer) lead the partition, or the outcome is unknown: retry.
    NotLeader,
    /// The partition is opening: retry.
    LeaderNotAvailable,
    /// Too much is waiting for durability or for the bucket: retry later.
    Throttled,
    /// The local disk is full or failed.
    StorageError,
    /// The range asked for is corrupt and blocked; an operator must look.
    Corrupt,
    /// The request's own time limit passed; the outcome is unknown.
    TimedOut,
    /// The broker is stopping: retry elsewhere or later.
    ShuttingDown,
    /// A consumer group refuses the request.
    Group(GroupError),
    /// The principal may not do this.
    Denied,
    /// A defect of ours.
    Internal,
}

/// An error with a message that tells the user what to do next.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// What the caller may do.
    pub kind: ErrorKind,
    /// A sentence for a person.
    pub message: String,
}

impl Error {
    /// An error of `kind`.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }
}

impl From<GroupError> for Error {
    fn from(error: GroupError) -> Self {
        Self::new(ErrorKind::Group(error), error.to_string())
    }
}

/// The result of one part of a request.
pub type Result<T> = std::result::Result<T, Error>;
