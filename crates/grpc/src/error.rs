//! What can go wrong, and how it is said: a status code, a reason for programs, and when to try again.

use std::collections::HashMap;
use std::time::Duration;

use runnel_api::ErrorKind;
use runnel_api::groups::GroupError;
use runnel_proto::error::v1 as pb;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

/// Why the front door did not start or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A setting that cannot work.
    #[error("grpc.{name} is {value} and must be at least {min}: {why}")]
    Option {
        /// The setting.
        name: &'static str,
        /// Its value.
        value: usize,
        /// The least that works.
        min: usize,
        /// What would happen.
        why: &'static str,
    },
    /// The listener is of no use.
    #[error("the gRPC listener failed")]
    Listener(#[source] std::io::Error),
    /// The compiled descriptors of the interface are broken.
    #[error("reflection cannot describe the services")]
    Reflection(#[source] tonic_reflection::server::Error),
    /// The server could not go on.
    #[error("the gRPC server failed")]
    Server(#[source] tonic::transport::Error),
}

/// Who gives the reasons.
const DOMAIN: &str = "runnel";

/// A message for people is cut after so many bytes: it travels in the trailers, which are small.
const MAX_MESSAGE: usize = 1000;

/// What leaves the broker's hands in a moment, such as a partition that opens.
const SOON: Duration = Duration::from_millis(100);
/// What takes a person, a bucket or a disk.
const LATER: Duration = Duration::from_secs(1);

/// An error as gRPC clients see it, in a status or in `runnel.error.v1.Error`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) code: Code,
    pub(crate) reason: &'static str,
    pub(crate) message: String,
    pub(crate) metadata: Vec<(&'static str, String)>,
    pub(crate) retry_after: Option<Duration>,
}

impl Failure {
    pub(crate) fn new(code: Code, reason: &'static str, message: impl Into<String>) -> Self {
        let mut message = message.into();
        message.truncate(message.floor_char_boundary(MAX_MESSAGE));
        Self { code, reason, message, metadata: Vec::new(), retry_after: None }
    }

    /// The request itself makes no sense.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        runnel_api::Error::new(ErrorKind::InvalidRequest, message).into()
    }

    /// An append that failed: unlike a read it may have happened.
    pub(crate) fn of_append(error: runnel_api::Error) -> Self {
        match error.kind {
            // The partition may have closed after the batch was on its way to the disk.
            ErrorKind::NotLeader => {
                Self { retry_after: Some(SOON), ..Self::new(Code::Aborted, OUTCOME_UNKNOWN, error.message) }
            }
            _ => error.into(),
        }
    }

    /// Adds a fact that belongs to the reason.
    #[must_use]
    pub(crate) fn with(mut self, name: &'static str, value: impl ToString) -> Self {
        self.metadata.push((name, value.to_string()));
        self
    }

    /// Says which partition it is about.
    #[must_use]
    pub(crate) fn at(self, topic: &str, partition: i32) -> Self {
        self.with("topic", topic).with("partition", partition)
    }

    /// As one part of a reply.
    pub(crate) fn into_proto(self) -> pb::Error {
        pb::Error {
            code: self.code as i32,
            reason: self.reason.to_owned(),
            message: self.message,
            metadata: self.metadata.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
            retry_after_ms: self.retry_after.map(|after| u32::try_from(after.as_millis()).unwrap_or(u32::MAX)),
        }
    }
}

impl From<runnel_api::Error> for Failure {
    fn from(error: runnel_api::Error) -> Self {
        let (code, reason, retry_after) = meaning(error.kind);
        let failure = Self { retry_after, ..Self::new(code, reason, error.message) };
        match error.kind {
            ErrorKind::OffsetMismatch { next_offset } => failure.with("next_offset", next_offset),
            _ => failure,
        }
    }
}

impl From<Failure> for Status {
    fn from(failure: Failure) -> Self {
        let metadata: HashMap<String, String> =
            failure.metadata.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        let mut details = ErrorDetails::with_error_info(failure.reason, DOMAIN, metadata);
        if let Some(after) = failure.retry_after {
            details.set_retry_info(Some(after));
        }
        Self::with_error_details(failure.code, failure.message, details)
    }
}

/// The records may or may not be stored.
pub(crate) const OUTCOME_UNKNOWN: &str = "OUTCOME_UNKNOWN";
/// A message, or a batch, is larger than what is taken.
pub(crate) const MESSAGE_TOO_LARGE: &str = "MESSAGE_TOO_LARGE";
/// There are too many records.
pub(crate) const RECORD_LIST_TOO_LARGE: &str = "RECORD_LIST_TOO_LARGE";
/// A record does not fit into the largest message that the client takes.
pub(crate) const FRAME_TOO_SMALL: &str = "FRAME_TOO_SMALL";

/// Status code, reason, and when a retry may help.
pub(crate) const fn meaning(kind: ErrorKind) -> (Code, &'static str, Option<Duration>) {
    match kind {
        ErrorKind::UnknownTopic => (Code::NotFound, "UNKNOWN_TOPIC", None),
        ErrorKind::UnknownTopicId => (Code::NotFound, "UNKNOWN_TOPIC_ID", None),
        ErrorKind::UnknownPartition => (Code::NotFound, "UNKNOWN_PARTITION", None),
        ErrorKind::InvalidTopicName => (Code::InvalidArgument, "INVALID_TOPIC_NAME", None),
        ErrorKind::TopicExists => (Code::AlreadyExists, "TOPIC_EXISTS", None),
        ErrorKind::InvalidPartitions => (Code::InvalidArgument, "INVALID_PARTITIONS", None),
        ErrorKind::InvalidReplicationFactor => (Code::InvalidArgument, "INVALID_REPLICATION_FACTOR", None),
        ErrorKind::InvalidReplicaAssignment => (Code::InvalidArgument, "INVALID_REPLICA_ASSIGNMENT", None),
        ErrorKind::InvalidConfig => (Code::InvalidArgument, "INVALID_CONFIG", None),
        ErrorKind::InvalidRequest => (Code::InvalidArgument, "INVALID_REQUEST", None),
        ErrorKind::Unsupported => (Code::Unimplemented, "UNSUPPORTED", None),
        ErrorKind::CorruptMessage => (Code::InvalidArgument, "CORRUPT_MESSAGE", None),
        ErrorKind::InvalidRecord => (Code::InvalidArgument, "INVALID_RECORD", None),
        ErrorKind::InvalidTimestamp => (Code::InvalidArgument, "INVALID_TIMESTAMP", None),
        ErrorKind::UnsupportedFormat => (Code::InvalidArgument, "UNSUPPORTED_FORMAT", None),
        ErrorKind::MessageTooLarge => (Code::InvalidArgument, MESSAGE_TOO_LARGE, None),
        ErrorKind::RecordListTooLarge => (Code::InvalidArgument, RECORD_LIST_TOO_LARGE, None),
        ErrorKind::OffsetOutOfRange => (Code::OutOfRange, "OFFSET_OUT_OF_RANGE", None),
        // A test-and-set that failed: whoever knows why may begin again.
        ErrorKind::OffsetMismatch { .. } => (Code::Aborted, "OFFSET_MISMATCH", None),
        ErrorKind::UnknownLeaderEpoch => (Code::Unavailable, "UNKNOWN_LEADER_EPOCH", Some(SOON)),
        ErrorKind::FencedLeaderEpoch => (Code::FailedPrecondition, "FENCED_LEADER_EPOCH", None),
        ErrorKind::OutOfOrderSequence => (Code::FailedPrecondition, "OUT_OF_ORDER_SEQUENCE", None),
        ErrorKind::DuplicateSequence => (Code::AlreadyExists, "DUPLICATE_SEQUENCE", None),
        ErrorKind::UnknownProducerId => (Code::FailedPrecondition, "UNKNOWN_PRODUCER_ID", None),
        ErrorKind::InvalidProducerEpoch => (Code::FailedPrecondition, "INVALID_PRODUCER_EPOCH", None),
        ErrorKind::NotLeader => (Code::Unavailable, "NOT_LEADER", Some(SOON)),
        ErrorKind::LeaderNotAvailable => (Code::Unavailable, "LEADER_NOT_AVAILABLE", Some(SOON)),
        ErrorKind::Throttled => (Code::ResourceExhausted, "THROTTLED", Some(LATER)),
        ErrorKind::StorageError => (Code::Unavailable, "STORAGE_ERROR", Some(LATER)),
        ErrorKind::Corrupt => (Code::DataLoss, "CORRUPT", None),
        ErrorKind::TimedOut => (Code::DeadlineExceeded, OUTCOME_UNKNOWN, Some(SOON)),
        ErrorKind::ShuttingDown => (Code::Unavailable, "SHUTTING_DOWN", Some(LATER)),
        ErrorKind::Group(error) => refusal(error),
        ErrorKind::Denied => (Code::PermissionDenied, "DENIED", None),
        ErrorKind::Internal => (Code::Internal, "INTERNAL", None),
    }
}

/// What a group says no to.
const fn refusal(error: GroupError) -> (Code, &'static str, Option<Duration>) {
    match error {
        GroupError::InvalidGroupId => (Code::InvalidArgument, "INVALID_GROUP_ID", None),
        GroupError::GroupIdNotFound => (Code::NotFound, "GROUP_ID_NOT_FOUND", None),
        GroupError::NonEmptyGroup => (Code::FailedPrecondition, "NON_EMPTY_GROUP", None),
        GroupError::GroupSubscribedToTopic => (Code::FailedPrecondition, "GROUP_SUBSCRIBED_TO_TOPIC", None),
        GroupError::TooManyGroups => (Code::Unavailable, "TOO_MANY_GROUPS", Some(LATER)),
        GroupError::UnknownTopic => (Code::NotFound, "UNKNOWN_TOPIC", None),
        GroupError::GroupMaxSizeReached => (Code::ResourceExhausted, "GROUP_MAX_SIZE_REACHED", None),
        GroupError::GroupTooLarge => (Code::ResourceExhausted, "GROUP_TOO_LARGE", None),
        GroupError::InconsistentGroupProtocol => (Code::FailedPrecondition, "INCONSISTENT_GROUP_PROTOCOL", None),
        GroupError::OffsetMetadataTooLarge => (Code::InvalidArgument, "OFFSET_METADATA_TOO_LARGE", None),
        GroupError::InvalidHeartbeat(_) => (Code::InvalidArgument, "INVALID_REQUEST", None),
        GroupError::UnsupportedAssignor => (Code::InvalidArgument, "UNSUPPORTED_ASSIGNOR", None),
        GroupError::InvalidRegularExpression => (Code::InvalidArgument, "INVALID_REGULAR_EXPRESSION", None),
        // The session before, whose connection broke, is about to be missed.
        GroupError::UnreleasedInstanceId => (Code::FailedPrecondition, "UNRELEASED_INSTANCE_ID", Some(LATER)),
        GroupError::FencedInstanceId => (Code::FailedPrecondition, "FENCED_INSTANCE_ID", None),
        GroupError::UnknownMemberId | GroupError::FencedMemberEpoch | GroupError::StaleMemberEpoch => {
            (Code::Aborted, "FENCED_MEMBER", None)
        }
        // Only members of the classic protocol are told these.
        GroupError::IllegalGeneration
        | GroupError::RebalanceInProgress
        | GroupError::InvalidSessionTimeout
        | GroupError::CommitTooOld => (Code::FailedPrecondition, "GROUP", None),
    }
}
