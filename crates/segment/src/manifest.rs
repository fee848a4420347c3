//! The manifest of a partition in the bucket: one root, changed by compare-and-swap, and chunks of older references.
//!
//! A [`Manifest`] is the leader's handle: it commits. A [`Snapshot`] is one version of the root: it finds segments.
//!
//! What a commit relies on and checks, on both sides of every swap (protocol §14):
//! - 17: version, epoch, end and log start of the root never fall;
//! - 18: a commit of epoch *e* replaces only a root of an epoch not above *e*; a higher one is [`Error::Fenced`];
//! - 20: references cover the log, from its start on, without gap or overlap; what lies below leaves them for good;
//! - 24: a commit adds only objects of its own epoch, so a sweep by an older leader cannot hurt it; what a merge
//!   replaces is never referred to again.
//!
//! An answer that got lost is no error: the root remembers the ids of its last commits, and a commit whose id is
//! there is done. After any failure the root is read again before anything else is concluded, and the caller repeats
//! the *same* [`Commit`].

mod next;
pub(crate) mod snapshot;

use std::collections::BTreeSet;

use bytes::Bytes;
use runnel_blob::{Bucket, CasOutcome, Key, Register, Version};
use runnel_format::manifest::{EpochStart, MAX_INLINE_PRODUCERS, PendingDelete, ProducerState, Root, SegmentRef};
use runnel_guard::{Guard, holds};
use runnel_record::ids::{LeaderEpoch, Offset, TopicPartition};
use runnel_runtime::FailPoints;
use runnel_runtime::simulation::random_id;
use uuid::Uuid;

use crate::Error;
pub use snapshot::{Reference, Snapshot};

/// Swaps tried by one call before it gives up; each is lost to another writer only.
const ATTEMPTS: u32 = 8;

/// What a leader adds to the root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    id: Uuid,
    /// The leader's epoch.
    pub epoch: LeaderEpoch,
    /// New segments, whose objects are durable; none to take the root over without shipping anything.
    pub segments: Vec<SegmentRef>,
    /// Offset after the last that is in a segment.
    pub end: Offset,
    /// The partition's epochs and their starts.
    pub epochs: Vec<EpochStart>,
    /// Producer snapshot at `end`; `None` keeps the one that the root has, for a commit that moves no end.
    pub producers: Option<Bytes>,
    /// The log starts here, unless it starts later already.
    pub log_start: Offset,
    /// References that one new segment takes the place of.
    pub merged: Option<Merged>,
}

/// A segment in the place of others, which hold the same batches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merged {
    /// The ids of the others, in order.
    pub sources: Vec<Uuid>,
    /// Its reference; its object is durable.
    pub into: SegmentRef,
}

impl Commit {
    /// A commit with an id of its own. To try again after an error, pass the same value.
    pub fn new(
        epoch: LeaderEpoch,
        segments: Vec<SegmentRef>,
        end: Offset,
        epochs: Vec<EpochStart>,
        producers: Bytes,
    ) -> Self {
        let (id, producers) = (random_id(), Some(producers));
        Self { id, epoch, segments, end, epochs, producers, log_start: Offset::ZERO, merged: None }
    }

    /// A commit that moves the log start of `root`, and with it everything that lies below out of the references.
    pub fn trim(epoch: LeaderEpoch, root: &Root, log_start: Offset) -> Self {
        let (segments, end, epochs) = (Vec::new(), root.end, root.epochs.clone());
        Self { id: random_id(), epoch, segments, end, epochs, producers: None, log_start, merged: None }
    }

    /// A commit that puts one segment in the place of others of `root`, which is otherwise left as it is.
    pub fn merge(epoch: LeaderEpoch, root: &Root, merged: Merged) -> Self {
        Self { merged: Some(merged), ..Self::trim(epoch, root, root.log_start) }
    }
}

/// Whether a root may be absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IfAbsent {
    /// The partition record says that nothing was ever shipped.
    Empty,
    /// Something was: an absent root is corruption, not emptiness.
    Corrupt,
}

/// What this disk knows of the partition, to tell an own commit that was not noted down from an old disk image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// The last epoch that this disk had handed out before this start.
    pub epoch: LeaderEpoch,
    /// Where the log ends on this disk, shipped or not.
    pub end: Offset,
}

/// How the root at hand relates to the one in the bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// Read from there, or swapped in.
    Current,
    /// Kept on disk; compared before the first swap.
    Cached(Known),
    /// A swap may have been applied; read again before the next.
    Unclear,
}

/// The manifest of one partition, in the hands of its leader.
#[derive(Debug)]
pub struct Manifest {
    snapshot: Snapshot,
    version: Option<Version>,
    standing: Standing,
    /// The root that the last unfinished commit prepared, with that commit's id: its objects are written already.
    prepared: Option<(Uuid, Root)>,
    /// Objects of `pending_delete` that are gone.
    deleted: BTreeSet<Uuid>,
    fail: FailPoints,
}

impl Manifest {
    /// Reads the root from the bucket.
    pub async fn load(
        bucket: &Bucket,
        tp: TopicPartition,
        topic_name: &str,
        if_absent: IfAbsent,
        fail: FailPoints,
    ) -> Result<Self, Error> {
        let found = bucket.read_register(&Key::Root(tp)).await.map_err(|e| Error::bucket(tp, e))?;
        let (root, version) = match found {
            Some(register) => (decode(tp, &register)?, Some(register.version)),
            None if if_absent == IfAbsent::Empty => (Root::empty(tp), None),
            None => return Err(Error::RootMissing { tp }),
        };
        Ok(Self::of(Snapshot::new(bucket, topic_name, root), version, Standing::Current, fail))
    }

    /// Takes the root that this disk kept (`None`: the partition never shipped), so that a partition opens while the
    /// bucket is down. The bucket is compared before the first commit, or by [`Manifest::verify`].
    pub fn from_cached(
        bucket: &Bucket,
        tp: TopicPartition,
        topic_name: &str,
        kept: Option<(Root, Version)>,
        known: Known,
        fail: FailPoints,
    ) -> Result<Self, Error> {
        let (root, version) = kept.map_or_else(|| (Root::empty(tp), None), |(root, version)| (root, Some(version)));
        if root.tp != tp {
            return Err(Error::manifest(tp, "the kept root is another partition's"));
        }
        root.check().map_err(|e| Error::manifest(tp, e.to_string()))?;
        Ok(Self::of(Snapshot::new(bucket, topic_name, root), version, Standing::Cached(known), fail))
    }

    const fn of(snapshot: Snapshot, version: Option<Version>, standing: Standing, fail: FailPoints) -> Self {
        Self { snapshot, version, standing, prepared: None, deleted: BTreeSet::new(), fail }
    }

    /// The root as last seen.
    pub fn root(&self) -> &Root {
        self.snapshot.root()
    }

    /// The version of [`Manifest::root`] in the bucket; `None`: no root was there. To be kept beside it.
    pub const fn version(&self) -> Option<&Version> {
        self.version.as_ref()
    }

    /// This version of the manifest, to read from. Cheap; unaffected by later commits.
    pub fn snapshot(&self) -> Snapshot {
        self.snapshot.clone()
    }

    /// Makes sure that the root at hand is the bucket's. After [`Manifest::from_cached`] this is where an old disk
    /// image is found out: [`Error::OldDisk`].
    pub async fn verify(&mut self) -> Result<(), Error> {
        let tp = self.root().tp;
        if self.standing == Standing::Current {
            return Ok(());
        }
        let bucket = self.snapshot.bucket();
        let found = bucket.read_register(&Key::Root(tp)).await.map_err(|e| Error::bucket(tp, e))?;
        self.adopt(found)
    }

    /// Adds `commit` to the root.
    ///
    /// After `Ok` the commit is in the root that the bucket holds, or was and a later leader built on it. After an
    /// error it may be: repeat the same value, or look at [`Manifest::root`] after [`Manifest::verify`].
    /// [`Error::Fenced`] is final: a later leader owns the partition. Not cancel-safe in the sense that a dropped call
    /// may still be applied, which is what repeating it finds out.
    pub async fn commit(&mut self, commit: &Commit) -> Result<(), Error> {
        self.verify().await?;
        for _ in 0..ATTEMPTS {
            let root = self.root();
            if root.commits.contains(&commit.id) {
                return Ok(());
            }
            if root.epoch > commit.epoch && holds(Guard::RootEpoch) {
                return Err(Error::Fenced { tp: root.tp, mine: commit.epoch, found: root.epoch });
            }
            let next = self.prepare(commit).await?;
            if self.swap(next).await? {
                self.prepared = None;
                return Ok(());
            }
        }
        Err(Error::manifest(self.root().tp, "the root keeps changing in this leader's own epoch"))
    }

    /// Takes the root over for an epoch that nobody leads, with nothing else in it changed, so that no earlier leader
    /// commits any more. `epoch` says which, above that of the root at hand; `id` names the takeover, which is made once
    /// however often it is asked for. What an earlier leader was faster with stays.
    pub async fn fence(&mut self, id: Uuid, epoch: impl Fn(&Root) -> LeaderEpoch) -> Result<(), Error> {
        self.verify().await?;
        for _ in 0..ATTEMPTS {
            let root = self.root();
            if root.commits.contains(&id) {
                return Ok(());
            }
            let epoch = epoch(root);
            if root.version > 0 && root.epoch >= epoch {
                return Err(Error::Fenced { tp: root.tp, mine: epoch, found: root.epoch });
            }
            let commit = Commit { id, ..Commit::trim(epoch, root, root.log_start) };
            let next = self.prepare(&commit).await?;
            if self.swap(next).await? {
                self.prepared = None;
                return Ok(());
            }
        }
        Err(Error::manifest(self.root().tp, "the root keeps changing: stop the brokers that write it, then try again"))
    }

    /// Swaps the root for `next`; `false`: another root is there, which is now the one at hand.
    async fn swap(&mut self, next: Root) -> Result<bool, Error> {
        let (tp, key, payload) = (next.tp, Key::Root(next.tp), next.encode());
        // Before the request, and left so by an error or a dropped future.
        self.standing = Standing::Unclear;
        let bucket = self.snapshot.bucket();
        let mut outcome = match &self.version {
            None => bucket.create_register(&key, payload.clone()).await,
            Some(version) => bucket.replace_register(&key, version, payload.clone()).await,
        };
        while !holds(Guard::RootSwap)
            && let Ok(CasOutcome::Conflict(Some(found))) = &outcome
        {
            outcome = bucket.replace_register(&key, &found.version, payload.clone()).await;
        }
        match outcome.map_err(|e| Error::bucket(tp, e))? {
            CasOutcome::Done(version) => {
                self.fail.hit("ship.after_root_cas").map_err(Error::Injected)?;
                let due: Vec<_> = self.root().pending_delete.clone();
                self.snapshot = self.snapshot.with_root(next);
                (self.version, self.standing) = (Some(version), Standing::Current);
                self.delete_superseded(&due).await;
                Ok(true)
            }
            CasOutcome::Conflict(found) => {
                self.adopt(found)?;
                Ok(false)
            }
        }
    }

    /// Takes over what the bucket holds, if it can follow the root at hand.
    fn adopt(&mut self, found: Option<Register>) -> Result<(), Error> {
        let (mine, tp) = (self.root(), self.root().tp);
        let Some(register) = found else {
            if mine.version > 0 {
                return Err(Error::RootMissing { tp });
            }
            self.standing = Standing::Current;
            return Ok(());
        };
        let root = decode(tp, &register)?;
        next::check_successor(mine, &root)?;
        if let Standing::Cached(known) = self.standing
            && root.version > mine.version
            && (root.epoch > known.epoch || root.end > known.end)
        {
            return Err(Error::OldDisk {
                tp,
                known: known.epoch,
                known_end: known.end,
                found: root.epoch,
                end: root.end,
            });
        }
        self.snapshot = self.snapshot.with_root(root);
        (self.version, self.standing) = (Some(register.version), Standing::Current);
        Ok(())
    }

    /// The root with `commit` in it; its chunks and its producer snapshot are durable when this returns.
    async fn prepare(&mut self, commit: &Commit) -> Result<Root, Error> {
        let version = self.root().version + 1;
        if let Some((id, root)) = &self.prepared
            && *id == commit.id
            && root.version == version
        {
            return Ok(root.clone());
        }
        let producers = match &commit.producers {
            None => None,
            Some(bytes) if bytes.len() <= MAX_INLINE_PRODUCERS => Some(ProducerState::Inline(bytes.clone())),
            Some(bytes) => Some(self.store_producers(commit.epoch, bytes).await?),
        };
        let mut root = next::next_root(self.root(), commit, producers, &self.deleted)?;
        if let Some(merged) = &commit.merged
            && !next::merge_inline(&mut root, merged)?
        {
            let (at, entries) = self.entries_around(&root, merged).await?;
            let rewritten = next::merge_in_chunk(&mut root, at, entries, merged)?;
            self.store_chunk(rewritten).await?;
        }
        while let Some(rolled) = next::roll(&mut root)? {
            self.store_chunk(rolled).await?;
        }
        if let (true, ProducerState::Inline(bytes)) = (next::too_large(&root), &root.producers) {
            root.producers = self.store_producers(commit.epoch, bytes).await?;
        }
        next::check_writable(&root)?;
        self.prepared = Some((commit.id, root.clone()));
        Ok(root)
    }

    /// The chunk of the lowest level that holds the sources of a merge: its place, and its references.
    async fn entries_around(&self, root: &Root, merged: &Merged) -> Result<(usize, Vec<SegmentRef>), Error> {
        let at = root.chunks.partition_point(|chunk| chunk.next <= merged.into.base);
        let chunk = root.chunks.get(at).ok_or_else(|| next::moved(root, merged))?;
        let entries = self.snapshot.below(chunk).await?.into_iter().map(|node| match node {
            snapshot::Node::Segment(segment) => Ok(segment),
            snapshot::Node::Chunk(_) => Err(next::moved(root, merged)),
        });
        Ok((at, entries.collect::<Result<_, _>>()?))
    }

    async fn store_chunk(&self, chunk: next::Rolled) -> Result<(), Error> {
        let tp = self.root().tp;
        let key = Key::Chunk { tp, epoch: chunk.epoch, id: chunk.id };
        self.snapshot.bucket().put(&key, vec![chunk.bytes]).await.map_err(|e| Error::bucket(tp, e))?;
        self.fail.hit("ship.after_chunk").map_err(Error::Injected)
    }

    async fn store_producers(&self, epoch: LeaderEpoch, bytes: &Bytes) -> Result<ProducerState, Error> {
        let (tp, id) = (self.root().tp, random_id());
        let key = Key::ProducerState { tp, epoch, id };
        self.snapshot.bucket().put(&key, vec![bytes.clone()]).await.map_err(|e| Error::bucket(tp, e))?;
        self.fail.hit("ship.after_producers").map_err(Error::Injected)?;
        Ok(ProducerState::Stored { id, epoch, bytes: bytes.len() as u64, crc32c: crc32c::crc32c(bytes) })
    }

    /// Deletes what the root before the current one had given up, best effort: what stays is in `pending_delete` of
    /// the next root again, and at last in a sweep. One version of grace is left to readers.
    async fn delete_superseded(&mut self, due: &[PendingDelete]) {
        let tp = self.root().tp;
        for pending in due.iter().filter(|p| !self.deleted.contains(&p.id)).copied().collect::<Vec<_>>() {
            let key = Key::ProducerState { tp, epoch: pending.epoch, id: pending.id };
            match self.snapshot.bucket().delete(&key).await {
                Ok(()) => drop(self.deleted.insert(pending.id)),
                Err(error) => tracing::debug!(%tp, %error, "a superseded producer snapshot stays for now"),
            }
        }
        let still: BTreeSet<Uuid> = self.root().pending_delete.iter().map(|p| p.id).collect();
        self.deleted.retain(|id| still.contains(id));
    }
}

impl Snapshot {
    /// Reads the root from the bucket, to read from it only; it must be there.
    pub async fn load(bucket: &Bucket, tp: TopicPartition, topic_name: &str) -> Result<Self, Error> {
        Ok(Self::new(bucket, topic_name, read_root(bucket, tp).await?))
    }

    /// The root that is in the bucket now, which follows this one.
    pub async fn newest(&self) -> Result<Self, Error> {
        let root = read_root(self.bucket(), self.root().tp).await?;
        next::check_successor(self.root(), &root)?;
        Ok(self.with_root(root))
    }
}

async fn read_root(bucket: &Bucket, tp: TopicPartition) -> Result<Root, Error> {
    let found = bucket.read_register(&Key::Root(tp)).await.map_err(|e| Error::bucket(tp, e))?;
    decode(tp, &found.ok_or(Error::RootMissing { tp })?)
}

fn decode(tp: TopicPartition, register: &Register) -> Result<Root, Error> {
    let root = Root::decode(&register.payload).map_err(|e| Error::manifest(tp, e.to_string()))?;
    if root.tp != tp {
        return Err(Error::manifest(tp, format!("the root is that of {}", root.tp)));
    }
    Ok(root)
}

#[cfg(test)]
pub(crate) mod tests;
