//! The broker as a coordinator of groups.

use async_trait::async_trait;
use futures::future::join_all;
use runnel_api::groups::{
    CommitOffset, CommitOffsets, CommittedOffset, ConsumerBeat, ConsumerHeartbeat, DeleteOffsets,
    DescribedConsumerGroup, DescribedGroup, FetchOffsets, GroupError, Heartbeat, JOIN, JoinGroup, JoinOutcome,
    LeaveGroup, Leaving, ListedGroup, SyncGroup, Synced,
};
use runnel_api::{Error, ErrorKind, Groups, TopicKey};
use runnel_group::{Reply, Request, partition_of};
use runnel_runtime::simulation::random_id;

use crate::Broker;

/// Bytes of a client id that groups keep: it tells people who somebody is, no more. A new member's id begins with so
/// much of it, or of its instance id.
const MAX_PREFIX: usize = 255;

#[async_trait]
impl Groups for Broker {
    async fn find_coordinator(&self, group: &str) -> Result<i32, Error> {
        if self.is_alone() {
            return Ok(self.home.node_id);
        }
        let Some(topic) = self.offsets_topic(true).await? else { return Err(super::gone()) };
        let partitions = i32::try_from(topic.partition_count()).unwrap_or(i32::MAX);
        let tp = topic.tp(partition_of(group, partitions));
        let leader = self.leader(tp).map(|(leader, _)| leader);
        leader.ok_or_else(|| Error::new(ErrorKind::LeaderNotAvailable, "the group has no coordinator now: retry"))
    }

    async fn join_group(&self, mut join: JoinGroup) -> Result<JoinOutcome, Error> {
        join.client_id.truncate(join.client_id.floor_char_boundary(MAX_PREFIX));
        let prefix = join.instance_id.as_deref().unwrap_or(&join.client_id);
        let prefix = &prefix[..prefix.floor_char_boundary(MAX_PREFIX)];
        let fresh_id = format!("{prefix}-{}", random_id());
        tracing::debug!(group = join.group, member = join.member_id, reason = join.reason, "a member joins");
        let group = join.group.clone();
        if group.is_empty() {
            return Err(GroupError::InvalidGroupId.into());
        }
        match self.ask_group(&group, Request::Join(join, fresh_id), true).await? {
            Reply::Join(outcome) => Ok(outcome),
            other => Err(unexpected(&other)),
        }
    }

    async fn sync_group(&self, sync: SyncGroup) -> Result<Synced, Error> {
        let group = sync.group.clone();
        match self.ask_group(&group, Request::Sync(sync), false).await? {
            Reply::Sync(synced) => Ok(synced),
            other => Err(unexpected(&other)),
        }
    }

    async fn heartbeat(&self, beat: Heartbeat) -> Result<(), Error> {
        let group = beat.group.clone();
        done(&self.ask_group(&group, Request::Heartbeat(beat), false).await?)
    }

    async fn consumer_heartbeat(&self, mut beat: ConsumerHeartbeat) -> Result<ConsumerBeat, Error> {
        beat.client_id.truncate(beat.client_id.floor_char_boundary(MAX_PREFIX));
        let (group, first) = (beat.group.clone(), beat.epoch == JOIN && !beat.group.is_empty());
        let fresh_id = random_id().to_string();
        match self.ask_group(&group, Request::ConsumerHeartbeat(beat, fresh_id), first).await? {
            Reply::ConsumerBeat(beat) => Ok(beat),
            other => Err(unexpected(&other)),
        }
    }

    async fn leave_group(&self, leave: LeaveGroup) -> Result<Vec<Result<(), Error>>, Error> {
        let group = leave.group.clone();
        for Leaving { member_id, instance_id, reason } in &leave.members {
            tracing::debug!(group, member = member_id, instance = instance_id, reason, "a member leaves");
        }
        each(self.ask_group(&group, Request::Leave(leave), false).await?)
    }

    async fn commit_offsets(&self, mut commit: CommitOffsets) -> Result<Vec<Result<(), Error>>, Error> {
        let group = commit.group.clone();
        let known: Vec<_> = commit.offsets.iter().map(|offset| self.check_committed(offset)).collect();
        let mut kept = known.iter();
        commit.offsets.retain(|_| kept.next().is_some_and(Result::is_ok));
        if commit.offsets.is_empty() {
            return Ok(known);
        }
        let committed = each(self.ask_group(&group, Request::Commit(commit), true).await?)?;
        Ok(put_together(known, committed))
    }

    async fn fetch_offsets(&self, fetch: FetchOffsets) -> Result<Vec<CommittedOffset>, Error> {
        let group = fetch.group.clone();
        match self.ask_group(&group, Request::FetchOffsets(fetch), false).await? {
            Reply::Offsets(offsets) => Ok(offsets),
            other => Err(unexpected(&other)),
        }
    }

    async fn delete_offsets(&self, mut delete: DeleteOffsets) -> Result<Vec<Result<(), Error>>, Error> {
        let group = delete.group.clone();
        let check = |(topic, _): &(String, i32)| self.topics.get(&TopicKey::Name(topic.clone())).map(drop);
        let known: Vec<_> = delete.partitions.iter().map(check).collect();
        let mut kept = known.iter();
        delete.partitions.retain(|_| kept.next().is_some_and(Result::is_ok));
        if delete.partitions.is_empty() && !known.is_empty() {
            return Ok(known);
        }
        let deleted = each(self.ask_group(&group, Request::DeleteOffsets(delete), false).await?)?;
        Ok(put_together(known, deleted))
    }

    async fn list_groups(&self) -> Result<Vec<ListedGroup>, Error> {
        self.refuse_when_stopping()?;
        let Some(topic) = self.offsets_topic(false).await? else { return Ok(Vec::new()) };
        let lists = self
            .led_partitions(&topic)
            .into_iter()
            .map(|partition| self.ask_coordinator(&topic, partition, Request::List));
        let mut all = Vec::new();
        for list in join_all(lists).await {
            match list? {
                Reply::Listed(groups) => all.extend(groups),
                other => return Err(unexpected(&other)),
            }
        }
        all.sort_by(|a, b| a.group.cmp(&b.group));
        Ok(all)
    }

    async fn describe_group(&self, group: &str) -> Result<DescribedGroup, Error> {
        match self.ask_group(group, Request::Describe(group.to_owned()), false).await? {
            Reply::Described(described) => Ok(described),
            other => Err(unexpected(&other)),
        }
    }

    async fn describe_consumer_group(&self, group: &str) -> Result<DescribedConsumerGroup, Error> {
        match self.ask_group(group, Request::DescribeConsumer(group.to_owned()), false).await? {
            Reply::DescribedConsumer(described) => Ok(described),
            other => Err(unexpected(&other)),
        }
    }

    async fn delete_group(&self, group: &str) -> Result<(), Error> {
        done(&self.ask_group(group, Request::Delete(group.to_owned()), false).await?)
    }
}

impl Broker {
    /// Offsets are committed for partitions that exist: nobody else would ever delete them.
    fn check_committed(&self, offset: &CommitOffset) -> Result<(), Error> {
        self.topics.get(&TopicKey::Name(offset.topic.clone()))?.existing(offset.partition).map(drop)
    }
}

/// What was refused before the coordinator was asked, and its answers to the rest.
fn put_together(known: Vec<Result<(), Error>>, answered: Vec<Result<(), Error>>) -> Vec<Result<(), Error>> {
    let mut answered = answered.into_iter();
    known.into_iter().map(|known| known.and_then(|()| answered.next().unwrap_or(Ok(())))).collect()
}

fn each(reply: Reply) -> Result<Vec<Result<(), Error>>, Error> {
    match reply {
        Reply::Each(each) => Ok(each.into_iter().map(|one| one.map_err(Error::from)).collect()),
        other => Err(unexpected(&other)),
    }
}

fn done(reply: &Reply) -> Result<(), Error> {
    if *reply == Reply::Done { Ok(()) } else { Err(unexpected(reply)) }
}

fn unexpected(reply: &Reply) -> Error {
    Error::new(ErrorKind::Internal, format!("the group coordinator answered something else: {reply:?}"))
}
