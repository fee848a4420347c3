//! Starting a broker in a cluster: disk, bucket and metadata store agree on which cluster this is, the broker says that it
//! is alive, and its earlier incarnations on this disk are ended.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use runnel_api::Error;
use runnel_blob::{Bucket, CasOutcome, Key};
use runnel_format::Levels;
use runnel_format::meta::{
    BrokerRecord, BuildRecord, ClusterRecord, ControllerRecord, Identity, SessionRecord, SessionState, TopicRecord,
};
use runnel_metastore::{Compare, Embedded, ErrorKind, LeaseId, MetaStore, Op, Snapshot, Versioned};
use runnel_runtime::simulation::random_id;
use tokio::time::Instant;

use super::Member;
use super::lease::Lease;
use super::view::{CONTROLLER, LIVE, Subject, View, build_key, live_key};
use crate::error::{StartError, is_unavailable};
use crate::home::{self, Agreement, Home, Layout};
use crate::options::{ClusterOptions, Options};
use crate::restore::RESTORING;
use crate::start::{LOGGED, check_storage, look_at_log, open_log};
use crate::{Broker, Ports, sessions};

/// Key of the cluster record in the metadata store.
pub(crate) const CLUSTER: &str = "cluster";

/// Prefix of the keys of numbers that were given to disks.
const NUMBERS: &str = "numbers/";

/// Pause before a store or a bucket that does not answer is asked again.
const AGAIN: Duration = Duration::from_secs(1);

impl Broker {
    /// Starts a broker of a cluster whose metadata store is `meta`. Waits for the store and the bucket if they do not
    /// answer. Returns once it can serve.
    pub async fn join(
        meta: Arc<dyn MetaStore>,
        options: Options,
        cluster: ClusterOptions,
        ports: Ports,
    ) -> Result<Arc<Self>, StartError> {
        let bucket = Bucket::open(&options.storage, ports.fail.clone())?;
        Self::join_on(bucket, meta, options, cluster, ports).await
    }

    /// As [`Broker::join`], on a bucket that is open already.
    pub async fn join_on(
        bucket: Bucket,
        meta: Arc<dyn MetaStore>,
        options: Options,
        cluster: ClusterOptions,
        ports: Ports,
    ) -> Result<Arc<Self>, StartError> {
        let layout = Layout::new(&options.data_dir);
        let lock = home::lock(&layout)?;
        let identity = home::read_identity(&layout, &*ports.disk)?;
        if let Some(identity) = &identity {
            check_storage(identity, &options.storage.url)?;
        }
        let record = agree(&bucket, &*meta).await?;
        let identity = match identity {
            Some(identity) => belongs(identity, &record)?,
            None => {
                let new = home::new_identity(&options.node_name, &options.storage.url);
                let identity = Identity { cluster_id: record.cluster_id, ..new };
                home::write_identity(&layout, &*ports.disk, &identity)?;
                identity
            }
        };
        check_values(&*meta).await?;
        patiently(|| async { Ok(bucket.probe().await?) }).await?;
        let session = random_id().as_u64_pair().0;
        let node_id = match options.node_number {
            Some(number) => number,
            None => patiently(|| number_of(&*meta, &identity)).await?,
        };
        let home = Home { node_id, layout, identity, session, _data_lock: lock, bucket_lock: None };
        let loss_accepted = check_log(&home.layout, &ports).await?;
        let set_aside = patiently(|| Self::set_written_off_aside(&*meta, &options, &ports, &home)).await?;
        let (log, mut recovered) = open_log(&options, &ports, &home).await?;
        if loss_accepted {
            recovered.unattributed.clear();
            log.accept_hidden_loss();
        }
        let asked = Instant::now();
        let broker = broker_record(&home, &options, &cluster, !cluster.is_reached());
        let lease = patiently(|| register(&*meta, &home, &broker, cluster.lease_ttl)).await?;
        let lease = Lease::new(lease, cluster.lease_ttl, asked);
        check_still(&*meta, &record).await?;
        let Snapshot { revision, entries } = patiently(|| async { Ok(meta.snapshot("").await?) }).await?;
        let mut view = View::default();
        for (key, value) in &entries {
            let subject = view.apply(key, Some(value))?;
            if subject == Subject::WrittenOff(home.identity.disk_id) && !set_aside.contains(key) {
                let why = "the loss of this broker's disk was accepted at this moment: start again";
                return Err(StartError::Refused(why.to_owned()));
            }
        }
        let member = Some(Member::new((revision, view), lease, cluster, record.era));
        let agreed = Agreement::Agreed;
        let broker = Self::assemble(options, ports, home, bucket, meta, log, recovered, agreed, member).await?;
        tokio::spawn(Arc::clone(&broker).stay_alive());
        tokio::spawn(Arc::clone(&broker).watch_era());
        broker.lanes_inherited.send_replace(true);
        broker.load_settings().await.map_err(refused)?;
        broker.load_topics().await.map_err(refused)?;
        broker.end_predecessors().await;
        broker.follow_leaders();
        if let Err(error) = broker.forget_dead_topics().await {
            tracing::warn!(%error, "cannot look for topics that were deleted; their log space is given back later");
        }
        tokio::spawn(Arc::clone(&broker).follow(revision + 1));
        tokio::spawn(Arc::clone(&broker).control());
        tokio::spawn(Arc::clone(&broker).tidy_up());
        tokio::spawn(Arc::clone(&broker).suspect_others());
        broker.start_tasks();
        Ok(broker)
    }

    /// Ends the earlier sessions of this disk, which are dead for certain: this process holds it.
    async fn end_predecessors(&self) {
        let Some(member) = &self.member else { return };
        let ours = |record: &SessionRecord| {
            record.disk_id == self.home.identity.disk_id && record.state != SessionState::Sealed
        };
        let own = self.home.session;
        let old: Vec<u64> = {
            let view = member.view();
            let ended = view.sessions.iter().filter(|(session, at)| **session != own && ours(&at.record));
            ended.map(|(session, _)| *session).collect()
        };
        for session in old {
            // Whoever needs what is in its lanes ends it as well.
            if let Err(error) = self.end_session(session).await {
                tracing::warn!(session = %sessions::shown(session), %error, "cannot end an earlier session of this broker yet");
            }
        }
    }
}

/// What others see of a broker.
pub(super) fn broker_record(
    home: &Home,
    options: &Options,
    cluster: &ClusterOptions,
    is_draining: bool,
) -> BrokerRecord {
    BrokerRecord {
        session: home.session,
        disk_id: home.identity.disk_id,
        name: options.node_name.clone(),
        zone: options.zone.clone(),
        is_draining,
        kafka: cluster.kafka.clone(),
        grpc: cluster.grpc.clone(),
    }
}

/// Says what this broker was built from.
pub(super) fn build_put(home: &Home, lease: LeaseId) -> Op {
    let (version, levels) = (env!("CARGO_PKG_VERSION").to_owned(), Levels::SUPPORTED);
    let record = BuildRecord { session: home.session, version, levels };
    Op::Put(build_key(home.node_id), record.encode(), Some(lease))
}

fn refused(error: Error) -> StartError {
    StartError::Refused(error.message)
}

/// Repeats what fails because somebody does not answer.
pub(super) async fn patiently<T, F>(mut attempt: impl FnMut() -> F) -> Result<T, StartError>
where
    F: Future<Output = Result<T, StartError>>,
{
    loop {
        match attempt().await {
            Err(StartError::Bucket(error)) if is_unavailable(&error) => {
                tracing::warn!(%error, "the bucket does not answer; the start waits for it");
            }
            Err(StartError::Metadata(error)) if error.kind() == ErrorKind::Unavailable => {
                tracing::warn!(%error, "the metadata store does not answer; the start waits for it");
            }
            done => return done,
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// The cluster that bucket and metadata store agree on; a new one if both are empty.
async fn agree(bucket: &Bucket, meta: &dyn MetaStore) -> Result<ClusterRecord, StartError> {
    patiently(|| async {
        // In this order: whoever makes the cluster at this moment writes to the bucket first.
        let found = meta.get(CLUSTER).await?;
        let in_store = found.as_ref().map(|found| home::decode_cluster(&found.value)).transpose()?;
        let in_bucket = home::read_cluster(bucket).await?.map(|(record, _)| record);
        match (in_bucket, in_store) {
            (Some(record), _) if record.session.is_some() => Err(StartError::Refused(format!(
                "the bucket belongs to cluster {}, a single node without a shared metadata store: point storage.url at an \
                 empty prefix, or unset metadata.url",
                record.cluster_id
            ))),
            (Some(bucket), Some(store)) if bucket == store => Ok(bucket),
            (Some(bucket), Some(store)) if bucket.level > store.level && is_raised(&store, &bucket) => {
                follow_bucket(meta, found, bucket).await
            }
            (Some(bucket), Some(store)) => Err(StartError::Refused(format!(
                "the bucket belongs to cluster {}, the metadata store to cluster {}: set storage.url and metadata.url to those \
                 of one cluster",
                told(&bucket),
                told(&store)
            ))),
            (None, Some(store)) => Err(StartError::Refused(format!(
                "the metadata store knows cluster {}, and the bucket is empty: it may be the wrong bucket, or its content was \
                 deleted. Point storage.url at the right one, or choose another prefix in metadata.url; nothing was changed",
                store.cluster_id
            ))),
            (Some(record), None) => adopt(bucket, meta, record).await,
            (None, None) => create(bucket, meta).await,
        }
    })
    .await
}

fn told(record: &ClusterRecord) -> String {
    format!("{} (era {}, level {})", record.cluster_id, record.era, record.level)
}

/// Whether two records are of one cluster, before and after its level was raised.
fn is_raised(before: &ClusterRecord, after: &ClusterRecord) -> bool {
    ClusterRecord { level: after.level, ..before.clone() } == *after
}

/// Whoever raised the level wrote to the bucket and got no further.
async fn follow_bucket(
    meta: &dyn MetaStore,
    found: Option<Versioned>,
    record: ClusterRecord,
) -> Result<ClusterRecord, StartError> {
    let unchanged = found.map(|found| Compare::Revision(CLUSTER.to_owned(), found.revision));
    let put = Op::Put(CLUSTER.to_owned(), record.encode(), None);
    let outcome = meta.txn(unchanged.into_iter().collect(), vec![put]).await?;
    if outcome.is_committed() { Ok(record) } else { Err(changing()) }
}

/// That this release can read what the store holds, before anything is changed there. The level says so; this is in case that
/// a release forgot to raise it.
async fn check_values(meta: &dyn MetaStore) -> Result<(), StartError> {
    let found = patiently(|| async { Ok(meta.snapshot("").await?) }).await?;
    let mut view = View::default();
    for (key, value) in &found.entries {
        if let Subject::Topic(_) = view.apply(key, Some(value))? {
            TopicRecord::decode(&value.value)?;
        }
    }
    Ok(())
}

async fn create(bucket: &Bucket, meta: &dyn MetaStore) -> Result<ClusterRecord, StartError> {
    let level = Levels::SUPPORTED.highest;
    let record = ClusterRecord { cluster_id: random_id(), era: 0, level, session: None };
    let created = bucket.create_register(&Key::ClusterId, record.encode()).await?;
    let record = match created {
        CasOutcome::Done(_) => record,
        // Another broker of the same cluster starts for the first time too.
        CasOutcome::Conflict(Some(found)) => home::decode_cluster(&found.payload)?,
        CasOutcome::Conflict(None) => return Err(changing()),
    };
    adopt(bucket, meta, record).await
}

/// The bucket knows the cluster and the metadata store does not: right while nothing was created.
async fn adopt(bucket: &Bucket, meta: &dyn MetaStore, record: ClusterRecord) -> Result<ClusterRecord, StartError> {
    if record.session.is_some() {
        return Err(changing());
    }
    if meta.get(RESTORING).await?.is_some() {
        return Err(StartError::Refused(format!(
            "cluster {} is being restored into this metadata store: wait for `runnel cluster restore`, or run it again if \
             it was cut off",
            record.cluster_id
        )));
    }
    if !bucket.list("meta/topics/").await?.is_empty() {
        return Err(StartError::Refused(format!(
            "the bucket is that of cluster {}, and the metadata store is empty: it may be the wrong one, or have lost its \
             content. Set metadata.url to the right one; if there is none any more, `runnel cluster restore` makes it anew \
             from the bucket. Nothing was changed",
            record.cluster_id
        )));
    }
    let put = Op::Put(CLUSTER.to_owned(), record.encode(), None);
    let compare = [CLUSTER, RESTORING].map(|key| Compare::Absent(key.to_owned()));
    meta.txn(compare.to_vec(), vec![put]).await?;
    match meta.get(CLUSTER).await? {
        Some(found) if found.value == record.encode() => Ok(record),
        _ => Err(changing()),
    }
}

/// That a broker has said that it is alive in the store of the cluster that it found there, and not in what a restore was
/// about to throw away.
async fn check_still(meta: &dyn MetaStore, record: &ClusterRecord) -> Result<(), StartError> {
    let found = patiently(|| async { Ok(meta.get(CLUSTER).await?) }).await?;
    // One who raises the level has counted the brokers that are alive, and may have missed this one.
    if found.is_some_and(|found| found.value == record.encode()) { Ok(()) } else { Err(changing()) }
}

fn changing() -> StartError {
    StartError::Refused("somebody else claimed the bucket or the metadata store at this moment: start again".to_owned())
}

fn belongs(identity: Identity, record: &ClusterRecord) -> Result<Identity, StartError> {
    if identity.cluster_id == record.cluster_id {
        return Ok(identity);
    }
    Err(StartError::Refused(format!(
        "this data directory belongs to cluster {}, bucket and metadata store to cluster {}: use another node.data_dir",
        identity.cluster_id, record.cluster_id
    )))
}

/// Refuses a data directory that had a log and has none now. Whether a loss in there was accepted.
async fn check_log(layout: &Layout, ports: &Ports) -> Result<bool, StartError> {
    let disk = Embedded::open(&layout.metadata())?;
    let (lanes, loss_accepted) = look_at_log(layout, ports)?;
    let known = disk.get(LOGGED).await?.is_some();
    if known && !lanes && !loss_accepted {
        return Err(home::Refusal::LogLost.into());
    }
    if !known {
        disk.txn(Vec::new(), vec![Op::Put(LOGGED.to_owned(), Bytes::new(), None)]).await?;
    }
    disk.close().await;
    Ok(loss_accepted)
}

/// The number of a disk: the one that it was given once, or the lowest that no other was given.
async fn number_of(meta: &dyn MetaStore, identity: &Identity) -> Result<i32, StartError> {
    loop {
        let mut given = BTreeSet::new();
        for (key, found) in meta.range(NUMBERS).await? {
            let Some(number) = key.strip_prefix(NUMBERS).and_then(|number| number.parse::<i32>().ok()) else {
                continue;
            };
            if Identity::decode(&found.value)?.disk_id == identity.disk_id {
                return Ok(number);
            }
            given.insert(number);
        }
        // Those that were set and not given are in use while their brokers live.
        for (key, _) in meta.range(LIVE).await? {
            given.extend(key.strip_prefix(LIVE).and_then(|number| number.parse::<i32>().ok()));
        }
        let number = (0..i32::MAX).find(|number| !given.contains(number)).unwrap_or(i32::MAX);
        let key = format!("{NUMBERS}{number}");
        let put = Op::Put(key.clone(), identity.encode(), None);
        if meta.txn(vec![Compare::Absent(key)], vec![put]).await?.is_committed() {
            return Ok(number);
        }
    }
}

/// Says that this broker is alive, together with the record of its session.
async fn register(
    meta: &dyn MetaStore,
    home: &Home,
    broker: &BrokerRecord,
    ttl: Duration,
) -> Result<LeaseId, StartError> {
    let mut lease = meta.grant_lease(ttl).await?;
    let (live, session) = (live_key(home.node_id), sessions::key(home.session));
    let record = SessionRecord {
        node_name: home.identity.node_name.clone(),
        disk_id: home.identity.disk_id,
        state: SessionState::Active,
        lanes: Vec::new(),
    };
    let mut waited = false;
    loop {
        let (mut compare, mut ops) = (Vec::new(), Vec::new());
        match meta.get(&live).await? {
            None => compare.push(Compare::Absent(live.clone())),
            Some(found) => {
                let holder = BrokerRecord::decode(&found.value)?;
                if holder.session == home.session {
                    // An answer that got lost: its lease is not this one.
                    let compare = vec![Compare::Revision(live.clone(), found.revision)];
                    let put = Op::Put(live.clone(), broker.encode(), Some(lease));
                    if meta.txn(compare, vec![put, build_put(home, lease)]).await?.is_committed() {
                        return Ok(lease);
                    }
                    continue;
                }
                if holder.disk_id != home.identity.disk_id {
                    if waited {
                        return Err(taken(home.node_id, &holder.name));
                    }
                    // It may be dead, and its lease about to end.
                    waited = true;
                    tracing::warn!(
                        number = home.node_id,
                        holder = holder.name,
                        "waits for the lease of another broker"
                    );
                    wait_for_end(meta, &live, found.revision, ttl * 2).await;
                    lease = meta.grant_lease(ttl).await?;
                    continue;
                }
                // An earlier incarnation on this disk, which this process holds now. Nobody need wait for its lease.
                compare.push(Compare::Revision(live.clone(), found.revision));
                if let Some(controller) = controller_of(meta, holder.session).await? {
                    compare.push(controller);
                    ops.push(Op::Delete(CONTROLLER.to_owned()));
                }
            }
        }
        if meta.get(&session).await?.is_some() {
            // An answer got lost, and then the lease. Others may have ended the session since, and ended it stays.
            return Err(StartError::Refused(
                "the session of this start was over before it was known to have begun: start again".to_owned(),
            ));
        }
        compare.push(Compare::Absent(session.clone()));
        ops.push(Op::Put(live.clone(), broker.encode(), Some(lease)));
        ops.push(build_put(home, lease));
        ops.push(Op::Put(session.clone(), record.encode(), None));
        if meta.txn(compare, ops).await?.is_committed() {
            return Ok(lease);
        }
    }
}

/// What must hold if `session` is the controller; `None` if it is not.
async fn controller_of(meta: &dyn MetaStore, session: u64) -> Result<Option<Compare>, StartError> {
    let Some(found) = meta.get(CONTROLLER).await? else { return Ok(None) };
    let is_controller = ControllerRecord::decode(&found.value)?.session == session;
    Ok(is_controller.then(|| Compare::Revision(CONTROLLER.to_owned(), found.revision)))
}

/// Waits until a key changes, for at most `patience`.
pub(super) async fn wait_for_end(meta: &dyn MetaStore, key: &str, revision: u64, patience: Duration) {
    let mut watch = meta.watch(key, revision + 1);
    // The key is read again in any case.
    drop(tokio::time::timeout(patience, watch.next()).await);
}

fn taken(number: i32, holder: &str) -> StartError {
    StartError::Refused(format!(
        "broker `{holder}` has node.number {number} too, and it is alive: give every broker of a cluster a number of its own"
    ))
}
