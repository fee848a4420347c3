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

use super::Member;
use super::join::{patiently, wait_for_end};
use super::view::{LIVE, live_key};
use crate::error::StartError;
use crate::home::{self, Layout};
use crate::open::{PARTITIONS, partition_of};
use crate::options::{BalanceOptions, ClusterOptions, HostPort, Options};
use crate::sessions::{SESSIONS, session_of};
use crate::{Broker, Ports};

/// How often is looked whether a partition is stuck, besides when something changes.
const LOOK: Duration = Duration::from_millis(100);

/// After so long without a partition shipped it is said what is waited for.
const SILENCE: Duration = Duration::from_secs(5);

/// Numbers from here downwards are those of brokers that adopt a disk: above any that is given to one that stays.
const NUMBERS: i32 = 999_999_999;

/// How far an adoption has come, in partitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdoptProgress {
    /// Those that waited for the disk.
    pub all: usize,
    /// Those that still do.
    pub left: usize,
    /// What one of them waits for, where nothing has come on for a while.
    pub waits_for: Option<String>,
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
        let cluster =
            ClusterOptions { lease_ttl, kafka: nowhere.clone(), grpc: nowhere, balance: BalanceOptions::default() };
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
        let (mut before, mut since) = (usize::MAX, Instant::now());
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
            if left.len() != before {
                (before, since) = (left.len(), Instant::now());
            }
            let blocked =
                self.topics.open_partitions().into_iter().map(|(_, open)| open).filter(|one| one.is_blocked());
            let blocked: BTreeSet<TopicPartition> = blocked.map(|one| one.tp).collect();
            let stuck = left.difference(&blocked).next().filter(|_| since.elapsed() >= SILENCE);
            let waits_for = stuck.map(|tp| self.waits_for(member, *tp));
            told(AdoptProgress { all, left: left.len(), waits_for });
            if left.is_subset(&blocked) {
                // The others take what is shipped, if there is anybody; else it waits for whoever comes.
                self.wait_until_given(member, blocked.len(), Instant::now() + self.options.shutdown_timeout).await;
                return Ok(());
            }
            if let Some(reason) = self.failure.borrow().as_ref() {
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

impl Broker {
    /// What the shipping of a partition waits for.
    fn waits_for(&self, member: &Member, tp: TopicPartition) -> String {
        let label = self.topics.find(&TopicKey::Id(tp.topic)).map_or_else(|| tp.to_string(), |topic| topic.label(tp));
        if let Some(trouble) = member.trouble(tp) {
            return format!("{label}: {trouble}");
        }
        let view = member.view();
        let leader = view.partitions.get(&tp).and_then(|at| at.record.leader);
        match leader.map(|leader| (leader.session, view.broker_of(leader.session))) {
            Some((session, _)) if session == self.home.session => format!("{label} is being opened and shipped"),
            Some((_, Some((number, _)))) => format!("broker {number} leads {label} and has to give it up"),
            _ if view.controller.is_none() => format!("{label}: no broker is the controller: one has to run"),
            _ => format!("{label}: the controller has yet to say who leads it"),
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
