//! What the cluster looks like: as it is, or like a single broker.

use async_trait::async_trait;
use runnel_api::error::Result;
use runnel_api::{
    Cluster, ClusterDescription, ClusterStatus, DiskLoss, Health, Node, TopicDescription, TopicKey, Upgrade,
};
use runnel_record::LeaderEpoch;

use super::Forwarding;

/// The id of the broker that clients see who all go through one address. No broker's (`node.number` is below it): a client
/// that was connected before the mode changed must not take one for the other, nor keep the address of either.
pub const THE_ONE: i32 = 1_000_000_000;

#[async_trait]
impl Cluster for Forwarding {
    async fn describe_cluster(&self) -> ClusterDescription {
        let cluster = self.local.describe_cluster().await;
        if self.as_one { one_node(cluster) } else { cluster }
    }

    async fn cluster_status(&self) -> ClusterStatus {
        self.local.cluster_status().await
    }

    async fn drain(&self, broker: i32, drain: bool) -> Result<()> {
        self.local.drain(broker, drain).await
    }

    async fn upgrade(&self, dry_run: bool) -> Result<Upgrade> {
        self.local.upgrade(dry_run).await
    }

    async fn disk_losses(&self, topic: &TopicKey, partition: Option<i32>) -> Result<Vec<DiskLoss>> {
        self.local.disk_losses(topic, partition).await
    }

    async fn accept_disk_losses(&self, topic: &TopicKey, told: &[DiskLoss]) -> Result<()> {
        self.local.accept_disk_losses(topic, told).await
    }

    async fn leader_of(&self, topic: &TopicKey, partition: i32) -> Option<(Node, LeaderEpoch)> {
        // It would be named in errors that say whom to ask instead, and there is nobody else.
        if self.as_one { None } else { self.local.leader_of(topic, partition).await }
    }

    async fn list_topics(&self) -> Vec<TopicDescription> {
        let mut topics = self.local.list_topics().await;
        if self.as_one {
            topics.iter_mut().for_each(led_by_one);
        }
        topics
    }

    async fn describe_topic(&self, topic: &TopicKey, auto_create: bool) -> Result<TopicDescription> {
        let mut topic = self.local.describe_topic(topic, auto_create).await?;
        if self.as_one {
            led_by_one(&mut topic);
        }
        Ok(topic)
    }

    async fn health(&self) -> Health {
        self.local.health().await
    }
}

fn one_node(cluster: ClusterDescription) -> ClusterDescription {
    // Its address is the one that the listener advertises.
    let node = Node { id: THE_ONE, name: "cluster".to_owned(), zone: None, kafka: None, grpc: None };
    ClusterDescription { controller: Some(THE_ONE), this_node: THE_ONE, nodes: vec![node], ..cluster }
}

/// Also while nobody leads: a client that is told so can do no better than ask again, which is what it does anyway.
fn led_by_one(topic: &mut TopicDescription) {
    for partition in &mut topic.partitions {
        partition.leader = Some(THE_ONE);
        partition.replicas = vec![THE_ONE];
        partition.in_sync = vec![THE_ONE];
    }
}
