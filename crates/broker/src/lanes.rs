//! The write-ahead lanes: this session's own, one of each class, and those in the bucket that earlier sessions left.
//!
//! What a partition has not shipped lies in one class at a time (design §5, "changing durability"), so an offset is
//! looked for in one lane after the other until one has it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

use runnel_format::meta::Durability;
use runnel_record::{Offset, TopicId, TopicPartition};
use runnel_runtime::Reuse;
use runnel_runtime::simulation::blocking;
use runnel_wal::object::{ObjectLog, SealedLane};
use runnel_wal::{
    CorruptRange, Entry, Error, ErrorKind, LaneSeq, Listener, LocalLog, Pressure, StoredBatch, TailEntry,
};
use tokio::sync::Notify;
use tokio::time::Instant;
use uuid::Uuid;

/// Every lane that this broker reads or writes. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Lanes(Arc<Inner>);

struct Inner {
    local: LocalLog,
    /// Made when it is first wanted: a broker without topics of its class puts nothing into the bucket for it.
    object: OnceLock<ObjectLog>,
    wanted: Notify,
    inherited: RwLock<Vec<Arc<Inherited>>>,
    /// Sessions whose lanes in the bucket cannot be taken over.
    lost: RwLock<BTreeSet<u64>>,
}

/// A lane in the bucket that an earlier session left.
pub(crate) struct Inherited {
    pub(crate) session: u64,
    pub(crate) lane: SealedLane,
    /// What it holds, by partition, until the partition is opened.
    tails: Mutex<BTreeMap<TopicPartition, Arc<[TailEntry]>>>,
    corrupt: Vec<CorruptRange>,
    /// The partitions that have not shipped what is in it.
    needed: Mutex<BTreeSet<TopicPartition>>,
}

impl Inherited {
    /// Reads what a lane holds, but for the records.
    pub(crate) async fn new(session: u64, lane: SealedLane) -> Result<Self, Error> {
        let needed: BTreeSet<TopicPartition> = lane.partitions().collect();
        let wanted: Vec<TopicPartition> = needed.iter().copied().collect();
        let found = lane.tails(&wanted).await?;
        let tails = found.tails.into_iter().map(|(tp, tail)| (tp, tail.into())).collect();
        Ok(Self { session, lane, tails: Mutex::new(tails), corrupt: found.corrupt, needed: Mutex::new(needed) })
    }

    /// Whether it may be deleted. One with damage stays: an operator may want to look at it.
    pub(crate) fn is_done(&self) -> bool {
        self.needed().is_empty() && self.lane.damaged().is_empty()
    }

    fn tails(&self) -> std::sync::MutexGuard<'_, BTreeMap<TopicPartition, Arc<[TailEntry]>>> {
        self.tails.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn needed(&self) -> std::sync::MutexGuard<'_, BTreeSet<TopicPartition>> {
        self.needed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lanes {
    pub(crate) fn new(local: LocalLog) -> Self {
        let (object, wanted, inherited, lost) = Default::default();
        Self(Arc::new(Inner { local, object, wanted, inherited, lost }))
    }

    /// Appends are to be expected soon.
    pub(crate) fn get_ahead(&self) {
        self.0.local.get_ahead();
    }

    /// Queues an entry in the lane of a class. Never blocks.
    ///
    /// # Errors
    /// As of the lane; `Unready` while the lane in the bucket is being made.
    pub(crate) fn append(
        &self,
        class: Durability,
        entry: Entry,
        listener: &Arc<dyn Listener>,
    ) -> Result<LaneSeq, Error> {
        match (class, self.0.object.get()) {
            (Durability::Local, _) => self.0.local.append(entry, listener),
            (Durability::Object, Some(object)) => object.append(entry, listener),
            (Durability::Object, None) => {
                self.0.wanted.notify_one();
                Err(Error::Unready)
            }
        }
    }

    /// Resolves when somebody wants to append to the lane in the bucket and there is none.
    pub(crate) async fn object_lane_wanted(&self) {
        self.0.wanted.notified().await;
    }

    /// The lane in the bucket is there.
    pub(crate) fn set_object_lane(&self, lane: ObjectLog) {
        // One task makes it, once.
        drop(self.0.object.set(lane));
    }

    /// The lane in the bucket, if it is made.
    pub(crate) fn object_lane(&self) -> Option<Uuid> {
        self.0.object.get().map(ObjectLog::lane)
    }

    /// Takes over a lane of an earlier session.
    pub(crate) fn inherit(&self, lane: Inherited) {
        self.0.inherited.write().unwrap_or_else(PoisonError::into_inner).push(Arc::new(lane));
    }

    pub(crate) fn inherited(&self) -> Vec<Arc<Inherited>> {
        self.0.inherited.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The lanes of a session cannot be taken over: what they hold counts as damaged. False if that is known.
    pub(crate) fn give_up(&self, session: u64) -> bool {
        self.0.lost.write().unwrap_or_else(PoisonError::into_inner).insert(session)
    }

    pub(crate) fn is_lost(&self, session: u64) -> bool {
        self.0.lost.read().unwrap_or_else(PoisonError::into_inner).contains(&session)
    }

    /// Nothing of a session's lanes is needed any more.
    pub(crate) fn disinherit_session(&self, session: u64) {
        self.0.inherited.write().unwrap_or_else(PoisonError::into_inner).retain(|one| one.session != session);
    }

    /// Nothing of a lane is needed any more, and it is gone.
    pub(crate) fn disinherit(&self, lane: &Arc<Inherited>) {
        self.0.inherited.write().unwrap_or_else(PoisonError::into_inner).retain(|one| !Arc::ptr_eq(one, lane));
    }

    /// What the inherited lanes hold of a partition.
    pub(crate) fn inherited_tail(&self, tp: TopicPartition) -> Vec<TailEntry> {
        let mut tail = Vec::new();
        for inherited in self.inherited() {
            tail.extend(inherited.tails().get(&tp).into_iter().flat_map(|tail| tail.iter().cloned()));
        }
        tail
    }

    /// What of a partition cannot be read in the inherited lanes of a session, or may have been where nothing can.
    pub(crate) fn damage(&self, tp: TopicPartition, session: u64) -> Vec<CorruptRange> {
        let unknown = CorruptRange { tp, from: Offset::ZERO, upto: None };
        let mut damage = Vec::new();
        for inherited in self.inherited().iter().filter(|one| one.session == session) {
            damage.extend(inherited.corrupt.iter().filter(|range| range.tp == tp));
            if inherited.lane.end_of(tp).is_none() && !inherited.lane.damaged().is_empty() {
                damage.push(unknown);
            }
        }
        if self.is_lost(session) {
            damage.push(unknown);
        }
        damage
    }

    /// Sessions whose lanes hold something of a partition from `shipped` on.
    pub(crate) fn sessions_with(&self, tp: TopicPartition, shipped: Offset) -> Vec<u64> {
        let inherited = self.inherited();
        let holders = inherited.iter().filter(|one| one.lane.end_of(tp).is_some_and(|end| end > shipped));
        holders.map(|one| one.session).collect()
    }

    /// Every session that left something in the bucket.
    pub(crate) fn sessions(&self) -> BTreeSet<u64> {
        let lost = self.0.lost.read().unwrap_or_else(PoisonError::into_inner).clone();
        self.inherited().iter().map(|one| one.session).chain(lost).collect()
    }

    /// The partition is open and keeps what it needs itself.
    pub(crate) fn taken(&self, tp: TopicPartition) {
        for inherited in self.inherited() {
            inherited.tails().remove(&tp);
        }
    }

    /// Partitions that some inherited lane in the bucket holds something of.
    pub(crate) fn inherited_partitions(&self) -> BTreeSet<TopicPartition> {
        self.inherited().iter().flat_map(|one| one.needed().clone()).collect()
    }

    /// Reads durable batches that are not shipped yet; see [`LocalLog::read`].
    ///
    /// # Errors
    /// As of the lanes; `Absent` if none holds `from`.
    pub(crate) async fn read(
        &self,
        tp: TopicPartition,
        from: Offset,
        upto: Offset,
        max_bytes: usize,
        reuse: Reuse,
    ) -> Result<Vec<StoredBatch>, Error> {
        let local = self.0.local.read(tp, from, upto, max_bytes, reuse).await;
        if has_answered(&local) {
            return local;
        }
        if let Some(object) = self.0.object.get() {
            let found = object.read(tp, from, upto, max_bytes).await;
            if has_answered(&found) {
                return found;
            }
        }
        for inherited in self.inherited() {
            let found = inherited.lane.read(tp, from, upto, max_bytes).await;
            if has_answered(&found) {
                return found;
            }
        }
        local
    }

    /// Entries of `tp` below `upto` are in segments, and a root refers to them.
    pub(crate) fn shipped(&self, tp: TopicPartition, upto: Offset) {
        self.0.local.shipped(tp, upto);
        if let Some(object) = self.0.object.get() {
            object.shipped(tp, upto);
        }
        for inherited in self.inherited() {
            if inherited.lane.end_of(tp).is_none_or(|end| end <= upto) {
                inherited.needed().remove(&tp);
            }
        }
    }

    /// What the log on this disk holds of every partition that is not shipped as far as is known here, and where it ends.
    pub(crate) fn held_on_disk(&self) -> Vec<(TopicPartition, Offset)> {
        self.0.local.held()
    }

    /// What the log on this disk holds of a partition is no part of it, or is in the bucket.
    pub(crate) fn discard_on_disk(&self, tp: TopicPartition) {
        self.0.local.discard(tp);
    }

    /// A partition goes on in the lane of another class, and all that it has in this one is shipped.
    pub(crate) fn leave(&self, class: Durability, tp: TopicPartition) {
        match (class, self.0.object.get()) {
            (Durability::Local, _) => self.0.local.leave(tp),
            (Durability::Object, Some(object)) => object.leave(tp),
            (Durability::Object, None) => {}
        }
    }

    /// The topic was deleted: nothing of it is needed any more.
    pub(crate) fn forget(&self, topic: TopicId) {
        self.0.local.forget(topic);
        if let Some(object) = self.0.object.get() {
            object.forget(topic);
        }
        for inherited in self.inherited() {
            inherited.needed().retain(|tp| tp.topic != topic);
        }
    }

    /// How full the log on the disk is.
    pub(crate) fn pressure(&self) -> Pressure {
        self.0.local.pressure()
    }

    /// What should be shipped, due or not, so that the lanes have room.
    pub(crate) fn pressing(&self) -> Vec<(TopicPartition, Offset)> {
        let mut pressing = self.0.local.pressing();
        if let Some(object) = self.0.object.get() {
            pressing.extend(object.pressing());
        }
        pressing
    }

    /// Writes what is queued and ends the lanes; that in the bucket until a time, since the bucket may not answer.
    pub(crate) async fn close(&self, until: Instant) {
        if let Some(object) = self.0.object.get()
            && tokio::time::timeout_at(until, object.close()).await.is_err()
        {
            tracing::warn!("the lane in the bucket did not end in time; the next start ends it");
        }
        let local = self.0.local.clone();
        if let Err(error) = blocking(move || local.close()).await {
            tracing::error!(%error, "the log did not close cleanly; the next start recovers it");
        }
    }
}

/// Whether a lane holds the offset, in whatever state.
fn has_answered(read: &Result<Vec<StoredBatch>, Error>) -> bool {
    match read {
        Ok(found) => !found.is_empty(),
        Err(error) => error.kind() != ErrorKind::NotFound,
    }
}
