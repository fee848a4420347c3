//! What can go wrong, and its number on the Kafka wire.

use kafka_protocol::error::ResponseError;
use runnel_api::ErrorKind;
use runnel_api::groups::GroupError;

/// Why the front door did not start or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A setting that cannot work.
    #[error("kafka.{name} is {value} and must be at least {min}: {why}")]
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
    #[error("the Kafka listener failed")]
    Listener(#[source] std::io::Error),
}

/// The Kafka error for a kind.
pub(crate) fn code(kind: ErrorKind) -> ResponseError {
    match kind {
        ErrorKind::UnknownTopic | ErrorKind::UnknownPartition => ResponseError::UnknownTopicOrPartition,
        ErrorKind::UnknownTopicId => ResponseError::UnknownTopicId,
        ErrorKind::InvalidTopicName => ResponseError::InvalidTopicException,
        ErrorKind::TopicExists => ResponseError::TopicAlreadyExists,
        ErrorKind::InvalidPartitions => ResponseError::InvalidPartitions,
        ErrorKind::InvalidReplicationFactor => ResponseError::InvalidReplicationFactor,
        ErrorKind::InvalidReplicaAssignment => ResponseError::InvalidReplicaAssignment,
        ErrorKind::InvalidConfig => ResponseError::InvalidConfig,
        // Kafka's producers cannot ask for an offset.
        ErrorKind::InvalidRequest | ErrorKind::OffsetMismatch { .. } => ResponseError::InvalidRequest,
        ErrorKind::Unsupported => ResponseError::UnsupportedVersion,
        ErrorKind::CorruptMessage | ErrorKind::Corrupt => ResponseError::CorruptMessage,
        ErrorKind::InvalidRecord => ResponseError::InvalidRecord,
        ErrorKind::InvalidTimestamp => ResponseError::InvalidTimestamp,
        ErrorKind::UnsupportedFormat => ResponseError::UnsupportedForMessageFormat,
        ErrorKind::MessageTooLarge => ResponseError::MessageTooLarge,
        ErrorKind::RecordListTooLarge => ResponseError::RecordListTooLarge,
        ErrorKind::OffsetOutOfRange => ResponseError::OffsetOutOfRange,
        ErrorKind::UnknownLeaderEpoch => ResponseError::UnknownLeaderEpoch,
        ErrorKind::FencedLeaderEpoch => ResponseError::FencedLeaderEpoch,
        ErrorKind::OutOfOrderSequence => ResponseError::OutOfOrderSequenceNumber,
        ErrorKind::DuplicateSequence => ResponseError::DuplicateSequenceNumber,
        ErrorKind::UnknownProducerId => ResponseError::UnknownProducerId,
        ErrorKind::InvalidProducerEpoch => ResponseError::InvalidProducerEpoch,
        ErrorKind::NotLeader | ErrorKind::ShuttingDown => ResponseError::NotLeaderOrFollower,
        ErrorKind::LeaderNotAvailable => ResponseError::LeaderNotAvailable,
        ErrorKind::Throttled => ResponseError::NotEnoughReplicas,
        ErrorKind::StorageError => ResponseError::KafkaStorageError,
        ErrorKind::TimedOut => ResponseError::RequestTimedOut,
        ErrorKind::Group(error) => refusal(error),
        ErrorKind::Denied => ResponseError::TopicAuthorizationFailed,
        ErrorKind::Internal => ResponseError::UnknownServerError,
    }
}

/// The Kafka error for a kind in a Fetch or ListOffsets reply. The Java consumer treats any retriable error it does
/// not expect there as a defect and gives up, so what means "try again" is said in the one way that it expects.
pub(crate) fn read_code(kind: ErrorKind) -> ResponseError {
    match code(kind) {
        ResponseError::LeaderNotAvailable | ResponseError::NotEnoughReplicas | ResponseError::RequestTimedOut => {
            ResponseError::NotLeaderOrFollower
        }
        other => other,
    }
}

/// The Kafka error for what a group says no to.
fn refusal(error: GroupError) -> ResponseError {
    match error {
        GroupError::InvalidGroupId => ResponseError::InvalidGroupId,
        GroupError::GroupIdNotFound => ResponseError::GroupIdNotFound,
        GroupError::UnknownMemberId => ResponseError::UnknownMemberId,
        GroupError::IllegalGeneration => ResponseError::IllegalGeneration,
        GroupError::RebalanceInProgress => ResponseError::RebalanceInProgress,
        GroupError::InconsistentGroupProtocol => ResponseError::InconsistentGroupProtocol,
        GroupError::InvalidSessionTimeout => ResponseError::InvalidSessionTimeout,
        GroupError::GroupMaxSizeReached => ResponseError::GroupMaxSizeReached,
        GroupError::FencedInstanceId => ResponseError::FencedInstanceId,
        GroupError::NonEmptyGroup => ResponseError::NonEmptyGroup,
        GroupError::GroupSubscribedToTopic => ResponseError::GroupSubscribedToTopic,
        GroupError::UnknownTopic => ResponseError::UnknownTopicOrPartition,
        GroupError::InvalidHeartbeat(_) => ResponseError::InvalidRequest,
        GroupError::UnsupportedAssignor => ResponseError::UnsupportedAssignor,
        GroupError::InvalidRegularExpression => ResponseError::InvalidRegularExpression,
        GroupError::FencedMemberEpoch => ResponseError::FencedMemberEpoch,
        GroupError::StaleMemberEpoch => ResponseError::StaleMemberEpoch,
        GroupError::UnreleasedInstanceId => ResponseError::UnreleasedInstanceId,
        GroupError::CommitTooOld => ResponseError::UnsupportedVersion,
        GroupError::OffsetMetadataTooLarge => ResponseError::OffsetMetadataTooLarge,
        // Kafka has no code of its own for it; none that clients try again may stand here.
        GroupError::GroupTooLarge => ResponseError::InvalidRequest,
        GroupError::TooManyGroups => ResponseError::CoordinatorNotAvailable,
    }
}

/// The Kafka error for a kind in the reply of a group coordinator: what is wrong with its partition is told in the words
/// that consumers expect of a coordinator.
pub(crate) fn group_code(kind: ErrorKind) -> ResponseError {
    match kind {
        ErrorKind::NotLeader | ErrorKind::ShuttingDown => ResponseError::NotCoordinator,
        ErrorKind::LeaderNotAvailable => ResponseError::CoordinatorLoadInProgress,
        ErrorKind::Throttled | ErrorKind::StorageError | ErrorKind::TimedOut | ErrorKind::Corrupt => {
            ResponseError::CoordinatorNotAvailable
        }
        // Names that no topic can have are only unknown to a committer.
        ErrorKind::InvalidTopicName => ResponseError::UnknownTopicOrPartition,
        other => code(other),
    }
}

/// The code of one of many outcomes in the reply of a group coordinator; 0 for success.
pub(crate) fn group_outcome(outcome: Result<(), runnel_api::Error>) -> i16 {
    outcome.map_or_else(|error| group_code(error.kind).code(), |()| 0)
}

/// The name of a code as metrics and logs show it.
pub(crate) fn name(code: i16) -> String {
    ResponseError::try_from_code(code).map_or_else(|| "none".to_owned(), |e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_coordinator_that_cannot_answer_now_is_looked_for_again() {
        for kind in [ErrorKind::NotLeader, ErrorKind::ShuttingDown, ErrorKind::LeaderNotAvailable, ErrorKind::Throttled]
        {
            assert!(group_code(kind).is_retriable(), "{kind:?}");
        }
        let refused = ErrorKind::Group(GroupError::FencedInstanceId);
        assert_eq!(group_code(refused), ResponseError::FencedInstanceId);
    }

    #[test]
    fn what_can_be_tried_again_is_retriable_on_the_wire() {
        let retriable = [
            ErrorKind::UnknownTopic,
            ErrorKind::UnknownTopicId,
            ErrorKind::NotLeader,
            ErrorKind::LeaderNotAvailable,
            ErrorKind::Throttled,
            ErrorKind::StorageError,
            ErrorKind::TimedOut,
            ErrorKind::ShuttingDown,
        ];
        for kind in retriable {
            assert!(code(kind).is_retriable(), "{kind:?}");
            assert!(read_code(kind).is_retriable(), "{kind:?}");
        }
        for kind in [ErrorKind::InvalidRecord, ErrorKind::MessageTooLarge, ErrorKind::Unsupported, ErrorKind::Denied] {
            assert!(!code(kind).is_retriable(), "{kind:?}");
        }
    }
}
