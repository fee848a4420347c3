//! AlterPartitionReassignments: there is one broker, and a partition on it needs no move (KIP-455).

use std::collections::BTreeSet;
use std::sync::Arc;

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::BrokerId;
use kafka_protocol::messages::alter_partition_reassignments_request::{
    AlterPartitionReassignmentsRequest, ReassignablePartition,
};
use kafka_protocol::messages::alter_partition_reassignments_response::{
    AlterPartitionReassignmentsResponse, ReassignablePartitionResponse, ReassignableTopicResponse,
};
use runnel_api::Cluster;

use crate::context::Context;
use crate::reply::{Outcome, first_error};
use crate::topics;

pub(crate) async fn handle(
    ctx: Arc<Context>,
    version: i16,
    request: AlterPartitionReassignmentsRequest,
) -> AlterPartitionReassignmentsResponse {
    let cluster = ctx.broker.describe_cluster().await;
    let nodes: BTreeSet<i32> = cluster.nodes.iter().map(|node| node.id).collect();
    let mut responses = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let found = Cluster::describe_topic(&*ctx.broker, &topics::by_name(&topic.name), false).await.ok();
        let known: BTreeSet<i32> = found.iter().flat_map(|t| &t.partitions).map(|p| p.partition).collect();
        let answer = |wanted: ReassignablePartition| {
            let refused = refusal(&wanted, known.contains(&wanted.partition_index), &nodes);
            let response = ReassignablePartitionResponse::default()
                .with_partition_index(wanted.partition_index)
                .with_error_message(None);
            match refused {
                None => response,
                Some((error, why)) => {
                    response.with_error_code(error.code()).with_error_message(Some(topics::text(why)))
                }
            }
        };
        let partitions = topic.partitions.into_iter().map(answer).collect();
        responses.push(ReassignableTopicResponse::default().with_name(topic.name).with_partitions(partitions));
    }
    let response = AlterPartitionReassignmentsResponse::default().with_error_message(None).with_responses(responses);
    if version >= 1 {
        response.with_allow_replication_factor_change(request.allow_replication_factor_change)
    } else {
        response
    }
}

/// Why a partition cannot be where it is wanted; `None` if it is there.
fn refusal(
    wanted: &ReassignablePartition,
    exists: bool,
    nodes: &BTreeSet<i32>,
) -> Option<(ResponseError, &'static str)> {
    if !exists {
        return Some((ResponseError::UnknownTopicOrPartition, "there is no such partition"));
    }
    let Some(replicas) = &wanted.replicas else {
        return Some((ResponseError::NoReassignmentInProgress, "nothing is being moved"));
    };
    let distinct: BTreeSet<i32> = replicas.iter().map(|BrokerId(id)| *id).collect();
    let wrong = if distinct.is_empty() {
        "a partition needs a broker"
    } else if distinct.len() < replicas.len() {
        "a broker is named more than once"
    } else if !distinct.is_subset(nodes) {
        "a broker is named that is not in the cluster"
    } else {
        return None;
    };
    Some((ResponseError::InvalidReplicaAssignment, wrong))
}

impl Outcome for AlterPartitionReassignmentsResponse {
    fn error_code(&self) -> i16 {
        first_error(self.responses.iter().flat_map(|t| &t.partitions).map(|p| p.error_code))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_where_it_is_may_a_partition_go() {
        let nodes = BTreeSet::from([0]);
        let check = |replicas: Option<&[i32]>, exists, expected| {
            let replicas = replicas.map(|ids| ids.iter().copied().map(BrokerId).collect());
            let wanted = ReassignablePartition::default().with_replicas(replicas);
            assert_eq!(refusal(&wanted, exists, &nodes).map(|(error, _)| error), expected, "{wanted:?}");
        };
        check(Some(&[0]), true, None);
        check(Some(&[0]), false, Some(ResponseError::UnknownTopicOrPartition));
        check(None, true, Some(ResponseError::NoReassignmentInProgress));
        for bad in [&[][..], &[0, 0], &[1], &[0, 1]] {
            check(Some(bad), true, Some(ResponseError::InvalidReplicaAssignment));
        }
    }
}
