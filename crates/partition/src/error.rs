//! What can go wrong in a partition.

use runnel_record::{LeaderEpoch, Offset, ProducerId};

/// What a caller may do about an [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The batch can never be accepted.
    Invalid,
    /// A valid request for something that does not exist (yet).
    Unsupported,
    /// The producer has been replaced by a newer epoch of itself.
    InvalidProducerEpoch,
    /// The batch leaves a gap in its producer's sequence numbers.
    OutOfOrderSequence,
    /// The batch is in the log already, but its offset is no longer remembered.
    DuplicateSequence,
    /// The batch was to begin at another offset; it is not in the log.
    OffsetMismatch {
        /// The next offset.
        next: Offset,
    },
    /// The batch may or may not be in the log: retry, and dedup decides.
    OutcomeUnknown,
    /// This machine takes no more appends: reopen the partition from durable state.
    Closed,
    /// A newer epoch exists: whoever asked must not lead.
    Fenced,
    /// Durable state contradicts itself: report it and do not open.
    Corrupt,
    /// A defect of the caller: close the partition and reopen it from durable state.
    Internal,
}

/// Errors of the partition machine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// An idempotent batch without a usable epoch or sequence number.
    #[error("producer {id} sent epoch {epoch} and sequence {first_sequence}; neither may be negative")]
    InvalidProducer {
        /// The producer.
        id: ProducerId,
        /// Its epoch in the batch.
        epoch: i16,
        /// The first sequence number of the batch.
        first_sequence: i32,
    },
    /// A client sent a control batch.
    #[error("clients may not write control batches")]
    ControlBatch,
    /// A batch that takes no offsets.
    #[error("a batch must have at least one record")]
    EmptyBatch,
    /// A transactional batch.
    #[error("transactions are not supported")]
    Transactional,
    /// The batch comes from an older epoch of its producer (KIP-360: the producer should ask for a new epoch).
    #[error("producer {id} sent epoch {epoch}, but its epoch is {current}")]
    InvalidProducerEpoch {
        /// The producer.
        id: ProducerId,
        /// The epoch in the batch.
        epoch: i16,
        /// The newest epoch known.
        current: i16,
    },
    /// A gap: batches before this one are missing.
    #[error("producer {id} sent sequence {found}, but {expected} comes next")]
    OutOfOrderSequence {
        /// The producer.
        id: ProducerId,
        /// The sequence number that comes next.
        expected: i32,
        /// The first sequence number of the batch.
        found: i32,
    },
    /// Committed before the batches that are remembered.
    #[error("producer {id} sent sequence {found} again: it was committed, its offset is no longer remembered")]
    DuplicateSequence {
        /// The producer.
        id: ProducerId,
        /// The first sequence number of the batch.
        found: i32,
    },
    /// The batch was to begin at another offset than the next one.
    #[error("the batch was to begin at offset {expected}, but the next offset is {next}")]
    OffsetMismatch {
        /// Where it was to begin.
        expected: Offset,
        /// The next offset.
        next: Offset,
    },
    /// The batch was handed to the lane, and the lane failed before it was known to be durable.
    #[error("the lane failed before the batch was known to be durable; it may or may not be stored: retry")]
    OutcomeUnknown,
    /// The machine is closed.
    #[error("the partition is closed and reopens from durable state: retry")]
    Closed,
    /// A partition was opened at an epoch that is not above every epoch seen.
    #[error("cannot open at epoch {opened}: epoch {known} exists already")]
    StaleEpoch {
        /// The epoch to open at.
        opened: LeaderEpoch,
        /// The newest one seen.
        known: LeaderEpoch,
    },
    /// The recovered tail does not begin where the shipped log ends, or has a hole.
    #[error("the recovered tail has a gap: offset {expected} is missing, the next batch begins at {found}")]
    Gap {
        /// The first offset that is missing.
        expected: Offset,
        /// Where the tail goes on.
        found: Offset,
    },
    /// Two different batches claim an offset, or a batch lies across the end of the shipped log.
    #[error("a recovered batch begins at {found}, inside what ends at {expected}")]
    Overlap {
        /// The end of what is known already.
        expected: Offset,
        /// Where the batch begins.
        found: Offset,
    },
    /// Recovered facts that no partition can produce.
    #[error("recovered state is corrupt: {0}")]
    Corrupt(&'static str),
    /// A stored snapshot that cannot be used.
    #[error("the producer snapshot cannot be used")]
    Snapshot(#[from] runnel_format::Error),
    /// The caller broke the contract of an input.
    #[error("invariant broken: {0}")]
    Invariant(&'static str),
}

impl Error {
    /// What the caller may do about it.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::InvalidProducer { .. } | Self::ControlBatch | Self::EmptyBatch => ErrorKind::Invalid,
            Self::Transactional => ErrorKind::Unsupported,
            Self::InvalidProducerEpoch { .. } => ErrorKind::InvalidProducerEpoch,
            Self::OutOfOrderSequence { .. } => ErrorKind::OutOfOrderSequence,
            Self::DuplicateSequence { .. } => ErrorKind::DuplicateSequence,
            Self::OffsetMismatch { next, .. } => ErrorKind::OffsetMismatch { next: *next },
            Self::OutcomeUnknown => ErrorKind::OutcomeUnknown,
            Self::Closed => ErrorKind::Closed,
            Self::StaleEpoch { .. } => ErrorKind::Fenced,
            Self::Gap { .. } | Self::Overlap { .. } | Self::Corrupt(_) | Self::Snapshot(_) => ErrorKind::Corrupt,
            Self::Invariant(_) => ErrorKind::Internal,
        }
    }
}
