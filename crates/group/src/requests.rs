//! What a coordinator is asked, and what it answers: plain data.

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use runnel_record::TopicId;

use crate::Error;
use crate::partitions::Partitions;
use crate::text;

/// Asks to become, or to stay, a member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinGroup {
    /// The group.
    pub group: String,
    /// Empty for a member that is new.
    pub member_id: String,
    /// `group.instance.id` of a static member (KIP-345).
    pub instance_id: Option<String>,
    /// Client id; a new member's id begins with it.
    pub client_id: String,
    /// Where the client is, for people.
    pub client_host: String,
    /// A member that is silent for so long is removed.
    pub session_timeout: Duration,
    /// How long a rebalance waits for the member.
    pub rebalance_timeout: Duration,
    /// `consumer`, `connect`, ...
    pub protocol_type: String,
    /// What the member supports, best first: name and metadata.
    #[serde(with = "text::named_bytes")]
    pub protocols: Vec<(String, Bytes)>,
    /// Why it joins (KIP-800).
    pub reason: Option<String>,
    /// A member without an id is given one and must come back with it (KIP-394).
    pub needs_member_id: bool,
    /// The member understands that it leads without having to assign (KIP-814).
    pub may_skip_assignment: bool,
}

/// The answer to [`JoinGroup`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum JoinOutcome {
    /// The member is in a new generation.
    Joined(Joined),
    /// The member must ask again with this id (KIP-394).
    MemberIdRequired(String),
}

/// A member's place in a generation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Joined {
    /// The generation.
    pub generation: i32,
    /// Protocol type of the group.
    pub protocol_type: String,
    /// The protocol that was chosen.
    pub protocol: String,
    /// Member id of the leader.
    pub leader: String,
    /// The member's own id.
    pub member_id: String,
    /// The leader need not assign: what was assigned stands (KIP-814).
    pub skip_assignment: bool,
    /// Every member, for the leader only.
    pub members: Vec<JoinedMember>,
}

/// A member as the leader sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinedMember {
    /// Member id.
    pub member_id: String,
    /// `group.instance.id`.
    pub instance_id: Option<String>,
    /// Its metadata for the chosen protocol.
    #[serde(with = "text::bytes")]
    pub metadata: Bytes,
}

/// Who a member says that it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Membership {
    /// The generation that it is in.
    pub generation: i32,
    /// Its id.
    pub member_id: String,
    /// Its `group.instance.id`.
    pub instance_id: Option<String>,
}

/// Asks for the member's assignment; the leader brings everyone's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncGroup {
    /// The group.
    pub group: String,
    /// Who asks.
    pub member: Membership,
    /// Protocol type that the member believes in, if it says so.
    pub protocol_type: Option<String>,
    /// Protocol that the member believes in, if it says so.
    pub protocol: Option<String>,
    /// Member ids and their assignments; empty but from the leader.
    #[serde(with = "text::named_bytes")]
    pub assignments: Vec<(String, Bytes)>,
}

/// The answer to [`SyncGroup`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Synced {
    /// Protocol type of the group.
    pub protocol_type: Option<String>,
    /// Its protocol.
    pub protocol: Option<String>,
    /// What is assigned to the member.
    #[serde(with = "text::bytes")]
    pub assignment: Bytes,
}

/// A sign of life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// The group.
    pub group: String,
    /// Who asks.
    pub member: Membership,
}

/// Removes members.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaveGroup {
    /// The group.
    pub group: String,
    /// Who leaves.
    pub members: Vec<Leaving>,
}

/// A member that leaves, or is removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leaving {
    /// Its id; may be empty where the instance id is given.
    pub member_id: String,
    /// Its `group.instance.id`.
    pub instance_id: Option<String>,
    /// Why (KIP-800).
    pub reason: Option<String>,
}

/// Commits offsets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitOffsets {
    /// The group.
    pub group: String,
    /// Who commits; from outside of any generation with a negative one.
    pub member: Membership,
    /// The committer knows of member epochs (version 9 and later).
    pub knows_epochs: bool,
    /// When the offsets expire, where the committer still says so (versions 2 to 4).
    pub retention: Option<Duration>,
    /// The offsets.
    pub offsets: Vec<CommitOffset>,
}

/// One offset to commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitOffset {
    /// Topic name.
    pub topic: String,
    /// Partition number.
    pub partition: i32,
    /// Next offset to read.
    pub offset: i64,
    /// Epoch of the last record read, −1 for none.
    pub leader_epoch: i32,
    /// Whatever the committer wants to keep with it.
    pub metadata: String,
}

/// Asks for committed offsets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FetchOffsets {
    /// The group.
    pub group: String,
    /// Topics and partitions; `None` for all that were committed.
    pub topics: Option<Vec<(String, Vec<i32>)>>,
    /// The member that asks and its epoch, if it says so.
    pub member: Option<(String, i32)>,
}

/// A committed offset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommittedOffset {
    /// Topic name.
    pub topic: String,
    /// Partition number.
    pub partition: i32,
    /// Next offset to read; −1 where nothing is committed.
    pub offset: i64,
    /// Epoch of the last record read, −1 for none.
    pub leader_epoch: i32,
    /// What the committer kept with it.
    pub metadata: String,
}

/// Deletes committed offsets (KIP-496).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteOffsets {
    /// The group.
    pub group: String,
    /// Topics and partitions.
    pub partitions: Vec<(String, i32)>,
}

/// The protocol that a group's members speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum GroupType {
    /// Members agree among themselves (JoinGroup, SyncGroup).
    Classic,
    /// The coordinator assigns (KIP-848).
    Consumer,
}

impl GroupType {
    /// Kafka's name of it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Classic => "classic",
            Self::Consumer => "consumer",
        }
    }
}

/// The state of a group in the classic protocol. A group that is not there is *Dead* in Kafka's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum GroupState {
    /// No members.
    Empty,
    /// Waiting for the members to join.
    PreparingRebalance,
    /// Waiting for the leader's assignment.
    CompletingRebalance,
    /// Every member knows its assignment, or may.
    Stable,
}

impl GroupState {
    /// Kafka's name of it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::PreparingRebalance => "PreparingRebalance",
            Self::CompletingRebalance => "CompletingRebalance",
            Self::Stable => "Stable",
        }
    }
}

/// The state of a group in the consumer protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ConsumerGroupState {
    /// No members.
    Empty,
    /// Something changed that the target assignment does not know of yet.
    Assigning,
    /// Some member does not have what it is to have.
    Reconciling,
    /// Every member has what it is to have.
    Stable,
}

impl ConsumerGroupState {
    /// Kafka's name of it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::Assigning => "Assigning",
            Self::Reconciling => "Reconciling",
            Self::Stable => "Stable",
        }
    }
}

/// The state of a group in either protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ListedState {
    /// In the classic protocol.
    Classic(GroupState),
    /// In the consumer protocol.
    Consumer(ConsumerGroupState),
}

impl ListedState {
    /// Kafka's name of it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Classic(state) => state.name(),
            Self::Consumer(state) => state.name(),
        }
    }

    /// What the group's members speak.
    pub const fn kind(self) -> GroupType {
        match self {
            Self::Classic(_) => GroupType::Classic,
            Self::Consumer(_) => GroupType::Consumer,
        }
    }
}

/// A group in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedGroup {
    /// The group.
    pub group: String,
    /// Its protocol type; empty for none.
    pub protocol_type: String,
    /// Its state, which says what its members speak.
    pub state: ListedState,
    /// How many members it has.
    pub members: usize,
}

/// A group and its members.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DescribedGroup {
    /// The group.
    pub group: String,
    /// Its state.
    pub state: GroupState,
    /// Its protocol type; empty for none.
    pub protocol_type: String,
    /// Its protocol; empty unless it is stable.
    pub protocol: String,
    /// Its members.
    pub members: Vec<DescribedMember>,
}

/// A member as tools see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DescribedMember {
    /// Member id.
    pub member_id: String,
    /// `group.instance.id`.
    pub instance_id: Option<String>,
    /// Client id.
    pub client_id: String,
    /// Where the client is.
    pub client_host: String,
    /// Its metadata; empty unless the group is stable.
    #[serde(with = "text::bytes")]
    pub metadata: Bytes,
    /// Its assignment; empty unless the group is stable.
    #[serde(with = "text::bytes")]
    pub assignment: Bytes,
}

/// A sign of life in the consumer protocol, by which a member also joins and leaves. What is `None` is as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsumerHeartbeat {
    /// The group.
    pub group: String,
    /// The member.
    pub member_id: String,
    /// The member must have chosen its id (version 1 and later).
    pub chooses_id: bool,
    /// Its epoch; [`JOIN`], [`LEAVE`] and [`LEAVE_FOR_NOW`] say more.
    pub epoch: i32,
    /// `group.instance.id`.
    pub instance_id: Option<String>,
    /// Its rack.
    pub rack: Option<String>,
    /// How long it may take to let partitions go.
    pub rebalance_timeout: Option<Duration>,
    /// Topics that it names.
    pub topics: Option<Vec<String>>,
    /// Regular expression of topics; empty for none.
    pub pattern: Option<String>,
    /// The assignor that it asks for.
    pub assignor: Option<String>,
    /// What it holds.
    pub owned: Option<Partitions>,
    /// Client id.
    pub client_id: String,
    /// Where the client is.
    pub client_host: String,
}

/// Epoch of a member that joins.
pub const JOIN: i32 = 0;
/// Epoch of a member that leaves.
pub const LEAVE: i32 = -1;
/// Epoch of a static member that leaves and will be back.
pub const LEAVE_FOR_NOW: i32 = -2;

/// The answer to [`ConsumerHeartbeat`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsumerBeat {
    /// The member's id.
    pub member_id: String,
    /// Its epoch.
    pub epoch: i32,
    /// When to give the next sign of life; zero for one that left.
    pub interval: Duration,
    /// All that it may hold, where that changed or the member asked.
    pub assignment: Option<Partitions>,
}

/// A group of the consumer protocol and its members.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DescribedConsumerGroup {
    /// The group.
    pub group: String,
    /// Its state.
    pub state: ConsumerGroupState,
    /// Its epoch.
    pub epoch: i32,
    /// The epoch of its target assignment.
    pub assignment_epoch: i32,
    /// Its assignor.
    pub assignor: String,
    /// Its members.
    pub members: Vec<DescribedConsumer>,
}

/// Partitions of one topic, as tools see them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedPartitions {
    /// The incarnation.
    #[serde(with = "text::topic_id")]
    pub id: TopicId,
    /// Its name.
    pub name: String,
    /// Partition numbers.
    pub partitions: Vec<i32>,
}

/// A member of the consumer protocol as tools see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DescribedConsumer {
    /// Member id.
    pub member_id: String,
    /// `group.instance.id`.
    pub instance_id: Option<String>,
    /// Its rack.
    pub rack: Option<String>,
    /// Its epoch.
    pub epoch: i32,
    /// Client id.
    pub client_id: String,
    /// Where the client is.
    pub client_host: String,
    /// Topics that it names.
    pub topics: Vec<String>,
    /// Regular expression of topics.
    pub pattern: Option<String>,
    /// What it may hold.
    pub assignment: Vec<NamedPartitions>,
    /// What it is to have.
    pub target: Vec<NamedPartitions>,
    /// What it speaks.
    pub kind: GroupType,
}

/// Everything that a coordinator can be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// A sign of life in the consumer protocol; with an id that no member ever had, in case that one is needed.
    ConsumerHeartbeat(ConsumerHeartbeat, String),
    /// For a group of the consumer protocol.
    DescribeConsumer(String),
    /// To join; with an id that no member ever had, in case that one is needed.
    Join(JoinGroup, String),
    /// For an assignment.
    Sync(SyncGroup),
    /// A sign of life.
    Heartbeat(Heartbeat),
    /// To remove members.
    Leave(LeaveGroup),
    /// To commit offsets.
    Commit(CommitOffsets),
    /// For committed offsets.
    FetchOffsets(FetchOffsets),
    /// To delete offsets.
    DeleteOffsets(DeleteOffsets),
    /// For its groups.
    List,
    /// For a group of the classic protocol.
    Describe(String),
    /// To delete a group.
    Delete(String),
    /// To forget what was committed for a topic that was deleted.
    ForgetTopic(String),
}

/// What a coordinator answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// To [`Request::Join`].
    Join(JoinOutcome),
    /// To [`Request::Sync`].
    Sync(Synced),
    /// To [`Request::Heartbeat`], [`Request::Delete`] and [`Request::ForgetTopic`].
    Done,
    /// To [`Request::Leave`], [`Request::Commit`] and [`Request::DeleteOffsets`]: what became of each, in order.
    Each(Vec<Result<(), Error>>),
    /// To [`Request::FetchOffsets`], in the order asked.
    Offsets(Vec<CommittedOffset>),
    /// To [`Request::List`].
    Listed(Vec<ListedGroup>),
    /// To [`Request::Describe`].
    Described(DescribedGroup),
    /// To [`Request::ConsumerHeartbeat`].
    ConsumerBeat(ConsumerBeat),
    /// To [`Request::DescribeConsumer`].
    DescribedConsumer(DescribedConsumerGroup),
}
