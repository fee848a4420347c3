//! A RecordBatch v2 as two pieces of shared bytes.
//!
//! Source: Kafka's message format (KIP-98, magic 2). The first [`HEADER_LEN`] bytes are the header; the base
//! offset (0..8), the length (8..12), the leader epoch (12..16) and the magic (16) are outside the CRC, which
//! covers everything from the attributes (21) to the end. Table: `docs/formats/record-batch.md`.

use bytes::{Buf, BufMut, Bytes};

use crate::compression::Codec;
use crate::error::Error;
use crate::ids::{LeaderEpoch, Offset, ProducerId, TimestampMs};

/// Bytes of the fixed header of a RecordBatch v2.
pub const HEADER_LEN: usize = 61;

/// The length field counts what follows it: everything but the base offset and itself.
const LENGTH_END: usize = 12;
const MAGIC_AT: usize = 16;
const CRC_AT: usize = 17;
/// The CRC covers everything from here to the end of the batch.
const CRC_FROM: usize = 21;

pub(crate) const LOG_APPEND_TIME: i16 = 0x08;
pub(crate) const TRANSACTIONAL: i16 = 0x10;
pub(crate) const CONTROL: i16 = 0x20;

/// One record batch: the header, patched by value, and the records as the bytes that arrived, shared and never copied.
#[derive(Clone, PartialEq, Eq)]
pub struct Batch {
    header: [u8; HEADER_LEN],
    body: Bytes,
}

impl std::fmt::Debug for Batch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Batch")
            .field("base_offset", &self.base_offset())
            .field("next_offset", &self.next_offset())
            .field("records", &self.record_count())
            .field("bytes", &self.len())
            .finish()
    }
}

impl Batch {
    /// Puts a batch together from its two parts. The caller vouches that they belong together: they were
    /// validated before (front door), or their CRC was checked (lane, segment).
    pub const fn from_parts(header: [u8; HEADER_LEN], body: Bytes) -> Self {
        Self { header, body }
    }

    /// Takes the first batch off `bytes`, without copying the records; returns it and what follows it.
    ///
    /// Checks magic, length, and that offset range and record count are possible. The CRC and the records are left
    /// to [`Self::verify_crc`] and [`crate::validate()`].
    pub fn parse(bytes: Bytes) -> Result<(Self, Bytes), Error> {
        let (batch, rest) = Self::split_from(bytes)?;
        batch.check_ranges()?;
        Ok((batch, rest))
    }

    /// The framing alone: believes no field that the CRC covers.
    pub(crate) fn split_from(mut bytes: Bytes) -> Result<(Self, Bytes), Error> {
        let have = bytes.len();
        match bytes.get(MAGIC_AT) {
            Some(2) => {}
            Some(&old @ (0 | 1)) => return Err(Error::UnsupportedFormat(i8::from_be_bytes([old]))),
            Some(&other) => return Err(Error::Magic(i8::from_be_bytes([other]))),
            None => return Err(Error::Truncated { need: HEADER_LEN, have }),
        }
        let Some(&header) = bytes.first_chunk::<HEADER_LEN>() else {
            return Err(Error::Truncated { need: HEADER_LEN, have });
        };
        let mut batch = Self { header, body: Bytes::new() };
        let length = batch.i32_at(8);
        let need = match usize::try_from(length) {
            Ok(length) if length >= HEADER_LEN - LENGTH_END => LENGTH_END.saturating_add(length),
            _ => return Err(Error::Length(length)),
        };
        if have < need {
            return Err(Error::Truncated { need, have });
        }
        let rest = bytes.split_off(need);
        bytes.advance(HEADER_LEN);
        batch.body = bytes;
        Ok((batch, rest))
    }

    /// Nothing that is computed from the header overflows.
    pub(crate) fn check_ranges(&self) -> Result<(), Error> {
        let slots = i64::from(self.last_offset_delta()) + 1;
        if slots < 1 || self.base_offset().0.checked_add(slots).is_none() {
            return Err(Error::Batch("impossible offset range"));
        }
        if self.record_count() < 0 {
            return Err(Error::Batch("negative record count"));
        }
        Ok(())
    }

    /// The header as it will stand on the wire.
    pub const fn header(&self) -> &[u8; HEADER_LEN] {
        &self.header
    }

    /// The records after the header, possibly compressed.
    pub const fn body(&self) -> &Bytes {
        &self.body
    }

    /// Bytes on the wire, header included.
    #[allow(clippy::len_without_is_empty)] // a batch is never empty
    pub const fn len(&self) -> usize {
        HEADER_LEN + self.body.len()
    }

    fn bytes_at<const N: usize>(&self, at: usize) -> [u8; N] {
        let mut out = [0; N];
        out.copy_from_slice(&self.header[at..at + N]);
        out
    }

    fn i16_at(&self, at: usize) -> i16 {
        i16::from_be_bytes(self.bytes_at(at))
    }

    fn i32_at(&self, at: usize) -> i32 {
        i32::from_be_bytes(self.bytes_at(at))
    }

    fn i64_at(&self, at: usize) -> i64 {
        i64::from_be_bytes(self.bytes_at(at))
    }

    /// Offset of the first record slot.
    pub fn base_offset(&self) -> Offset {
        Offset(self.i64_at(0))
    }

    /// Offset after the last record slot (base offset + last offset delta + 1).
    pub fn next_offset(&self) -> Offset {
        self.base_offset().plus(i64::from(self.last_offset_delta()) + 1)
    }

    /// Leader epoch that the batch was appended in.
    pub fn leader_epoch(&self) -> LeaderEpoch {
        LeaderEpoch(self.i32_at(12))
    }

    /// The stored CRC-32C over attributes to end.
    pub fn crc(&self) -> u32 {
        u32::from_be_bytes(self.bytes_at(17))
    }

    /// The attribute bits: 0–2 codec, 3 log-append time, 4 transactional, 5 control, 6 delete horizon.
    pub fn attributes(&self) -> i16 {
        self.i16_at(21)
    }

    /// Compression of the records.
    pub fn codec(&self) -> Result<Codec, Error> {
        Codec::from_attributes(self.attributes())
    }

    /// Whether the records carry the append time of the batch instead of times of their own.
    pub fn is_log_append_time(&self) -> bool {
        self.attributes() & LOG_APPEND_TIME != 0
    }

    /// Whether the records belong to a transaction.
    pub fn is_transactional(&self) -> bool {
        self.attributes() & TRANSACTIONAL != 0
    }

    /// Whether the batch holds a transaction marker instead of records.
    pub fn is_control(&self) -> bool {
        self.attributes() & CONTROL != 0
    }

    /// Offset delta of the last record slot; compaction may have removed the record itself.
    pub fn last_offset_delta(&self) -> i32 {
        self.i32_at(23)
    }

    /// Timestamp that record deltas count from.
    pub fn base_timestamp(&self) -> TimestampMs {
        TimestampMs(self.i64_at(27))
    }

    /// Largest record timestamp, or the append time where attribute bit 3 says so.
    pub fn max_timestamp(&self) -> TimestampMs {
        TimestampMs(self.i64_at(35))
    }

    /// Idempotent producer, or [`ProducerId::NONE`].
    pub fn producer_id(&self) -> ProducerId {
        ProducerId(self.i64_at(43))
    }

    /// Epoch of the producer, −1 for none.
    pub fn producer_epoch(&self) -> i16 {
        self.i16_at(51)
    }

    /// Sequence number of the first record, −1 for none.
    pub fn base_sequence(&self) -> i32 {
        self.i32_at(53)
    }

    /// Number of records that the body holds.
    pub fn record_count(&self) -> i32 {
        self.i32_at(57)
    }

    /// Stamps what the leader assigns; both fields lie outside the CRC.
    pub fn assign(&mut self, base_offset: Offset, leader_epoch: LeaderEpoch) {
        self.header[0..8].copy_from_slice(&base_offset.0.to_be_bytes());
        self.header[12..16].copy_from_slice(&leader_epoch.0.to_be_bytes());
    }

    /// Makes `time` the timestamp of every record: sets attribute bit 3 and the max timestamp, and carries the
    /// change over to the CRC.
    pub fn set_log_append_time(&mut self, time: TimestampMs) {
        let attributes = self.attributes() | LOG_APPEND_TIME;
        self.patch(|header| {
            header[21..23].copy_from_slice(&attributes.to_be_bytes());
            header[35..43].copy_from_slice(&time.0.to_be_bytes());
        });
    }

    /// Corrects what producers get wrong and brokers put right, the max timestamp, and what could not be stored: a
    /// sequence below -1, which means nothing where there is no producer id and is refused where there is one.
    pub(crate) fn normalise(&mut self, max_timestamp: TimestampMs) {
        let stray = self.base_sequence() < -1;
        if self.max_timestamp() == max_timestamp && !stray {
            return;
        }
        self.patch(|header| {
            header[35..43].copy_from_slice(&max_timestamp.0.to_be_bytes());
            if stray {
                header[53..57].fill(0xff);
            }
        });
    }

    /// Edits fields that the CRC covers. The stored CRC is moved by the difference that the edit makes, so the
    /// records are not read again and a CRC that was wrong before stays wrong.
    fn patch(&mut self, edit: impl FnOnce(&mut [u8; HEADER_LEN])) {
        let before = crc32c::crc32c(&self.header[CRC_FROM..]);
        edit(&mut self.header);
        let after = crc32c::crc32c(&self.header[CRC_FROM..]);
        // A CRC is linear: the difference of the headers, shifted past the body, is the difference of the whole.
        let difference = crc32c::crc32c_combine(before ^ after, 0, self.body.len());
        let crc = self.crc() ^ difference;
        self.header[CRC_AT..CRC_FROM].copy_from_slice(&crc.to_be_bytes());
    }

    fn computed_crc(&self) -> u32 {
        crc_of(&self.header, &self.body)
    }

    /// Compares the stored CRC with the bytes; reads the whole batch.
    pub fn verify_crc(&self) -> Result<(), Error> {
        let (stored, computed) = (self.crc(), self.computed_crc());
        if stored == computed { Ok(()) } else { Err(Error::Crc { stored, computed }) }
    }

    /// Writes the batch as it stands on the wire (copies; the fetch path writes the two parts instead).
    pub fn write_to(&self, out: &mut impl BufMut) {
        out.put_slice(&self.header);
        out.put_slice(&self.body);
    }
}

/// The header with the CRC of itself and of `body`, which must have been put together just now: damage would be blessed.
pub(crate) fn with_crc(mut header: [u8; HEADER_LEN], body: &[u8]) -> [u8; HEADER_LEN] {
    let crc = crc_of(&header, body);
    header[CRC_AT..CRC_FROM].copy_from_slice(&crc.to_be_bytes());
    header
}

fn crc_of(header: &[u8; HEADER_LEN], body: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&header[CRC_FROM..]), body)
}

#[cfg(test)]
mod tests;
