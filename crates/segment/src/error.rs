//! What can go wrong with a segment.

use runnel_record::ids::{LeaderEpoch, Offset, TopicPartition};

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
    /// A later leader owns the partition; final for this one.
    #[error("partition {tp} has a root of epoch {found}, this leader has epoch {mine}: it has been replaced")]
    Fenced {
        /// The partition.
        tp: TopicPartition,
        /// The epoch of this leader.
        mine: LeaderEpoch,
        /// The epoch of the root.
        found: LeaderEpoch,
    },
    /// A manifest object is damaged, or a change to it would break what must hold.
    #[error("manifest of {tp}: {what}")]
    Manifest {
        /// The partition.
        tp: TopicPartition,
        /// What is wrong.
        what: String,
    },
    /// The root is absent although segments were shipped.
    #[error("the root of {tp} is missing from the bucket although the partition was shipped before")]
    RootMissing {
        /// The partition.
        tp: TopicPartition,
    },
    /// The bucket is ahead of all that this disk can have written: an old image of the disk came back.
    #[error(
        "the bucket has {tp} at epoch {found} up to offset {end}, this disk knows epoch {known} up to {known_end}: the \
         disk was set back. Restore the right disk"
    )]
    OldDisk {
        /// The partition.
        tp: TopicPartition,
        /// The last epoch that this disk had handed out.
        known: LeaderEpoch,
        /// Where the log ends on this disk.
        known_end: Offset,
        /// The epoch of the root in the bucket.
        found: LeaderEpoch,
        /// The end of the root in the bucket.
        end: Offset,
    },
    /// A commit does not begin where the root ends, because another commit of this leader is there already.
    #[error("a commit to {tp} begins at {base}, the root ends at {end}")]
    NotNext {
        /// The partition.
        tp: TopicPartition,
        /// Where the next segment must begin.
        end: Offset,
        /// Where it begins.
        base: Offset,
    },
    /// Segments have more that columns cannot carry than one footer holds.
    #[error("offsets {base} to {next} do not fit into one segment")]
    Unmergeable {
        /// First offset of the first segment.
        base: Offset,
        /// Offset after the last of the last.
        next: Offset,
    },
    /// What was merged is not referred to any more, at least not as it was: the merged object is of no use.
    #[error("what was merged of {tp}, offsets {base} to {next}, is not in the manifest any more")]
    SourcesGone {
        /// The partition.
        tp: TopicPartition,
        /// First offset of the merged segment.
        base: Offset,
        /// Offset after its last.
        next: Offset,
    },
    /// A sweep before the root was committed in the sweeper's epoch.
    #[error("the root of {tp} is of epoch {root}: a leader of epoch {mine} may not sweep yet")]
    SweepTooEarly {
        /// The partition.
        tp: TopicPartition,
        /// The epoch of the sweeper.
        mine: LeaderEpoch,
        /// The epoch of the root.
        root: LeaderEpoch,
    },
    /// The bucket failed while a manifest was read or written.
    #[error("the bucket failed for the manifest of {tp}")]
    Bucket {
        /// The partition.
        tp: TopicPartition,
        /// What the bucket said.
        #[source]
        source: runnel_blob::Error,
    },
    /// A test made the step fail.
    #[error(transparent)]
    Injected(runnel_runtime::Injected),
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
    /// Stop leading the partition: a later leader has it.
    Fenced,
    /// Compare with the bucket's root before anything else.
    Conflict,
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
            Self::Bucket { source, .. } if source.kind() == runnel_blob::ErrorKind::Corrupt => ErrorKind::Corrupt,
            Self::Fetch(_) | Self::Bucket { .. } => ErrorKind::Storage,
            Self::Fenced { .. } => ErrorKind::Fenced,
            Self::Manifest { .. } | Self::RootMissing { .. } => ErrorKind::Corrupt,
            Self::OldDisk { .. } | Self::NotNext { .. } => ErrorKind::Conflict,
            Self::SourcesGone { .. } | Self::Unmergeable { .. } => ErrorKind::Conflict,
            Self::SweepTooEarly { .. } => ErrorKind::Invalid,
            Self::Injected(_) => ErrorKind::Internal,
            Self::Write(_) | Self::Interrupted(_) => ErrorKind::Internal,
        }
    }

    pub(crate) fn corrupt(what: impl Into<String>) -> Self {
        Self::Corrupt { what: what.into() }
    }

    pub(crate) fn manifest(tp: TopicPartition, what: impl Into<String>) -> Self {
        Self::Manifest { tp, what: what.into() }
    }

    pub(crate) const fn bucket(tp: TopicPartition, source: runnel_blob::Error) -> Self {
        Self::Bucket { tp, source }
    }
}
