//! What the cluster looks like: one node that leads everything it has.

use std::sync::Arc;

use async_trait::async_trait;
use runnel_api::{
    Cluster, ClusterDescription, CreateTopic, Error, ErrorKind, Health, Node, PartitionDescription, TopicDescription,
    TopicKey,
};
use runnel_record::LeaderEpoch;

use crate::Broker;
use crate::topics::{OFFSETS_TOPIC, Topic, is_internal};

#[async_trait]
impl Cluster for Broker {
    async fn describe_cluster(&self) -> ClusterDescription {
        let node =
            Node { id: self.home.node_id, name: self.options.node_name.clone(), zone: self.options.zone.clone() };
        ClusterDescription {
            cluster_id: self.home.cluster_name(),
            controller: node.id,
            this_node: node.id,
            nodes: vec![node],
        }
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
        let mut checks =
            vec![("metadata".to_owned(), true, "embedded".to_owned()), self.bucket_check(), self.wal_check()];
        if self.stopping() {
            checks.push(("draining".to_owned(), false, "the broker is stopping".to_owned()));
        }
        Health { ready: checks.iter().all(|(_, passed, _)| *passed), checks }
    }
}

impl Broker {
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
        let node = self.home.node_id;
        let partitions = topic
            .partition_numbers()
            .map(|partition| {
                // A partition that nobody used since the start is not open yet; its epoch is told once it is.
                let open = topic.slot(partition).and_then(|slot| slot.cell.get());
                PartitionDescription {
                    partition,
                    leader: Some(node),
                    leader_epoch: open.map_or(LeaderEpoch(-1), |p| p.epoch),
                    replicas: vec![node],
                    in_sync: vec![node],
                }
            })
            .collect();
        TopicDescription { name: topic.name.clone(), id: topic.id, internal: is_internal(&topic.name), partitions }
    }
}
