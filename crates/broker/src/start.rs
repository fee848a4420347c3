//! Starting a broker: lock, identity, bucket, log, topics; then the tasks that run in the background.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU32};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use futures::StreamExt;
use runnel_api::{Error, ErrorKind, TopicKey};
use runnel_blob::Bucket;
use runnel_cache::BlockCache;
use runnel_format::Levels;
use runnel_format::meta::{ClusterRecord, Identity};
use runnel_metastore::{Embedded, MetaStore, Op};
use runnel_record::TopicId;
use runnel_runtime::Shutdown;
use runnel_runtime::simulation::{blocking, random_id};
use runnel_wal::{LaneIdentity, LocalLog, Recovered};
use tokio::sync::{Semaphore, watch};
use uuid::Uuid;

use crate::cluster::Member;
use crate::cold::{ColdReader, SegmentHandles};
use crate::configs::Defaults;
use crate::error::{StartError, is_unavailable};
use crate::groups::Coordinators;
use crate::home::{self, Agreement, Decision, Home, InBucket, Layout, OnDisk};
use crate::lanes::Lanes;
use crate::open::Inherited;
use crate::options::Options;
use crate::produce::MOST_APPENDS;
use crate::producer_ids::ProducerIds;
use crate::readahead::{Readahead, Windows};
use crate::room::Rooms;
use crate::sessions;
use crate::settings::Settings;
use crate::ship::ENCODERS;
use crate::tail::TailBudget;
use crate::topics::Topics;
use crate::{Broker, Ports};

/// Key under which the metadata store knows that the bucket was claimed.
const CLAIMED: &str = "cluster";

/// Key under which the metadata store knows that there is a log; from then on its absence is a loss.
pub(crate) const LOGGED: &str = "logged";

/// File by which an operator says that the loss of the log is accepted.
const LOSS_ACCEPTED: &str = "loss-accepted";

/// How long a start waits for the bucket before it goes on without it.
const BUCKET_PATIENCE: Duration = Duration::from_secs(5);

/// How often a bucket that did not answer is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// Longest pause between two attempts to take over what earlier sessions left there.
const MOST_PATIENT: Duration = Duration::from_secs(10);

/// Partitions opened at once in the background.
const OPEN_AT_ONCE: usize = 16;

/// Memory of the tail and of the cache of rebuilt batches: half of `cache.memory` each.
const TAIL_SHARE: u64 = 2;

/// Of the half of the cache, what holds runs that are fetched and not rebuilt yet: a quarter. They are compressed there: the
/// same memory holds several times as much of the log as that for rebuilt ones.
const WINDOW_SHARE: u64 = 4;

/// Of the memory for replays, what is for runs that are rebuilt before their readers ask for them: a third. The rest is for
/// those that are being read, and a run that is dropped too early was fetched and rebuilt for nothing.
const AHEAD_SHARE: u64 = 3;

/// Of the memory of the tail, what is for partitions that others lead in a broker that is in a zone: a quarter.
const ZONE_SHARE: u64 = 4;

impl Broker {
    /// Starts a broker on its data directory and bucket. Returns once it can serve; partitions open on first use and
    /// in the background.
    pub async fn start(options: Options, ports: Ports) -> Result<Arc<Self>, StartError> {
        let bucket = Bucket::open(&options.storage, ports.fail.clone())?;
        Self::start_on(bucket, options, ports).await
    }

    /// As [`Broker::start`], on a bucket that is open already: one with injected faults, for one.
    pub async fn start_on(bucket: Bucket, options: Options, ports: Ports) -> Result<Arc<Self>, StartError> {
        let layout = Layout::new(&options.data_dir);
        let lock = home::lock(&layout)?;
        let bucket_lock = bucket.try_lock()?;
        let identity = home::read_identity(&layout, &*ports.disk)?;
        if let Some(identity) = &identity {
            check_storage(identity, &options.storage.url)?;
        }
        let meta: Arc<dyn MetaStore> = Arc::new(Embedded::open(&layout.metadata())?);
        let (lanes, loss_accepted) = look_at_log(&layout, &ports)?;
        let on_disk = OnDisk {
            identity: identity.as_ref().map(|i| (i.cluster_id, i.disk_id)),
            claimed: meta.get(CLAIMED).await?.is_some(),
            lanes,
            log_lost: !lanes && !loss_accepted && meta.get(LOGGED).await?.is_some(),
        };
        let (in_bucket, cluster) = look_at_bucket(&bucket).await?;
        let decision = home::decide(on_disk, in_bucket);
        if decision == Decision::Claim && cluster.is_some() && !bucket.list("meta/topics/").await?.is_empty() {
            return Err(home::Refusal::MetadataLost.into());
        }
        tracing::debug!(?on_disk, ?in_bucket, ?decision, "compared the data directory with the bucket");
        let identity = match (decision, identity) {
            (Decision::Refuse(refusal), _) => return Err(refusal.into()),
            (_, Some(identity)) => identity,
            (_, None) => {
                let identity = home::new_identity(&options.node_name, &options.storage.url);
                home::write_identity(&layout, &*ports.disk, &identity)?;
                identity
            }
        };
        let session = random_id().as_u64_pair().0;
        let level = level_of(cluster.as_ref());
        let agreement = match decision {
            Decision::OpenUnseen => Agreement::Unseen,
            _ => match agree(&bucket, &*meta, &identity, session, ports.clock.now_ms(), cluster).await {
                Ok(()) => Agreement::Agreed,
                // It answers reads and takes no writes, being full say: as good as silent, and waited for the same way.
                Err(StartError::Bucket(error)) if decision == Decision::Open && is_unavailable(&error) => {
                    tracing::warn!(%error, "the bucket takes no writes; what is written here is shipped later");
                    Agreement::Unseen
                }
                Err(error) => return Err(error),
            },
        };
        let node_id = options.node_number.unwrap_or(0);
        let home = Home { node_id, layout, identity, session, _data_lock: lock, bucket_lock };
        let (log, mut recovered) = open_log(&options, &ports, &home).await?;
        if loss_accepted {
            recovered.unattributed.clear();
            log.accept_hidden_loss();
        }
        if meta.get(LOGGED).await?.is_none() {
            meta.txn(Vec::new(), vec![Op::Put(LOGGED.to_owned(), bytes::Bytes::new(), None)]).await?;
        }
        let broker = Self::assemble(options, ports, home, bucket, meta, log, recovered, agreement, None).await?;
        if broker.may_ship() {
            broker.note_level(level);
        }
        broker.begin_session().await.map_err(|e| StartError::Refused(e.message))?;
        if broker.may_ship() {
            // Without an answer in time it goes on in the background; what is on the disk need not wait for it.
            match tokio::time::timeout(BUCKET_PATIENCE, broker.inherit_sessions()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!(%error, "cannot take over the lanes in the bucket yet"),
                Err(_) => tracing::warn!("the lanes in the bucket are taken over in the background"),
            }
        }
        broker.load_settings().await.map_err(|e| StartError::Refused(e.message))?;
        broker.load_topics().await.map_err(|e| StartError::Refused(e.message))?;
        if *broker.bucket_agreed.borrow() == Agreement::Agreed {
            broker.reconcile_settings().await.map_err(|e| StartError::Refused(e.message))?;
            broker.reconcile_topics().await.map_err(|e| StartError::Refused(e.message))?;
        }
        if let Some(lock) = &broker.home.bucket_lock {
            let leftovers = lock.leftovers();
            drop(blocking(move || match leftovers.sweep() {
                Ok(0) => {}
                Ok(files) => tracing::info!(files, "deleted what unfinished uploads had left in the bucket"),
                Err(error) => tracing::warn!(%error, "what unfinished uploads have left in the bucket stays"),
            }));
        }
        tokio::spawn(Arc::clone(&broker).follow_metadata());
        tokio::spawn(Arc::clone(&broker).background());
        broker.start_tasks();
        Ok(broker)
    }

    /// Starts what every broker does all the time.
    pub(crate) fn start_tasks(self: &Arc<Self>) {
        self.log.get_ahead();
        self.start_coordinators();
        tokio::spawn(Arc::clone(self).ship_loop());
        tokio::spawn(Arc::clone(self).retention_loop());
        tokio::spawn(Arc::clone(self).merge_loop());
        tokio::spawn(Arc::clone(self).make_object_lane());
        tokio::spawn(Arc::clone(self).tend_lanes());
    }

    #[allow(clippy::too_many_arguments)] // one call; the parts of a broker
    pub(crate) async fn assemble(
        options: Options,
        ports: Ports,
        home: Home,
        bucket: Bucket,
        meta: Arc<dyn MetaStore>,
        log: LocalLog,
        recovered: Recovered,
        agreement: Agreement,
        member: Option<Member>,
    ) -> Result<Arc<Self>, StartError> {
        let log = Lanes::new(log);
        let tail_memory = options.cache.memory / TAIL_SHARE;
        let zone_memory = if member.is_some() && options.zone.is_some() { tail_memory / ZONE_SHARE } else { 0 };
        let cache_memory = options.cache.memory - tail_memory;
        let window_memory = cache_memory / WINDOW_SHARE;
        let cache = BlockCache::open(&runnel_cache::Options {
            memory: cache_memory - window_memory,
            disk: options.cache.disk,
            dir: home.layout.cache(),
        })
        .await?;
        let readahead = Readahead::new(cache.backfill_bytes() / AHEAD_SHARE);
        let cold = ColdReader {
            bucket: bucket.clone(),
            log: log.clone(),
            cache,
            segments: SegmentHandles::default(),
            readahead: Mutex::new(readahead),
            windows: Mutex::new(Windows::new(window_memory)),
            log_room: Rooms::default(),
            bucket_room: Rooms::default(),
        };
        metrics::gauge!("runnel_session_start_time_seconds").set((ports.clock.now_ms() / 1000) as f64);
        Ok(Arc::new_cyclic(|me| Self {
            me: Weak::clone(me),
            topics: Topics::new(Defaults::new(&options)),
            groups: Coordinators::new(options.groups.clone()),
            options,
            ports,
            home,
            bucket,
            meta,
            log,
            cold: Arc::new(cold),
            tails: TailBudget::new(tail_memory - zone_memory),
            zone_memory,
            settings: Settings::default(),
            producer_ids: ProducerIds::default(),
            inherited: Inherited::new(recovered),
            member,
            bucket_agreed: watch::Sender::new(agreement),
            lanes_inherited: watch::Sender::new(false),
            encoders: Semaphore::new(ENCODERS),
            admission: Semaphore::new(MOST_APPENDS as usize),
            level: AtomicU32::new(0),
            draining: AtomicBool::new(false),
            stop_signal: Shutdown::new(),
            failure: watch::Sender::new(None),
        }))
    }

    /// Ends the broker when the metadata store ends before it: a store that failed serves no more until it is opened
    /// anew, and without it nothing ships and the log is never trimmed.
    async fn follow_metadata(self: Arc<Self>) {
        // Only the end is of interest.
        let mut watch = self.meta.watch(CLAIMED, u64::MAX);
        while watch.next().await.is_ok() {}
        if !self.stopping() {
            self.fail("the metadata store failed; a restart opens it from what is durable".to_owned());
        }
    }

    /// Waits for the bucket if it did not answer, then does what a start leaves for later.
    async fn background(self: Arc<Self>) {
        if !self.wait_for_agreement().await || !self.take_over_lanes().await {
            return;
        }
        if let Err(error) = ProducerIds::put_spare_aside(&self.bucket, &*self.meta).await {
            tracing::warn!(%error, "no spare block of producer ids: new producers need the bucket");
        }
        if let Err(error) = self.forget_dead_topics().await {
            tracing::warn!(%error, "cannot look for topics that were deleted; their log space is given back later");
        }
        let partitions: Vec<_> = self
            .topics
            .all()
            .into_iter()
            .flat_map(|topic| topic.partition_numbers().map(move |n| (TopicKey::Id(topic.id), n)))
            .collect();
        let opening = futures::stream::iter(partitions).take_until(self.stop_signal.triggered());
        opening.for_each_concurrent(OPEN_AT_ONCE, |(topic, n)| self.open_and_sweep(topic, n)).await;
    }

    /// Takes over the lanes in the bucket, if the start could not. False if the broker stops first.
    async fn take_over_lanes(&self) -> bool {
        let mut pause = ASK_AGAIN;
        while !self.has_inherited() {
            if let Err(error) = self.inherit_sessions().await {
                tracing::warn!(%error, "cannot take over the lanes in the bucket yet");
                tokio::select! {
                    biased;
                    () = self.stop_signal.triggered() => return false,
                    () = tokio::time::sleep(pause) => {}
                }
                pause = (pause * 2).min(MOST_PATIENT);
            }
        }
        true
    }

    async fn open_and_sweep(&self, topic: TopicKey, partition: i32) {
        // A failure was logged where it happened, and shows again to whoever uses the partition.
        if let Ok(open) = self.open_partition(&topic, partition).await {
            self.sweep(&open).await;
        }
    }

    /// Asks a bucket that was silent at the start until it answers and fits. False if it never will.
    async fn wait_for_agreement(&self) -> bool {
        while *self.bucket_agreed.borrow() == Agreement::Unseen {
            tokio::select! {
                biased;
                () = self.stop_signal.triggered() => return false,
                () = tokio::time::sleep(ASK_AGAIN) => {}
            }
            let (in_bucket, cluster) = match look_at_bucket(&self.bucket).await {
                Ok(found) => found,
                Err(StartError::Level(misfit)) => {
                    self.bucket_agreed.send_replace(Agreement::Refused(misfit.to_string()));
                    self.outgrown(misfit);
                    return false;
                }
                Err(_) => continue,
            };
            let identity = &self.home.identity;
            let identities = Some((identity.cluster_id, identity.disk_id));
            let on_disk = OnDisk { identity: identities, claimed: true, lanes: true, log_lost: false };
            match home::decide(on_disk, in_bucket) {
                Decision::OpenUnseen => {}
                Decision::Refuse(refusal) => {
                    self.bucket_agreed.send_replace(Agreement::Refused(refusal.to_string()));
                    self.fail(refusal.to_string());
                }
                Decision::Open | Decision::Create | Decision::Claim | Decision::Rebuild => {
                    let (now, level) = (self.ports.clock.now_ms(), level_of(cluster.as_ref()));
                    let agreed = agree(&self.bucket, &*self.meta, identity, self.home.session, now, cluster).await;
                    if let Err(error) = agreed {
                        tracing::warn!(%error, "the bucket answers but cannot be claimed yet");
                        continue;
                    }
                    self.note_level(level);
                    let reconciled = match self.reconcile_settings().await {
                        Ok(()) => self.reconcile_topics().await,
                        failed => failed,
                    };
                    match reconciled {
                        Ok(()) => {}
                        Err(error) if error.kind == ErrorKind::StorageError => {
                            tracing::warn!(%error, "cannot compare the topics with the bucket yet");
                            continue;
                        }
                        Err(error) => tracing::error!(%error, "cannot compare the topics with the bucket"),
                    }
                    tracing::info!("the bucket answers again");
                    self.bucket_agreed.send_replace(Agreement::Agreed);
                }
            }
        }
        *self.bucket_agreed.borrow() == Agreement::Agreed
    }

    /// Gives back the log space of topics that were deleted. Their tombstones say so: that a topic is not known proves
    /// nothing.
    pub(crate) async fn forget_dead_topics(&self) -> Result<(), Error> {
        let on_disk = self.inherited.partitions();
        let topics: BTreeSet<TopicId> =
            on_disk.into_iter().chain(self.log.inherited_partitions()).map(|tp| tp.topic).collect();
        for topic in topics {
            if self.topics.find(&TopicKey::Id(topic)).is_some() {
                continue;
            }
            if self.is_tombstoned(topic).await? {
                tracing::info!(%topic, "the log holds records of a topic that was deleted");
                self.log.forget(topic);
            } else {
                tracing::error!(%topic, "the log holds records of a topic that the bucket does not know; they are kept");
            }
        }
        Ok(())
    }

    pub(crate) fn bucket_check(&self) -> (String, bool, String) {
        let (passed, sentence) = match &*self.bucket_agreed.borrow() {
            Agreement::Agreed if self.has_inherited() => (true, "claimed".to_owned()),
            Agreement::Agreed => (true, "claimed; lanes of earlier sessions are not taken over yet".to_owned()),
            Agreement::Unseen => (true, "does not answer; writes go to the log and are shipped later".to_owned()),
            Agreement::Refused(why) => (false, why.clone()),
        };
        ("bucket".to_owned(), passed, sentence)
    }

    pub(crate) fn wal_check(&self) -> (String, bool, String) {
        let failure = self.failure.borrow().as_ref().map(ToString::to_string);
        let pressure = self.log.pressure();
        let sentence = failure
            .clone()
            .unwrap_or_else(|| format!("{} of {} bytes wait for the bucket", pressure.unshipped_bytes, pressure.limit));
        ("wal".to_owned(), failure.is_none(), sentence)
    }
}

pub(crate) fn check_storage(identity: &Identity, url: &str) -> Result<(), StartError> {
    if identity.storage_url == url {
        return Ok(());
    }
    Err(StartError::Refused(format!(
        "this data directory belongs to the storage {}, and storage.url says {url}: set it back, or use another \
         node.data_dir",
        identity.storage_url
    )))
}

/// Whether there are lanes, and whether their loss was accepted.
pub(crate) fn look_at_log(layout: &Layout, ports: &Ports) -> Result<(bool, bool), StartError> {
    match ports.disk.list(&layout.wal()) {
        Ok(names) => {
            let lanes = names.iter().any(|name| name.starts_with("lane-"));
            Ok((lanes, names.iter().any(|name| name == LOSS_ACCEPTED)))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok((false, false)),
        Err(source) => Err(StartError::DataDir { path: layout.wal().display().to_string(), source }),
    }
}

/// What `cluster/id` says, with patience; a bucket that refuses us (credentials, no such bucket) is an error, one that
/// does not answer is not.
pub(crate) async fn look_at_bucket(
    bucket: &Bucket,
) -> Result<(InBucket, Option<(ClusterRecord, runnel_blob::Version)>), StartError> {
    match tokio::time::timeout(BUCKET_PATIENCE, home::read_cluster(bucket)).await {
        Ok(Ok(None)) => Ok((InBucket::Absent, None)),
        Ok(Ok(Some((record, version)))) => {
            let disk = record.session.as_ref().map_or(Uuid::nil(), |s| s.disk_id);
            Ok((InBucket::Claimed { cluster: record.cluster_id, disk }, Some((record, version))))
        }
        Ok(Err(StartError::Bucket(error))) if is_unavailable(&error) => Ok((InBucket::Unknown, None)),
        Ok(Err(error)) => Err(error),
        Err(_) => Ok((InBucket::Unknown, None)),
    }
}

/// The level of a cluster that was found, or else of the one that is made.
fn level_of(found: Option<&(ClusterRecord, runnel_blob::Version)>) -> u32 {
    found.map_or(Levels::SUPPORTED.highest, |(record, _)| record.level)
}

/// Probes the bucket's conditional writes, claims it for this session and lets the metadata store know.
async fn agree(
    bucket: &Bucket,
    meta: &dyn MetaStore,
    identity: &Identity,
    session: u64,
    now_ms: i64,
    cluster: Option<(ClusterRecord, runnel_blob::Version)>,
) -> Result<(), StartError> {
    bucket.probe().await?;
    // Where another session was here last than this store knows, the store was set back, or lost: it must look again
    // which lanes there are.
    if let Some(last) = cluster.as_ref().and_then(|(record, _)| record.session.as_ref())
        && meta.get(&sessions::key(last.session)).await?.is_none()
    {
        meta.txn(Vec::new(), vec![Op::Delete(sessions::LANES_KNOWN.to_owned())]).await?;
    }
    home::claim_bucket(bucket, identity, session, now_ms, cluster).await?;
    let put = Op::Put(CLAIMED.to_owned(), identity.encode(), None);
    meta.txn(Vec::new(), vec![put]).await?;
    Ok(())
}

pub(crate) fn wal_options(options: &Options, layout: &Layout) -> runnel_wal::Options {
    runnel_wal::Options {
        file_bytes: options.wal.file_bytes,
        max_unflushed: options.wal.max_unflushed,
        max_unshipped: options.wal.max_unshipped,
        ..runnel_wal::Options::new(layout.wal())
    }
}

/// Opens the log on a blocking thread: it seals the lanes of earlier sessions and may read a lot.
pub(crate) async fn open_log(
    options: &Options,
    ports: &Ports,
    home: &Home,
) -> Result<(LocalLog, Recovered), StartError> {
    let wal = wal_options(options, &home.layout);
    let identity = LaneIdentity { session: home.session, disk_id: home.identity.disk_id };
    let (disk, fail) = (Arc::clone(&ports.disk), ports.fail.clone());
    let opened = blocking(move || LocalLog::open(disk, wal, identity, fail)).await;
    match opened {
        Ok(opened) => Ok(opened?),
        Err(error) => Err(StartError::Refused(format!("opening the write-ahead log ended early: {error}"))),
    }
}
