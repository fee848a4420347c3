//! One version of a manifest, to find segments in. Chunks are read when needed and a few of them are kept.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use runnel_blob::{Bucket, Key};
use runnel_format::manifest::{Chunk, ChunkRef, Entries, ProducerState, Root, SegmentRef};
use runnel_record::ids::{Offset, TimestampMs};
use uuid::Uuid;

use crate::Error;

/// Chunks kept in memory for a partition: the whole path to a few places of a deep history.
const KEPT_CHUNKS: usize = 16;

/// One version of the manifest of a partition. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Snapshot {
    bucket: Bucket,
    topic_name: Arc<str>,
    root: Arc<Root>,
    chunks: Arc<Mutex<Chunks>>,
}

/// The chunks read last. They are immutable, so every version of the root can use them.
#[derive(Debug, Default)]
struct Chunks {
    by_id: BTreeMap<Uuid, Arc<Chunk>>,
    oldest_first: VecDeque<Uuid>,
}

/// An object that a root refers to, itself or through chunks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// Its name.
    pub key: Key,
    /// Unique part of the name.
    pub id: Uuid,
    /// Its size; `None` where only its deletion is referred to.
    pub bytes: Option<u64>,
    /// The segment, if it is one.
    pub segment: Option<SegmentRef>,
    /// Whether readers need it: not if it lies below the log start, or is about to be deleted.
    pub is_needed: bool,
}

/// A reference of either kind.
#[derive(Debug, Clone)]
pub(crate) enum Node {
    Segment(SegmentRef),
    Chunk(ChunkRef),
}

impl Node {
    pub(crate) const fn next(&self) -> Offset {
        match self {
            Self::Segment(s) => s.next,
            Self::Chunk(c) => c.next,
        }
    }

    pub(crate) const fn max_timestamp(&self) -> TimestampMs {
        match self {
            Self::Segment(s) => s.max_timestamp,
            Self::Chunk(c) => c.max_timestamp,
        }
    }

    pub(crate) const fn last_append_time(&self) -> TimestampMs {
        match self {
            Self::Segment(s) => s.last_append_time,
            Self::Chunk(c) => c.last_append_time,
        }
    }

    /// Size of the segment objects.
    pub(crate) const fn bytes(&self) -> u64 {
        match self {
            Self::Segment(s) => s.bytes,
            Self::Chunk(c) => c.segment_bytes,
        }
    }
}

impl Snapshot {
    pub(super) fn new(bucket: &Bucket, topic_name: &str, root: Root) -> Self {
        Self { bucket: bucket.clone(), topic_name: topic_name.into(), root: Arc::new(root), chunks: Arc::default() }
    }

    pub(super) fn with_root(&self, root: Root) -> Self {
        Self { root: Arc::new(root), ..self.clone() }
    }

    pub(crate) const fn bucket(&self) -> &Bucket {
        &self.bucket
    }

    pub(crate) fn topic_name(&self) -> &str {
        &self.topic_name
    }

    /// The root.
    pub fn root(&self) -> &Root {
        &self.root
    }

    /// The name of a segment's object.
    pub fn key(&self, segment: &SegmentRef) -> Key {
        Key::Segment {
            topic_name: self.topic_name.to_string(),
            tp: self.root.tp,
            day: segment.day,
            base: segment.base,
            last: segment.next.plus(-1),
            epoch: segment.epoch,
            id: segment.id,
        }
    }

    /// The segment that holds `offset`; `None` outside of `log_start..end`.
    pub async fn find(&self, offset: Offset) -> Result<Option<SegmentRef>, Error> {
        if offset < self.root.log_start || offset >= self.root.end {
            return Ok(None);
        }
        let inline = &self.root.segments;
        if inline.first().is_some_and(|first| first.base <= offset) {
            return Ok(inline.get(inline.partition_point(|s| s.next <= offset)).cloned());
        }
        let chunks = &self.root.chunks;
        let mut covering = chunks.get(chunks.partition_point(|c| c.next <= offset)).cloned();
        while let Some(reference) = covering {
            match &self.chunk(&reference).await?.entries {
                Entries::Segments(of) => return Ok(of.get(of.partition_point(|s| s.next <= offset)).cloned()),
                Entries::Chunks(of) => covering = of.get(of.partition_point(|c| c.next <= offset)).cloned(),
            }
        }
        Err(self.corrupt("no reference covers a readable offset"))
    }

    /// The first segment with a record at or after `timestamp`. It may straddle `log_start` and hold that record only
    /// below it: a caller who finds none goes on at its `next`.
    pub async fn find_by_timestamp(&self, timestamp: TimestampMs) -> Result<Option<SegmentRef>, Error> {
        self.find_by_timestamp_from(timestamp, self.root.log_start).await
    }

    /// As [`Snapshot::find_by_timestamp`], leaving out what lies wholly below `from`.
    pub async fn find_by_timestamp_from(
        &self,
        timestamp: TimestampMs,
        from: Offset,
    ) -> Result<Option<SegmentRef>, Error> {
        let from = from.max(self.root.log_start);
        self.first(|node| node.next() > from && node.max_timestamp() >= timestamp).await
    }

    /// The segment with the largest timestamp, the first of equals. It may straddle `log_start`.
    pub async fn max_timestamp(&self) -> Result<Option<SegmentRef>, Error> {
        let log_start = self.root.log_start;
        let mut open: Vec<Node> = self.top().filter(|node| node.next() > log_start).collect();
        loop {
            // `max_by` takes the last of equals, so look from the young end.
            let best = open.iter().enumerate().rev().max_by_key(|(_, node)| node.max_timestamp()).map(|(i, _)| i);
            let Some(best) = best else { return Ok(None) };
            match open.remove(best) {
                Node::Segment(segment) => return Ok(Some(segment)),
                Node::Chunk(chunk) => {
                    let below = self.below(&chunk).await?.into_iter().filter(|node| node.next() > log_start);
                    open.splice(best..best, below);
                }
            }
        }
    }

    /// Every segment with readable offsets, in order.
    pub async fn all_segments(&self) -> Result<Vec<SegmentRef>, Error> {
        let mut segments = Vec::new();
        self.visit(|node| match node {
            Node::Segment(segment) if segment.next > self.root.log_start => segments.push(segment.clone()),
            Node::Segment(_) | Node::Chunk(_) => {}
        })
        .await?;
        Ok(segments)
    }

    /// Every object that this root refers to in any way, or is about to delete itself.
    pub async fn references(&self) -> Result<Vec<Reference>, Error> {
        let tp = self.root.tp;
        let state = |epoch, id| Key::ProducerState { tp, epoch, id };
        let pending = self.root.pending_delete.iter().map(|pending| Reference {
            key: state(pending.epoch, pending.id),
            id: pending.id,
            bytes: None,
            segment: None,
            is_needed: false,
        });
        let mut all: Vec<Reference> = pending.collect();
        if let ProducerState::Stored { id, epoch, bytes, .. } = self.root.producers {
            all.push(Reference { key: state(epoch, id), id, bytes: Some(bytes), segment: None, is_needed: true });
        }
        self.visit(|node| {
            all.push(match node {
                Node::Segment(segment) => Reference {
                    key: self.key(segment),
                    id: segment.id,
                    bytes: Some(segment.bytes),
                    segment: Some(segment.clone()),
                    is_needed: segment.next > self.root.log_start,
                },
                Node::Chunk(chunk) => Reference {
                    key: Key::Chunk { tp, epoch: chunk.epoch, id: chunk.id },
                    id: chunk.id,
                    bytes: Some(u64::from(chunk.bytes)),
                    segment: None,
                    is_needed: true,
                },
            });
        })
        .await?;
        Ok(all)
    }

    /// The ids of every object that this root refers to in any way, or is about to delete itself.
    pub(crate) async fn referenced_ids(&self) -> Result<Vec<Uuid>, Error> {
        let mut ids: Vec<Uuid> = self.root.pending_delete.iter().map(|p| p.id).collect();
        if let ProducerState::Stored { id, .. } = self.root.producers {
            ids.push(id);
        }
        self.visit(|node| match node {
            Node::Segment(segment) => ids.push(segment.id),
            Node::Chunk(chunk) => ids.push(chunk.id),
        })
        .await?;
        Ok(ids)
    }

    /// The producer snapshot at `root().end`; empty if no producer is known.
    pub async fn producers(&self) -> Result<Bytes, Error> {
        match &self.root.producers {
            ProducerState::Inline(bytes) => Ok(bytes.clone()),
            ProducerState::Stored { id, epoch, bytes, crc32c } => {
                let key = Key::ProducerState { tp: self.root.tp, epoch: *epoch, id: *id };
                self.fetch(&key, *bytes, *crc32c).await
            }
        }
    }

    pub(crate) fn top(&self) -> impl Iterator<Item = Node> + '_ {
        let chunks = self.root.chunks.iter().cloned().map(Node::Chunk);
        chunks.chain(self.root.segments.iter().cloned().map(Node::Segment))
    }

    /// The first segment for which `wanted` holds; `wanted` of a chunk says whether to look below it.
    async fn first(&self, wanted: impl Fn(&Node) -> bool) -> Result<Option<SegmentRef>, Error> {
        let mut open: VecDeque<Node> = self.top().filter(&wanted).collect();
        while let Some(node) = open.pop_front() {
            match node {
                Node::Segment(segment) => return Ok(Some(segment)),
                Node::Chunk(chunk) => {
                    let below = self.below(&chunk).await?;
                    below.into_iter().rev().filter(&wanted).for_each(|node| open.push_front(node));
                }
            }
        }
        Ok(None)
    }

    /// Shows every reference, in order, chunks before what they hold.
    async fn visit(&self, mut see: impl FnMut(&Node)) -> Result<(), Error> {
        let mut open: VecDeque<Node> = self.top().collect();
        while let Some(node) = open.pop_front() {
            see(&node);
            if let Node::Chunk(chunk) = &node {
                self.below(chunk).await?.into_iter().rev().for_each(|node| open.push_front(node));
            }
        }
        Ok(())
    }

    /// The entries of a chunk.
    pub(crate) async fn below(&self, reference: &ChunkRef) -> Result<Vec<Node>, Error> {
        let chunk = self.chunk(reference).await?;
        Ok(match &chunk.entries {
            Entries::Segments(segments) => segments.iter().cloned().map(Node::Segment).collect(),
            Entries::Chunks(chunks) => chunks.iter().cloned().map(Node::Chunk).collect(),
        })
    }

    async fn chunk(&self, reference: &ChunkRef) -> Result<Arc<Chunk>, Error> {
        if let Some(chunk) = self.kept().by_id.get(&reference.id) {
            return Ok(Arc::clone(chunk));
        }
        let key = Key::Chunk { tp: self.root.tp, epoch: reference.epoch, id: reference.id };
        let bytes = self.fetch(&key, u64::from(reference.bytes), reference.crc32c).await?;
        let chunk = Chunk::decode(&bytes).map_err(|e| self.corrupt(e.to_string()))?;
        // A reference is a function of the chunk: whatever differs, one of the two is wrong.
        if chunk.tp != self.root.tp
            || chunk.reference(reference.epoch, reference.id, &bytes).as_ref() != Some(reference)
        {
            return Err(self.corrupt(format!("{} is not what its reference says", key.path())));
        }
        let chunk = Arc::new(chunk);
        let mut kept = self.kept();
        if kept.by_id.insert(reference.id, Arc::clone(&chunk)).is_none() {
            kept.oldest_first.push_back(reference.id);
        }
        while kept.oldest_first.len() > KEPT_CHUNKS {
            if let Some(id) = kept.oldest_first.pop_front() {
                kept.by_id.remove(&id);
            }
        }
        Ok(chunk)
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Chunks> {
        self.chunks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads an immutable object of a known size and CRC.
    async fn fetch(&self, key: &Key, bytes: u64, crc: u32) -> Result<Bytes, Error> {
        if bytes == 0 {
            return Err(self.corrupt(format!("{} would be empty", key.path())));
        }
        let whole = 0..bytes;
        let mut parts = self
            .bucket
            .get_ranges(key, std::slice::from_ref(&whole))
            .await
            .map_err(|error| Error::bucket(self.root.tp, error))?;
        let object = parts.pop().unwrap_or_default();
        if crc32c::crc32c(&object) != crc {
            return Err(self.corrupt(format!("{} has another CRC than its reference", key.path())));
        }
        Ok(object)
    }

    fn corrupt(&self, what: impl Into<String>) -> Error {
        Error::manifest(self.root.tp, what)
    }
}
