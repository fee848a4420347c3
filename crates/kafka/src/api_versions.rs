//! ApiVersions: what we serve (KIP-35, KIP-511).
//!
//! No feature is listed until it is built: clients switch behaviour on (`transaction.version` and others) by them.

use std::sync::Arc;

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::ApiVersionsRequest;
use kafka_protocol::messages::api_versions_response::{ApiVersion, ApiVersionsResponse};

use crate::apis;
use crate::context::Context;
use crate::reply::{self, Outcome, Reply};

pub(crate) async fn handle(_: Arc<Context>, version: i16, request: ApiVersionsRequest) -> ApiVersionsResponse {
    let named = |s: &str| {
        let inner = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
        let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
        s.chars().all(inner) && edge(s.chars().next()) && edge(s.chars().next_back())
    };
    let anonymous = !named(&request.client_software_name) || !named(&request.client_software_version);
    if version >= 3 && anonymous {
        return ApiVersionsResponse::default().with_error_code(ResponseError::InvalidRequest.code());
    }
    tracing::debug!(name = %request.client_software_name, version = %request.client_software_version, "client");
    list()
}

/// The answer to a version that we do not know: version 0, which every client reads, with the list to choose from.
pub(crate) fn unknown_version(correlation_id: i32) -> Reply {
    let response = list().with_error_code(ResponseError::UnsupportedVersion.code());
    reply::encode(correlation_id, 0, &response)
}

fn list() -> ApiVersionsResponse {
    let keys = apis::served_versions()
        .map(|(key, min, max)| ApiVersion::default().with_api_key(key).with_min_version(min).with_max_version(max));
    ApiVersionsResponse::default().with_api_keys(keys.collect())
}

impl Outcome for ApiVersionsResponse {
    fn error_code(&self) -> i16 {
        self.error_code
    }
}
