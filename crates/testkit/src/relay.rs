//! The way to a broker that others ask: it counts what comes along, and can be cut.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use runnel_api::error::Result;
use runnel_api::groups::{
    CommitOffsets, CommittedOffset, ConsumerBeat, ConsumerHeartbeat, DeleteOffsets, DescribedConsumerGroup,
    DescribedGroup, FetchOffsets, Heartbeat, JoinGroup, JoinOutcome, LeaveGroup, ListedGroup, SyncGroup, Synced,
};
use runnel_api::{
    ActiveProducer, Broker, EpochEnd, Error, ErrorKind, Fetch, FetchRequest, FetchedPartition, Flow, Groups, Isolation,
    ListedOffset, LogDir, OffsetSpec, Offsets, Produce, ProduceRequest, ProducedPartition, ProducerIdentity, Sealed,
    Segments, Standing, TopicKey, Traffic,
};
use runnel_record::{Batch, LeaderEpoch, Offset};

/// Passes requests on to a broker, as long as that is there and the way is not cut. Does not keep it alive.
pub struct Relay<B: Broker> {
    to: Weak<B>,
    is_cut: AtomicBool,
    bytes: AtomicUsize,
}

impl<B: Broker> Relay<B> {
    /// The way to a broker.
    pub fn to(broker: &Arc<B>) -> Self {
        Self { to: Arc::downgrade(broker), is_cut: AtomicBool::new(false), bytes: AtomicUsize::new(0) }
    }

    /// The way to a broker that is gone.
    pub fn to_nobody() -> Self {
        Self { to: Weak::new(), is_cut: AtomicBool::new(false), bytes: AtomicUsize::new(0) }
    }

    /// From here on nothing passes, or everything again.
    pub fn cut(&self, is_cut: bool) {
        self.is_cut.store(is_cut, Ordering::SeqCst);
    }

    /// Bytes of records that were read so far.
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::SeqCst)
    }

    fn reach(&self) -> Result<Arc<B>> {
        let there = self.to.upgrade().filter(|_| !self.is_cut.load(Ordering::SeqCst));
        there.ok_or_else(|| Error::new(ErrorKind::NotLeader, "the broker is not reached"))
    }
}

#[async_trait]
impl<B: Broker> Produce for Relay<B> {
    async fn produce(&self, request: ProduceRequest) -> Vec<ProducedPartition> {
        let failed = |error: &Error| {
            let of = |part: &runnel_api::ProducePartition| ProducedPartition {
                topic: part.topic.clone(),
                partition: part.partition,
                outcome: Err(error.clone()),
            };
            request.partitions.iter().map(of).collect()
        };
        match self.reach() {
            Ok(broker) => broker.produce(request).await,
            Err(error) => failed(&error),
        }
    }

    async fn init_producer_id(&self, current: Option<ProducerIdentity>) -> Result<ProducerIdentity> {
        self.reach()?.init_producer_id(current).await
    }

    async fn active_producers(&self, topic: &TopicKey, partition: i32) -> Result<Vec<ActiveProducer>> {
        self.reach()?.active_producers(topic, partition).await
    }
}

#[async_trait]
impl<B: Broker> Fetch for Relay<B> {
    async fn fetch(&self, request: FetchRequest) -> Vec<FetchedPartition> {
        let failed = |error: &Error| {
            let of = |part: &runnel_api::FetchPartition| FetchedPartition {
                topic: part.topic.clone(),
                partition: part.partition,
                outcome: Err(error.clone()),
            };
            request.partitions.iter().map(of).collect()
        };
        let answers = match self.reach() {
            Ok(broker) => broker.fetch(request.clone()).await,
            Err(error) => return failed(&error),
        };
        if let Err(error) = self.reach() {
            return failed(&error);
        }
        let read = answers.iter().filter_map(|answer| answer.outcome.as_ref().ok()).flat_map(|read| &read.batches);
        self.bytes.fetch_add(read.map(Batch::len).sum(), Ordering::SeqCst);
        answers
    }
}

#[async_trait]
impl<B: Broker> Offsets for Relay<B> {
    async fn list_offset(
        &self,
        topic: &TopicKey,
        partition: i32,
        spec: OffsetSpec,
        isolation: Isolation,
        current_leader_epoch: Option<LeaderEpoch>,
    ) -> Result<Option<ListedOffset>> {
        self.reach()?.list_offset(topic, partition, spec, isolation, current_leader_epoch).await
    }

    async fn epoch_end(
        &self,
        topic: &TopicKey,
        partition: i32,
        epoch: LeaderEpoch,
        current_leader_epoch: Option<LeaderEpoch>,
    ) -> Result<Option<EpochEnd>> {
        self.reach()?.epoch_end(topic, partition, epoch, current_leader_epoch).await
    }

    async fn standing(&self, topic: &TopicKey, partition: i32, epoch: LeaderEpoch) -> Result<Standing> {
        self.reach()?.standing(topic, partition, epoch).await
    }

    async fn ends(&self, partitions: &[(TopicKey, i32)]) -> Vec<Option<Offset>> {
        match self.reach() {
            Ok(broker) => broker.ends(partitions).await,
            Err(_) => vec![None; partitions.len()],
        }
    }
}

#[async_trait]
impl<B: Broker> Segments for Relay<B> {
    async fn seal(&self, topic: &TopicKey, partition: i32, wait: Duration) -> Result<Sealed> {
        self.reach()?.seal(topic, partition, wait).await
    }

    async fn delete_records(
        &self,
        topic: &TopicKey,
        partition: i32,
        before: Option<Offset>,
        wait: Duration,
    ) -> Result<Offset> {
        self.reach()?.delete_records(topic, partition, before, wait).await
    }

    async fn log_dirs(&self, topics: Option<&[String]>) -> Vec<LogDir> {
        match self.reach() {
            Ok(broker) => broker.log_dirs(topics).await,
            Err(_) => Vec::new(),
        }
    }
}

#[async_trait]
impl<B: Broker + Traffic> Traffic for Relay<B> {
    async fn traffic(&self) -> Result<Vec<Flow>> {
        self.reach()?.traffic().await
    }
}

#[async_trait]
impl<B: Broker> Groups for Relay<B> {
    async fn find_coordinator(&self, group: &str) -> Result<i32> {
        self.reach()?.find_coordinator(group).await
    }

    async fn join_group(&self, join: JoinGroup) -> Result<JoinOutcome> {
        self.reach()?.join_group(join).await
    }

    async fn sync_group(&self, sync: SyncGroup) -> Result<Synced> {
        self.reach()?.sync_group(sync).await
    }

    async fn heartbeat(&self, beat: Heartbeat) -> Result<()> {
        self.reach()?.heartbeat(beat).await
    }

    async fn consumer_heartbeat(&self, beat: ConsumerHeartbeat) -> Result<ConsumerBeat> {
        self.reach()?.consumer_heartbeat(beat).await
    }

    async fn leave_group(&self, leave: LeaveGroup) -> Result<Vec<Result<()>>> {
        self.reach()?.leave_group(leave).await
    }

    async fn commit_offsets(&self, commit: CommitOffsets) -> Result<Vec<Result<()>>> {
        self.reach()?.commit_offsets(commit).await
    }

    async fn fetch_offsets(&self, fetch: FetchOffsets) -> Result<Vec<CommittedOffset>> {
        self.reach()?.fetch_offsets(fetch).await
    }

    async fn delete_offsets(&self, delete: DeleteOffsets) -> Result<Vec<Result<()>>> {
        self.reach()?.delete_offsets(delete).await
    }

    async fn list_groups(&self) -> Result<Vec<ListedGroup>> {
        self.reach()?.list_groups().await
    }

    async fn describe_group(&self, group: &str) -> Result<DescribedGroup> {
        self.reach()?.describe_group(group).await
    }

    async fn describe_consumer_group(&self, group: &str) -> Result<DescribedConsumerGroup> {
        self.reach()?.describe_consumer_group(group).await
    }

    async fn delete_group(&self, group: &str) -> Result<()> {
        self.reach()?.delete_group(group).await
    }
}
