//! Groups: their coordinator knows.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use futures::future::join_all;
use runnel_api::error::Result;
use runnel_api::groups::{
    CommitOffsets, CommittedOffset, ConsumerBeat, ConsumerHeartbeat, DeleteOffsets, DescribedConsumerGroup,
    DescribedGroup, FetchOffsets, Heartbeat, JoinGroup, JoinOutcome, LeaveGroup, ListedGroup, SyncGroup, Synced,
};
use runnel_api::{ErrorKind, Groups};
use tokio::time::Instant;

use super::{AGAIN, Forwarding, PATIENCE, THE_ONE, is_moving};
use crate::Peer;
use crate::wire::group::{self, Answer, Call};

impl Forwarding {
    /// Asks the coordinator of a group: this broker first, which knows at once whether it is.
    async fn ask_coordinator(&self, call: Call) -> Result<Answer> {
        let until = Instant::now() + PATIENCE;
        loop {
            match self.ask_one(&call).await {
                Err(error) if is_moving(error.kind) && Instant::now() < until => tokio::time::sleep(AGAIN).await,
                answered => return answered,
            }
        }
    }

    async fn ask_one(&self, call: &Call) -> Result<Answer> {
        let refused = match group::call(&*self.here, call.clone()).await {
            // One that stops has given its groups away.
            Err(error) if matches!(error.kind, ErrorKind::NotLeader | ErrorKind::ShuttingDown) => error,
            answered => return answered,
        };
        let Some(name) = call.group() else { return Err(refused) };
        let id = self.local.find_coordinator(name).await?;
        let nodes = self.local.describe_cluster().await.nodes;
        let address = nodes.into_iter().find(|node| node.id == id).and_then(|node| node.grpc);
        match address {
            Some(address) => group::call(&*self.peers.at(&address), call.clone()).await,
            None => Err(refused),
        }
    }

    /// Every broker but this one.
    pub(super) async fn others(&self) -> Vec<Arc<dyn Peer>> {
        let nodes = self.local.describe_cluster().await.nodes;
        nodes.into_iter().filter_map(|node| node.grpc).map(|at| self.peers.at(&at)).collect()
    }

    async fn list_everywhere(&self) -> Result<Vec<ListedGroup>> {
        let others = self.others().await;
        let lists = others.iter().map(|peer| peer.list_groups());
        let (own, lists) = futures::join!(self.local.list_groups(), join_all(lists));
        let mut all = BTreeMap::new();
        for list in lists.into_iter().chain([own]) {
            // A group that moves may be told of twice.
            all.extend(list?.into_iter().map(|listed| (listed.group.clone(), listed)));
        }
        Ok(all.into_values().collect())
    }
}

#[async_trait]
impl Groups for Forwarding {
    async fn find_coordinator(&self, group: &str) -> Result<i32> {
        let found = self.local.find_coordinator(group).await?;
        Ok(if self.as_one { THE_ONE } else { found })
    }

    async fn join_group(&self, join: JoinGroup) -> Result<JoinOutcome> {
        self.ask_coordinator(Call::Join(join)).await?.joined()
    }

    async fn sync_group(&self, sync: SyncGroup) -> Result<Synced> {
        self.ask_coordinator(Call::Sync(sync)).await?.synced()
    }

    async fn heartbeat(&self, beat: Heartbeat) -> Result<()> {
        self.ask_coordinator(Call::Heartbeat(beat)).await?.done()
    }

    async fn consumer_heartbeat(&self, beat: ConsumerHeartbeat) -> Result<ConsumerBeat> {
        self.ask_coordinator(Call::ConsumerHeartbeat(beat)).await?.beat()
    }

    async fn leave_group(&self, leave: LeaveGroup) -> Result<Vec<Result<()>>> {
        self.ask_coordinator(Call::Leave(leave)).await?.each()
    }

    async fn commit_offsets(&self, commit: CommitOffsets) -> Result<Vec<Result<()>>> {
        self.ask_coordinator(Call::Commit(commit)).await?.each()
    }

    async fn fetch_offsets(&self, fetch: FetchOffsets) -> Result<Vec<CommittedOffset>> {
        self.ask_coordinator(Call::FetchOffsets(fetch)).await?.offsets()
    }

    async fn delete_offsets(&self, delete: DeleteOffsets) -> Result<Vec<Result<()>>> {
        self.ask_coordinator(Call::DeleteOffsets(delete)).await?.each()
    }

    async fn list_groups(&self) -> Result<Vec<ListedGroup>> {
        let until = Instant::now() + PATIENCE;
        loop {
            match self.list_everywhere().await {
                Err(error) if is_moving(error.kind) && Instant::now() < until => tokio::time::sleep(AGAIN).await,
                listed => return listed,
            }
        }
    }

    async fn describe_group(&self, group: &str) -> Result<DescribedGroup> {
        self.ask_coordinator(Call::Describe(group.to_owned())).await?.described()
    }

    async fn describe_consumer_group(&self, group: &str) -> Result<DescribedConsumerGroup> {
        self.ask_coordinator(Call::DescribeConsumer(group.to_owned())).await?.described_consumer()
    }

    async fn delete_group(&self, group: &str) -> Result<()> {
        self.ask_coordinator(Call::Delete(group.to_owned())).await?.done()
    }
}
