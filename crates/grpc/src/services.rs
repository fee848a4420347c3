//! The table of what is served: each method of the interface and the verb that answers it.

use std::sync::Arc;

use futures::stream::BoxStream;
use runnel_proto::admin::v1::group_service_server::{GroupService, GroupServiceServer};
use runnel_proto::admin::v1::segment_service_server::{SegmentService, SegmentServiceServer};
use runnel_proto::admin::v1::topic_service_server::{TopicService, TopicServiceServer};
use runnel_proto::admin::v1::{
    CreateTopicRequest, CreateTopicResponse, DeleteGroupRequest, DeleteGroupResponse, DeleteOffsetsRequest,
    DeleteOffsetsResponse, DeleteTopicRequest, DeleteTopicResponse, DescribeGroupRequest, DescribeGroupResponse,
    GetTopicConfigsRequest, GetTopicConfigsResponse, GetTopicRequest, GetTopicResponse, ListGroupOffsetsRequest,
    ListGroupOffsetsResponse, ListGroupsRequest, ListGroupsResponse, ListTopicsRequest, ListTopicsResponse,
    ResetOffsetsRequest, ResetOffsetsResponse, SealSegmentsRequest, SealSegmentsResponse, TrimTopicRequest,
    TrimTopicResponse, UpdateTopicConfigsRequest, UpdateTopicConfigsResponse,
};
use runnel_proto::cluster::v1::cluster_service_server::{ClusterService, ClusterServiceServer};
use runnel_proto::cluster::v1::{
    AcceptLossRequest, AcceptLossResponse, DrainBrokerRequest, DrainBrokerResponse, GetClusterRequest,
    GetClusterResponse, GetHealthRequest, GetHealthResponse, UpgradeClusterRequest, UpgradeClusterResponse,
};
use runnel_proto::consume::v1::consumer_service_server::{ConsumerService, ConsumerServiceServer};
use runnel_proto::consume::v1::{
    FetchRequest, FetchResponse, GroupSessionRequest, GroupSessionResponse, ListOffsetsRequest, ListOffsetsResponse,
    ReadSessionRequest, ReadSessionResponse,
};
use runnel_proto::produce::v1::producer_service_server::{ProducerService, ProducerServiceServer};
use runnel_proto::produce::v1::{
    AppendSessionRequest, AppendSessionResponse, InitProducerRequest, InitProducerResponse, ProduceRequest,
    ProduceResponse,
};
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::transport::server::Router;
use tonic::{Request, Response, Status, Streaming};
use tonic_health::pb::health_server::HealthServer;
use tower::layer::util::{Identity, Stack};

use crate::budget::Lease;
use crate::door::Door;
use crate::error::Error;
use crate::guard;
use crate::health::Health;
use crate::observe::Observe;
use crate::options::Options;
use crate::socket::Caller;
use crate::{
    append_session, cluster, configs, fetch, group_session, groups, init_producer, list_offsets, peer, produce,
    read_session, segments, topics, trim,
};

/// Largest request of the services that take no records: what they decode to is larger than their bytes.
const MAX_PLAIN_MESSAGE: usize = 1 << 20;

/// Largest set of headers of a request.
const MAX_HEADERS: u32 = 16 << 10;

/// Bytes that a client may send before they are read: of one call, and of one connection.
const WINDOW: u32 = 1 << 20;

/// Bytes of a frame, at most: with the 16 KiB of the default a batch of records is dozens of them, each with costs of its own.
const FRAME: u32 = 256 << 10;

/// Every method, as metrics name it behind the last dot of the package.
pub(crate) const METHODS: &[&str] = &[
    "/runnel.produce.v1.ProducerService/Produce",
    "/runnel.produce.v1.ProducerService/AppendSession",
    "/runnel.produce.v1.ProducerService/InitProducer",
    "/runnel.consume.v1.ConsumerService/Fetch",
    "/runnel.consume.v1.ConsumerService/ListOffsets",
    "/runnel.consume.v1.ConsumerService/ReadSession",
    "/runnel.consume.v1.ConsumerService/GroupSession",
    "/runnel.admin.v1.TopicService/CreateTopic",
    "/runnel.admin.v1.TopicService/GetTopic",
    "/runnel.admin.v1.TopicService/ListTopics",
    "/runnel.admin.v1.TopicService/DeleteTopic",
    "/runnel.admin.v1.TopicService/TrimTopic",
    "/runnel.admin.v1.TopicService/GetTopicConfigs",
    "/runnel.admin.v1.TopicService/UpdateTopicConfigs",
    "/runnel.admin.v1.GroupService/ListGroups",
    "/runnel.admin.v1.GroupService/DescribeGroup",
    "/runnel.admin.v1.GroupService/ListGroupOffsets",
    "/runnel.admin.v1.GroupService/ResetOffsets",
    "/runnel.admin.v1.GroupService/DeleteOffsets",
    "/runnel.admin.v1.GroupService/DeleteGroup",
    "/runnel.admin.v1.SegmentService/SealSegments",
    "/runnel.cluster.v1.ClusterService/GetCluster",
    "/runnel.cluster.v1.ClusterService/DrainBroker",
    "/runnel.cluster.v1.ClusterService/AcceptLoss",
    "/runnel.cluster.v1.ClusterService/GetHealth",
    "/runnel.peer.v1.PeerService/Produce",
    "/runnel.peer.v1.PeerService/Fetch",
    "/runnel.peer.v1.PeerService/ListOffset",
    "/runnel.peer.v1.PeerService/EpochEnd",
    "/runnel.peer.v1.PeerService/ActiveProducers",
    "/runnel.peer.v1.PeerService/Seal",
    "/runnel.peer.v1.PeerService/DeleteRecords",
    "/runnel.peer.v1.PeerService/LogDirs",
    "/runnel.peer.v1.PeerService/Group",
    "/grpc.health.v1.Health/Check",
    "/grpc.health.v1.Health/Watch",
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
];

/// The name of the method at `path` for metrics and logs, `other` if it is not served: labels must not come from
/// clients.
pub(crate) fn method(path: &str) -> &'static str {
    let known = METHODS.iter().find(|known| **known == path);
    known.and_then(|known| known.rsplit_once('.')).map_or("other", |(_, name)| name)
}

/// Whether a method of that name is for other brokers.
pub(crate) fn is_of_peers(method: &str) -> bool {
    method.starts_with("PeerService/")
}

/// Where the messages of a method of that name have records, and how large they may be.
pub(crate) fn limits(method: &str, options: &Options) -> (guard::Path, usize) {
    match method {
        "ProducerService/Produce" => (guard::PRODUCE, options.max_message_bytes),
        "ProducerService/AppendSession" => (guard::APPEND_SESSION, options.max_message_bytes),
        _ => (guard::NOTHING, MAX_PLAIN_MESSAGE),
    }
}

/// The services, with the limits of their connections.
pub(crate) fn router(door: &Arc<Door>) -> Result<Router<Stack<Observe, Identity>>, Error> {
    let options = &door.options;
    let router = Server::builder()
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .max_frame_size(FRAME)
        .max_concurrent_streams(options.max_streams_per_connection)
        .http2_keepalive_interval(Some(options.keepalive))
        .http2_max_header_list_size(MAX_HEADERS)
        .layer(Observe(Arc::clone(door)))
        .add_routes(routes(door)?);
    Ok(router)
}

/// The services.
pub(crate) fn routes(door: &Arc<Door>) -> Result<Routes, Error> {
    let served = Served(Arc::clone(door));
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(runnel_proto::DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    // Larger messages have been refused before they are decoded.
    let producer = ProducerServiceServer::new(served.clone()).max_decoding_message_size(door.options.max_message_bytes);
    let mut routes = Routes::builder();
    routes
        .add_service(producer)
        .add_service(ConsumerServiceServer::new(served.clone()))
        .add_service(TopicServiceServer::new(served.clone()))
        .add_service(GroupServiceServer::new(served.clone()))
        .add_service(SegmentServiceServer::new(served.clone()))
        .add_service(ClusterServiceServer::new(served))
        .add_service(HealthServer::new(Health(Arc::clone(door))))
        .add_service(reflection().build_v1().map_err(Error::Reflection)?)
        // What the clients of several languages still ask for.
        .add_service(reflection().build_v1alpha().map_err(Error::Reflection)?);
    if let Some(peer) = peer::service(door) {
        routes.add_service(peer);
    }
    Ok(routes.routes())
}

/// Every service of ours.
#[derive(Clone)]
struct Served(Arc<Door>);

type Answer<T> = Result<Response<T>, Status>;

/// An answer, or a failure as its status.
fn answer<T>(outcome: Result<T, crate::error::Failure>) -> Answer<T> {
    outcome.map(Response::new).map_err(Status::from)
}

/// What a session has read and not dealt with.
fn lease<T>(door: &Door, request: &Request<T>) -> Arc<Lease> {
    request.extensions().get().cloned().unwrap_or_else(|| door.lease(None))
}

#[tonic::async_trait]
impl ProducerService for Served {
    type AppendSessionStream = BoxStream<'static, Result<AppendSessionResponse, Status>>;

    async fn produce(&self, request: Request<ProduceRequest>) -> Answer<ProduceResponse> {
        answer(produce::handle(&self.0, request.into_inner()).await)
    }

    async fn append_session(
        &self,
        request: Request<Streaming<AppendSessionRequest>>,
    ) -> Answer<Self::AppendSessionStream> {
        let lease = lease(&self.0, &request);
        Ok(Response::new(append_session::handle(Arc::clone(&self.0), request.into_inner(), lease)))
    }

    async fn init_producer(&self, request: Request<InitProducerRequest>) -> Answer<InitProducerResponse> {
        answer(init_producer::handle(&self.0, request.into_inner()).await)
    }
}

#[tonic::async_trait]
impl ConsumerService for Served {
    type ReadSessionStream = BoxStream<'static, Result<ReadSessionResponse, Status>>;
    type GroupSessionStream = BoxStream<'static, Result<GroupSessionResponse, Status>>;

    async fn fetch(&self, request: Request<FetchRequest>) -> Answer<FetchResponse> {
        let (reply, held) = fetch::handle(&self.0, request.into_inner()).await?;
        let mut response = Response::new(reply);
        // Given back once the reply is written.
        response.extensions_mut().insert(Arc::new(held));
        Ok(response)
    }

    async fn list_offsets(&self, request: Request<ListOffsetsRequest>) -> Answer<ListOffsetsResponse> {
        answer(list_offsets::handle(&self.0, request.into_inner()).await)
    }

    async fn read_session(&self, request: Request<Streaming<ReadSessionRequest>>) -> Answer<Self::ReadSessionStream> {
        let lease = lease(&self.0, &request);
        Ok(Response::new(read_session::handle(Arc::clone(&self.0), request.into_inner(), lease)))
    }

    async fn group_session(
        &self,
        request: Request<Streaming<GroupSessionRequest>>,
    ) -> Answer<Self::GroupSessionStream> {
        let lease = lease(&self.0, &request);
        // Written as the Kafka door writes it: tools show both side by side.
        let host =
            request.extensions().get().map_or_else(String::new, |caller: &Caller| format!("/{}", caller.peer.ip()));
        Ok(Response::new(group_session::handle(Arc::clone(&self.0), request.into_inner(), lease, host)))
    }
}

#[tonic::async_trait]
impl TopicService for Served {
    async fn create_topic(&self, request: Request<CreateTopicRequest>) -> Answer<CreateTopicResponse> {
        answer(topics::create(&self.0, request.into_inner()).await)
    }

    async fn get_topic(&self, request: Request<GetTopicRequest>) -> Answer<GetTopicResponse> {
        answer(topics::get(&self.0, request.into_inner()).await)
    }

    async fn list_topics(&self, request: Request<ListTopicsRequest>) -> Answer<ListTopicsResponse> {
        answer(topics::list(&self.0, request.into_inner()).await)
    }

    async fn delete_topic(&self, request: Request<DeleteTopicRequest>) -> Answer<DeleteTopicResponse> {
        answer(topics::delete(&self.0, request.into_inner()).await)
    }

    async fn trim_topic(&self, request: Request<TrimTopicRequest>) -> Answer<TrimTopicResponse> {
        answer(trim::trim(&self.0, request.into_inner()).await)
    }

    async fn get_topic_configs(&self, request: Request<GetTopicConfigsRequest>) -> Answer<GetTopicConfigsResponse> {
        answer(configs::get(&self.0, request.into_inner()).await)
    }

    async fn update_topic_configs(
        &self,
        request: Request<UpdateTopicConfigsRequest>,
    ) -> Answer<UpdateTopicConfigsResponse> {
        answer(configs::update(&self.0, request.into_inner()).await)
    }
}

#[tonic::async_trait]
impl GroupService for Served {
    async fn list_groups(&self, request: Request<ListGroupsRequest>) -> Answer<ListGroupsResponse> {
        answer(groups::list(&self.0, &request.into_inner()).await)
    }

    async fn describe_group(&self, request: Request<DescribeGroupRequest>) -> Answer<DescribeGroupResponse> {
        answer(groups::describe(&self.0, &request.into_inner()).await)
    }

    async fn list_group_offsets(&self, request: Request<ListGroupOffsetsRequest>) -> Answer<ListGroupOffsetsResponse> {
        answer(groups::offsets(&self.0, &request.into_inner()).await)
    }

    async fn reset_offsets(&self, request: Request<ResetOffsetsRequest>) -> Answer<ResetOffsetsResponse> {
        answer(groups::reset(&self.0, request.into_inner()).await)
    }

    async fn delete_offsets(&self, request: Request<DeleteOffsetsRequest>) -> Answer<DeleteOffsetsResponse> {
        answer(groups::delete_offsets(&self.0, request.into_inner()).await)
    }

    async fn delete_group(&self, request: Request<DeleteGroupRequest>) -> Answer<DeleteGroupResponse> {
        answer(groups::delete(&self.0, &request.into_inner().group).await)
    }
}

#[tonic::async_trait]
impl SegmentService for Served {
    async fn seal_segments(&self, request: Request<SealSegmentsRequest>) -> Answer<SealSegmentsResponse> {
        answer(segments::seal(&self.0, request.into_inner()).await)
    }
}

#[tonic::async_trait]
impl ClusterService for Served {
    async fn get_cluster(&self, _request: Request<GetClusterRequest>) -> Answer<GetClusterResponse> {
        Ok(Response::new(cluster::get(&self.0).await))
    }

    async fn drain_broker(&self, request: Request<DrainBrokerRequest>) -> Answer<DrainBrokerResponse> {
        answer(cluster::drain(&self.0, request.into_inner()).await)
    }

    async fn upgrade_cluster(&self, request: Request<UpgradeClusterRequest>) -> Answer<UpgradeClusterResponse> {
        answer(cluster::upgrade(&self.0, request.into_inner()).await)
    }

    async fn accept_loss(&self, request: Request<AcceptLossRequest>) -> Answer<AcceptLossResponse> {
        answer(cluster::accept_loss(&self.0, request.into_inner()).await)
    }

    async fn get_health(&self, _request: Request<GetHealthRequest>) -> Answer<GetHealthResponse> {
        Ok(Response::new(cluster::health(&self.0).await))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_served_has_a_name() {
        assert_eq!(method("/runnel.produce.v1.ProducerService/Produce"), "ProducerService/Produce");
        assert_eq!(method("/grpc.health.v1.Health/Check"), "Health/Check");
        assert_eq!(method("/runnel.produce.v1.ProducerService/Steal"), "other");
    }
}
