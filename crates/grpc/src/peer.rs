//! What other brokers ask. This one answers for itself: what it does not lead it refuses, whoever leads it.

mod appends;

use std::sync::Arc;
use std::time::Duration;

use futures::stream::BoxStream;
use runnel_peer::Peer;
use runnel_peer::wire::{self, MAX_MESSAGE, named};
use runnel_proto::peer::v1::peer_service_server::{PeerService, PeerServiceServer};
use runnel_proto::peer::v1::{
    ActiveProducersRequest, ActiveProducersResponse, DeleteRecordsRequest, DeleteRecordsResponse, EndsRequest,
    EndsResponse, EpochEndRequest, EpochEndResponse, FetchRequest, FetchResponse, GroupRequest, GroupResponse,
    ListOffsetRequest, ListOffsetResponse, LogDirsRequest, LogDirsResponse, ProduceRequest, ProduceResponse,
    SealRequest, SealResponse, StandingRequest, StandingResponse, TrafficRequest, TrafficResponse,
};
use runnel_record::{Batch, LeaderEpoch, Offset};
use tonic::{Request, Response, Status, Streaming};

use crate::door::Door;

/// The service, for a broker that has others.
pub(crate) fn service(door: &Arc<Door>) -> Option<PeerServiceServer<Served>> {
    let own = Arc::clone(door.own.as_ref()?);
    let served = PeerServiceServer::new(Served { door: Arc::clone(door), own });
    Some(served.max_decoding_message_size(MAX_MESSAGE).max_encoding_message_size(MAX_MESSAGE))
}

pub(crate) struct Served {
    door: Arc<Door>,
    own: Arc<dyn Peer>,
}

type Answer<T> = Result<Response<T>, Status>;

/// A request that does not make sense: the other broker speaks another dialect.
fn refused(error: runnel_api::Error) -> Status {
    Status::invalid_argument(error.message)
}

#[tonic::async_trait]
impl PeerService for Served {
    type ProduceStream = BoxStream<'static, Result<ProduceResponse, Status>>;

    async fn produce(&self, request: Request<Streaming<ProduceRequest>>) -> Answer<Self::ProduceStream> {
        let draining = self.door.draining.clone();
        Ok(Response::new(appends::handle(Arc::clone(&self.own), request.into_inner(), draining)))
    }

    async fn fetch(&self, request: Request<FetchRequest>) -> Answer<FetchResponse> {
        let mut request = wire::fetch::requested(request.into_inner()).map_err(refused)?;
        // The other broker has set memory aside for as much; what this one holds is counted as well.
        request.max_bytes = self.door.budget.room(request.max_bytes);
        let read = self.own.fetch(request).await;
        let batches = read.iter().filter_map(|one| one.outcome.as_ref().ok()).flat_map(|read| &read.batches);
        let held = self.door.budget.hold(batches.map(Batch::len).sum());
        let mut response = Response::new(wire::fetch::answer(read));
        response.extensions_mut().insert(Arc::new(held));
        Ok(response)
    }

    async fn list_offset(&self, request: Request<ListOffsetRequest>) -> Answer<ListOffsetResponse> {
        let request = request.into_inner();
        let (spec, isolation) = wire::offsets::spec(&request);
        let epoch = request.current_leader_epoch.map(LeaderEpoch);
        let (topic, partition) = named(request.partition).map_err(refused)?;
        let found = self.own.list_offset(&topic, partition, spec, isolation, epoch).await;
        Ok(Response::new(wire::offsets::listed(found)))
    }

    async fn epoch_end(&self, request: Request<EpochEndRequest>) -> Answer<EpochEndResponse> {
        let request = request.into_inner();
        let (epoch, now) = (LeaderEpoch(request.epoch), request.current_leader_epoch.map(LeaderEpoch));
        let (topic, partition) = named(request.partition).map_err(refused)?;
        Ok(Response::new(wire::offsets::ended(self.own.epoch_end(&topic, partition, epoch, now).await)))
    }

    async fn standing(&self, request: Request<StandingRequest>) -> Answer<StandingResponse> {
        let request = request.into_inner();
        let (topic, partition) = named(request.partition).map_err(refused)?;
        let found = self.own.standing(&topic, partition, LeaderEpoch(request.epoch)).await;
        Ok(Response::new(wire::offsets::stands(found)))
    }

    async fn ends(&self, request: Request<EndsRequest>) -> Answer<EndsResponse> {
        let asked = wire::offsets::asked_ends(request.into_inner()).map_err(refused)?;
        Ok(Response::new(wire::offsets::told_ends(self.own.ends(&asked).await)))
    }

    async fn active_producers(&self, request: Request<ActiveProducersRequest>) -> Answer<ActiveProducersResponse> {
        let (topic, partition) = named(request.into_inner().partition).map_err(refused)?;
        Ok(Response::new(wire::produce::producers(self.own.active_producers(&topic, partition).await)))
    }

    async fn seal(&self, request: Request<SealRequest>) -> Answer<SealResponse> {
        let request = request.into_inner();
        let (topic, partition) = named(request.partition).map_err(refused)?;
        let wait = Duration::from_millis(request.wait_ms);
        Ok(Response::new(wire::segments::sealed(self.own.seal(&topic, partition, wait).await)))
    }

    async fn delete_records(&self, request: Request<DeleteRecordsRequest>) -> Answer<DeleteRecordsResponse> {
        let request = request.into_inner();
        let (before, wait) = (request.before.map(Offset), Duration::from_millis(request.wait_ms));
        let (topic, partition) = named(request.partition).map_err(refused)?;
        let outcome = self.own.delete_records(&topic, partition, before, wait).await;
        Ok(Response::new(wire::segments::deleted(outcome)))
    }

    async fn log_dirs(&self, request: Request<LogDirsRequest>) -> Answer<LogDirsResponse> {
        let request = request.into_inner();
        let topics = (!request.all).then_some(request.topics);
        Ok(Response::new(wire::segments::found_in(self.own.log_dirs(topics.as_deref()).await)))
    }

    async fn traffic(&self, _request: Request<TrafficRequest>) -> Answer<TrafficResponse> {
        let flows = self.own.traffic().await.map_err(|error| Status::unavailable(error.message))?;
        Ok(Response::new(wire::traffic::told(flows)))
    }

    async fn group(&self, request: Request<GroupRequest>) -> Answer<GroupResponse> {
        let call = wire::group::requested(request.get_ref()).map_err(refused)?;
        Ok(Response::new(wire::group::answer(wire::group::call(&*self.own, call).await)))
    }
}
