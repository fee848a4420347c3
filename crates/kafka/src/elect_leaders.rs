//! ElectLeaders: nothing to elect, since every partition has the leader that it prefers (KIP-183, KIP-460).

use std::collections::BTreeSet;
use std::sync::Arc;

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::elect_leaders_request::{ElectLeadersRequest, TopicPartitions};
use kafka_protocol::messages::elect_leaders_response::{ElectLeadersResponse, PartitionResult, ReplicaElectionResult};
use runnel_api::{Cluster, TopicDescription};

use crate::context::Context;
use crate::reply::{Outcome, first_error};
use crate::topics;

pub(crate) async fn handle(ctx: Arc<Context>, version: i16, request: ElectLeadersRequest) -> ElectLeadersResponse {
    let response = ElectLeadersResponse::default();
    if ![0, 1].contains(&request.election_type) {
        let error = ResponseError::InvalidRequest.code();
        return if version >= 1 { response.with_error_code(error) } else { response };
    }
    // Asked for all partitions Kafka names those alone that got another leader, or failed to.
    let Some(wanted) = request.topic_partitions else { return response };
    let mut results = Vec::with_capacity(wanted.len());
    for topic in wanted {
        let found = Cluster::describe_topic(&*ctx.broker, &topics::by_name(&topic.topic), false).await.ok();
        results.push(answer(topic, found.as_ref()));
    }
    response.with_replica_election_results(results)
}

fn answer(wanted: TopicPartitions, found: Option<&TopicDescription>) -> ReplicaElectionResult {
    let known: BTreeSet<i32> = found.into_iter().flat_map(|t| &t.partitions).map(|p| p.partition).collect();
    let partition = |id: i32| {
        let (error, why) = if known.contains(&id) {
            (ResponseError::ElectionNotNeeded, "the preferred leader leads this partition already")
        } else {
            (ResponseError::UnknownTopicOrPartition, "there is no such partition")
        };
        let result = PartitionResult::default().with_partition_id(id);
        result.with_error_code(error.code()).with_error_message(Some(topics::text(why)))
    };
    let partitions = wanted.partitions.into_iter().map(partition).collect();
    ReplicaElectionResult::default().with_topic(wanted.topic).with_partition_result(partitions)
}

impl Outcome for ElectLeadersResponse {
    fn error_code(&self) -> i16 {
        let partitions = self.replica_election_results.iter().flat_map(|t| &t.partition_result);
        first_error([self.error_code].into_iter().chain(partitions.map(|p| p.error_code)))
    }
}
