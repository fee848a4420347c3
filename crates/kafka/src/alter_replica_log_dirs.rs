//! AlterReplicaLogDirs: a partition is in the bucket and in the local log at once, and moves between them by no request
//! (KIP-113). Where it is already it may be sent; that moves nothing in Kafka either.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::TopicName;
use kafka_protocol::messages::alter_replica_log_dirs_request::AlterReplicaLogDirsRequest;
use kafka_protocol::messages::alter_replica_log_dirs_response::{
    AlterReplicaLogDirPartitionResult, AlterReplicaLogDirTopicResult, AlterReplicaLogDirsResponse,
};
use runnel_api::Cluster;

use crate::context::Context;
use crate::reply::{Outcome, first_error};
use crate::topics;

pub(crate) async fn handle(
    ctx: Arc<Context>,
    _version: i16,
    request: AlterReplicaLogDirsRequest,
) -> AlterReplicaLogDirsResponse {
    let dirs: BTreeSet<String> = ctx.broker.log_dirs(Some(&[])).await.into_iter().map(|dir| dir.path).collect();
    let mut results: BTreeMap<TopicName, Vec<AlterReplicaLogDirPartitionResult>> = BTreeMap::new();
    for dir in request.dirs {
        let exists = dirs.contains(dir.path.as_str());
        for topic in dir.topics {
            let found = Cluster::describe_topic(&*ctx.broker, &topics::by_name(&topic.name), false).await.ok();
            let known: BTreeSet<i32> = found.iter().flat_map(|t| &t.partitions).map(|p| p.partition).collect();
            let answers = topic.partitions.into_iter().map(|partition| {
                let error = if !exists {
                    ResponseError::LogDirNotFound.code()
                } else if !known.contains(&partition) {
                    ResponseError::UnknownTopicOrPartition.code()
                } else {
                    0
                };
                AlterReplicaLogDirPartitionResult::default().with_partition_index(partition).with_error_code(error)
            });
            results.entry(topic.name).or_default().extend(answers);
        }
    }
    let results = results.into_iter().map(|(name, partitions)| {
        AlterReplicaLogDirTopicResult::default().with_topic_name(name).with_partitions(partitions)
    });
    AlterReplicaLogDirsResponse::default().with_results(results.collect())
}

impl Outcome for AlterReplicaLogDirsResponse {
    fn error_code(&self) -> i16 {
        first_error(self.results.iter().flat_map(|topic| &topic.partitions).map(|p| p.error_code))
    }
}
