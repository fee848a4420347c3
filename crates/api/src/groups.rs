//! Consumer groups and the offsets that they commit.

use async_trait::async_trait;

pub use runnel_group::{
    CommitOffset, CommitOffsets, CommittedOffset, ConsumerBeat, ConsumerGroupState, ConsumerHeartbeat, DeleteOffsets,
    DescribedConsumer, DescribedConsumerGroup, DescribedGroup, DescribedMember, Error as GroupError, FetchOffsets,
    GroupState, GroupType, Heartbeat, JOIN, JoinGroup, JoinOutcome, Joined, JoinedMember, LEAVE, LEAVE_FOR_NOW,
    LeaveGroup, Leaving, ListedGroup, ListedState, Membership, NamedPartitions, Partitions, SyncGroup, Synced,
    assigned_partitions,
};

use crate::error::Result;

/// Coordinates groups. What a group says no to is [`crate::ErrorKind::Group`]; a coordinator that cannot answer now is
/// [`crate::ErrorKind::LeaderNotAvailable`] while it loads its state. Whatever is answered is durable, or was never true.
#[async_trait]
pub trait Groups: Send + Sync + 'static {
    /// The id of the broker that coordinates a group. [`crate::ErrorKind::LeaderNotAvailable`] while there is none.
    async fn find_coordinator(&self, group: &str) -> Result<i32>;

    /// Joins. Resolves when the rebalance is over, which may take as long as the slowest member's rebalance timeout.
    /// Dropping the future does not take the member out.
    async fn join_group(&self, join: JoinGroup) -> Result<JoinOutcome>;

    /// Brings and fetches assignments. Resolves once the leader has brought them.
    async fn sync_group(&self, sync: SyncGroup) -> Result<Synced>;

    /// A sign of life.
    async fn heartbeat(&self, beat: Heartbeat) -> Result<()>;

    /// A sign of life in the consumer protocol, by which a member also joins, leaves and learns what it may read.
    async fn consumer_heartbeat(&self, beat: ConsumerHeartbeat) -> Result<ConsumerBeat>;

    /// Removes members; what became of each, in order.
    async fn leave_group(&self, leave: LeaveGroup) -> Result<Vec<Result<()>>>;

    /// Commits offsets; what became of each, in order.
    async fn commit_offsets(&self, commit: CommitOffsets) -> Result<Vec<Result<()>>>;

    /// Committed offsets, in the order asked.
    async fn fetch_offsets(&self, fetch: FetchOffsets) -> Result<Vec<CommittedOffset>>;

    /// Deletes committed offsets; what became of each, in order.
    async fn delete_offsets(&self, delete: DeleteOffsets) -> Result<Vec<Result<()>>>;

    /// Every group.
    async fn list_groups(&self) -> Result<Vec<ListedGroup>>;

    /// One group of the classic protocol.
    async fn describe_group(&self, group: &str) -> Result<DescribedGroup>;

    /// One group of the consumer protocol.
    async fn describe_consumer_group(&self, group: &str) -> Result<DescribedConsumerGroup>;

    /// Deletes a group without members and all that it committed.
    async fn delete_group(&self, group: &str) -> Result<()>;
}
