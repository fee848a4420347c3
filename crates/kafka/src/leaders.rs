//! Who leads the partitions that were asked of the wrong broker (KIP-951): a client that is told need not look for
//! metadata first.

use std::collections::BTreeMap;

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::BrokerId;
use kafka_protocol::messages::produce_response::{LeaderIdAndEpoch, NodeEndpoint, ProduceResponse};
use runnel_api::{Node, TopicKey};

use crate::context::Context;
use crate::topics;

/// First version of Produce whose replies name leaders.
const IN_PRODUCE: i16 = 10;

/// The leader of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Leader {
    pub(crate) id: i32,
    pub(crate) epoch: i32,
}

/// The leaders that one reply names, and where they are.
#[derive(Default)]
pub(crate) struct Leaders(BTreeMap<i32, Node>);

/// Whether an error means that another broker should be asked.
pub(crate) fn is_elsewhere(error: i16) -> bool {
    error == ResponseError::NotLeaderOrFollower.code() || error == ResponseError::FencedLeaderEpoch.code()
}

impl Leaders {
    /// The leader of a partition, whose address the reply has to give.
    pub(crate) async fn find(&mut self, ctx: &Context, topic: &TopicKey, partition: i32) -> Option<Leader> {
        let (node, epoch) = ctx.broker.leader_of(topic, partition).await?;
        let leader = Leader { id: node.id, epoch: epoch.0 };
        self.0.insert(node.id, node);
        Some(leader)
    }

    /// Where the brokers that were named are, for clients of this connection.
    pub(crate) fn endpoints(&self, ctx: &Context) -> Vec<NodeEndpoint> {
        let endpoint = |node: &Node| {
            NodeEndpoint::default()
                .with_node_id(BrokerId(node.id))
                .with_host(topics::text(ctx.host_of(node)))
                .with_port(ctx.port_of(node))
                .with_rack(node.zone.as_deref().map(topics::text))
        };
        self.0.values().map(endpoint).collect()
    }
}

/// Names leaders in the reply to a produce request.
pub(crate) async fn name(ctx: &Context, version: i16, by_id: bool, response: &mut ProduceResponse) {
    if version < IN_PRODUCE {
        return;
    }
    let mut leaders = Leaders::default();
    for topic in &mut response.responses {
        let key = topics::by_name_or_id(&topic.name, topic.topic_id, by_id);
        for partition in topic.partition_responses.iter_mut().filter(|one| is_elsewhere(one.error_code)) {
            if let Some(leader) = leaders.find(ctx, &key, partition.index).await {
                partition.current_leader =
                    LeaderIdAndEpoch::default().with_leader_id(BrokerId(leader.id)).with_leader_epoch(leader.epoch);
            }
        }
    }
    response.node_endpoints = leaders.endpoints(ctx);
}
