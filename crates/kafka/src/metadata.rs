//! Metadata: brokers, topics, leaders.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::{StreamExt, stream};
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::metadata_request::{MetadataRequest, MetadataRequestTopic};
use kafka_protocol::messages::metadata_response::{
    MetadataResponse, MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{BrokerId, TopicName};
use runnel_api::{Broker, ErrorKind, PartitionDescription, TopicDescription, TopicKey};
use runnel_record::TopicId;
use uuid::Uuid;

use crate::context::Context;
use crate::error::code;
use crate::reply::{Outcome, first_error};
use crate::topics::{self, ALL_CLUSTER_OPERATIONS, ALL_TOPIC_OPERATIONS, NO_OPERATIONS};

/// Topics that one request looks up at a time.
const LOOKUPS: usize = 16;

/// No leader.
const NO_BROKER: BrokerId = BrokerId(-1);

pub(crate) async fn handle(ctx: Arc<Context>, version: i16, request: MetadataRequest) -> MetadataResponse {
    let operations = if request.include_topic_authorized_operations { ALL_TOPIC_OPERATIONS } else { NO_OPERATIONS };
    let auto_create = version < 4 || request.allow_auto_topic_creation;
    let topics = match request.topics {
        // Version 0 has no null: there an empty list asks for all.
        Some(topics) if version > 0 || !topics.is_empty() => {
            // Each once, as in Kafka: the answer to a name that is repeated could be as large as anyone likes.
            let mut seen = BTreeSet::new();
            let topics = topics.into_iter().filter(|topic| seen.insert(key(topic)));
            let lookups = topics.map(|topic| describe(Arc::clone(&ctx.broker), topic, auto_create));
            stream::iter(lookups).buffered(LOOKUPS).collect().await
        }
        _ => ctx.broker.list_topics().await.into_iter().map(found).collect::<Vec<_>>(),
    };
    let topics = topics.into_iter().map(|topic| topic.with_topic_authorized_operations(operations)).collect();
    // Any broker does administration: while there is no controller, the one that answers is as good.
    let cluster = ctx.broker.describe_cluster().await;
    let brokers = cluster.nodes.iter().map(|node| {
        MetadataResponseBroker::default()
            .with_node_id(BrokerId(node.id))
            .with_host(topics::text(ctx.host_of(node)))
            .with_port(ctx.port_of(node))
            .with_rack(node.zone.as_deref().map(topics::text))
    });
    let with_cluster_operations = request.include_cluster_authorized_operations;
    MetadataResponse::default()
        .with_brokers(brokers.collect())
        .with_cluster_id(Some(topics::text(&cluster.cluster_id)))
        .with_controller_id(BrokerId(cluster.controller.unwrap_or(cluster.this_node)))
        .with_topics(topics)
        .with_cluster_authorized_operations(if with_cluster_operations {
            ALL_CLUSTER_OPERATIONS
        } else {
            NO_OPERATIONS
        })
}

fn key(topic: &MetadataRequestTopic) -> TopicKey {
    match &topic.name {
        Some(name) => topics::by_name(name),
        None => TopicKey::Id(TopicId(topic.topic_id)),
    }
}

/// A topic that is made for this request is in the answer to the next one, as in Kafka: clients ask again, and some that
/// look whether a topic is gone take what they see here for its return.
async fn describe(broker: Arc<dyn Broker>, topic: MetadataRequestTopic, auto_create: bool) -> MetadataResponseTopic {
    let key = key(&topic);
    let error = match broker.describe_topic(&key, false).await {
        Ok(description) => return found(description),
        Err(error) if auto_create && error.kind == ErrorKind::UnknownTopic => {
            broker.describe_topic(&key, true).await.map_or_else(|error| error.kind, |_| error.kind)
        }
        Err(error) => error.kind,
    };
    not_found(topic.name, topic.topic_id, code(error))
}

fn not_found(name: Option<TopicName>, id: Uuid, error: ResponseError) -> MetadataResponseTopic {
    MetadataResponseTopic::default().with_name(name).with_topic_id(id).with_error_code(error.code())
}

fn found(topic: TopicDescription) -> MetadataResponseTopic {
    MetadataResponseTopic::default()
        .with_name(Some(topics::wire_name(&topic.name)))
        .with_topic_id(topic.id.0)
        .with_is_internal(topic.internal)
        .with_partitions(topic.partitions.iter().map(partition).collect())
}

fn partition(partition: &PartitionDescription) -> MetadataResponsePartition {
    let error = if partition.leader.is_some() { 0 } else { ResponseError::LeaderNotAvailable.code() };
    MetadataResponsePartition::default()
        .with_error_code(error)
        .with_partition_index(partition.partition)
        .with_leader_id(partition.leader.map_or(NO_BROKER, BrokerId))
        .with_leader_epoch(partition.leader_epoch.0)
        .with_replica_nodes(partition.replicas.iter().copied().map(BrokerId).collect())
        .with_isr_nodes(partition.in_sync.iter().copied().map(BrokerId).collect())
}

impl Outcome for MetadataResponse {
    fn error_code(&self) -> i16 {
        first_error(self.topics.iter().map(|topic| topic.error_code))
    }
}
