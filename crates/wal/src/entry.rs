//! What goes into a lane and what comes out.

use std::collections::BTreeMap;
use std::path::PathBuf;

use runnel_record::{Batch, HEADER_LEN, Offset, TimestampMs, TopicPartition};

/// One batch to be made durable. Base offset and leader epoch are assigned, the batch's CRC is right: the lane
/// relies on it to tell damage, and does not compute another.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The partition.
    pub tp: TopicPartition,
    /// When the leader appended it; never re-stamped.
    pub append_time: TimestampMs,
    /// The batch.
    pub batch: Batch,
}

/// Number of an entry among those that this process appended, strictly increasing from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LaneSeq(pub u64);

/// Hears what became of entries. Called on the lane's thread, or task: it must not block, nor call back into the log's
/// blocking methods.
pub trait Listener: Send + Sync {
    /// Every entry up to and with `upto` is durable. Called once per block, or slot, that held an entry of this listener, in
    /// rising order; the entries can be read by then.
    fn durable(&self, upto: LaneSeq);

    /// The lane has ended: the outcome of every entry not yet reported durable is unknown. Called at most once.
    fn failed(&self);
}

/// A batch read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredBatch {
    /// The batch, its CRC checked.
    pub batch: Batch,
    /// When the leader appended it.
    pub append_time: TimestampMs,
}

/// What recovery knows of a batch without reading its records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TailEntry {
    /// The batch header as on the wire.
    pub header: [u8; HEADER_LEN],
    /// When the leader appended it.
    pub append_time: TimestampMs,
    /// Bytes of the records.
    pub body_len: u32,
}

/// Offsets that were, or may have been, in a part of a lane that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct CorruptRange {
    /// The partition.
    pub tp: TopicPartition,
    /// First offset concerned.
    pub from: Offset,
    /// Offset after the last one, or `None` where nothing tells how far the damage goes.
    pub upto: Option<Offset>,
}

/// What earlier sessions left on the disk.
#[derive(Debug, Default)]
pub struct Recovered {
    /// The batches in the lanes by partition, in offset order. It may start below what is already in the bucket.
    /// It has a gap where a range is corrupt, was held by another broker, or is in the bucket and trimmed.
    pub tails: BTreeMap<TopicPartition, Vec<TailEntry>>,
    /// Ranges that cannot be read. A partition does not open past one that it has not shipped.
    pub corrupt: Vec<CorruptRange>,
    /// Ranges that cannot be read and whose loss was accepted ([`crate::LocalLog::accept_loss`]).
    pub accepted: Vec<CorruptRange>,
    /// Damage that hides which partitions it hit: partitions seen in the lane are in `corrupt`, one that had all of
    /// its entries in the damaged part is not known.
    pub unattributed: Vec<String>,
    /// Bytes of blocks that were being written when the process died; never acknowledged, cut.
    pub torn_bytes: u64,
    /// Lanes that hold something.
    pub lanes: usize,
    /// Directories that look like lanes but belong to another disk; left alone.
    pub foreign: Vec<PathBuf>,
}

/// How full the log is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pressure {
    /// Bytes that wait for durability.
    pub unflushed_bytes: u64,
    /// Bytes on disk that wait for the bucket, or are pinned by something that does.
    pub unshipped_bytes: u64,
    /// Unshipped bytes past which appends are throttled.
    pub limit: u64,
    /// Whether the disk has no room for the next file.
    pub full: bool,
}
