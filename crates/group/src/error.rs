//! Why a group refuses a request.

/// A refusal, in the words of Kafka's protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum Error {
    /// An empty group id, or one that is too long.
    #[error("the group id is empty or too long")]
    InvalidGroupId,
    /// There is no such group.
    #[error("there is no such group")]
    GroupIdNotFound,
    /// The group does not know the member: it must join anew.
    #[error("the group does not know this member")]
    UnknownMemberId,
    /// The member is of another generation.
    #[error("the generation is not the group's current one")]
    IllegalGeneration,
    /// The member must rejoin first.
    #[error("the group is rebalancing: rejoin")]
    RebalanceInProgress,
    /// The member has no protocol in common with the others.
    #[error("the member has no protocol in common with the group")]
    InconsistentGroupProtocol,
    /// A session timeout outside the range that the coordinator allows.
    #[error("the session timeout is outside the allowed range")]
    InvalidSessionTimeout,
    /// The group has as many members as it may have.
    #[error("the group has as many members as it may have")]
    GroupMaxSizeReached,
    /// Another member has the instance id now (KIP-345).
    #[error("another member uses this group.instance.id")]
    FencedInstanceId,
    /// Only a group without members may be asked this.
    #[error("the group has members")]
    NonEmptyGroup,
    /// The group still reads the topic.
    #[error("the group is subscribed to the topic")]
    GroupSubscribedToTopic,
    /// There is no such topic any more.
    #[error("there is no such topic")]
    UnknownTopic,
    /// The metadata of a commit is too large.
    #[error("the metadata of the offset is too large")]
    OffsetMetadataTooLarge,
    /// Metadata and assignments of the members are too large together.
    #[error("metadata and assignments of the group's members are too large")]
    GroupTooLarge,
    /// A heartbeat that says too little, too much, or what cannot be.
    #[error("{0}")]
    InvalidHeartbeat(&'static str),
    /// The coordinator has no such assignor.
    #[error("the assignor is not supported: uniform and range are")]
    UnsupportedAssignor,
    /// The subscription is no regular expression, or too large a one.
    #[error("the regular expression is malformed or too large")]
    InvalidRegularExpression,
    /// The member must give up its partitions and join anew.
    #[error("the member epoch is not the current one: give up all partitions and join anew")]
    FencedMemberEpoch,
    /// What asks is not what the member is by now: it learns that with its next heartbeat.
    #[error("the member epoch is not the current one")]
    StaleMemberEpoch,
    /// Another member has the instance id and has not left.
    #[error("another member uses this group.instance.id and has not left")]
    UnreleasedInstanceId,
    /// Members of the consumer protocol commit with versions that know of epochs.
    #[error("members of the consumer protocol need OffsetCommit 9 or later")]
    CommitTooOld,
    /// There are as many groups as there may be, or they take as much memory as they may: retry later.
    #[error("there are too many groups, or they take too much memory")]
    TooManyGroups,
}
