//! GetTopicConfigs and UpdateTopicConfigs.

use runnel_api::{Admin, AlterConfigOp, ConfigChange, ConfigResource, ConfigSource};
use runnel_proto::admin::v1::{self as pb, GetTopicConfigsRequest, GetTopicConfigsResponse};
use runnel_proto::admin::v1::{UpdateTopicConfigsRequest, UpdateTopicConfigsResponse, config_change::Op};

use crate::door::Door;
use crate::error::Failure;

pub(crate) async fn get(door: &Door, request: GetTopicConfigsRequest) -> Result<GetTopicConfigsResponse, Failure> {
    let entries = Admin::describe_configs(&*door.broker, &ConfigResource::Topic(request.name), None).await?;
    let configs = entries.into_iter().map(|entry| pb::ConfigEntry {
        name: entry.name,
        value: entry.value,
        source: source(entry.source).into(),
        read_only: entry.read_only,
        sensitive: entry.sensitive,
        documentation: entry.documentation,
    });
    Ok(GetTopicConfigsResponse { configs: configs.collect() })
}

pub(crate) async fn update(
    door: &Door,
    request: UpdateTopicConfigsRequest,
) -> Result<UpdateTopicConfigsResponse, Failure> {
    let changes = request.changes.into_iter().map(change).collect::<Result<Vec<_>, _>>()?;
    let resource = ConfigResource::Topic(request.name);
    Admin::alter_configs(&*door.broker, &resource, &changes, request.validate_only).await?;
    Ok(UpdateTopicConfigsResponse {})
}

fn change(change: pb::ConfigChange) -> Result<ConfigChange, Failure> {
    let op = match change.op() {
        Op::Unspecified | Op::Set => AlterConfigOp::Set,
        Op::Delete => AlterConfigOp::Delete,
        Op::Append => AlterConfigOp::Append,
        Op::Subtract => AlterConfigOp::Subtract,
    };
    if op != AlterConfigOp::Delete && change.value.is_none() {
        return Err(Failure::invalid(format!("the change of `{}` has no value", change.name)));
    }
    Ok(ConfigChange { name: change.name, op, value: change.value })
}

const fn source(source: ConfigSource) -> pb::ConfigSource {
    match source {
        ConfigSource::Topic => pb::ConfigSource::Topic,
        ConfigSource::Broker | ConfigSource::DynamicBroker | ConfigSource::DynamicDefault => pb::ConfigSource::Broker,
        ConfigSource::Group => pb::ConfigSource::Unspecified,
        ConfigSource::Default => pb::ConfigSource::Default,
    }
}
