//! ApiVersions: what we serve (KIP-35, KIP-511).
//!
//! No feature is listed until it is built: clients switch behaviour on (`transaction.version` and others) by them. Built is
//! `group.version` 1, the consumer protocol (KIP-848).

use std::sync::Arc;

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::ApiVersionsRequest;
use kafka_protocol::messages::api_versions_response::{
    ApiVersion, ApiVersionsResponse, FinalizedFeatureKey, SupportedFeatureKey,
};
use kafka_protocol::protocol::StrBytes;

use crate::apis;
use crate::context::Context;
use crate::reply::{self, Outcome, Reply};

/// First version that has features.
const WITH_FEATURES: i16 = 3;

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
    if version >= WITH_FEATURES { with_features(list()) } else { list() }
}

fn with_features(response: ApiVersionsResponse) -> ApiVersionsResponse {
    let (name, level) = (StrBytes::from_static_str("group.version"), 1);
    let supported =
        SupportedFeatureKey::default().with_name(name.clone()).with_min_version(level).with_max_version(level);
    let finalized =
        FinalizedFeatureKey::default().with_name(name).with_min_version_level(level).with_max_version_level(level);
    response
        .with_supported_features(vec![supported])
        .with_finalized_features_epoch(0)
        .with_finalized_features(vec![finalized])
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
