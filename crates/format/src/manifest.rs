//! The manifest of a partition: the root, and the chunks that hold what no longer fits into it.
//!
//! A [`Root`] is the small object that lists the segments of one partition and carries its leader epoch; it changes
//! by compare-and-swap only. A [`Chunk`] is an immutable page of older references. References store fields, not
//! object names: a key is derived from them. Numbers are variable-length differences from what stands before them,
//! so that a full root stays under [`MAX_ROOT_BYTES`]. Layout: `docs/formats/manifest.md`.
//!
//! [`Root::check`] states what a root must be (protocol §14, invariants 18, 20 and 24); readers and writers both
//! call it, decoding included.

mod check;
mod chunk;
mod fields;
mod varint;

use bytes::Bytes;
use runnel_record::ids::{LeaderEpoch, Offset, TimestampMs, TopicId, TopicPartition};
use uuid::Uuid;

use crate::Error;
use crate::codec;
pub use check::collapse_epochs;
pub use chunk::{Chunk, Entries};
use fields::{Decoder, Encoder};

/// Largest encoded root.
pub const MAX_ROOT_BYTES: usize = 32 * 1024;
/// Most segment references inside a root.
pub const MAX_INLINE_SEGMENTS: usize = 128;
/// Most chunk references inside a root.
pub const MAX_CHUNKS: usize = 256;
/// Most entries of one chunk.
pub const MAX_CHUNK_ENTRIES: usize = 1024;
/// Highest level of a chunk: 128 × 32⁶ segments are out of reach.
pub const MAX_CHUNK_LEVEL: u8 = 6;
/// Most epochs with their start offsets; see [`collapse_epochs`].
pub const MAX_EPOCHS: usize = 256;
/// Commit ids that a root remembers.
pub const MAX_COMMITS: usize = 8;
/// Most objects waiting to be deleted.
pub const MAX_PENDING_DELETE: usize = 64;
/// Largest producer snapshot inside a root; a larger one is an object of its own.
pub const MAX_INLINE_PRODUCERS: usize = 8 * 1024;

pub(crate) const ROOT_MAGIC: [u8; 4] = *b"rnRT";
pub(crate) const CHUNK_MAGIC: [u8; 4] = *b"rnCK";
pub(crate) const VERSION: u16 = 1;

/// A segment: one immutable offset range of the partition, one Parquet object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentRef {
    /// First offset.
    pub base: Offset,
    /// Offset after the last.
    pub next: Offset,
    /// Epoch of the leader that wrote it.
    pub epoch: LeaderEpoch,
    /// Unique part of the object's name.
    pub id: Uuid,
    /// Append day, UTC, days since 1970-01-01.
    pub day: i32,
    /// Size of the object.
    pub bytes: u64,
    /// CRC-32C of the whole object.
    pub crc32c: u32,
    /// Number of records.
    pub records: u32,
    /// Smallest record timestamp.
    pub min_timestamp: TimestampMs,
    /// Largest record timestamp.
    pub max_timestamp: TimestampMs,
    /// Offset of the first record with the largest timestamp.
    pub max_timestamp_offset: Offset,
    /// Append time of the first batch.
    pub first_append_time: TimestampMs,
    /// Append time of the last batch.
    pub last_append_time: TimestampMs,
}

/// A chunk: an immutable page of older references. The facts about its segments are the sums and bounds of theirs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChunkRef {
    /// First offset.
    pub base: Offset,
    /// Offset after the last.
    pub next: Offset,
    /// Epoch of the leader that wrote it.
    pub epoch: LeaderEpoch,
    /// Unique part of the object's name.
    pub id: Uuid,
    /// 0: entries are segments; n: entries are chunks of level n − 1.
    pub level: u8,
    /// Size of the chunk object.
    pub bytes: u32,
    /// CRC-32C of the whole chunk object.
    pub crc32c: u32,
    /// Number of segments below it.
    pub segments: u64,
    /// Size of the segment objects below it.
    pub segment_bytes: u64,
    /// Number of records below it.
    pub records: u64,
    /// Smallest record timestamp.
    pub min_timestamp: TimestampMs,
    /// Largest record timestamp.
    pub max_timestamp: TimestampMs,
    /// Offset of the first record with the largest timestamp.
    pub max_timestamp_offset: Offset,
    /// Append time of the last batch.
    pub last_append_time: TimestampMs,
}

/// Where a leader epoch begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochStart {
    /// The epoch.
    pub epoch: LeaderEpoch,
    /// Its first offset.
    pub start: Offset,
}

/// The producer snapshot at [`Root::end`]; its bytes are described in `docs/formats/producer-state.md`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProducerState {
    /// Inside the root. Empty: no producer is known.
    Inline(Bytes),
    /// An object of its own.
    Stored {
        /// Unique part of the object's name.
        id: Uuid,
        /// Epoch of the leader that wrote it.
        epoch: LeaderEpoch,
        /// Size of the object.
        bytes: u64,
        /// CRC-32C of the whole object.
        crc32c: u32,
    },
}

/// A producer snapshot that no root refers to any more and that may be deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PendingDelete {
    /// Unique part of the object's name.
    pub id: Uuid,
    /// Epoch of the leader that wrote it.
    pub epoch: LeaderEpoch,
}

/// The root of a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root {
    /// Whose root it is.
    pub tp: TopicPartition,
    /// Epoch of the leader that committed it.
    pub epoch: LeaderEpoch,
    /// Number of commits so far; an absent root has version 0.
    pub version: u64,
    /// Ids of the last commits, oldest first.
    pub commits: Vec<Uuid>,
    /// First offset that may be read.
    pub log_start: Offset,
    /// Offset after the last that is in a segment.
    pub end: Offset,
    /// Leader epochs and their first offsets, rising.
    pub epochs: Vec<EpochStart>,
    /// Producer snapshot at `end`.
    pub producers: ProducerState,
    /// References to the youngest segments.
    pub segments: Vec<SegmentRef>,
    /// References to everything older, highest level first.
    pub chunks: Vec<ChunkRef>,
    /// Objects to delete, at the earliest after this version.
    pub pending_delete: Vec<PendingDelete>,
}

impl Root {
    /// What an absent root stands for: a partition that never shipped.
    pub const fn empty(tp: TopicPartition) -> Self {
        Self {
            tp,
            epoch: LeaderEpoch::ZERO,
            version: 0,
            commits: Vec::new(),
            log_start: Offset::ZERO,
            end: Offset::ZERO,
            epochs: Vec::new(),
            producers: ProducerState::Inline(Bytes::new()),
            segments: Vec::new(),
            chunks: Vec::new(),
            pending_delete: Vec::new(),
        }
    }

    /// First offset that a reference covers; below `log_start` if the first segment straddles it.
    pub fn covered_from(&self) -> Offset {
        match (self.chunks.first(), self.segments.first()) {
            (Some(chunk), _) => chunk.base,
            (None, Some(segment)) => segment.base,
            (None, None) => self.end,
        }
    }

    /// The bytes of the root. They are at most [`MAX_ROOT_BYTES`] only if [`Root::check`] says so.
    pub fn encode(&self) -> Bytes {
        let mut e = Encoder::default();
        e.w.uuid(self.tp.topic.0).i32(self.tp.partition).i32(self.epoch.0).u64(self.version);
        e.w.i64(self.log_start.0).i64(self.end.0);
        e.count(self.commits.len());
        self.commits.iter().for_each(|id| e.id(*id));
        e.count(self.epochs.len());
        for start in &self.epochs {
            e.epoch(start.epoch);
            e.offset(start.start);
        }
        e.producers(&self.producers);
        e.start_at(self.covered_from());
        e.count(self.chunks.len());
        self.chunks.iter().for_each(|chunk| e.chunk(chunk));
        e.count(self.segments.len());
        self.segments.iter().for_each(|segment| e.segment(segment));
        e.count(self.pending_delete.len());
        for pending in &self.pending_delete {
            e.id(pending.id);
            e.epoch(pending.epoch);
        }
        codec::seal(ROOT_MAGIC, VERSION, &e.w.0)
    }

    /// Reads a root and checks it.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        const WHAT: &str = "root";
        if bytes.len() > MAX_ROOT_BYTES {
            return Err(Error::Corrupt { what: WHAT, reason: "larger than a root may be" });
        }
        let (_, payload) = codec::open(WHAT, ROOT_MAGIC, VERSION, bytes)?;
        let mut d = Decoder::new(WHAT, payload);
        let tp = TopicPartition { topic: TopicId(d.r.uuid()?), partition: d.r.i32()? };
        let (epoch, version) = (LeaderEpoch(d.r.i32()?), d.r.u64()?);
        let (log_start, end) = (Offset(d.r.i64()?), Offset(d.r.i64()?));
        let commits = d.list(MAX_COMMITS, 16, |d| d.r.uuid())?;
        let epochs = d.list(MAX_EPOCHS, 2, |d| Ok(EpochStart { epoch: d.epoch()?, start: d.offset()? }))?;
        let producers = d.producers()?;
        d.start()?;
        let chunks = d.list(MAX_CHUNKS, 16, Decoder::chunk)?;
        let segments = d.list(MAX_INLINE_SEGMENTS, 16, Decoder::segment)?;
        let pending_delete =
            d.list(MAX_PENDING_DELETE, 16, |d| Ok(PendingDelete { id: d.r.uuid()?, epoch: d.epoch()? }))?;
        d.r.finish()?;
        let root =
            Self { tp, epoch, version, commits, log_start, end, epochs, producers, segments, chunks, pending_delete };
        root.check()?;
        Ok(root)
    }
}

#[cfg(test)]
mod tests;
