//! What can go wrong with a lane.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use runnel_record::{LeaderEpoch, Offset, TopicPartition};
use uuid::Uuid;

/// What a caller may do about an [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// Come back when something was flushed or shipped.
    Throttled,
    /// The disk is full: appends work again when there is room; everything else works now.
    Full,
    /// The lane has ended; a new session is needed. What was pending has an unknown outcome.
    Closed,
    /// Someone has sealed the lane: start a new session. What was pending has an unknown outcome.
    Fenced,
    /// The request breaks a rule.
    Invalid,
    /// Stored bytes are damaged; an operator must look.
    Corrupt,
    /// The lane does not hold this (any more): look in the segments.
    NotFound,
    /// Written by a newer release.
    Unsupported,
    /// The disk failed.
    Io,
    /// The bucket does not answer, or not as it should: try again.
    Unavailable,
}

/// An operation on the log that did not work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Too much waits to become durable, or to be shipped.
    #[error("{held} bytes wait to be {what}, the limit is {limit}")]
    Throttled {
        /// `flushed` or `shipped`.
        what: &'static str,
        /// Bytes waiting.
        held: u64,
        /// The limit.
        limit: u64,
    },
    /// The lane is being made.
    #[error("the lane is being made")]
    Unready,
    /// There is no room on the disk for another lane file.
    #[error("the disk of the local log is full")]
    Full,
    /// The lane has failed or was closed.
    #[error("the lane is closed: {reason}")]
    Closed {
        /// Why.
        reason: Arc<str>,
    },
    /// Someone has sealed the lane.
    #[error("the object lane {} was sealed by another session", lane.simple())]
    Fenced {
        /// The lane.
        lane: Uuid,
    },
    /// What needs a sealed lane met one that is not.
    #[error("the object lane {} is not sealed", lane.simple())]
    NotSealed {
        /// The lane.
        lane: Uuid,
    },
    /// An entry does not fit into a lane file.
    #[error("an entry of {bytes} bytes does not fit into a lane file, which takes {limit}")]
    TooLarge {
        /// Bytes that the entry needs.
        bytes: u64,
        /// Bytes that a file has.
        limit: u64,
    },
    /// An entry does not continue its partition.
    #[error("{tp}: offset {found} in epoch {epoch} does not continue the lane, which is at offset {expected}")]
    NotContiguous {
        /// The partition.
        tp: TopicPartition,
        /// Epoch of the entry.
        epoch: LeaderEpoch,
        /// Base offset of the entry.
        found: Offset,
        /// Next offset of the partition in the lane.
        expected: Offset,
    },
    /// Entries are damaged.
    #[error("{tp}: offsets {} to {} are damaged in the local log", range.start, range.end)]
    Corrupt {
        /// The partition.
        tp: TopicPartition,
        /// The damaged offsets.
        range: Range<Offset>,
    },
    /// The lane does not hold an offset.
    #[error("{tp}: offset {offset} is not in the local log")]
    Absent {
        /// The partition.
        tp: TopicPartition,
        /// The offset.
        offset: Offset,
    },
    /// A file of the log cannot be understood.
    #[error("{}: {source}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: runnel_format::Error,
    },
    /// A lane has files but no state: nothing says where it starts or ends.
    #[error("{}: the lane has files but no state file; move the directory away only if its data is not needed", path.display())]
    StateMissing {
        /// Directory of the lane.
        path: PathBuf,
    },
    /// Two lanes have the same age rank: a directory was copied.
    #[error("{}: another lane has the same age rank; was a lane directory copied?", path.display())]
    DuplicateLane {
        /// Directory of one of them.
        path: PathBuf,
    },
    /// The disk failed.
    #[error("{what} {}: {source}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On which file or directory.
        path: PathBuf,
        /// The error.
        source: std::io::Error,
    },
    /// The bucket failed.
    #[error(transparent)]
    Bucket(#[from] runnel_blob::Error),
    /// A fail point was hit.
    #[error(transparent)]
    Injected(#[from] runnel_runtime::Injected),
}

impl Error {
    /// What the caller may do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Throttled { .. } | Self::Unready => ErrorKind::Throttled,
            Self::Full => ErrorKind::Full,
            Self::Closed { .. } => ErrorKind::Closed,
            Self::Fenced { .. } => ErrorKind::Fenced,
            Self::TooLarge { .. } | Self::NotContiguous { .. } | Self::NotSealed { .. } => ErrorKind::Invalid,
            Self::Bucket(error) => bucket_kind(error),
            Self::Corrupt { .. } | Self::StateMissing { .. } | Self::DuplicateLane { .. } => ErrorKind::Corrupt,
            Self::Format { source: runnel_format::Error::Corrupt { .. }, .. } => ErrorKind::Corrupt,
            Self::Format { source: runnel_format::Error::NewerFormat { .. }, .. } => ErrorKind::Unsupported,
            Self::Absent { .. } => ErrorKind::NotFound,
            Self::Io { .. } | Self::Injected(_) => ErrorKind::Io,
        }
    }

    /// Names the object of the bucket whose bytes are wrong.
    pub(crate) fn stored(key: &runnel_blob::Key, source: runnel_format::Error) -> Self {
        Self::Format { path: PathBuf::from(key.path()), source }
    }

    /// Names the step and the path of an I/O error.
    pub(crate) fn io(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { what, path, source }
    }

    /// Whether this is a full disk.
    pub(crate) fn is_full(&self) -> bool {
        matches!(self, Self::Io { source, .. } if runnel_runtime::disk::is_full(source))
    }
}

fn bucket_kind(error: &runnel_blob::Error) -> ErrorKind {
    use runnel_blob::ErrorKind as Kind;
    match error.kind() {
        Kind::Corrupt => ErrorKind::Corrupt,
        Kind::Unsupported => ErrorKind::Unsupported,
        Kind::Invalid => ErrorKind::Invalid,
        Kind::NotFound | Kind::Conflict | Kind::Unavailable | Kind::Timeout | Kind::Denied | Kind::Internal => {
            ErrorKind::Unavailable
        }
    }
}
