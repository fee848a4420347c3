//! Consumer groups and the offsets that they commit.

use async_trait::async_trait;

pub use runnel_group::{
    CommitOffset, CommitOffsets, CommittedOffset, DeleteOffsets, DescribedGroup, DescribedMember, Error as GroupError,
    FetchOffsets, GroupState, Heartbeat, JoinGroup, JoinOutcome, Joined, JoinedMember, LeaveGroup, Leaving,
    ListedGroup, Membership, SyncGroup, Synced, assigned_partitions,
};

use crate::error::Result;

/// Coordinates groups. What a group says no to is [`crate::ErrorKind::Group`]; a coordinator that cannot answer now is
/// [`crate::ErrorKind::LeaderNotAvailable`] while it loads its state. Whatever is answered is durable, or was never true.
#[async_trait]
pub trait Groups: Send + Sync + 'static {
    /// Joins. Resolves when the rebalance is over, which may take as long as the slowest member's rebalance timeout.
    /// Dropping the future does not take the member out.
    async fn join_group(&self, join: JoinGroup) -> Result<JoinOutcome>;

    /// Brings and fetches assignments. Resolves once the leader has brought them.
    async fn sync_group(&self, sync: SyncGroup) -> Result<Synced>;

    /// A sign of life.
    async fn heartbeat(&self, beat: Heartbeat) -> Result<()>;

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

    /// One group.
    async fn describe_group(&self, group: &str) -> Result<DescribedGroup>;

    /// Deletes a group without members and all that it committed.
    async fn delete_group(&self, group: &str) -> Result<()>;
}
