//! Sessions (protocol §4.1): who writes which lane, and how the lanes of those that are gone come to an end.
//!
//! A lane gets its first byte only after it stands in the record of its session, while that is active. Ending a session
//! is: no more lanes (FENCING), every lane sealed, SEALED. Each step can be repeated, by any number of helpers.

use std::sync::Arc;
use std::time::Duration;

use runnel_api::{Error, ErrorKind};
use runnel_format::meta::{Durability, SessionLane, SessionRecord, SessionState};
use runnel_metastore::{Compare, Op, Versioned};
use runnel_runtime::simulation::random_id;
use runnel_wal::object::{self, ObjectLaneIdentity, ObjectLog, ObjectOptions, SealedLane};
use tokio::time::Instant;
use uuid::Uuid;

use crate::Broker;
use crate::error::{damaged, lane_error, metadata_error, take_over_error};
use crate::home::Agreement;
use crate::lanes::Inherited;
use crate::partition::Partition;

/// Prefix of the keys of sessions.
pub(crate) const SESSIONS: &str = "s/";

/// Key that is there while this store knows every lane in the bucket: not in one that was lost, or set back.
pub(crate) const LANES_KNOWN: &str = "lanes-known";

/// How often is looked for lanes that nothing needs, and for partitions whose topic's durability was changed.
const LOOK: Duration = Duration::from_millis(500);

/// How often a broker of a cluster looks for what its log holds of partitions that others lead, if it has room.
const RELEASE: Duration = Duration::from_secs(10);

/// Pause before a lane that could not be made is tried again.
const AGAIN: Duration = Duration::from_millis(500);

pub(crate) fn key(session: u64) -> String {
    format!("{SESSIONS}{}", shown(session))
}

/// A session as people see it: the same in logs, keys and `cluster status`.
pub(crate) fn shown(session: u64) -> String {
    format!("{session:016x}")
}

/// The session of a key.
pub(crate) fn session_of(key: &str) -> Option<u64> {
    u64::from_str_radix(key.strip_prefix(SESSIONS)?, 16).ok()
}

impl Broker {
    /// Records this session, which has no lanes in the bucket yet.
    pub(crate) async fn begin_session(&self) -> Result<(), Error> {
        let record = SessionRecord {
            node_name: self.home.identity.node_name.clone(),
            disk_id: self.home.identity.disk_id,
            state: SessionState::Active,
            lanes: Vec::new(),
        };
        let key = key(self.home.session);
        let put = Op::Put(key.clone(), record.encode(), None);
        self.meta.txn(vec![Compare::Absent(key)], vec![put]).await.map_err(|e| metadata_error(&e))?;
        Ok(())
    }

    /// Makes the lane in the bucket when it is first wanted; at once in a cluster, where it also shows whether this broker
    /// was replaced.
    pub(crate) async fn make_object_lane(self: Arc<Self>) {
        if self.is_alone() {
            tokio::select! {
                biased;
                () = self.stop_signal.triggered() => return,
                () = self.log.object_lane_wanted() => {}
            }
        }
        let lane = ObjectLaneIdentity { lane: random_id(), session: self.home.session, nonce: random_id() };
        loop {
            if *self.bucket_agreed.borrow() == Agreement::Agreed {
                match self.try_object_lane(lane).await {
                    Ok(log) => return self.log.set_object_lane(log),
                    Err(error) if error.kind == ErrorKind::StorageError => {
                        tracing::warn!(%error, "cannot make a lane in the bucket yet");
                    }
                    Err(error) => return self.fail(format!("cannot make a lane in the bucket: {error}")),
                }
            }
            tokio::select! {
                biased;
                () = self.stop_signal.triggered() => return,
                () = tokio::time::sleep(AGAIN) => {}
            }
        }
    }

    async fn try_object_lane(&self, identity: ObjectLaneIdentity) -> Result<ObjectLog, Error> {
        self.add_lane(identity.lane).await?;
        self.pass("session.lane.recorded")?;
        let options = ObjectOptions {
            max_bytes: self.options.wal.object_max_bytes,
            interval: self.options.wal.object_interval,
            trim_every: self.options.wal.object_trim_every,
            max_unflushed: self.options.wal.max_unflushed,
            max_unshipped: self.options.wal.max_unshipped,
            ..ObjectOptions::default()
        };
        let opened = ObjectLog::open(self.bucket.clone(), options, identity, self.ports.fail.clone()).await;
        let opened = opened.map_err(|e| lane_error(&e))?;
        // A restore that did not see this lane has raised the era before.
        while let Err(error) = self.check_era().await {
            if error.kind != ErrorKind::StorageError || self.stopping() {
                return Err(error);
            }
            tracing::warn!(%error, "the bucket does not show whether the cluster was restored; its lane is not used yet");
            tokio::time::sleep(AGAIN).await;
        }
        Ok(opened)
    }

    /// S1: the lane stands in the session's record before its first byte is written.
    async fn add_lane(&self, id: Uuid) -> Result<(), Error> {
        let session = self.home.session;
        loop {
            let Some((record, found)) = self.read_session(session).await? else { return Err(fenced()) };
            if record.lanes.iter().any(|lane| lane.id == id) {
                return Ok(());
            }
            if record.state != SessionState::Active {
                return Err(fenced());
            }
            let mut lanes = record.lanes.clone();
            lanes.push(SessionLane { id, durability: Durability::Object, end: None });
            if self.replace_session(session, &found, SessionRecord { lanes, ..record }).await? {
                return Ok(());
            }
        }
    }

    /// Ends every session but this one, and takes over what their lanes in the bucket hold. What was done stays done if
    /// a later step fails. What can never be taken over counts as damage of those who wrote there.
    pub(crate) async fn inherit_sessions(&self) -> Result<(), Error> {
        if self.meta.get(LANES_KNOWN).await.map_err(|e| metadata_error(&e))?.is_none() {
            self.rediscover_sessions().await?;
            let put = Op::Put(LANES_KNOWN.to_owned(), bytes::Bytes::new(), None);
            self.meta.txn(Vec::new(), vec![put]).await.map_err(|e| metadata_error(&e))?;
        }
        for (key, _) in self.meta.range(SESSIONS).await.map_err(|e| metadata_error(&e))? {
            let Some(session) = session_of(&key) else { continue };
            if session == self.home.session || self.log.inherited().iter().any(|one| one.session == session) {
                continue;
            }
            match self.inherit_session(session).await {
                Ok(true) => {}
                Ok(false) => self.forget_session(session).await?,
                Err(error) if error.kind == ErrorKind::Corrupt => {
                    if self.log.give_up(session) {
                        tracing::error!(session = %shown(session), %error, "cannot take over the lanes of an earlier session");
                    }
                }
                Err(error) => return Err(error),
            }
        }
        self.lanes_inherited.send_replace(true);
        // Those that were open before have nothing in there that is not shipped.
        for (_, partition) in self.topics.open_partitions() {
            self.log.shipped(partition.tp, partition.shipped());
            self.log.taken(partition.tp);
        }
        Ok(())
    }

    /// All lanes of a session, or none. Whether it had any.
    pub(crate) async fn inherit_session(&self, session: u64) -> Result<bool, Error> {
        let lanes = self.end_session(session).await?;
        let mut sealed = Vec::new();
        for lane in lanes.iter().filter(|lane| lane.durability == Durability::Object) {
            let lane = SealedLane::open(&self.bucket, lane.id).await.map_err(|e| take_over_error(&e))?;
            sealed.push(Inherited::new(session, lane).await.map_err(|e| take_over_error(&e))?);
        }
        let had_any = !sealed.is_empty();
        for inherited in sealed {
            let (lane, partitions) = (&inherited.lane, inherited.lane.partitions().count());
            tracing::info!(lane = %lane.lane(), slots = lane.end(), partitions, "took over a lane in the bucket");
            self.log.inherit(inherited);
        }
        Ok(had_any)
    }

    /// S2: no more lanes, every lane sealed, SEALED. Returns the lanes.
    pub(crate) async fn end_session(&self, session: u64) -> Result<Vec<SessionLane>, Error> {
        loop {
            let Some((record, found)) = self.read_session(session).await? else {
                // Those of a cluster stay until nobody names them.
                let is_lost = self.member.is_some();
                return if is_lost { Err(session_lost(session)) } else { Ok(Vec::new()) };
            };
            let next = match record.state {
                SessionState::Sealed => return Ok(record.lanes),
                SessionState::Active => SessionRecord { state: SessionState::Fencing, ..record },
                SessionState::Fencing => {
                    let lanes = self.seal_lanes(record.lanes).await?;
                    SessionRecord { state: SessionState::Sealed, lanes, ..record }
                }
            };
            self.replace_session(session, &found, next).await?;
            self.pass("session.ended")?;
        }
    }

    async fn seal_lanes(&self, mut lanes: Vec<SessionLane>) -> Result<Vec<SessionLane>, Error> {
        for lane in lanes.iter_mut().filter(|lane| lane.end.is_none() && lane.durability == Durability::Object) {
            let sealed = object::seal(&self.bucket, lane.id, self.home.session, &self.ports.fail).await;
            lane.end = Some(sealed.map_err(|e| lane_error(&e))?);
        }
        Ok(lanes)
    }

    /// The metadata store was lost: sessions are found again by their lanes.
    async fn rediscover_sessions(&self) -> Result<(), Error> {
        for header in object::lanes_in_use(&self.bucket).await.map_err(|e| lane_error(&e))? {
            let (id, session) = (header.lane, header.session);
            let lane = SessionLane { id, durability: Durability::Object, end: None };
            let record = match self.read_session(session).await? {
                Some((record, _)) if record.lanes.iter().any(|known| known.id == id) => continue,
                // Sealed or not as far as this store knew, it has a lane that is not.
                Some((record, _)) => {
                    let lanes = [record.lanes, vec![lane]].concat();
                    SessionRecord { state: SessionState::Fencing, lanes, ..record }
                }
                None => SessionRecord {
                    node_name: self.home.identity.node_name.clone(),
                    disk_id: self.home.identity.disk_id,
                    state: SessionState::Fencing,
                    lanes: vec![lane],
                },
            };
            tracing::info!(lane = %id, session = %shown(session), "found a lane in the bucket that the metadata store does not know");
            let put = Op::Put(key(session), record.encode(), None);
            self.meta.txn(Vec::new(), vec![put]).await.map_err(|e| metadata_error(&e))?;
        }
        Ok(())
    }

    /// Takes away inherited lanes once everything in them is shipped, and brings partitions to the durability that
    /// their topic has now.
    pub(crate) async fn tend_lanes(self: Arc<Self>) {
        let mut looked = Instant::now();
        loop {
            tokio::select! {
                biased;
                () = self.stop_signal.triggered() => return,
                () = tokio::time::sleep(LOOK) => {}
            }
            for (partition, wanted) in self.of_another_durability() {
                if let Err(error) = self.change_durability(&partition, wanted).await {
                    tracing::warn!(partition = partition.label(), %error, "cannot change the durability now");
                }
            }
            if self.member.is_some() {
                self.ship_inherited();
                self.shorten_tails().await;
                if looked.elapsed() >= RELEASE || !self.log.pressing().is_empty() {
                    self.release_tails().await;
                    looked = Instant::now();
                }
            } else {
                self.retire_lanes().await;
            }
        }
    }

    /// Partitions that acknowledge with another durability than their topic has by now.
    fn of_another_durability(&self) -> Vec<(Arc<Partition>, Durability)> {
        let topics = self.topics.all();
        let of = topics.iter().flat_map(|topic| {
            let wanted = topic.config().durability;
            let differ = topic.open_partitions().filter(move |p| p.asked_durability() != wanted && !p.is_blocked());
            differ.map(move |partition| (partition, wanted))
        });
        of.collect()
    }

    async fn retire_lanes(&self) {
        for inherited in self.log.inherited().into_iter().filter(|one| one.is_done()) {
            let lane = inherited.lane.lane();
            match self.retire_lane(&inherited).await {
                Ok(()) => tracing::info!(%lane, "everything in a lane of an earlier session is shipped"),
                Err(error) => tracing::debug!(%lane, %error, "a lane that nothing needs stays for now"),
            }
        }
    }

    async fn retire_lane(&self, inherited: &Arc<Inherited>) -> Result<(), Error> {
        let lane = inherited.lane.lane();
        object::retire(&self.bucket, lane, &self.ports.fail).await.map_err(|e| lane_error(&e))?;
        // What its writer had on the way when it was fenced may have arrived meanwhile.
        object::sweep(&self.bucket, lane).await.map_err(|e| lane_error(&e))?;
        self.log.disinherit(inherited);
        if self.log.inherited().iter().all(|other| other.session != inherited.session) {
            self.forget_session(inherited.session).await?;
        }
        Ok(())
    }

    /// A class is known of before anything is acknowledged by it, so that an open looks there.
    async fn change_durability(&self, partition: &Arc<Partition>, wanted: Durability) -> Result<(), Error> {
        self.record_class(partition.tp, wanted).await?;
        partition.set_durability(wanted).await
    }

    /// Whether the lanes in the bucket that earlier sessions left are known.
    pub(crate) fn has_inherited(&self) -> bool {
        *self.lanes_inherited.borrow()
    }

    pub(crate) async fn read_session(&self, session: u64) -> Result<Option<(SessionRecord, Versioned)>, Error> {
        let found = self.meta.get(&key(session)).await.map_err(|e| metadata_error(&e))?;
        found.map(|found| Ok((SessionRecord::decode(&found.value).map_err(|e| damaged(&e))?, found))).transpose()
    }

    /// Replaces a record; false if it has changed meanwhile.
    async fn replace_session(&self, session: u64, found: &Versioned, next: SessionRecord) -> Result<bool, Error> {
        let compare = Compare::Revision(key(session), found.revision);
        let put = Op::Put(key(session), next.encode(), None);
        let outcome = self.meta.txn(vec![compare], vec![put]).await.map_err(|e| metadata_error(&e))?;
        Ok(outcome.is_committed())
    }

    async fn forget_session(&self, session: u64) -> Result<(), Error> {
        let delete = Op::Delete(key(session));
        self.meta.txn(Vec::new(), vec![delete]).await.map_err(|e| metadata_error(&e))?;
        Ok(())
    }
}

pub(crate) fn session_lost(session: u64) -> Error {
    let what = format!("the metadata store has no record of session {session:016x}, whose lanes may hold records");
    Error::new(ErrorKind::Corrupt, what)
}

fn fenced() -> Error {
    Error::new(ErrorKind::NotLeader, "this session was ended by another broker: a restart begins a new one")
}
