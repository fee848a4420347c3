//! What can go wrong with a segment.

use runnel_record::Offset;

/// A segment that cannot be written, read or trusted.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Stored bytes are damaged, or are not what was asked for.
    #[error("segment is corrupt: {what}")]
    Corrupt {
        /// What is wrong.
        what: String,
    },
    /// The object was written by a newer release.
    #[error("segment has format {found}, this release reads up to {newest}: run a newer release")]
    NewerFormat {
        /// The format found.
        found: u32,
        /// The newest format known.
        newest: u32,
    },
    /// The batches handed to [`encode`](crate::encode()) break its contract.
    #[error("batch at offset {base} cannot be encoded: {reason}")]
    Unencodable {
        /// Base offset of the batch.
        base: Offset,
        /// What is wrong with it.
        reason: String,
    },
    /// An encoded segment does not hold what it was made from; it must not be committed.
    #[error("encoded segment differs from its source at offset {at}: {what}")]
    Differs {
        /// Offset of the first difference.
        at: Offset,
        /// The field that differs.
        what: &'static str,
    },
    /// The Parquet writer refused.
    #[error("segment cannot be written")]
    Write(#[source] parquet::errors::ParquetError),
    /// The segment has no such run.
    #[error("segment has no run {run}")]
    NoSuchRun {
        /// The run asked for.
        run: u32,
    },
    /// The bucket did not answer as it should.
    #[error("segment cannot be fetched")]
    Fetch(#[source] runnel_blob::Error),
    /// The decoding task died.
    #[error("decoding did not finish")]
    Interrupted(#[source] tokio::task::JoinError),
}

/// What a caller should do about an [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// Report it; do not serve the range and do not commit the segment.
    Corrupt,
    /// Run a newer release.
    Unsupported,
    /// A caller broke the contract.
    Invalid,
    /// The bucket failed; what to do is in its own error.
    Storage,
    /// Something that should not happen.
    Internal,
}

impl Error {
    /// The kind of the error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Corrupt { .. } | Self::Differs { .. } => ErrorKind::Corrupt,
            Self::NewerFormat { .. } => ErrorKind::Unsupported,
            Self::Unencodable { .. } | Self::NoSuchRun { .. } => ErrorKind::Invalid,
            Self::Fetch(e) if e.kind() == runnel_blob::ErrorKind::Corrupt => ErrorKind::Corrupt,
            Self::Fetch(_) => ErrorKind::Storage,
            Self::Write(_) | Self::Interrupted(_) => ErrorKind::Internal,
        }
    }

    pub(crate) fn corrupt(what: impl Into<String>) -> Self {
        Self::Corrupt { what: what.into() }
    }
}
