//! ListConfigResources: what has configs (KIP-1142); version 0 asks for client metrics alone, of which there are none.

use std::sync::Arc;

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::list_config_resources_request::ListConfigResourcesRequest;
use kafka_protocol::messages::list_config_resources_response::{ConfigResource, ListConfigResourcesResponse};

use crate::context::Context;
use crate::describe_configs::{BROKER, CLIENT_METRICS, GROUP, TOPIC};
use crate::reply::Outcome;
use crate::topics;

/// Levels of a broker's log, which cannot be set by a request here.
const BROKER_LOGGER: i8 = 8;

/// What is listed when nothing in particular is asked for.
const ALL: [i8; 5] = [TOPIC, BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP];

pub(crate) async fn handle(
    ctx: Arc<Context>,
    version: i16,
    request: ListConfigResourcesRequest,
) -> ListConfigResourcesResponse {
    let kinds = match version {
        0 => vec![CLIENT_METRICS],
        _ if request.resource_types.is_empty() => ALL.to_vec(),
        _ => request.resource_types,
    };
    if kinds.iter().any(|kind| !ALL.contains(kind)) {
        return ListConfigResourcesResponse::default().with_error_code(ResponseError::UnsupportedVersion.code());
    }
    let mut resources = Vec::new();
    for kind in ALL.into_iter().filter(|kind| kinds.contains(kind)) {
        let names: Vec<String> = match kind {
            TOPIC => ctx.broker.list_topics().await.into_iter().map(|topic| topic.name).collect(),
            BROKER => ctx.broker.describe_cluster().await.nodes.iter().map(|node| node.id.to_string()).collect(),
            GROUP => ctx.broker.configured_groups().await,
            _ => Vec::new(),
        };
        resources.extend(names.iter().map(|name| {
            let resource = ConfigResource::default().with_resource_name(topics::text(name));
            if version >= 1 { resource.with_resource_type(kind) } else { resource }
        }));
    }
    ListConfigResourcesResponse::default().with_config_resources(resources)
}

impl Outcome for ListConfigResourcesResponse {
    fn error_code(&self) -> i16 {
        self.error_code
    }
}
