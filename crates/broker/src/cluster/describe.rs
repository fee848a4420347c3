//! What the cluster looks like to clients.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use runnel_api::{
    Build, Cluster, ClusterDescription, ClusterStatus, CreateTopic, DiskLoss, Endpoint, Error, ErrorKind, Health, Node,
    PartitionDescription, TopicDescription, TopicKey, Upgrade,
};
use runnel_format::Levels;
use runnel_metastore::Op;
use runnel_record::{LeaderEpoch, TopicPartition};

use super::view::{drain_key, is_reached, node};
use super::{Member, nearest};
use crate::Broker;
use crate::error::metadata_error;
use crate::topics::{OFFSETS_TOPIC, Topic, is_internal};

/// How long the creation of a topic waits for its leaders.
const LEADERS_PATIENCE: Duration = Duration::from_secs(5);

#[async_trait]
impl Cluster for Broker {
    async fn describe_cluster(&self) -> ClusterDescription {
        let (cluster_id, this_node) = (self.home.cluster_name(), self.home.node_id);
        let own = self.own_node();
        let Some(member) = &self.member else {
            return ClusterDescription { cluster_id, controller: Some(this_node), this_node, nodes: vec![own] };
        };
        let view = member.view();
        // One whose lease has just ended still answers.
        let others = view.brokers.iter().filter(|(number, at)| **number != this_node && is_reached(&at.record));
        let mut nodes: Vec<Node> = others.map(|(number, at)| node(*number, &at.record)).collect();
        nodes.push(own);
        nodes.sort_by_key(|node| node.id);
        let controller = view.controller.map(|(controller, _)| controller.broker);
        ClusterDescription { cluster_id, controller, this_node, nodes }
    }

    async fn cluster_status(&self) -> ClusterStatus {
        if let Some(member) = &self.member {
            return member.view().status();
        }
        let (node, Levels { lowest, highest }) = (self.home.node_id, Levels::SUPPORTED);
        let led = self.topics.all().iter().map(|topic| topic.partition_count()).sum();
        let build = Build { version: Some(env!("CARGO_PKG_VERSION").to_owned()), lowest, highest };
        let (leads, builds) = ([(node, led)].into(), [(node, build)].into());
        ClusterStatus { leads, builds, level: self.noted_level(), ..ClusterStatus::default() }
    }

    async fn drain(&self, broker: i32, drain: bool) -> Result<(), Error> {
        if self.is_alone() {
            let why = "this is a single node: there is no other broker that could lead its partitions";
            return Err(Error::new(ErrorKind::Unsupported, why));
        }
        let key = drain_key(broker);
        let change = if drain { Op::Put(key, Bytes::new(), None) } else { Op::Delete(key) };
        self.meta.txn(Vec::new(), vec![change]).await.map_err(|e| metadata_error(&e))?;
        tracing::info!(broker, drain, "whether a broker is to lead nothing was changed");
        Ok(())
    }

    async fn upgrade(&self, dry_run: bool) -> Result<Upgrade, Error> {
        self.raise_level(dry_run).await
    }

    async fn disk_losses(&self, topic: &TopicKey, partition: Option<i32>) -> Result<Vec<DiskLoss>, Error> {
        self.losses_of(topic, partition).await
    }

    async fn accept_disk_losses(&self, topic: &TopicKey, told: &[DiskLoss]) -> Result<(), Error> {
        self.write_off(topic, told).await
    }

    async fn leader_of(&self, topic: &TopicKey, partition: i32) -> Option<(Node, LeaderEpoch)> {
        self.leader_node(self.topics.find(topic)?.tp(partition))
    }

    async fn list_topics(&self) -> Vec<TopicDescription> {
        self.topics.all().iter().map(|topic| self.describe(topic)).collect()
    }

    async fn describe_topic(&self, topic: &TopicKey, auto_create: bool) -> Result<TopicDescription, Error> {
        let found = match (self.find_topic(topic).await, topic) {
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
        if self.stopping() || self.is_leaving() {
            checks.push(("draining".to_owned(), false, "the broker is stopping".to_owned()));
        }
        Health { ready: checks.iter().all(|(_, passed, _)| *passed), checks }
    }
}

impl Broker {
    /// The brokers that are alive, by number.
    pub(crate) fn brokers(&self) -> BTreeSet<i32> {
        let reached = |member: &Member| member.view().reached().collect::<Vec<_>>();
        let others = self.member.iter().flat_map(reached);
        others.chain([self.home.node_id]).collect()
    }

    /// Waits until every partition of a topic has a leader, as clients expect of one that was just created.
    pub(crate) async fn wait_for_leaders(&self, topic: &Topic) {
        let Some(member) = &self.member else { return };
        let mut changes = member.changes.subscribe();
        let led = async {
            while topic.partition_numbers().any(|partition| self.leader(topic.tp(partition)).is_none()) {
                // Its sender is as old as the broker.
                drop(changes.changed().await);
            }
        };
        if tokio::time::timeout(LEADERS_PATIENCE, led).await.is_err() {
            tracing::warn!(topic = topic.name, "not every partition of a new topic has a leader yet");
        }
    }

    /// This broker as its clients see it. Those of gRPC stay at the address by which they reached it.
    pub(super) fn own_node(&self) -> Node {
        let (name, zone) = (self.options.node_name.clone(), self.options.zone.clone());
        let told = self.member.as_ref().map(|member| &member.options).filter(|options| options.is_reached());
        let kafka = told.map(|options| Endpoint { host: options.kafka.host.clone(), port: options.kafka.port });
        Node { id: self.home.node_id, name, zone, kafka, grpc: None }
    }

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

    /// The same, and where that broker is; without addresses if it is this one.
    pub(crate) fn leader_node(&self, tp: TopicPartition) -> Option<(Node, LeaderEpoch)> {
        let (leader, epoch) = self.leader(tp)?;
        if leader == self.home.node_id {
            return Some((self.own_node(), epoch));
        }
        let view = self.member.as_ref()?.view();
        let at = view.brokers.get(&leader)?;
        Some((node(leader, &at.record), epoch))
    }

    /// The broker in the zone of a consumer that it should read a partition from, if this one leads that in another zone.
    pub(crate) fn reader_in(&self, zone: Option<&str>, tp: TopicPartition) -> Option<i32> {
        let (zone, own) = (zone?, self.options.zone.as_deref()?);
        let reader = (zone != own).then(|| nearest::reader(&self.member.as_ref()?.view(), zone, tp))??;
        metrics::counter!("runnel_reader_redirects_total").increment(1);
        Some(reader)
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
        let (factor, brokers) = (usize::try_from(topic.record().replication_factor).unwrap_or(1), self.brokers());
        let partitions = topic.partition_numbers().map(|partition| {
            let leader = self.leader(topic.tp(partition));
            let replicas = leader.map_or_else(Vec::new, |(leader, _)| {
                let readers = self.member.as_ref().map(|member| {
                    let view = member.view();
                    nearest::readers(&view, leader, topic.tp(partition))
                });
                replicas(leader, &readers.unwrap_or_default(), factor, &brokers)
            });
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

/// What is reported as the replicas of a partition: its leader, those that consumers of other zones read it from (some
/// clients read from nobody else), and as many of the brokers after it as were asked for. The data is in the bucket.
fn replicas(leader: i32, readers: &[i32], factor: usize, brokers: &BTreeSet<i32>) -> Vec<i32> {
    let after = brokers.range(leader + 1..).chain(brokers.range(..leader)).copied();
    let after = after.filter(|number| !readers.contains(number));
    let count = factor.max(1 + readers.len());
    [leader].into_iter().chain(readers.iter().copied()).chain(after).take(count).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replicas_begin_with_the_leader_and_go_round() {
        let brokers = BTreeSet::from([0, 2, 5]);
        assert_eq!(replicas(2, &[], 1, &brokers), [2]);
        assert_eq!(replicas(2, &[], 2, &brokers), [2, 5]);
        assert_eq!(replicas(5, &[], 3, &brokers), [5, 0, 2]);
        assert_eq!(replicas(5, &[], 9, &brokers), [5, 0, 2], "no more than there are");
        assert_eq!(replicas(2, &[0], 1, &brokers), [2, 0], "who is read from is named");
        assert_eq!(replicas(2, &[0], 2, &brokers), [2, 0]);
        assert_eq!(replicas(2, &[0], 3, &brokers), [2, 0, 5], "and only once");
    }
}
