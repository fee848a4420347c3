//! Chunks: immutable pages of older references.

use bytes::Bytes;
use runnel_record::ids::{LeaderEpoch, Offset, TimestampMs, TopicId, TopicPartition};
use uuid::Uuid;

use super::check::{chunks_cover, segments_cover};
use super::fields::{Decoder, Encoder};
use super::{CHUNK_MAGIC, ChunkRef, MAX_CHUNK_ENTRIES, MAX_CHUNK_LEVEL, SegmentRef, VERSION};
use crate::{Error, codec};

const WHAT: &str = "chunk";

/// What a chunk holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entries {
    /// Level 0.
    Segments(Vec<SegmentRef>),
    /// Level n: chunks of level n − 1.
    Chunks(Vec<ChunkRef>),
}

/// An immutable page of older references.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// Whose chunk it is.
    pub tp: TopicPartition,
    /// What it holds: at least one and at most [`MAX_CHUNK_ENTRIES`].
    pub entries: Entries,
}

impl Chunk {
    /// 0 for a chunk of segments, else one more than the level of its entries.
    pub fn level(&self) -> u8 {
        match &self.entries {
            Entries::Segments(_) => 0,
            Entries::Chunks(chunks) => chunks.first().map_or(1, |c| c.level.saturating_add(1)),
        }
    }

    /// The bytes of the chunk.
    pub fn encode(&self) -> Bytes {
        let mut e = Encoder::default();
        e.w.uuid(self.tp.topic.0).i32(self.tp.partition).u8(self.level());
        match &self.entries {
            Entries::Segments(segments) => {
                e.start_at(segments.first().map_or(Offset::ZERO, |s| s.base));
                e.count(segments.len());
                segments.iter().for_each(|s| e.segment(s));
            }
            Entries::Chunks(chunks) => {
                e.start_at(chunks.first().map_or(Offset::ZERO, |c| c.base));
                e.count(chunks.len());
                chunks.iter().for_each(|c| e.chunk(c));
            }
        }
        codec::seal(CHUNK_MAGIC, VERSION, &e.w.0)
    }

    /// Reads a chunk and checks that its entries follow each other.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let (_, payload) = codec::open(WHAT, CHUNK_MAGIC, VERSION, bytes)?;
        let mut d = Decoder::new(WHAT, payload);
        let tp = TopicPartition { topic: TopicId(d.r.uuid()?), partition: d.r.i32()? };
        let level = d.r.u8()?;
        let from = d.start()?;
        let (entries, n) = if level == 0 {
            let segments = d.list(MAX_CHUNK_ENTRIES, 16, Decoder::segment)?;
            segments_cover(WHAT, from, &segments)?;
            let n = segments.len();
            (Entries::Segments(segments), n)
        } else {
            let chunks = d.list(MAX_CHUNK_ENTRIES, 16, Decoder::chunk)?;
            chunks_cover(WHAT, from, &chunks)?;
            if level > MAX_CHUNK_LEVEL || chunks.iter().any(|c| c.level != level - 1) {
                return Err(d.corrupt("entries of another level"));
            }
            let n = chunks.len();
            (Entries::Chunks(chunks), n)
        };
        if n == 0 {
            return Err(d.corrupt("no entries"));
        }
        d.r.finish()?;
        Ok(Self { tp, entries })
    }

    /// The reference to this chunk as the object `id`, written by a leader of `epoch`; `encoded` are its bytes.
    /// `None` for a chunk without entries, which no reader accepts.
    pub fn reference(&self, epoch: LeaderEpoch, id: Uuid, encoded: &[u8]) -> Option<ChunkRef> {
        let mut all = match &self.entries {
            Entries::Segments(segments) => segments.iter().map(of_segment).collect::<Vec<_>>(),
            Entries::Chunks(chunks) => chunks.clone(),
        }
        .into_iter();
        let first = all.next()?;
        let sum = all.fold(first, |sum, c| {
            let later_max = c.max_timestamp > sum.max_timestamp;
            ChunkRef {
                next: c.next,
                segments: sum.segments.saturating_add(c.segments),
                segment_bytes: sum.segment_bytes.saturating_add(c.segment_bytes),
                records: sum.records.saturating_add(c.records),
                min_timestamp: sum.min_timestamp.min(c.min_timestamp),
                max_timestamp: sum.max_timestamp.max(c.max_timestamp),
                max_timestamp_offset: if later_max { c.max_timestamp_offset } else { sum.max_timestamp_offset },
                last_append_time: TimestampMs(sum.last_append_time.0.max(c.last_append_time.0)),
                ..sum
            }
        });
        let bytes = u32::try_from(encoded.len()).ok()?;
        Some(ChunkRef { epoch, id, level: self.level(), bytes, crc32c: crc32c::crc32c(encoded), ..sum })
    }
}

/// A segment as if it were a chunk of one.
fn of_segment(s: &SegmentRef) -> ChunkRef {
    ChunkRef {
        base: s.base,
        next: s.next,
        epoch: s.epoch,
        id: s.id,
        level: 0,
        bytes: 0,
        crc32c: 0,
        segments: 1,
        segment_bytes: s.bytes,
        records: u64::from(s.records),
        min_timestamp: s.min_timestamp,
        max_timestamp: s.max_timestamp,
        max_timestamp_offset: s.max_timestamp_offset,
        last_append_time: s.last_append_time,
    }
}
