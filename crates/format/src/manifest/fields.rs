//! The fields of a manifest object as differences from the ones before.
//!
//! Both sides keep the same running values: offset, epoch, append day and append time. Differences wrap, so every
//! 64-bit value survives the round trip, sensible or not; what is sensible is `check`'s business.

use bytes::Bytes;
use runnel_record::ids::{LeaderEpoch, Offset, TimestampMs};
use uuid::Uuid;

use super::{ChunkRef, MAX_INLINE_PRODUCERS, ProducerState, SegmentRef, varint};
use crate::Error;
use crate::codec::{Reader, Writer};

const INLINE: u8 = 0;
const STORED: u8 = 1;

#[derive(Debug, Default)]
struct Running {
    offset: i64,
    epoch: i64,
    day: i64,
    time: i64,
}

#[derive(Debug, Default)]
pub(super) struct Encoder {
    pub(super) w: Writer,
    at: Running,
}

impl Encoder {
    pub(super) fn count(&mut self, n: usize) {
        varint::put(&mut self.w, n as u64);
    }

    pub(super) fn id(&mut self, id: Uuid) {
        self.w.uuid(id);
    }

    fn number(&mut self, v: u64) {
        varint::put(&mut self.w, v);
    }

    fn difference(&mut self, v: i64, from: i64) {
        varint::put_signed(&mut self.w, v.wrapping_sub(from));
    }

    pub(super) fn epoch(&mut self, epoch: LeaderEpoch) {
        let v = i64::from(epoch.0);
        self.difference(v, self.at.epoch);
        self.at.epoch = v;
    }

    pub(super) fn offset(&mut self, offset: Offset) {
        self.difference(offset.0, self.at.offset);
        self.at.offset = offset.0;
    }

    /// Where the references begin; each starts where the one before ends.
    pub(super) fn start_at(&mut self, offset: Offset) {
        self.offset(offset);
    }

    fn time(&mut self, time: TimestampMs) {
        self.difference(time.0, self.at.time);
        self.at.time = time.0;
    }

    pub(super) fn producers(&mut self, producers: &ProducerState) {
        match producers {
            ProducerState::Inline(bytes) => {
                self.w.u8(INLINE).bytes(bytes);
            }
            ProducerState::Stored { id, epoch, bytes, crc32c } => {
                self.w.u8(STORED).uuid(*id).u32(*crc32c);
                self.epoch(*epoch);
                self.number(*bytes);
            }
        }
    }

    pub(super) fn segment(&mut self, s: &SegmentRef) {
        self.w.uuid(s.id).u32(s.crc32c);
        let base = s.base.0;
        self.offset(s.next);
        self.epoch(s.epoch);
        self.difference(i64::from(s.day), self.at.day);
        self.at.day = i64::from(s.day);
        self.number(s.bytes);
        self.number(u64::from(s.records));
        self.time(s.first_append_time);
        self.time(s.last_append_time);
        self.difference(s.min_timestamp.0, self.at.time);
        self.difference(s.max_timestamp.0, self.at.time);
        self.difference(s.max_timestamp_offset.0, base);
    }

    pub(super) fn chunk(&mut self, c: &ChunkRef) {
        self.w.uuid(c.id).u32(c.crc32c).u8(c.level);
        let base = c.base.0;
        self.offset(c.next);
        self.epoch(c.epoch);
        self.number(u64::from(c.bytes));
        self.number(c.segments);
        self.number(c.segment_bytes);
        self.number(c.records);
        self.time(c.last_append_time);
        self.difference(c.min_timestamp.0, self.at.time);
        self.difference(c.max_timestamp.0, self.at.time);
        self.difference(c.max_timestamp_offset.0, base);
    }
}

#[derive(Debug)]
pub(super) struct Decoder<'a> {
    what: &'static str,
    pub(super) r: Reader<'a>,
    at: Running,
}

impl<'a> Decoder<'a> {
    pub(super) fn new(what: &'static str, bytes: &'a [u8]) -> Self {
        Self { what, r: Reader::new(what, bytes), at: Running::default() }
    }

    pub(super) const fn corrupt(&self, reason: &'static str) -> Error {
        Error::Corrupt { what: self.what, reason }
    }

    /// Takes a count of at most `most` items of at least `min_item_bytes` each, and the items.
    pub(super) fn list<T>(
        &mut self,
        most: usize,
        min_item_bytes: usize,
        item: impl Fn(&mut Self) -> Result<T, Error>,
    ) -> Result<Vec<T>, Error> {
        let n = usize::try_from(self.number()?).unwrap_or(usize::MAX);
        if n > most || n * min_item_bytes > self.r.remaining() {
            return Err(self.corrupt("a count larger than allowed"));
        }
        (0..n).map(|_| item(self)).collect()
    }

    fn number(&mut self) -> Result<u64, Error> {
        varint::take(self.what, &mut self.r)
    }

    fn number_u32(&mut self) -> Result<u32, Error> {
        u32::try_from(self.number()?).map_err(|_| self.corrupt("a number of more than 32 bits"))
    }

    fn difference(&mut self, from: i64) -> Result<i64, Error> {
        Ok(varint::take_signed(self.what, &mut self.r)?.wrapping_add(from))
    }

    fn difference_i32(&mut self, from: i64) -> Result<i32, Error> {
        i32::try_from(self.difference(from)?).map_err(|_| self.corrupt("a number of more than 32 bits"))
    }

    pub(super) fn epoch(&mut self) -> Result<LeaderEpoch, Error> {
        let epoch = self.difference_i32(self.at.epoch)?;
        self.at.epoch = i64::from(epoch);
        Ok(LeaderEpoch(epoch))
    }

    pub(super) fn offset(&mut self) -> Result<Offset, Error> {
        self.at.offset = self.difference(self.at.offset)?;
        Ok(Offset(self.at.offset))
    }

    pub(super) fn start(&mut self) -> Result<Offset, Error> {
        self.offset()
    }

    fn time(&mut self) -> Result<TimestampMs, Error> {
        self.at.time = self.difference(self.at.time)?;
        Ok(TimestampMs(self.at.time))
    }

    pub(super) fn producers(&mut self) -> Result<ProducerState, Error> {
        match self.r.u8()? {
            INLINE => {
                let bytes = self.r.bytes()?;
                if bytes.len() > MAX_INLINE_PRODUCERS {
                    return Err(self.corrupt("a producer snapshot too large to be inline"));
                }
                Ok(ProducerState::Inline(Bytes::copy_from_slice(bytes)))
            }
            STORED => {
                let (id, crc32c) = (self.r.uuid()?, self.r.u32()?);
                Ok(ProducerState::Stored { id, crc32c, epoch: self.epoch()?, bytes: self.number()? })
            }
            _ => Err(self.corrupt("an unknown kind of producer snapshot")),
        }
    }

    pub(super) fn segment(&mut self) -> Result<SegmentRef, Error> {
        let (id, crc32c) = (self.r.uuid()?, self.r.u32()?);
        let (base, next) = (Offset(self.at.offset), self.offset()?);
        let epoch = self.epoch()?;
        let day = self.difference_i32(self.at.day)?;
        self.at.day = i64::from(day);
        let (bytes, records) = (self.number()?, self.number_u32()?);
        let (first_append_time, last_append_time) = (self.time()?, self.time()?);
        Ok(SegmentRef {
            base,
            next,
            epoch,
            id,
            day,
            bytes,
            crc32c,
            records,
            min_timestamp: TimestampMs(self.difference(self.at.time)?),
            max_timestamp: TimestampMs(self.difference(self.at.time)?),
            max_timestamp_offset: Offset(self.difference(base.0)?),
            first_append_time,
            last_append_time,
        })
    }

    pub(super) fn chunk(&mut self) -> Result<ChunkRef, Error> {
        let (id, crc32c, level) = (self.r.uuid()?, self.r.u32()?, self.r.u8()?);
        let (base, next) = (Offset(self.at.offset), self.offset()?);
        let epoch = self.epoch()?;
        let (bytes, segments) = (self.number_u32()?, self.number()?);
        let (segment_bytes, records) = (self.number()?, self.number()?);
        let last_append_time = self.time()?;
        Ok(ChunkRef {
            base,
            next,
            epoch,
            id,
            level,
            bytes,
            crc32c,
            segments,
            segment_bytes,
            records,
            min_timestamp: TimestampMs(self.difference(self.at.time)?),
            max_timestamp: TimestampMs(self.difference(self.at.time)?),
            max_timestamp_offset: Offset(self.difference(base.0)?),
            last_append_time,
        })
    }
}
