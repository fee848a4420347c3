//! Errors, whose kinds are numbers on the wire. A number is never used for something else.

use runnel_api::groups::GroupError;
use runnel_api::{Error, ErrorKind};
use runnel_proto::peer::v1 as pb;
use runnel_record::Offset;
use serde::{Deserialize, Serialize};

/// Kinds with data of their own.
const OFFSET_MISMATCH: u32 = 19;
const INTERNAL: u32 = 34;

/// An error inside of a group's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failed {
    kind: u32,
    message: String,
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self { kind: number(error.kind), message: error.message }
    }
}

impl From<Failed> for Error {
    fn from(failed: Failed) -> Self {
        Self::new(kind(failed.kind, 0), failed.message)
    }
}

/// An error for the wire.
pub fn encode(error: Error) -> pb::Error {
    let next_offset = match error.kind {
        ErrorKind::OffsetMismatch { next_offset } => next_offset.0,
        _ => 0,
    };
    pb::Error { kind: number(error.kind), message: error.message, next_offset }
}

/// An error from the wire.
pub fn decode(error: pb::Error) -> Error {
    Error::new(kind(error.kind, error.next_offset), error.message)
}

const fn number(kind: ErrorKind) -> u32 {
    match kind {
        ErrorKind::UnknownTopic => 1,
        ErrorKind::UnknownTopicId => 2,
        ErrorKind::UnknownPartition => 3,
        ErrorKind::InvalidTopicName => 4,
        ErrorKind::TopicExists => 5,
        ErrorKind::InvalidPartitions => 6,
        ErrorKind::InvalidReplicationFactor => 7,
        ErrorKind::InvalidReplicaAssignment => 8,
        ErrorKind::InvalidConfig => 9,
        ErrorKind::InvalidRequest => 10,
        ErrorKind::Unsupported => 11,
        ErrorKind::CorruptMessage => 12,
        ErrorKind::InvalidRecord => 13,
        ErrorKind::InvalidTimestamp => 14,
        ErrorKind::UnsupportedFormat => 15,
        ErrorKind::MessageTooLarge => 16,
        ErrorKind::RecordListTooLarge => 17,
        ErrorKind::OffsetOutOfRange => 18,
        ErrorKind::OffsetMismatch { .. } => OFFSET_MISMATCH,
        ErrorKind::UnknownLeaderEpoch => 20,
        ErrorKind::FencedLeaderEpoch => 21,
        ErrorKind::OutOfOrderSequence => 22,
        ErrorKind::DuplicateSequence => 23,
        ErrorKind::UnknownProducerId => 24,
        ErrorKind::InvalidProducerEpoch => 25,
        ErrorKind::NotLeader => 26,
        ErrorKind::LeaderNotAvailable => 27,
        ErrorKind::Throttled => 28,
        ErrorKind::StorageError => 29,
        ErrorKind::Corrupt => 30,
        ErrorKind::TimedOut => 31,
        ErrorKind::ShuttingDown => 32,
        ErrorKind::Denied => 33,
        ErrorKind::Internal => INTERNAL,
        ErrorKind::Group(error) => group_number(error),
    }
}

const fn group_number(error: GroupError) -> u32 {
    match error {
        GroupError::InvalidGroupId => 101,
        GroupError::GroupIdNotFound => 102,
        GroupError::UnknownMemberId => 103,
        GroupError::IllegalGeneration => 104,
        GroupError::RebalanceInProgress => 105,
        GroupError::InconsistentGroupProtocol => 106,
        GroupError::InvalidSessionTimeout => 107,
        GroupError::GroupMaxSizeReached => 108,
        GroupError::FencedInstanceId => 109,
        GroupError::NonEmptyGroup => 110,
        GroupError::GroupSubscribedToTopic => 111,
        GroupError::UnknownTopic => 112,
        GroupError::OffsetMetadataTooLarge => 113,
        GroupError::GroupTooLarge => 114,
        GroupError::InvalidHeartbeat(_) => 115,
        GroupError::UnsupportedAssignor => 116,
        GroupError::InvalidRegularExpression => 117,
        GroupError::FencedMemberEpoch => 118,
        GroupError::StaleMemberEpoch => 119,
        GroupError::UnreleasedInstanceId => 120,
        GroupError::CommitTooOld => 121,
        GroupError::TooManyGroups => 122,
    }
}

/// What a number stands for; of one that is not known nobody can say what to do about it.
const fn kind(number: u32, next_offset: i64) -> ErrorKind {
    match number {
        1 => ErrorKind::UnknownTopic,
        2 => ErrorKind::UnknownTopicId,
        3 => ErrorKind::UnknownPartition,
        4 => ErrorKind::InvalidTopicName,
        5 => ErrorKind::TopicExists,
        6 => ErrorKind::InvalidPartitions,
        7 => ErrorKind::InvalidReplicationFactor,
        8 => ErrorKind::InvalidReplicaAssignment,
        9 => ErrorKind::InvalidConfig,
        10 => ErrorKind::InvalidRequest,
        11 => ErrorKind::Unsupported,
        12 => ErrorKind::CorruptMessage,
        13 => ErrorKind::InvalidRecord,
        14 => ErrorKind::InvalidTimestamp,
        15 => ErrorKind::UnsupportedFormat,
        16 => ErrorKind::MessageTooLarge,
        17 => ErrorKind::RecordListTooLarge,
        18 => ErrorKind::OffsetOutOfRange,
        OFFSET_MISMATCH => ErrorKind::OffsetMismatch { next_offset: Offset(next_offset) },
        20 => ErrorKind::UnknownLeaderEpoch,
        21 => ErrorKind::FencedLeaderEpoch,
        22 => ErrorKind::OutOfOrderSequence,
        23 => ErrorKind::DuplicateSequence,
        24 => ErrorKind::UnknownProducerId,
        25 => ErrorKind::InvalidProducerEpoch,
        26 => ErrorKind::NotLeader,
        27 => ErrorKind::LeaderNotAvailable,
        28 => ErrorKind::Throttled,
        29 => ErrorKind::StorageError,
        30 => ErrorKind::Corrupt,
        31 => ErrorKind::TimedOut,
        32 => ErrorKind::ShuttingDown,
        33 => ErrorKind::Denied,
        101..200 => match group_error(number) {
            Some(error) => ErrorKind::Group(error),
            None => ErrorKind::Internal,
        },
        _ => ErrorKind::Internal,
    }
}

const fn group_error(number: u32) -> Option<GroupError> {
    Some(match number {
        101 => GroupError::InvalidGroupId,
        102 => GroupError::GroupIdNotFound,
        103 => GroupError::UnknownMemberId,
        104 => GroupError::IllegalGeneration,
        105 => GroupError::RebalanceInProgress,
        106 => GroupError::InconsistentGroupProtocol,
        107 => GroupError::InvalidSessionTimeout,
        108 => GroupError::GroupMaxSizeReached,
        109 => GroupError::FencedInstanceId,
        110 => GroupError::NonEmptyGroup,
        111 => GroupError::GroupSubscribedToTopic,
        112 => GroupError::UnknownTopic,
        113 => GroupError::OffsetMetadataTooLarge,
        114 => GroupError::GroupTooLarge,
        // What is wrong with it stands in the message.
        115 => GroupError::InvalidHeartbeat("the heartbeat is not valid"),
        116 => GroupError::UnsupportedAssignor,
        117 => GroupError::InvalidRegularExpression,
        118 => GroupError::FencedMemberEpoch,
        119 => GroupError::StaleMemberEpoch,
        120 => GroupError::UnreleasedInstanceId,
        121 => GroupError::CommitTooOld,
        122 => GroupError::TooManyGroups,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers that stand for something. One more must be added here when the compiler asks for one above.
    fn known() -> impl Iterator<Item = u32> {
        (1..=INTERNAL).chain(101..=122)
    }

    #[test]
    fn every_kind_has_a_number_of_its_own_and_comes_back_as_it_was() {
        for n in known() {
            assert_eq!(number(kind(n, 7)), n);
        }
        let mismatch = Error::new(ErrorKind::OffsetMismatch { next_offset: Offset(7) }, "it is 7");
        assert_eq!(decode(encode(mismatch.clone())), mismatch);
        let refused = Error::from(GroupError::NonEmptyGroup);
        assert_eq!(Error::from(Failed::from(refused.clone())), refused);
        let heartbeat = Error::from(GroupError::InvalidHeartbeat("it says too little"));
        assert_eq!(decode(encode(heartbeat)).message, "it says too little");
    }

    #[test]
    fn what_a_newer_broker_may_say_is_a_defect() {
        for n in (0..1000).filter(|n| known().all(|known| known != *n)) {
            assert_eq!(kind(n, 0), ErrorKind::Internal, "{n}");
        }
    }
}
