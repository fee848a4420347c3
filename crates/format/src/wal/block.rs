//! One synced unit of a lane: header, rows, the index of the block before, bodies.

use std::ops::Range;

use bytes::{BufMut, Bytes};
use runnel_record::{Batch, HEADER_LEN, LeaderEpoch, Offset, TimestampMs, TopicId, TopicPartition};

use super::{PAGE, pages};
use crate::Error;
use crate::codec::Reader;

/// Bytes of a block header.
pub const BLOCK_HEADER_LEN: usize = 96;
/// Bytes of a row.
pub const ROW_LEN: usize = 112;
/// Bytes of a span.
pub const SPAN_LEN: usize = 36;

const MAGIC: [u8; 4] = *b"RWBK";
const HAS_INDEX: u16 = 1;
const WHAT: &str = "WAL block";
const ROW: &str = "WAL row";

const fn corrupt<T>(what: &'static str, reason: &'static str) -> Result<T, Error> {
    Err(Error::Corrupt { what, reason })
}

/// CRC-32C of `bytes`, started from the seed of the file.
pub fn seeded_crc(seed: u32, bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(seed, bytes)
}

/// What a block is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum BlockKind {
    /// Holds batches.
    Data = 1,
    /// Holds nothing; says that the block before it is durable.
    Footer = 2,
    /// A footer that ends the lane: its writer stopped cleanly, or it was sealed.
    End = 3,
}

/// The fixed part of a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockHeader {
    /// What the block is for.
    pub kind: BlockKind,
    /// Number of the file that it stands in.
    pub file: u64,
    /// Where in the file it starts.
    pub position: u64,
    /// Number of the block in the lane, from 1, without holes.
    pub seq: u64,
    /// The highest block number that was known durable when this block was written.
    pub durable_upto: u64,
    /// Bytes from the start of this block to that of the next; whole pages.
    pub total_len: u64,
    /// Bytes of all bodies.
    pub data_len: u64,
    /// Number of rows.
    pub rows: u32,
    /// Number of spans, or `None` where the content of the block before is not known.
    pub spans: Option<u32>,
    /// Seeded CRC of the rows.
    pub rows_crc: u32,
    /// Seeded CRC of the spans.
    pub spans_crc: u32,
}

impl BlockHeader {
    /// Length of a block with so many rows, spans and bytes of bodies, padding included.
    pub const fn block_len(rows: usize, spans: usize, data_len: u64) -> u64 {
        pages((BLOCK_HEADER_LEN + rows * ROW_LEN + spans * SPAN_LEN) as u64 + data_len)
    }

    /// Bytes of the rows.
    pub const fn rows_len(&self) -> usize {
        self.rows as usize * ROW_LEN
    }

    /// Bytes of the spans.
    pub const fn spans_len(&self) -> usize {
        match self.spans {
            Some(n) => n as usize * SPAN_LEN,
            None => 0,
        }
    }

    /// Where the bodies start, from the start of the block.
    pub const fn data_at(&self) -> u64 {
        (BLOCK_HEADER_LEN + self.rows_len() + self.spans_len()) as u64
    }

    /// Position after the block.
    pub const fn end(&self) -> u64 {
        self.position + self.total_len
    }

    /// The header as stored.
    pub fn encode(&self, seed: u32) -> [u8; BLOCK_HEADER_LEN] {
        let mut out = [0; BLOCK_HEADER_LEN];
        let mut w = &mut out[..];
        w.put_slice(&MAGIC);
        w.put_u16_le(self.kind as u16);
        w.put_u16_le(if self.spans.is_some() { HAS_INDEX } else { 0 });
        w.put_u64_le(self.file);
        w.put_u64_le(self.position);
        w.put_u64_le(self.seq);
        w.put_u64_le(self.durable_upto);
        w.put_u64_le(self.total_len);
        w.put_u64_le(self.data_len);
        w.put_u32_le(self.rows);
        w.put_u32_le(self.spans.unwrap_or(0));
        w.put_u32_le(self.rows_crc);
        w.put_u32_le(self.spans_crc);
        let crc = seeded_crc(seed, &out[..BLOCK_HEADER_LEN - 4]);
        out[BLOCK_HEADER_LEN - 4..].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// Whether a block may start with these bytes: the cheap test in front of [`BlockHeader::decode`].
    pub fn looks_like_one(bytes: &[u8]) -> bool {
        bytes.starts_with(&MAGIC)
    }

    /// Reads the header of the block at `position` of file number `file`, which is `file_len` bytes long. A block
    /// copied from elsewhere, or left over from an earlier life of the file, is corrupt.
    pub fn decode(bytes: &[u8], seed: u32, file: u64, position: u64, file_len: u64) -> Result<Self, Error> {
        if bytes.len() < BLOCK_HEADER_LEN || !Self::looks_like_one(bytes) {
            return corrupt(WHAT, "no block here");
        }
        let (fields, crc) = bytes[..BLOCK_HEADER_LEN].split_at(BLOCK_HEADER_LEN - 4);
        if Reader::new(WHAT, crc).u32()? != seeded_crc(seed, fields) {
            return corrupt(WHAT, "CRC mismatch");
        }
        let mut r = Reader::new(WHAT, &fields[MAGIC.len()..]);
        let kind = match r.u16()? {
            1 => BlockKind::Data,
            2 => BlockKind::Footer,
            3 => BlockKind::End,
            _ => return corrupt(WHAT, "unknown kind"),
        };
        let flags = r.u16()?;
        let mut header = Self {
            kind,
            file: r.u64()?,
            position: r.u64()?,
            seq: r.u64()?,
            durable_upto: r.u64()?,
            total_len: r.u64()?,
            data_len: r.u64()?,
            rows: r.u32()?,
            spans: Some(r.u32()?),
            rows_crc: r.u32()?,
            spans_crc: r.u32()?,
        };
        if flags & HAS_INDEX == 0 {
            header.spans = None;
        }
        header.check(file, position, file_len)?;
        Ok(header)
    }

    fn check(&self, file: u64, position: u64, file_len: u64) -> Result<(), Error> {
        if self.file != file || self.position != position {
            return corrupt(WHAT, "belongs elsewhere");
        }
        let head = BLOCK_HEADER_LEN as u64
            + u64::from(self.rows) * ROW_LEN as u64
            + u64::from(self.spans.unwrap_or(0)) * SPAN_LEN as u64;
        let fits = head.checked_add(self.data_len).is_some_and(|need| need <= self.total_len)
            && self.total_len.is_multiple_of(PAGE as u64)
            && position.checked_add(self.total_len).is_some_and(|end| end <= file_len);
        if !fits {
            return corrupt(WHAT, "lengths do not fit");
        }
        if self.seq == 0 || self.durable_upto >= self.seq || (self.kind == BlockKind::Data) == (self.rows == 0) {
            return corrupt(WHAT, "numbers do not fit");
        }
        Ok(())
    }
}

/// One batch in the table of a block: everything but the records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The partition.
    pub tp: TopicPartition,
    /// When the leader appended it.
    pub append_time: TimestampMs,
    /// Where the records start, from the start of the block.
    pub body_at: u64,
    /// Bytes of the records.
    pub body_len: u32,
    /// The batch header as on the wire; its CRC covers the records too.
    pub header: [u8; HEADER_LEN],
}

impl Row {
    /// First offset of the batch.
    pub fn base(&self) -> Offset {
        self.facts().base_offset()
    }

    /// Offset after the batch.
    pub fn next(&self) -> Offset {
        self.facts().next_offset()
    }

    /// Epoch that the batch was appended in.
    pub fn epoch(&self) -> LeaderEpoch {
        self.facts().leader_epoch()
    }

    const fn facts(&self) -> Batch {
        Batch::from_parts(self.header, Bytes::new())
    }

    /// Whether `body` is what the producer's CRC in the row was computed over.
    pub fn matches(&self, body: &[u8]) -> bool {
        body.len() == self.body_len as usize
            && crc32c::crc32c_append(crc32c::crc32c(&self.header[21..]), body) == self.facts().crc()
    }

    /// Appends the row as stored.
    pub fn encode(&self, seed: u32, out: &mut impl BufMut) {
        let mut row = [0; ROW_LEN];
        let mut w = &mut row[..];
        w.put_slice(self.tp.topic.0.as_bytes());
        w.put_i32_le(self.tp.partition);
        w.put_u32_le(self.body_len);
        w.put_i64_le(self.append_time.0);
        w.put_u64_le(self.body_at);
        w.put_slice(&self.header);
        let crc = seeded_crc(seed, &row[..ROW_LEN - 4]);
        row[ROW_LEN - 4..].copy_from_slice(&crc.to_le_bytes());
        out.put_slice(&row);
    }

    /// Whether a stored row is one of `tp`, without decoding it. Its CRC must have been checked, or be checked later.
    pub fn is_of(bytes: &[u8], tp: TopicPartition) -> bool {
        bytes.get(..16) == Some(tp.topic.0.as_bytes()) && bytes.get(16..20) == Some(&tp.partition.to_le_bytes())
    }

    /// Reads a row of the block `block`.
    pub fn decode(bytes: &[u8], seed: u32, block: &BlockHeader) -> Result<Self, Error> {
        Self::decode_within(bytes, seed, block.data_at()..block.total_len)
    }

    /// Reads a row of a block or a slot whose bodies are at `bodies`, from its start.
    pub fn decode_within(bytes: &[u8], seed: u32, bodies: Range<u64>) -> Result<Self, Error> {
        let mut crc = Reader::new(ROW, bytes);
        let fields = crc.raw(ROW_LEN - 4)?;
        if crc.u32()? != seeded_crc(seed, fields) {
            return corrupt(ROW, "CRC mismatch");
        }
        let mut r = Reader::new(ROW, fields);
        let topic = TopicId(r.uuid()?);
        let partition = r.i32()?;
        let body_len = r.u32()?;
        let append_time = TimestampMs(r.i64()?);
        let (body_at, header) = (r.u64()?, r.array()?);
        let row = Self { tp: TopicPartition { topic, partition }, append_time, body_at, body_len, header };
        if body_at < bodies.start || body_at.checked_add(u64::from(body_len)).is_none_or(|end| end > bodies.end) {
            return corrupt(ROW, "the body is not in the block");
        }
        let facts = row.facts();
        let slots = i64::from(facts.last_offset_delta()) + 1;
        if slots < 1 || facts.base_offset().0 < 0 || facts.base_offset().0.checked_add(slots).is_none() {
            return corrupt(ROW, "impossible offsets");
        }
        Ok(row)
    }
}

/// A range of offsets of one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    /// The partition.
    pub tp: TopicPartition,
    /// First offset.
    pub base: Offset,
    /// Offset after the last.
    pub next: Offset,
}

impl Span {
    /// Appends the span as stored.
    pub fn encode(&self, out: &mut impl BufMut) {
        out.put_slice(self.tp.topic.0.as_bytes());
        out.put_i32_le(self.tp.partition);
        out.put_i64_le(self.base.0);
        out.put_i64_le(self.next.0);
    }

    /// Reads a span.
    pub fn decode(r: &mut Reader<'_>) -> Result<Self, Error> {
        let (topic, partition) = (TopicId(r.uuid()?), r.i32()?);
        let (base, next) = (Offset(r.i64()?), Offset(r.i64()?));
        Ok(Self { tp: TopicPartition { topic, partition }, base, next })
    }
}
