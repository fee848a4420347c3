//! Shipping what the disk of a dead broker holds from another machine (ADR 0025).
//!
//! The process takes the broker's place as one that leaves from the start and that nobody reaches: the controller gives it
//! what only this disk holds, it ships that, and hands over. All of it is what a broker does that is drained, so it may end
//! at any moment and be done again.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use runnel_api::TopicKey;
use runnel_blob::Bucket;
use runnel_format::meta::{BrokerRecord, Durability, Identity, PartitionRecord, SessionRecord};
use runnel_metastore::MetaStore;
use runnel_record::TopicPartition;
use tokio::time::Instant;
use uuid::Uuid;

use super::join::{patiently, wait_for_end};
use super::view::{LIVE, live_key};
use crate::error::StartError;
use crate::home::{self, Layout};
use crate::open::{PARTITIONS, partition_of};
use crate::options::{ClusterOptions, HostPort, Options};
use crate::sessions::{SESSIONS, session_of};
use crate::{Broker, Ports};

/// How often is looked whether a partition is stuck, besides when something changes.
const LOOK: Duration = Duration::from_millis(100);

/// Numbers from here downwards are those of brokers that adopt a disk: above any that is given to one that stays.
const NUMBERS: i32 = 999_999_999;

/// How far an adoption has come, in partitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AdoptProgress {
    /// Those that waited for the disk.
    pub all: usize,
    /// Those that still do.
    pub left: usize,
}

/// What an adoption did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adopted {
    /// The dead broker.
    pub broker: String,
    /// Its disk.
    pub disk: Uuid,
    /// Partitions that need nothing of the disk any more.
    pub shipped: Vec<String>,
    /// Partitions that still do: what they have there is damaged.
    pub left: Vec<String>,
}

impl Broker {
    /// Ships what `options.data_dir`, the data directory of a dead broker, alone holds, so that others lead it. The broker
    /// is waited for to be dead for certain: until its lease has ended.
    pub async fn adopt(
        meta: Arc<dyn MetaStore>,
        options: Options,
        lease_ttl: Duration,
        ports: Ports,
        told: impl FnMut(AdoptProgress) + Send,
    ) -> Result<Adopted, StartError> {
        let bucket = Bucket::open(&options.storage, ports.fail.clone())?;
        Self::adopt_on(bucket, meta, options, lease_ttl, ports, told).await
    }

    /// As [`Broker::adopt`], on a bucket that is open already.
    pub async fn adopt_on(
        bucket: Bucket,
        meta: Arc<dyn MetaStore>,
        options: Options,
        lease_ttl: Duration,
        ports: Ports,
        told: impl FnMut(AdoptProgress) + Send,
    ) -> Result<Adopted, StartError> {
        let identity = home::read_identity(&Layout::new(&options.data_dir), &*ports.disk)?;
        let identity = identity.ok_or_else(|| {
            StartError::Refused(format!("{} is not the data directory of a broker", options.data_dir.display()))
        })?;
        wait_until_dead(&*meta, &identity, lease_ttl).await?;
        let (all, mut sessions) = patiently(|| waiting(&*meta, identity.disk_id)).await?;
        let number = patiently(|| free_number(&*meta)).await?;
        let options = Options { node_name: identity.node_name.clone(), node_number: Some(number), ..options };
        let nowhere = HostPort { host: String::new(), port: 0 };
        let cluster = ClusterOptions { lease_ttl, kafka: nowhere.clone(), grpc: nowhere };
        let broker = Self::join_on(bucket, meta, options, cluster, ports).await?;
        sessions.insert(broker.home.session);
        let shipped = broker.ship_disk(all.len(), told).await;
        broker.stop().await;
        shipped?;
        let left = patiently(|| naming(&*broker.meta, &sessions)).await?;
        let label = |tp: &TopicPartition| match broker.topics.find(&TopicKey::Id(tp.topic)) {
            Some(topic) => topic.label(*tp),
            None => tp.to_string(),
        };
        let shipped = all.difference(&left).map(label).collect();
        let left = left.iter().map(label).collect();
        Ok(Adopted { broker: identity.node_name, disk: identity.disk_id, shipped, left })
    }

    async fn ship_disk(self: &Arc<Self>, all: usize, mut told: impl FnMut(AdoptProgress)) -> Result<(), StartError> {
        let Some(member) = &self.member else { return Ok(()) };
        let disk = self.home.identity.disk_id;
        let twin = {
            let view = member.view();
            let mut others = view.brokers.values().filter(|at| at.record.session != self.home.session);
            others.any(|at| at.record.disk_id == disk)
        };
        if twin {
            return Err(alive(&self.home.identity.node_name));
        }
        let mut changes = member.changes.subscribe();
        loop {
            let left: BTreeSet<TopicPartition> = {
                let view = member.view();
                let earlier = |session| {
                    let of = view.sessions.get(&session);
                    session != self.home.session && of.is_some_and(|at| at.record.disk_id == disk)
                };
                let waits = view.partitions.iter().filter(|(_, at)| needs(&at.record, earlier));
                waits.map(|(tp, _)| *tp).collect()
            };
            told(AdoptProgress { all, left: left.len() });
            let blocked =
                self.topics.open_partitions().into_iter().map(|(_, open)| open).filter(|one| one.is_blocked());
            let blocked: BTreeSet<TopicPartition> = blocked.map(|one| one.tp).collect();
            if left.is_subset(&blocked) {
                // The others take what is shipped, if there is anybody; else it waits for whoever comes.
                self.wait_until_given(member, blocked.len(), Instant::now() + self.options.shutdown_timeout).await;
                return Ok(());
            }
            if let Some(reason) = self.failure.borrow().clone() {
                return Err(StartError::Refused(format!("{reason}: run it again")));
            }
            tokio::select! {
                biased;
                _ = changes.changed() => {}
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }
}

/// The partitions of which a part is only on a disk, and the sessions that wrote there.
async fn waiting(meta: &dyn MetaStore, disk: Uuid) -> Result<(BTreeSet<TopicPartition>, BTreeSet<u64>), StartError> {
    let mut sessions = BTreeSet::new();
    for (key, found) in meta.range(SESSIONS).await? {
        if SessionRecord::decode(&found.value)?.disk_id == disk {
            sessions.extend(session_of(&key));
        }
    }
    Ok((naming(meta, &sessions).await?, sessions))
}

/// The partitions whose records say that a part of them is only on the disks of some sessions.
async fn naming(meta: &dyn MetaStore, sessions: &BTreeSet<u64>) -> Result<BTreeSet<TopicPartition>, StartError> {
    let mut naming = BTreeSet::new();
    for (key, found) in meta.range(PARTITIONS).await? {
        if needs(&PartitionRecord::decode(&found.value)?, |session| sessions.contains(&session)) {
            naming.extend(partition_of(&key));
        }
    }
    Ok(naming)
}

/// Whether a part of a partition is only on the disk of a session.
fn needs(record: &PartitionRecord, of: impl Fn(u64) -> bool) -> bool {
    record.tail.iter().any(|part| part.durability == Durability::Local && of(part.session))
}

/// Waits for the end of the lease of a broker that is dead.
async fn wait_until_dead(meta: &dyn MetaStore, identity: &Identity, ttl: Duration) -> Result<(), StartError> {
    let until = Instant::now() + ttl * 2;
    loop {
        let found = patiently(|| async { Ok(meta.range(LIVE).await?) }).await?;
        let mut holder = None;
        for (key, found) in found {
            if BrokerRecord::decode(&found.value)?.disk_id == identity.disk_id {
                holder = Some((key, found.revision));
            }
        }
        let Some((key, revision)) = holder else { return Ok(()) };
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(alive(&identity.node_name));
        }
        wait_for_end(meta, &key, revision, left).await;
    }
}

/// A number that no broker has.
async fn free_number(meta: &dyn MetaStore) -> Result<i32, StartError> {
    let live: BTreeSet<String> = meta.range(LIVE).await?.into_iter().map(|(key, _)| key).collect();
    Ok((0..=NUMBERS).rev().find(|number| !live.contains(&live_key(*number))).unwrap_or(NUMBERS))
}

fn alive(name: &str) -> StartError {
    StartError::Refused(format!(
        "broker `{name}` is alive and has this disk: it ships what it holds itself. Nothing was changed"
    ))
}
