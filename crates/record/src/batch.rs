//! A RecordBatch v2 as two pieces of shared bytes.
//!
//! Source: Kafka's message format (KIP-98, magic 2). The first [`HEADER_LEN`] bytes are the header; the base
//! offset (0..8), the length (8..12), the leader epoch (12..16) and the magic (16) are outside the CRC, which
//! covers everything from the attributes (21) to the end.

use bytes::{BufMut, Bytes};

use crate::ids::{LeaderEpoch, Offset, ProducerId, TimestampMs};

/// Bytes of the fixed header of a RecordBatch v2.
pub const HEADER_LEN: usize = 61;

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

    /// Writes the batch as it stands on the wire (copies; the fetch path writes the two parts instead).
    pub fn write_to(&self, out: &mut impl BufMut) {
        out.put_slice(&self.header);
        out.put_slice(&self.body);
    }
}
