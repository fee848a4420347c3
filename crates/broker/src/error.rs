//! Errors: why a broker does not start, and what lower layers' errors mean to a client.

use runnel_api::{Error, ErrorKind};

use crate::home::Refusal;

/// Why a broker does not start. Every message says what to do next.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data directory cannot be used.
    #[error("cannot use the data directory {path}: {source}")]
    DataDir {
        /// The directory.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// Another process holds it.
    #[error("another broker is using this data directory ({path}): stop it first, or choose another node.data_dir")]
    Locked {
        /// The directory.
        path: String,
    },
    /// Disk and bucket do not belong together.
    #[error("{0}")]
    Refused(String),
    /// The cluster is at a level of another release.
    #[error("{0}. Nothing was changed")]
    Level(#[from] runnel_format::Misfit),
    /// The bucket cannot be used.
    #[error("the bucket cannot be used: {0}")]
    Bucket(#[from] runnel_blob::Error),
    /// The metadata store cannot be used.
    #[error("the metadata store cannot be used: {0}")]
    Metadata(#[from] runnel_metastore::Error),
    /// The write-ahead log cannot be used.
    #[error("the write-ahead log cannot be used: {0}")]
    Wal(#[from] runnel_wal::Error),
    /// The cache cannot be used.
    #[error("the cache cannot be used: {0}")]
    Cache(#[from] runnel_cache::Error),
    /// Stored bytes cannot be read.
    #[error(transparent)]
    Format(#[from] runnel_format::Error),
}

impl From<Refusal> for StartError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal.to_string())
    }
}

/// A batch that was refused before anything was stored.
pub(crate) fn record_error(error: &runnel_record::Error) -> Error {
    use runnel_record::ErrorKind as Kind;
    let kind = match error.kind() {
        Kind::Corrupt => ErrorKind::CorruptMessage,
        Kind::Invalid => ErrorKind::InvalidRecord,
        Kind::InvalidTimestamp => ErrorKind::InvalidTimestamp,
        Kind::UnsupportedFormat => ErrorKind::UnsupportedFormat,
        Kind::TooLarge => ErrorKind::MessageTooLarge,
    };
    Error::new(kind, error.to_string())
}

/// The bucket failed on a request that needs it.
pub(crate) fn bucket_error(error: &runnel_blob::Error) -> Error {
    use runnel_blob::ErrorKind as Kind;
    let kind = match error.kind() {
        Kind::Corrupt => ErrorKind::Corrupt,
        Kind::NotFound
        | Kind::Conflict
        | Kind::Unavailable
        | Kind::Timeout
        | Kind::Denied
        | Kind::Unsupported
        | Kind::Invalid
        | Kind::Internal => ErrorKind::StorageError,
    };
    Error::new(kind, format!("the bucket: {}", chain(error)))
}

/// The metadata store failed.
pub(crate) fn metadata_error(error: &runnel_metastore::Error) -> Error {
    Error::new(ErrorKind::StorageError, format!("the metadata store: {error}"))
}

/// Stored bytes cannot be read.
pub(crate) fn damaged(error: &runnel_format::Error) -> Error {
    Error::new(ErrorKind::Corrupt, error.to_string())
}

/// Whether the bucket may answer later.
pub(crate) fn is_unavailable(error: &runnel_blob::Error) -> bool {
    matches!(error.kind(), runnel_blob::ErrorKind::Unavailable | runnel_blob::ErrorKind::Timeout)
}

/// A segment or the manifest could not be read or written.
pub(crate) fn segment_error(error: &runnel_segment::Error) -> Error {
    use runnel_segment::ErrorKind as Kind;
    let kind = match error.kind() {
        Kind::Corrupt | Kind::Unsupported | Kind::Conflict => ErrorKind::Corrupt,
        Kind::Storage => ErrorKind::StorageError,
        Kind::Fenced => ErrorKind::NotLeader,
        Kind::Invalid | Kind::Internal => ErrorKind::Internal,
    };
    Error::new(kind, chain(error))
}

/// The log could not be read.
pub(crate) fn lane_error(error: &runnel_wal::Error) -> Error {
    use runnel_wal::ErrorKind as Kind;
    let kind = match error.kind() {
        Kind::Corrupt | Kind::Unsupported => ErrorKind::Corrupt,
        Kind::Throttled => ErrorKind::Throttled,
        Kind::Full | Kind::Io | Kind::Unavailable => ErrorKind::StorageError,
        Kind::Closed | Kind::Fenced => ErrorKind::NotLeader,
        Kind::NotFound | Kind::Invalid => ErrorKind::Internal,
    };
    Error::new(kind, format!("the write-ahead log: {}", chain(error)))
}

/// A lane of an earlier session could not be taken over.
pub(crate) fn take_over_error(error: &runnel_wal::Error) -> Error {
    if error.kind() == runnel_wal::ErrorKind::NotFound {
        // It is given back once nobody needs it: somebody else leads by now what it was wanted for.
        let what = format!("a lane was given back while it was taken over: {}", chain(error));
        return Error::new(ErrorKind::NotLeader, what);
    }
    lane_error(error)
}

/// The log did not take an append. Nothing was stored.
pub(crate) fn refused_by_lane(error: &runnel_wal::Error) -> Error {
    use runnel_wal::ErrorKind as Kind;
    match error.kind() {
        Kind::Throttled => {
            Error::new(ErrorKind::Throttled, format!("no room in the write-ahead log: {error}; retry later"))
        }
        Kind::Full => {
            Error::new(ErrorKind::StorageError, "the disk of the write-ahead log is full: free space; retry later")
        }
        Kind::Invalid => Error::new(ErrorKind::MessageTooLarge, chain(error)),
        Kind::Closed
        | Kind::Fenced
        | Kind::Corrupt
        | Kind::NotFound
        | Kind::Unsupported
        | Kind::Io
        | Kind::Unavailable => lane_error(error),
    }
}

/// The partition machine refused an input.
pub(crate) fn machine_error(error: &runnel_partition::Error) -> Error {
    use runnel_partition::ErrorKind as Kind;
    let kind = match error.kind() {
        Kind::Invalid => ErrorKind::InvalidRecord,
        Kind::Unsupported => ErrorKind::InvalidRecord,
        Kind::InvalidProducerEpoch => ErrorKind::InvalidProducerEpoch,
        Kind::OutOfOrderSequence => ErrorKind::OutOfOrderSequence,
        Kind::DuplicateSequence => ErrorKind::DuplicateSequence,
        Kind::OffsetMismatch { next } => ErrorKind::OffsetMismatch { next_offset: next },
        Kind::OutcomeUnknown | Kind::Closed | Kind::Fenced => ErrorKind::NotLeader,
        Kind::Corrupt => ErrorKind::Corrupt,
        Kind::Internal => ErrorKind::Internal,
    };
    Error::new(kind, error.to_string())
}

/// The cache could not give what a reader asked for: the error of the load behind it, if that is known.
pub(crate) fn cache_error(error: &runnel_cache::Error) -> Error {
    match error {
        runnel_cache::Error::Load(load) => match load.downcast_ref::<runnel_segment::Error>() {
            Some(error) => segment_error(error),
            None => Error::new(ErrorKind::StorageError, load.to_string()),
        },
        runnel_cache::Error::Open(_) => Error::new(ErrorKind::Internal, chain(error)),
    }
}

/// An error and its causes in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use runnel_record::{Offset, TopicId, TopicPartition};
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_lane_that_others_gave_back_is_no_damage() {
        let tp = TopicPartition { topic: TopicId(Uuid::nil()), partition: 0 };
        let gone = runnel_wal::Error::Absent { tp, offset: Offset(7) };
        assert_eq!(take_over_error(&gone).kind, ErrorKind::NotLeader);
        assert_eq!(take_over_error(&runnel_wal::Error::Unready).kind, lane_error(&runnel_wal::Error::Unready).kind);
    }
}
