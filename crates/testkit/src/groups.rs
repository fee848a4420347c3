//! The group coordinator of a broker in memory: the real state machine, whose log is always durable.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use runnel_api::groups::{
    CommitOffsets, CommittedOffset, ConsumerBeat, ConsumerHeartbeat, DeleteOffsets, DescribedConsumerGroup,
    DescribedGroup, FetchOffsets, Heartbeat, JoinGroup, JoinOutcome, LeaveGroup, ListedGroup, SyncGroup, Synced,
};
use runnel_api::{Error, ErrorKind, Groups};
use runnel_group::{Effect, Now, Options, Reply, Request, Shard, Token, Topics};
use runnel_record::TopicId;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::broker::MemoryBroker;

struct Inner {
    shard: Shard,
    waiting: BTreeMap<Token, oneshot::Sender<Result<Reply, Error>>>,
    next_token: u64,
}

pub(crate) struct MemoryGroups {
    inner: Mutex<Inner>,
    started: Instant,
}

impl Default for MemoryGroups {
    fn default() -> Self {
        // Tests make their groups grow one by one, and wait for nobody.
        let options = Options {
            initial_rebalance_delay: Duration::ZERO,
            consumer_heartbeat_interval: Duration::from_millis(20),
            ..Options::default()
        };
        let inner = Inner { shard: Shard::new(options), waiting: BTreeMap::new(), next_token: 0 };
        Self { inner: Mutex::new(inner), started: Instant::now() }
    }
}

impl Inner {
    fn carry_out(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            if let Effect::Reply { token, outcome } = effect
                && let Some(reply) = self.waiting.remove(&token)
            {
                drop(reply.send(outcome.map_err(Error::from)));
            }
        }
    }
}

impl MemoryGroups {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Now {
        Now { elapsed: self.started.elapsed(), wall_ms: 1_700_000_000_000 }
    }

    /// The topics as they are now.
    fn set_topics(&self, topics: Vec<(String, TopicId, i32)>) {
        let mut inner = self.inner();
        let version = inner.shard.topics().version() + 1;
        inner.shard.set_topics(Arc::new(Topics::new(version, topics)));
    }

    async fn ask(&self, request: Request) -> Result<Reply, Error> {
        if matches!(request, Request::List | Request::Sync(_)) {
            // A real coordinator is a task of its own, which answers nothing at once.
            tokio::task::yield_now().await;
        }
        let (reply, mut answer) = oneshot::channel();
        {
            let mut inner = self.inner();
            inner.next_token += 1;
            let (token, mut effects) = (Token(inner.next_token), Vec::new());
            inner.waiting.insert(token, reply);
            // Nobody else may have kept the time.
            inner.shard.tick(self.now(), &mut effects);
            inner.shard.on(self.now(), token, request, &mut effects);
            inner.carry_out(effects);
        }
        loop {
            // Whoever waits also keeps the time.
            let next_tick = self.started + self.inner().shard.next_tick();
            tokio::select! {
                biased;
                answer = &mut answer => return answer.unwrap_or_else(|_| Err(lost())),
                () = tokio::time::sleep_until(next_tick) => {
                    let mut effects = Vec::new();
                    let mut inner = self.inner();
                    inner.shard.tick(self.now(), &mut effects);
                    inner.carry_out(effects);
                }
            }
        }
    }
}

fn lost() -> Error {
    Error::new(ErrorKind::Internal, "the coordinator gave another answer, or none")
}

fn each(reply: Reply) -> Result<Vec<Result<(), Error>>, Error> {
    match reply {
        Reply::Each(each) => Ok(each.into_iter().map(|one| one.map_err(Error::from)).collect()),
        _ => Err(lost()),
    }
}

fn done(reply: &Reply) -> Result<(), Error> {
    if *reply == Reply::Done { Ok(()) } else { Err(lost()) }
}

#[async_trait]
impl Groups for MemoryBroker {
    async fn find_coordinator(&self, _group: &str) -> Result<i32, Error> {
        Ok(0)
    }

    async fn join_group(&self, join: JoinGroup) -> Result<JoinOutcome, Error> {
        let fresh = format!("{}-{}", join.client_id, uuid::Uuid::new_v4());
        match self.groups.ask(Request::Join(join, fresh)).await? {
            Reply::Join(outcome) => Ok(outcome),
            _ => Err(lost()),
        }
    }

    async fn sync_group(&self, sync: SyncGroup) -> Result<Synced, Error> {
        match self.groups.ask(Request::Sync(sync)).await? {
            Reply::Sync(synced) => Ok(synced),
            _ => Err(lost()),
        }
    }

    async fn heartbeat(&self, beat: Heartbeat) -> Result<(), Error> {
        done(&self.groups.ask(Request::Heartbeat(beat)).await?)
    }

    async fn consumer_heartbeat(&self, beat: ConsumerHeartbeat) -> Result<ConsumerBeat, Error> {
        self.groups.set_topics(self.topics_of_groups());
        let fresh = uuid::Uuid::new_v4().to_string();
        match self.groups.ask(Request::ConsumerHeartbeat(beat, fresh)).await? {
            Reply::ConsumerBeat(beat) => Ok(beat),
            _ => Err(lost()),
        }
    }

    async fn leave_group(&self, leave: LeaveGroup) -> Result<Vec<Result<(), Error>>, Error> {
        each(self.groups.ask(Request::Leave(leave)).await?)
    }

    async fn commit_offsets(&self, commit: CommitOffsets) -> Result<Vec<Result<(), Error>>, Error> {
        each(self.groups.ask(Request::Commit(commit)).await?)
    }

    async fn fetch_offsets(&self, fetch: FetchOffsets) -> Result<Vec<CommittedOffset>, Error> {
        match self.groups.ask(Request::FetchOffsets(fetch)).await? {
            Reply::Offsets(offsets) => Ok(offsets),
            _ => Err(lost()),
        }
    }

    async fn delete_offsets(&self, delete: DeleteOffsets) -> Result<Vec<Result<(), Error>>, Error> {
        each(self.groups.ask(Request::DeleteOffsets(delete)).await?)
    }

    async fn list_groups(&self) -> Result<Vec<ListedGroup>, Error> {
        match self.groups.ask(Request::List).await? {
            Reply::Listed(groups) => Ok(groups),
            _ => Err(lost()),
        }
    }

    async fn describe_group(&self, group: &str) -> Result<DescribedGroup, Error> {
        match self.groups.ask(Request::Describe(group.to_owned())).await? {
            Reply::Described(described) => Ok(described),
            _ => Err(lost()),
        }
    }

    async fn describe_consumer_group(&self, group: &str) -> Result<DescribedConsumerGroup, Error> {
        match self.groups.ask(Request::DescribeConsumer(group.to_owned())).await? {
            Reply::DescribedConsumer(described) => Ok(described),
            _ => Err(lost()),
        }
    }

    async fn delete_group(&self, group: &str) -> Result<(), Error> {
        done(&self.groups.ask(Request::Delete(group.to_owned())).await?)
    }
}
