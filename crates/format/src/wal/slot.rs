//! One object of an object lane: header, rows, sometimes a checkpoint, bodies.

use std::ops::Range;

use bytes::BufMut;
use runnel_record::{LeaderEpoch, Offset, TopicId, TopicPartition};
use uuid::Uuid;

use super::{ROW_LEN, VERSION, seeded_crc};
use crate::Error;
use crate::codec::Reader;

/// Bytes of a slot's header, and of a whole SEAL; a slot with data is longer.
pub const SLOT_HEADER_LEN: usize = 112;
/// Bytes of a run in a checkpoint.
pub const RUN_LEN: usize = 72;
/// Every slot whose number is a multiple of this should have a checkpoint.
pub const CHECKPOINT_EVERY: u64 = 64;

const MAGIC: [u8; 8] = *b"RNL-SLOT";
const HAS_CHECKPOINT: u32 = 1;
const WHAT: &str = "WAL slot";
const RUN: &str = "WAL checkpoint";
/// The header's own CRC is at its end, in every version.
const CRC_AT: usize = SLOT_HEADER_LEN - 4;

const fn corrupt<T>(what: &'static str, reason: &'static str) -> Result<T, Error> {
    Err(Error::Corrupt { what, reason })
}

/// What a slot is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum SlotKind {
    /// Holds batches.
    Data = 1,
    /// Ends the lane: its writer can put nothing here any more.
    Seal = 2,
}

/// The fixed part of a slot. Two writes of one slot differ here, at the latest in the nonce.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotHeader {
    /// What the slot is for.
    pub kind: SlotKind,
    /// The lane.
    pub lane: Uuid,
    /// The session that wrote the slot: the lane's owner, or who sealed it.
    pub session: u64,
    /// Number of the slot, from 0.
    pub slot: u64,
    /// Drawn by each writer: tells its own object from that of another.
    pub nonce: Uuid,
    /// Bytes of the object.
    pub total_len: u64,
    /// Number of rows.
    pub rows: u32,
    /// Number of runs in the checkpoint, or `None` without one.
    pub runs: Option<u32>,
    /// Seeded CRC of the rows.
    pub rows_crc: u32,
    /// Seeded CRC of the checkpoint.
    pub runs_crc: u32,
}

impl SlotHeader {
    /// The object that seals `lane` at `slot`.
    pub fn seal(lane: Uuid, session: u64, slot: u64, nonce: Uuid) -> Self {
        let none = seeded_crc(Self::seed(lane, slot), &[]);
        let (kind, total_len) = (SlotKind::Seal, SLOT_HEADER_LEN as u64);
        Self { kind, lane, session, slot, nonce, total_len, rows: 0, runs: None, rows_crc: none, runs_crc: none }
    }

    /// What every CRC of a slot starts from, so that bytes of another slot or lane never pass.
    pub fn seed(lane: Uuid, slot: u64) -> u32 {
        crc32c::crc32c_append(crc32c::crc32c(lane.as_bytes()), &slot.to_le_bytes())
    }

    /// Bytes of the rows numbered `rows`, from the start of the object.
    pub fn rows_at(rows: &Range<u32>) -> Range<u64> {
        let at = |row: u32| SLOT_HEADER_LEN as u64 + u64::from(row) * ROW_LEN as u64;
        at(rows.start)..at(rows.end)
    }

    /// Where the bodies start: the bytes in front of them are all of the slot but the records.
    pub const fn data_at(&self) -> u64 {
        let runs = match self.runs {
            Some(runs) => runs as u64,
            None => 0,
        };
        SLOT_HEADER_LEN as u64 + self.rows as u64 * ROW_LEN as u64 + runs * RUN_LEN as u64
    }

    /// The header as stored.
    pub fn encode(&self) -> [u8; SLOT_HEADER_LEN] {
        let mut out = [0; SLOT_HEADER_LEN];
        let mut w = &mut out[..];
        w.put_slice(&MAGIC);
        w.put_u16_le(VERSION);
        w.put_u16_le(self.kind as u16);
        w.put_u32_le(if self.runs.is_some() { HAS_CHECKPOINT } else { 0 });
        w.put_slice(self.lane.as_bytes());
        w.put_slice(self.nonce.as_bytes());
        w.put_u64_le(self.session);
        w.put_u64_le(self.slot);
        w.put_u64_le(self.total_len);
        w.put_u32_le(self.rows);
        w.put_u32_le(self.runs.unwrap_or(0));
        w.put_u32_le(self.rows_crc);
        w.put_u32_le(self.runs_crc);
        let crc = seeded_crc(Self::seed(self.lane, self.slot), &out[..CRC_AT]);
        out[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// Reads the header of slot number `slot` of `lane` from the first bytes of the object.
    ///
    /// # Errors
    /// `Corrupt`, also for an object copied from elsewhere; `NewerFormat`.
    pub fn decode(bytes: &[u8], lane: Uuid, slot: u64) -> Result<Self, Error> {
        let Some(head) = bytes.get(..SLOT_HEADER_LEN) else { return corrupt(WHAT, "ends too early") };
        let mut r = Reader::new(WHAT, head);
        if r.array::<8>()? != MAGIC {
            return corrupt(WHAT, "wrong magic");
        }
        let version = r.u16()?;
        if Reader::new(WHAT, &head[CRC_AT..]).u32()? != seeded_crc(Self::seed(lane, slot), &head[..CRC_AT]) {
            return corrupt(WHAT, "CRC mismatch");
        }
        if version == 0 || version > VERSION {
            return Err(Error::NewerFormat { what: WHAT, found: version, newest: VERSION });
        }
        let kind = match r.u16()? {
            1 => SlotKind::Data,
            2 => SlotKind::Seal,
            _ => return corrupt(WHAT, "unknown kind"),
        };
        let has_checkpoint = r.u32()? & HAS_CHECKPOINT != 0;
        let (found_lane, nonce, session, found_slot) = (r.uuid()?, r.uuid()?, r.u64()?, r.u64()?);
        let (total_len, rows, runs) = (r.u64()?, r.u32()?, r.u32()?);
        let (rows_crc, runs_crc) = (r.u32()?, r.u32()?);
        if found_lane != lane || found_slot != slot {
            return corrupt(WHAT, "belongs elsewhere");
        }
        let runs = has_checkpoint.then_some(runs);
        let header = Self { kind, lane, session, slot, nonce, total_len, rows, runs, rows_crc, runs_crc };
        let fits = match kind {
            SlotKind::Data => rows > 0 && header.data_at() <= total_len,
            SlotKind::Seal => rows == 0 && runs.is_none() && total_len == SLOT_HEADER_LEN as u64,
        };
        if fits { Ok(header) } else { corrupt(WHAT, "lengths do not fit") }
    }

    /// The bytes of the rows, and the runs of the checkpoint if there is one. `bytes` is the object up to its bodies.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn tables<'a>(&self, bytes: &'a [u8]) -> Result<(&'a [u8], Option<Vec<SlotRun>>), Error> {
        let seed = Self::seed(self.lane, self.slot);
        let mut r = Reader::new(WHAT, bytes);
        r.raw(SLOT_HEADER_LEN)?;
        let rows = r.raw(self.rows as usize * ROW_LEN)?;
        let Some(count) = self.runs else {
            return if seeded_crc(seed, rows) == self.rows_crc {
                Ok((rows, None))
            } else {
                corrupt(WHAT, "CRC mismatch")
            };
        };
        let stored = r.raw(count as usize * RUN_LEN)?;
        if seeded_crc(seed, rows) != self.rows_crc || seeded_crc(seed, stored) != self.runs_crc {
            return corrupt(WHAT, "CRC mismatch");
        }
        let mut r = Reader::new(RUN, stored);
        let mut runs = Vec::with_capacity(count as usize);
        for _ in 0..count {
            runs.push(SlotRun::decode(&mut r, self.slot)?);
        }
        Ok((rows, Some(runs)))
    }
}

/// Where the batches of one partition are in one slot: its rows are neighbours there, and so are its bodies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlotRun {
    /// The partition.
    pub tp: TopicPartition,
    /// Leader epoch of the batches.
    pub epoch: LeaderEpoch,
    /// First offset.
    pub base: Offset,
    /// Offset after the last. Batches from here on, if there are more, were superseded in a later epoch.
    pub next: Offset,
    /// The slot.
    pub slot: u64,
    /// Number of the first row.
    pub first_row: u32,
    /// Number of rows.
    pub rows: u32,
    /// Where the bodies start, from the start of the object.
    pub body_at: u64,
    /// Bytes of the bodies.
    pub body_len: u64,
}

impl SlotRun {
    /// Appends the run as stored.
    pub fn encode(&self, out: &mut impl BufMut) {
        out.put_slice(self.tp.topic.0.as_bytes());
        out.put_i32_le(self.tp.partition);
        out.put_i32_le(self.epoch.0);
        out.put_i64_le(self.base.0);
        out.put_i64_le(self.next.0);
        out.put_u64_le(self.slot);
        out.put_u32_le(self.first_row);
        out.put_u32_le(self.rows);
        out.put_u64_le(self.body_at);
        out.put_u64_le(self.body_len);
    }

    /// Reads a run of the checkpoint in slot number `within`, which speaks of earlier slots only.
    fn decode(r: &mut Reader<'_>, within: u64) -> Result<Self, Error> {
        let (topic, partition) = (TopicId(r.uuid()?), r.i32()?);
        let (epoch, base, next) = (LeaderEpoch(r.i32()?), Offset(r.i64()?), Offset(r.i64()?));
        let (slot, first_row, rows) = (r.u64()?, r.u32()?, r.u32()?);
        let (body_at, body_len) = (r.u64()?, r.u64()?);
        let possible = base.0 >= 0
            && base < next
            && slot < within
            && rows > 0
            && first_row.checked_add(rows).is_some()
            && body_at.checked_add(body_len).is_some();
        if !possible {
            return corrupt(RUN, "an impossible run");
        }
        let tp = TopicPartition { topic, partition };
        Ok(Self { tp, epoch, base, next, slot, first_row, rows, body_at, body_len })
    }
}

#[cfg(test)]
mod tests;
