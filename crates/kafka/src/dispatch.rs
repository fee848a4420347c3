//! From a frame to the future that answers it.

use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use kafka_protocol::messages::ApiKey;
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Request};

use crate::apis::{self, Api};
use crate::context::Context;
use crate::guard::{self, Refused};
use crate::header::{self, Prefix};
use crate::reply::{self, Outcome, Reply};
use crate::{
    alter_client_quotas, alter_configs, alter_partition_reassignments, alter_replica_log_dirs, api_versions,
    consumer_group_describe, consumer_group_heartbeat, create_partitions, create_topics, delete_groups, delete_records,
    delete_topics, describe_client_quotas, describe_cluster, describe_configs, describe_groups, describe_log_dirs,
    describe_producers, describe_topic_partitions, elect_leaders, fetch, find_coordinator, get_telemetry_subscriptions,
    heartbeat, init_producer_id, join_group, leave_group, list_config_resources, list_groups, list_offsets,
    list_partition_reassignments, metadata, offset_commit, offset_delete, offset_fetch, offset_for_leader_epoch,
    produce, push_telemetry, sync_group,
};

/// Why a request cannot be answered; the connection is closed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unanswerable {
    /// An API that we do not serve.
    #[error("API key {0} is not served")]
    Api(i16),
    /// A version that we do not serve; only ApiVersions and Produce have a reply for that.
    #[error("{api} version {version} is not served")]
    Version {
        /// The API.
        api: &'static str,
        /// The version.
        version: i16,
    },
    /// The request does not have the shape that its version says.
    #[error("{api} version {version} is malformed: {why}")]
    Shape {
        /// The API.
        api: &'static str,
        /// The version.
        version: i16,
        /// What is wrong.
        why: String,
    },
    /// Not even a header.
    #[error("the request header is malformed: {0}")]
    Header(Refused),
    /// Decoded, it would not fit in what one connection may hold.
    #[error("the request has {0} elements, more than one connection may hold")]
    Elements(usize),
}

/// Memory that one decoded element may take, names and results included.
const ELEMENT_BYTES: usize = 512;

/// A request whose shape was checked.
pub(crate) struct Checked {
    /// The API, as metrics name it.
    pub(crate) api: &'static str,
    /// What decoding will allocate on top of the frame, in bytes.
    pub(crate) overhead: usize,
    kind: CheckedKind,
    prefix: Prefix,
    client_id: Option<Bytes>,
    body: Bytes,
}

enum CheckedKind {
    Served(ApiKey),
    UnknownApiVersions,
    OldProduce,
}

impl Checked {
    /// Whether nothing more is begun on the connection before this is answered: because the answer may be megabytes to a
    /// few bytes, or because it changes what the next request may ask for, which administrators send without waiting.
    /// Kafka treats every request so; heartbeats and what they would wait behind must go on here.
    pub(crate) fn waits_its_turn(&self) -> bool {
        let CheckedKind::Served(key) = self.kind else { return false };
        matches!(
            key,
            ApiKey::ListGroups
                | ApiKey::DescribeGroups
                | ApiKey::ConsumerGroupDescribe
                | ApiKey::OffsetFetch
                | ApiKey::DescribeProducers
                | ApiKey::DescribeLogDirs
                | ApiKey::CreateTopics
                | ApiKey::DeleteTopics
                | ApiKey::CreatePartitions
                | ApiKey::DeleteRecords
                | ApiKey::AlterConfigs
                | ApiKey::IncrementalAlterConfigs
                | ApiKey::AlterClientQuotas
                | ApiKey::DeleteGroups
                | ApiKey::OffsetDelete
        )
    }

    /// Whether the answer may be megabytes to a few bytes, and other requests must go on while it is waited for: a member
    /// of a group waits for the others, and metadata for a topic that is made.
    pub(crate) fn may_be_large(&self) -> bool {
        let CheckedKind::Served(key) = self.kind else { return false };
        matches!(key, ApiKey::JoinGroup | ApiKey::SyncGroup | ApiKey::ConsumerGroupHeartbeat | ApiKey::Metadata)
    }
}

/// Reads the header and checks the body of a frame of a connection that may hold `limit` bytes.
pub(crate) fn check(mut frame: Bytes, limit: usize) -> Result<Checked, Unanswerable> {
    let frame_len = frame.len();
    let prefix = header::prefix(&mut frame).map_err(Unanswerable::Header)?;
    let api = apis::find(prefix.api_key).ok_or(Unanswerable::Api(prefix.api_key))?;
    let version = prefix.api_version;
    let kind = match api.key {
        key if api.serves(version) => CheckedKind::Served(key),
        // Nothing after the fixed part can be relied on, and nothing is needed.
        ApiKey::ApiVersions => {
            return Ok(Checked {
                api: api.name,
                overhead: 0,
                kind: CheckedKind::UnknownApiVersions,
                prefix,
                client_id: None,
                body: frame,
            });
        }
        ApiKey::Produce if (0..api.min).contains(&version) => CheckedKind::OldProduce,
        _ => return Err(Unanswerable::Version { api: api.name, version }),
    };
    let (client_id, elements) = shape(api, version, &mut frame).map_err(|refused| Unanswerable::Shape {
        api: api.name,
        version,
        why: refused.to_string(),
    })?;
    let overhead = elements.saturating_mul(ELEMENT_BYTES);
    if overhead.saturating_add(frame_len) > limit {
        return Err(Unanswerable::Elements(elements));
    }
    Ok(Checked { api: api.name, overhead, kind, prefix, client_id, body: frame })
}

/// The client id, and how many elements the request has.
fn shape(api: &Api, version: i16, frame: &mut Bytes) -> Result<(Option<Bytes>, usize), Refused> {
    let flexible = api.is_flexible(version);
    let client_id = header::client_id(frame, flexible)?;
    Ok((client_id, guard::check(api.layout, version, flexible, frame)?))
}

/// Decodes a checked request and makes the future that answers it. Nothing happens before it is polled; the first
/// poll reaches the broker.
pub(crate) fn answer(ctx: Arc<Context>, checked: Checked) -> Result<BoxFuture<'static, Reply>, Unanswerable> {
    let Checked { api, kind, prefix, client_id, body, .. } = checked;
    let key = match kind {
        CheckedKind::Served(key) => key,
        CheckedKind::UnknownApiVersions => return Ok(done(api_versions::unknown_version(prefix.correlation_id))),
        CheckedKind::OldProduce => return Ok(done(produce::unsupported(prefix, body))),
    };
    let call = Call { ctx, api, prefix, body };
    match key {
        ApiKey::Produce => {
            let (ctx, prefix, request) = call.decode()?;
            Ok(produce::handle(ctx, prefix, request).boxed())
        }
        ApiKey::Fetch => {
            let (ctx, prefix, request) = call.decode()?;
            Ok(fetch::handle(ctx, prefix, request).boxed())
        }
        ApiKey::ListOffsets => call.with(list_offsets::handle),
        ApiKey::Metadata => call.with(metadata::handle),
        ApiKey::OffsetCommit => call.with(offset_commit::handle),
        ApiKey::OffsetFetch => call.with(offset_fetch::handle),
        ApiKey::FindCoordinator => call.with(find_coordinator::handle),
        ApiKey::JoinGroup => {
            let client_id = as_text(client_id);
            call.with(move |ctx, version, request| join_group::handle(ctx, version, request, client_id))
        }
        ApiKey::ConsumerGroupHeartbeat => {
            let client_id = as_text(client_id);
            call.with(move |ctx, version, request| consumer_group_heartbeat::handle(ctx, version, request, client_id))
        }
        ApiKey::ConsumerGroupDescribe => call.with(consumer_group_describe::handle),
        ApiKey::Heartbeat => call.with(heartbeat::handle),
        ApiKey::LeaveGroup => call.with(leave_group::handle),
        ApiKey::SyncGroup => call.with(sync_group::handle),
        ApiKey::DescribeGroups => call.with(describe_groups::handle),
        ApiKey::ListGroups => call.with(list_groups::handle),
        ApiKey::DeleteGroups => call.with(delete_groups::handle),
        ApiKey::OffsetDelete => call.with(offset_delete::handle),
        ApiKey::ApiVersions => call.with(api_versions::handle),
        ApiKey::CreateTopics => call.with(create_topics::handle),
        ApiKey::DeleteTopics => call.with(delete_topics::handle),
        ApiKey::InitProducerId => call.with(init_producer_id::handle),
        ApiKey::OffsetForLeaderEpoch => call.with(offset_for_leader_epoch::handle),
        ApiKey::DescribeConfigs => call.with(describe_configs::handle),
        ApiKey::AlterConfigs => call.with(alter_configs::handle),
        ApiKey::IncrementalAlterConfigs => call.with(alter_configs::handle_incremental),
        ApiKey::DescribeCluster => call.with(describe_cluster::handle),
        ApiKey::DescribeTopicPartitions => call.with(describe_topic_partitions::handle),
        ApiKey::DeleteRecords => call.with(delete_records::handle),
        ApiKey::AlterReplicaLogDirs => call.with(alter_replica_log_dirs::handle),
        ApiKey::DescribeLogDirs => call.with(describe_log_dirs::handle),
        ApiKey::CreatePartitions => call.with(create_partitions::handle),
        ApiKey::ElectLeaders => call.with(elect_leaders::handle),
        ApiKey::AlterPartitionReassignments => call.with(alter_partition_reassignments::handle),
        ApiKey::ListPartitionReassignments => call.with(list_partition_reassignments::handle),
        ApiKey::DescribeClientQuotas => call.with(describe_client_quotas::handle),
        ApiKey::AlterClientQuotas => call.with(alter_client_quotas::handle),
        ApiKey::DescribeProducers => call.with(describe_producers::handle),
        ApiKey::GetTelemetrySubscriptions => call.with(get_telemetry_subscriptions::handle),
        ApiKey::PushTelemetry => call.with(push_telemetry::handle),
        ApiKey::ListConfigResources => call.with(list_config_resources::handle),
        other => Err(Unanswerable::Api(other as i16)),
    }
}

fn as_text(client_id: Option<Bytes>) -> String {
    client_id.map(|id| String::from_utf8_lossy(&id).into_owned()).unwrap_or_default()
}

fn done(reply: Reply) -> BoxFuture<'static, Reply> {
    futures::future::ready(reply).boxed()
}

struct Call {
    ctx: Arc<Context>,
    api: &'static str,
    prefix: Prefix,
    body: Bytes,
}

impl Call {
    fn decode<Q: Decodable>(mut self) -> Result<(Arc<Context>, Prefix, Q), Unanswerable> {
        let version = self.prefix.api_version;
        let request = Q::decode(&mut self.body, version).map_err(|error| Unanswerable::Shape {
            api: self.api,
            version,
            why: error.to_string(),
        })?;
        Ok((self.ctx, self.prefix, request))
    }

    fn with<Q, F, S>(
        self,
        handle: impl FnOnce(Arc<Context>, i16, Q) -> F,
    ) -> Result<BoxFuture<'static, Reply>, Unanswerable>
    where
        Q: Request<Response = S>,
        F: Future<Output = S> + Send + 'static,
        S: Encodable + HeaderVersion + Outcome + Send + 'static,
    {
        let (ctx, prefix, request) = self.decode()?;
        let version = prefix.api_version;
        let answer = handle(ctx, version, request);
        Ok(answer.map(move |body| reply::encode(prefix.correlation_id, version, &body)).boxed())
    }
}
