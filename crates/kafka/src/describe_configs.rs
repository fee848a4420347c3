//! DescribeConfigs (KIP-133, KIP-226, KIP-569).

use std::collections::BTreeSet;
use std::sync::Arc;

use kafka_protocol::messages::describe_configs_request::{DescribeConfigsRequest, DescribeConfigsResource};
use kafka_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResponse, DescribeConfigsResult, DescribeConfigsSynonym,
};
use runnel_api::{ConfigEntry, ConfigResource, ConfigSource, ConfigType, Error, ErrorKind};

use crate::context::Context;
use crate::error::code;
use crate::reply::{Outcome, first_error};
use crate::topics;

/// Numbers of resource types on the wire.
pub(crate) const TOPIC: i8 = 2;
pub(crate) const BROKER: i8 = 4;
pub(crate) const CLIENT_METRICS: i8 = 16;
pub(crate) const GROUP: i8 = 32;

const ADVERTISED: &str = "advertised.listeners";

pub(crate) async fn handle(
    ctx: Arc<Context>,
    version: i16,
    request: DescribeConfigsRequest,
) -> DescribeConfigsResponse {
    let show = Show { synonyms: request.include_synonyms, documentation: request.include_documentation, version };
    let mut results = Vec::with_capacity(request.resources.len());
    let mut seen = BTreeSet::new();
    for wanted in request.resources {
        let resource = resource(wanted.resource_type, &wanted.resource_name);
        // All settings of a resource are told once: that answer is many times larger than the question.
        let all = wanted.configuration_keys.as_ref().is_none_or(Vec::is_empty);
        if all && resource.as_ref().is_ok_and(|resource| !seen.insert(resource.clone())) {
            continue;
        }
        let result = DescribeConfigsResult::default()
            .with_resource_type(wanted.resource_type)
            .with_resource_name(wanted.resource_name.clone());
        results.push(match entries(&ctx, resource, wanted).await {
            Ok(entries) => result.with_configs(entries.iter().map(|entry| show.entry(entry)).collect()),
            Err(error) => result.with_error_code(code(error.kind).code()).with_error_message(topics::message(&error)),
        });
    }
    DescribeConfigsResponse::default().with_results(results)
}

async fn entries(
    ctx: &Context,
    resource: Result<ConfigResource, Error>,
    wanted: DescribeConfigsResource,
) -> Result<Vec<ConfigEntry>, Error> {
    let resource = resource?;
    let names: Option<Vec<String>> =
        wanted.configuration_keys.map(|keys| keys.iter().map(|key| key.to_string()).collect());
    // Old tools send an empty list for "all".
    let names = names.filter(|names| !names.is_empty());
    let mut entries = ctx.broker.describe_configs(&resource, names.as_deref()).await?;
    let wanted = names.as_ref().is_none_or(|names| names.iter().any(|name| name == ADVERTISED));
    if wanted && matches!(resource, ConfigResource::Broker(Some(_))) {
        entries.push(advertised(ctx));
        entries.sort_by(|a, b| a.name.cmp(&b.name));
    }
    Ok(entries)
}

/// What this front door knows, and not the broker behind it.
fn advertised(ctx: &Context) -> ConfigEntry {
    ConfigEntry {
        name: ADVERTISED.to_owned(),
        value: Some(format!("PLAINTEXT://{}", ctx.advertised)),
        source: ConfigSource::Broker,
        read_only: true,
        sensitive: false,
        kind: ConfigType::List,
        documentation: "Setting kafka.advertise, as this client sees it.".to_owned(),
        synonyms: Vec::new(),
    }
}

/// The resource of a type and name on the wire.
pub(crate) fn resource(kind: i8, name: &str) -> Result<ConfigResource, Error> {
    match kind {
        TOPIC => Ok(ConfigResource::Topic(name.to_owned())),
        GROUP => Ok(ConfigResource::Group(name.to_owned())),
        BROKER if name.is_empty() => Ok(ConfigResource::Broker(None)),
        BROKER => name.parse().map(|id| ConfigResource::Broker(Some(id))).map_err(|_| {
            Error::new(ErrorKind::InvalidRequest, format!("a broker is named by its number, not `{name}`"))
        }),
        other => Err(Error::new(
            ErrorKind::InvalidRequest,
            format!("config resource type {other} is not served: topics (2), brokers (4) and groups (32) have configs"),
        )),
    }
}

/// The number of a config source on the wire.
pub(crate) fn source_code(source: ConfigSource) -> i8 {
    match source {
        ConfigSource::Topic => 1,
        ConfigSource::DynamicBroker => 2,
        ConfigSource::DynamicDefault => 3,
        ConfigSource::Broker => 4,
        ConfigSource::Default => 5,
        ConfigSource::Group => 8,
    }
}

fn type_code(kind: ConfigType) -> i8 {
    match kind {
        ConfigType::Boolean => 1,
        ConfigType::String => 2,
        ConfigType::Int => 3,
        ConfigType::Long => 5,
        ConfigType::Double => 6,
        ConfigType::List => 7,
    }
}

struct Show {
    synonyms: bool,
    documentation: bool,
    version: i16,
}

impl Show {
    fn entry(&self, entry: &ConfigEntry) -> DescribeConfigsResourceResult {
        let shown = DescribeConfigsResourceResult::default()
            .with_name(topics::text(&entry.name))
            .with_value(entry.value.as_deref().map(topics::text))
            .with_read_only(entry.read_only)
            .with_config_source(source_code(entry.source))
            .with_is_sensitive(entry.sensitive)
            .with_synonyms(if self.synonyms { self.synonyms_of(entry) } else { Vec::new() });
        if self.version < 3 {
            return shown;
        }
        let documentation = self.documentation.then(|| topics::text(&entry.documentation));
        shown.with_config_type(type_code(entry.kind)).with_documentation(documentation)
    }

    fn synonyms_of(&self, entry: &ConfigEntry) -> Vec<DescribeConfigsSynonym> {
        let synonyms = entry.synonyms.iter().map(|(name, value, source)| {
            DescribeConfigsSynonym::default()
                .with_name(topics::text(name))
                .with_value(Some(topics::text(value)))
                .with_source(source_code(*source))
        });
        synonyms.collect()
    }
}

impl Outcome for DescribeConfigsResponse {
    fn error_code(&self) -> i16 {
        first_error(self.results.iter().map(|result| result.error_code))
    }
}
