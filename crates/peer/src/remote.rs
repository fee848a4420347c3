//! Another broker, over gRPC.

mod appends;
mod channels;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use runnel_api::error::Result;
use runnel_api::groups::{
    CommitOffsets, CommittedOffset, ConsumerBeat, ConsumerHeartbeat, DeleteOffsets, DescribedConsumerGroup,
    DescribedGroup, FetchOffsets, Heartbeat, JoinGroup, JoinOutcome, LeaveGroup, ListedGroup, SyncGroup, Synced,
};
use runnel_api::{
    ActiveProducer, Endpoint, EpochEnd, Error, ErrorKind, Fetch, FetchRequest, FetchedPartition, Flow, Groups,
    Isolation, ListedOffset, LogDir, OffsetSpec, Offsets, Produce, ProduceRequest, ProducedPartition, ProducerIdentity,
    Sealed, Segments, Standing, TopicKey, Traffic,
};
use runnel_proto::peer::v1 as pb;
use runnel_proto::peer::v1::peer_service_client::PeerServiceClient;
use runnel_record::{Batch, LeaderEpoch, Offset};
use tonic::transport::Channel;
use tonic::{Code, Response, Status};

use crate::wire::group::{Answer, Call};
use crate::wire::{self, MAX_MESSAGE};
use crate::{Peer, Peers, metrics};
use appends::Appends;
use channels::Channels;

/// What an answer may take beyond the time that its request gives it, or would if it had one: a leader reads for up to
/// ten seconds.
const SLACK: Duration = Duration::from_secs(15);

/// Partitions whose ends are asked for in one request.
const ENDS_AT_ONCE: usize = 1000;

/// How long an answer about ends or traffic may take, which is made of what the broker has in memory.
const MEMORY_PATIENCE: Duration = Duration::from_secs(3);

/// Connections to other brokers, made when they are needed and kept.
#[derive(Default)]
pub struct Connections(Mutex<BTreeMap<Endpoint, Arc<Remote>>>);

impl Peers for Connections {
    fn at(&self, address: &Endpoint) -> Arc<dyn Peer> {
        let mut made = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let remote = made.entry(address.clone()).or_insert_with(|| Arc::new(Remote::new(address)));
        Arc::clone(remote) as Arc<dyn Peer>
    }
}

/// One of them.
struct Remote {
    channels: Channels,
    appends: Appends,
}

impl Remote {
    fn new(address: &Endpoint) -> Self {
        let channels = Channels::new(address);
        let appends = Appends::new(channels.name().to_owned(), channels.one());
        Self { channels, appends }
    }

    /// Makes a call, for at most so long.
    async fn call<T, F, R>(&self, kind: &'static str, limit: Option<Duration>, call: F) -> Result<T>
    where
        F: FnOnce(PeerServiceClient<Channel>) -> R + Send,
        R: Future<Output = std::result::Result<Response<T>, Status>> + Send,
        T: Send,
    {
        metrics::forwarded(kind);
        let (channel, _held) = self.channels.take();
        let answered = call(client(channel));
        let answered = match limit {
            Some(limit) => tokio::time::timeout(limit, answered).await.map_err(|_| self.silent())?,
            None => answered.await,
        };
        answered.map(Response::into_inner).map_err(|status| failed(self.channels.name(), &status))
    }

    fn silent(&self) -> Error {
        Error::new(ErrorKind::NotLeader, format!("the broker at {} does not answer: retry", self.channels.name()))
    }

    async fn group(&self, call: Call) -> Result<Answer> {
        let request = wire::group::request(&call)?;
        let limit = (!call.is_patient()).then_some(SLACK);
        let response = self.call("group", limit, |mut to| async move { to.group(request).await }).await?;
        wire::group::answered(response)
    }
}

fn client(channel: Channel) -> PeerServiceClient<Channel> {
    PeerServiceClient::new(channel).max_decoding_message_size(MAX_MESSAGE).max_encoding_message_size(MAX_MESSAGE)
}

/// A call that was not answered. It may have been done.
fn failed(name: &str, status: &Status) -> Error {
    match status.code() {
        // Nothing that waiting for another leader would help.
        Code::OutOfRange | Code::ResourceExhausted | Code::InvalidArgument => {
            Error::new(ErrorKind::Internal, format!("the broker at {name} refused a request: {}", status.message()))
        }
        _ => {
            tracing::debug!(name, %status, "a broker was not reached");
            Error::new(ErrorKind::NotLeader, format!("the broker at {name} is not reached: retry"))
        }
    }
}

fn any_broker(what: &str) -> Error {
    Error::new(ErrorKind::Unsupported, format!("{what} is not asked of another broker"))
}

#[async_trait]
impl Produce for Remote {
    async fn produce(&self, request: ProduceRequest) -> Vec<ProducedPartition> {
        let bytes = request.partitions.iter().map(|part| part.records.len()).sum();
        metrics::forwarded("produce");
        metrics::carried("produce", bytes);
        self.appends.append(request).await
    }

    async fn init_producer_id(&self, _current: Option<ProducerIdentity>) -> Result<ProducerIdentity> {
        Err(any_broker("a producer id"))
    }

    async fn active_producers(&self, topic: &TopicKey, partition: i32) -> Result<Vec<ActiveProducer>> {
        let partition = wire::partition(topic, partition);
        let request = pb::ActiveProducersRequest { partition };
        let call = |mut to: PeerServiceClient<_>| async move { to.active_producers(request).await };
        wire::produce::found_producers(self.call("active_producers", Some(SLACK), call).await?)
    }
}

#[async_trait]
impl Fetch for Remote {
    async fn fetch(&self, request: FetchRequest) -> Vec<FetchedPartition> {
        let parts: Vec<_> = request.partitions.iter().map(|part| (part.topic.clone(), part.partition)).collect();
        let (asked, limit) = (wire::fetch::request(&request), request.max_wait + SLACK);
        let answered = self.call("fetch", Some(limit), |mut to| async move { to.fetch(asked).await }).await;
        match answered {
            Ok(response) => {
                let read = wire::fetch::answered(response, parts);
                let batches = read.iter().filter_map(|one| one.outcome.as_ref().ok()).flat_map(|read| &read.batches);
                metrics::carried("fetch", batches.map(Batch::len).sum());
                read
            }
            Err(error) => {
                let failed = |(topic, partition)| FetchedPartition { topic, partition, outcome: Err(error.clone()) };
                parts.into_iter().map(failed).collect()
            }
        }
    }
}

#[async_trait]
impl Offsets for Remote {
    async fn list_offset(
        &self,
        topic: &TopicKey,
        partition: i32,
        spec: OffsetSpec,
        isolation: Isolation,
        current_leader_epoch: Option<LeaderEpoch>,
    ) -> Result<Option<ListedOffset>> {
        let request = wire::offsets::list(topic, partition, spec, isolation, current_leader_epoch);
        let call = |mut to: PeerServiceClient<_>| async move { to.list_offset(request).await };
        wire::offsets::found(self.call("list_offset", Some(SLACK), call).await?)
    }

    async fn epoch_end(
        &self,
        topic: &TopicKey,
        partition: i32,
        epoch: LeaderEpoch,
        current_leader_epoch: Option<LeaderEpoch>,
    ) -> Result<Option<EpochEnd>> {
        let request = wire::offsets::epoch_end(topic, partition, epoch, current_leader_epoch);
        let call = |mut to: PeerServiceClient<_>| async move { to.epoch_end(request).await };
        wire::offsets::found_end(self.call("epoch_end", Some(SLACK), call).await?)
    }

    async fn standing(&self, topic: &TopicKey, partition: i32, epoch: LeaderEpoch) -> Result<Standing> {
        let request = wire::offsets::standing(topic, partition, epoch);
        let call = |mut to: PeerServiceClient<_>| async move { to.standing(request).await };
        wire::offsets::found_standing(self.call("standing", Some(SLACK), call).await?)
    }

    async fn ends(&self, partitions: &[(TopicKey, i32)]) -> Vec<Option<Offset>> {
        let mut ends = Vec::with_capacity(partitions.len());
        for some in partitions.chunks(ENDS_AT_ONCE) {
            let request = wire::offsets::ends(some);
            let call = |mut to: PeerServiceClient<_>| async move { to.ends(request).await };
            let told = self.call("ends", Some(MEMORY_PATIENCE), call).await;
            // One that does not answer, or is of a release that does not know the question, will not tell the rest either.
            let Ok(told) = told else { break };
            ends.extend(wire::offsets::found_ends(told, some.len()));
        }
        ends.resize(partitions.len(), None);
        ends
    }
}

#[async_trait]
impl Segments for Remote {
    async fn seal(&self, topic: &TopicKey, partition: i32, wait: Duration) -> Result<Sealed> {
        let request = wire::segments::seal(topic, partition, wait);
        let call = |mut to: PeerServiceClient<_>| async move { to.seal(request).await };
        wire::segments::found_sealed(self.call("seal", Some(wait + SLACK), call).await?)
    }

    async fn delete_records(
        &self,
        topic: &TopicKey,
        partition: i32,
        before: Option<Offset>,
        wait: Duration,
    ) -> Result<Offset> {
        let request = wire::segments::delete(topic, partition, before, wait);
        let call = |mut to: PeerServiceClient<_>| async move { to.delete_records(request).await };
        wire::segments::found_start(self.call("delete_records", Some(wait + SLACK), call).await?)
    }

    async fn log_dirs(&self, topics: Option<&[String]>) -> Vec<LogDir> {
        let request = wire::segments::log_dirs(topics);
        let call = |mut to: PeerServiceClient<_>| async move { to.log_dirs(request).await };
        self.call("log_dirs", Some(SLACK), call).await.map(wire::segments::places).unwrap_or_default()
    }
}

#[async_trait]
impl Traffic for Remote {
    async fn traffic(&self) -> Result<Vec<Flow>> {
        let call = |mut to: PeerServiceClient<_>| async move { to.traffic(pb::TrafficRequest {}).await };
        wire::traffic::found(self.call("traffic", Some(MEMORY_PATIENCE), call).await?)
    }
}

#[async_trait]
impl Groups for Remote {
    async fn find_coordinator(&self, _group: &str) -> Result<i32> {
        Err(any_broker("a coordinator's id"))
    }

    async fn join_group(&self, join: JoinGroup) -> Result<JoinOutcome> {
        self.group(Call::Join(join)).await?.joined()
    }

    async fn sync_group(&self, sync: SyncGroup) -> Result<Synced> {
        self.group(Call::Sync(sync)).await?.synced()
    }

    async fn heartbeat(&self, beat: Heartbeat) -> Result<()> {
        self.group(Call::Heartbeat(beat)).await?.done()
    }

    async fn consumer_heartbeat(&self, beat: ConsumerHeartbeat) -> Result<ConsumerBeat> {
        self.group(Call::ConsumerHeartbeat(beat)).await?.beat()
    }

    async fn leave_group(&self, leave: LeaveGroup) -> Result<Vec<Result<()>>> {
        self.group(Call::Leave(leave)).await?.each()
    }

    async fn commit_offsets(&self, commit: CommitOffsets) -> Result<Vec<Result<()>>> {
        self.group(Call::Commit(commit)).await?.each()
    }

    async fn fetch_offsets(&self, fetch: FetchOffsets) -> Result<Vec<CommittedOffset>> {
        self.group(Call::FetchOffsets(fetch)).await?.offsets()
    }

    async fn delete_offsets(&self, delete: DeleteOffsets) -> Result<Vec<Result<()>>> {
        self.group(Call::DeleteOffsets(delete)).await?.each()
    }

    async fn list_groups(&self) -> Result<Vec<ListedGroup>> {
        self.group(Call::List).await?.listed()
    }

    async fn describe_group(&self, group: &str) -> Result<DescribedGroup> {
        self.group(Call::Describe(group.to_owned())).await?.described()
    }

    async fn describe_consumer_group(&self, group: &str) -> Result<DescribedConsumerGroup> {
        self.group(Call::DescribeConsumer(group.to_owned())).await?.described_consumer()
    }

    async fn delete_group(&self, group: &str) -> Result<()> {
        self.group(Call::Delete(group.to_owned())).await?.done()
    }
}
