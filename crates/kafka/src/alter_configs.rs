//! IncrementalAlterConfigs (KIP-339), and AlterConfigs, which replaces everything at once.

use std::collections::BTreeSet;
use std::sync::Arc;

use kafka_protocol::messages::alter_configs_request::{AlterConfigsRequest, AlterConfigsResource as FullResource};
use kafka_protocol::messages::alter_configs_response::{
    AlterConfigsResourceResponse as FullResult, AlterConfigsResponse,
};
use kafka_protocol::messages::incremental_alter_configs_request::{
    AlterConfigsResource as IncrementalResource, IncrementalAlterConfigsRequest,
};
use kafka_protocol::messages::incremental_alter_configs_response::{
    AlterConfigsResourceResponse as IncrementalResult, IncrementalAlterConfigsResponse,
};
use kafka_protocol::protocol::StrBytes;
use runnel_api::{AlterConfigOp, ConfigChange, ConfigResource, ConfigSource, Error, ErrorKind};

use crate::context::Context;
use crate::describe_configs::resource;
use crate::error::code;
use crate::reply::{Outcome, first_error};
use crate::topics;

pub(crate) async fn handle(ctx: Arc<Context>, _version: i16, request: AlterConfigsRequest) -> AlterConfigsResponse {
    let mut results = Vec::with_capacity(request.resources.len());
    let repeated = repeated(request.resources.iter().map(|r| (r.resource_type, r.resource_name.clone())));
    for wanted in request.resources {
        let result = FullResult::default()
            .with_resource_type(wanted.resource_type)
            .with_resource_name(wanted.resource_name.clone())
            .with_error_message(None);
        let once = check_once(&repeated, wanted.resource_type, &wanted.resource_name);
        let outcome = match once {
            Ok(()) => replace(&ctx, wanted, request.validate_only).await,
            refused => refused,
        };
        results.push(match outcome {
            Ok(()) => result,
            Err(error) => result.with_error_code(code(error.kind).code()).with_error_message(topics::message(&error)),
        });
    }
    AlterConfigsResponse::default().with_responses(results)
}

pub(crate) async fn handle_incremental(
    ctx: Arc<Context>,
    _version: i16,
    request: IncrementalAlterConfigsRequest,
) -> IncrementalAlterConfigsResponse {
    let mut results = Vec::with_capacity(request.resources.len());
    let repeated = repeated(request.resources.iter().map(|r| (r.resource_type, r.resource_name.clone())));
    for wanted in request.resources {
        let result = IncrementalResult::default()
            .with_resource_type(wanted.resource_type)
            .with_resource_name(wanted.resource_name.clone())
            .with_error_message(None);
        let once = check_once(&repeated, wanted.resource_type, &wanted.resource_name);
        let outcome = match once {
            Ok(()) => change(&ctx, wanted, request.validate_only).await,
            refused => refused,
        };
        results.push(match outcome {
            Ok(()) => result,
            Err(error) => result.with_error_code(code(error.kind).code()).with_error_message(topics::message(&error)),
        });
    }
    IncrementalAlterConfigsResponse::default().with_responses(results)
}

/// A resource on the wire: type and name.
type Named = (i8, StrBytes);

/// The resources that a request names more than once.
fn repeated(named: impl Iterator<Item = Named>) -> BTreeSet<Named> {
    let mut seen = BTreeSet::new();
    named.filter(|resource| !seen.insert(resource.clone())).collect()
}

/// None of those is changed, as in Kafka: nobody could tell what came of it.
fn check_once(repeated: &BTreeSet<Named>, kind: i8, name: &StrBytes) -> Result<(), Error> {
    if repeated.contains(&(kind, name.clone())) {
        return Err(Error::new(ErrorKind::InvalidRequest, "the resource appears more than once in the request"));
    }
    Ok(())
}

async fn change(ctx: &Context, wanted: IncrementalResource, validate_only: bool) -> Result<(), Error> {
    let resource = resource(wanted.resource_type, &wanted.resource_name)?;
    let mut changes = Vec::with_capacity(wanted.configs.len());
    for config in wanted.configs {
        let op = match config.config_operation {
            0 => AlterConfigOp::Set,
            1 => AlterConfigOp::Delete,
            2 => AlterConfigOp::Append,
            3 => AlterConfigOp::Subtract,
            other => {
                return Err(Error::new(ErrorKind::InvalidRequest, format!("config operation {other} is not known")));
            }
        };
        changes.push(ConfigChange {
            name: config.name.to_string(),
            op,
            value: config.value.map(|value| value.to_string()),
        });
    }
    apply(ctx, &resource, &changes, validate_only).await
}

/// What the request does not name goes back to its default.
async fn replace(ctx: &Context, wanted: FullResource, validate_only: bool) -> Result<(), Error> {
    let resource = resource(wanted.resource_type, &wanted.resource_name)?;
    let mut changes: Vec<_> = wanted
        .configs
        .into_iter()
        .map(|config| ConfigChange {
            name: config.name.to_string(),
            op: AlterConfigOp::Set,
            value: config.value.map(|value| value.to_string()),
        })
        .collect();
    let named: BTreeSet<_> = changes.iter().map(|change| change.name.clone()).collect();
    let present = ctx.broker.describe_configs(&resource, None).await?;
    let own = match resource {
        ConfigResource::Topic(_) => ConfigSource::Topic,
        ConfigResource::Broker(Some(_)) => ConfigSource::DynamicBroker,
        ConfigResource::Broker(None) => ConfigSource::DynamicDefault,
        ConfigResource::Group(_) => ConfigSource::Group,
    };
    let gone = present.into_iter().filter(|e| e.source == own && !named.contains(&e.name));
    changes.extend(gone.map(|entry| ConfigChange { name: entry.name, op: AlterConfigOp::Delete, value: None }));
    apply(ctx, &resource, &changes, validate_only).await
}

async fn apply(
    ctx: &Context,
    resource: &ConfigResource,
    changes: &[ConfigChange],
    validate_only: bool,
) -> Result<(), Error> {
    let mut seen = BTreeSet::new();
    if let Some(twice) = changes.iter().find(|change| !seen.insert(&change.name)) {
        return Err(Error::new(ErrorKind::InvalidRequest, format!("`{}` appears more than once", twice.name)));
    }
    if let Some(none) = changes.iter().find(|change| change.op != AlterConfigOp::Delete && change.value.is_none()) {
        return Err(Error::new(ErrorKind::InvalidRequest, format!("`{}` has no value", none.name)));
    }
    ctx.broker.alter_configs(resource, changes, validate_only).await
}

impl Outcome for AlterConfigsResponse {
    fn error_code(&self) -> i16 {
        first_error(self.responses.iter().map(|result| result.error_code))
    }
}

impl Outcome for IncrementalAlterConfigsResponse {
    fn error_code(&self) -> i16 {
        first_error(self.responses.iter().map(|result| result.error_code))
    }
}
