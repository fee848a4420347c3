//! `grpc.health.v1`: SERVING while the broker is ready and not about to stop.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::{self, BoxStream};
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use crate::cluster;
use crate::door::Door;

/// How often a watch looks for a change.
const LOOK: Duration = Duration::from_secs(1);

/// What may be asked for: the broker as a whole, and each of its services, which live and die together.
const SERVICES: [&str; 6] = [
    "",
    "runnel.produce.v1.ProducerService",
    "runnel.consume.v1.ConsumerService",
    "runnel.admin.v1.TopicService",
    "runnel.admin.v1.SegmentService",
    "runnel.cluster.v1.ClusterService",
];

/// The service.
pub(crate) struct Health(pub(crate) Arc<Door>);

async fn status(door: &Door) -> ServingStatus {
    if cluster::health(door).await.ready { ServingStatus::Serving } else { ServingStatus::NotServing }
}

fn reply(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}

#[tonic::async_trait]
impl health_server::Health for Health {
    type WatchStream = BoxStream<'static, Result<HealthCheckResponse, Status>>;

    async fn check(&self, request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        let service = request.into_inner().service;
        if !SERVICES.contains(&service.as_str()) {
            return Err(Status::not_found("there is no such service"));
        }
        Ok(Response::new(reply(status(&self.0).await)))
    }

    async fn watch(&self, request: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        if !SERVICES.contains(&request.into_inner().service.as_str()) {
            // As the protocol has it: the service may appear one day.
            let unknown = stream::iter([Ok(reply(ServingStatus::ServiceUnknown))]);
            return Ok(Response::new(unknown.chain(stream::pending()).boxed()));
        }
        let changes = stream::unfold((Arc::clone(&self.0), None), |(door, told)| async move {
            let now = changed(&door, told).await?;
            Some((Ok(reply(now)), (door, Some(now))))
        });
        Ok(Response::new(changes.boxed()))
    }
}

/// The first status that is not the one told already; none follows what is told while the broker drains.
async fn changed(door: &Door, told: Option<ServingStatus>) -> Option<ServingStatus> {
    loop {
        let draining = door.draining.is_triggered();
        let now = status(door).await;
        if Some(now) != told {
            return Some(now);
        }
        if draining {
            return None;
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = door.draining.triggered() => {}
        }
    }
}
