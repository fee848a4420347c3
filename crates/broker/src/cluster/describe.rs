//! What the cluster looks like to clients.

use std::sync::Arc;

use async_trait::async_trait;
use runnel_api::{
    Cluster, ClusterDescription, CreateTopic, Error, ErrorKind, Health, Node, PartitionDescription, TopicDescription,
    TopicKey,
};
use runnel_record::{LeaderEpoch, TopicPartition};

use super::view::node;
use crate::Broker;
use crate::topics::{OFFSETS_TOPIC, Topic, is_internal};

#[async_trait]
impl Cluster for Broker {
    async fn describe_cluster(&self) -> ClusterDescription {
        let (cluster_id, this_node) = (self.home.cluster_name(), self.home.node_id);
        let own = Node {
            id: this_node,
            name: self.options.node_name.clone(),
            zone: self.options.zone.clone(),
            kafka: None,
            grpc: None,
        };
        let Some(member) = &self.member else {
            return ClusterDescription { cluster_id, controller: Some(this_node), this_node, nodes: vec![own] };
        };
        let view = member.view();
        // One whose lease has just ended still answers.
        let others = view.brokers.iter().filter(|(number, _)| **number != this_node);
        let mut nodes: Vec<Node> = others.map(|(number, at)| node(*number, &at.record)).collect();
        nodes.push(own);
        nodes.sort_by_key(|node| node.id);
        let controller = view.controller.map(|(controller, _)| controller.broker);
        ClusterDescription { cluster_id, controller, this_node, nodes }
    }

    async fn list_topics(&self) -> Vec<TopicDescription> {
        self.topics.all().iter().map(|topic| self.describe(topic)).collect()
    }

    async fn describe_topic(&self, topic: &TopicKey, auto_create: bool) -> Result<TopicDescription, Error> {
        let found = match (self.topics.get(topic), topic) {
            (Err(error), TopicKey::Name(name)) if error.kind == ErrorKind::UnknownTopic => {
                if !(auto_create && self.options.topics.auto_create) || self.stopping() {
                    return Err(error);
                }
                self.auto_create(name).await?
            }
            (found, _) => found?,
        };
        Ok(self.describe(&found))
    }

    async fn health(&self) -> Health {
        let mut checks = vec![self.metadata_check(), self.bucket_check(), self.wal_check()];
        if self.stopping() {
            checks.push(("draining".to_owned(), false, "the broker is stopping".to_owned()));
        }
        Health { ready: checks.iter().all(|(_, passed, _)| *passed), checks }
    }
}

impl Broker {
    /// Whether there can be no other broker.
    pub(crate) fn is_alone(&self) -> bool {
        self.member.is_none()
    }

    /// Who leads a partition, and in which epoch. On a single node a partition that nobody used since the start is not open
    /// yet; its epoch is told once it is.
    pub(crate) fn leader(&self, tp: TopicPartition) -> Option<(i32, LeaderEpoch)> {
        match &self.member {
            None => {
                let open = self.topics.partition_if_open(&TopicKey::Id(tp.topic), tp.partition);
                Some((self.home.node_id, open.map_or(LeaderEpoch(-1), |open| open.epoch)))
            }
            Some(member) => {
                let view = member.view();
                let (leader, _, _) = view.leader(tp)?;
                Some((leader, view.partitions.get(&tp)?.record.epoch))
            }
        }
    }

    fn metadata_check(&self) -> (String, bool, String) {
        let (passed, sentence) = match &self.member {
            None => (true, "embedded"),
            Some(member) if member.lease.is_valid() => (true, "answers"),
            // Writes go on without it.
            Some(_) => (false, "does not answer: reads are refused, and nothing moves"),
        };
        ("metadata".to_owned(), passed, sentence.to_owned())
    }

    async fn auto_create(&self, name: &str) -> Result<Arc<Topic>, Error> {
        if name == OFFSETS_TOPIC {
            let made = self.offsets_topic(true).await?;
            return made.map_or_else(|| self.topics.get(&TopicKey::Name(name.to_owned())), Ok);
        }
        let wanted = CreateTopic {
            name: name.to_owned(),
            partitions: None,
            replication_factor: None,
            assignments: Vec::new(),
            configs: Vec::new(),
        };
        match self.create(&wanted, false).await {
            Ok(_) => {}
            // Another client was first.
            Err(error) if error.kind == ErrorKind::TopicExists => {}
            Err(error) => return Err(error),
        }
        self.topics.get(&TopicKey::Name(name.to_owned()))
    }

    fn describe(&self, topic: &Topic) -> TopicDescription {
        let partitions = topic.partition_numbers().map(|partition| {
            let leader = self.leader(topic.tp(partition));
            let replicas: Vec<i32> = leader.iter().map(|(leader, _)| *leader).collect();
            PartitionDescription {
                partition,
                leader: leader.map(|(leader, _)| leader),
                leader_epoch: leader.map_or(LeaderEpoch(-1), |(_, epoch)| epoch),
                replicas: replicas.clone(),
                in_sync: replicas,
            }
        });
        let partitions = partitions.collect();
        TopicDescription { name: topic.name.clone(), id: topic.id, internal: is_internal(&topic.name), partitions }
    }
}
