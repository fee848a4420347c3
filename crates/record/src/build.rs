//! Putting batches together.

use bytes::{Bytes, BytesMut};

use crate::batch::{Batch, HEADER_LEN, with_crc};
use crate::compression::{Codec, compress};
use crate::error::Error;
use crate::ids::{LeaderEpoch, Offset, ProducerId, TimestampMs};
use crate::varint;

/// Header fields of a batch to build; length, CRC, codec bits and record count follow from the records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchFields {
    /// Offset of the first record slot.
    pub base_offset: Offset,
    /// Leader epoch of the append.
    pub leader_epoch: LeaderEpoch,
    /// Attribute bits; the codec bits are replaced.
    pub attributes: i16,
    /// Timestamp that deltas count from.
    pub base_timestamp: TimestampMs,
    /// Max timestamp; `None` takes the latest of the records.
    pub max_timestamp: Option<TimestampMs>,
    /// Idempotent producer.
    pub producer_id: ProducerId,
    /// Epoch of the producer, −1 for none.
    pub producer_epoch: i16,
    /// Sequence of the first record, −1 for none.
    pub base_sequence: i32,
    /// Last offset delta; `None` takes that of the last record.
    pub last_offset_delta: Option<i32>,
}

/// A batch at offset 0 with no producer and a base timestamp of 0.
impl Default for BatchFields {
    fn default() -> Self {
        Self {
            base_offset: Offset::ZERO,
            leader_epoch: LeaderEpoch::ZERO,
            attributes: 0,
            base_timestamp: TimestampMs(0),
            max_timestamp: None,
            producer_id: ProducerId::NONE,
            producer_epoch: -1,
            base_sequence: -1,
            last_offset_delta: None,
        }
    }
}

/// Builds batches one after the other; its buffers are used again, and a record costs no allocation.
#[derive(Debug)]
pub struct BatchBuilder {
    fields: BatchFields,
    /// Batches that were placed, what is left free in front of the next one, and its records.
    body: BytesMut,
    /// Where its records begin.
    start: usize,
    /// Bytes left free in front of records.
    room: usize,
    headers: Vec<u8>,
    count: i32,
    last_offset_delta: i32,
    max_timestamp: TimestampMs,
}

impl BatchBuilder {
    /// Starts a batch.
    pub fn new(fields: BatchFields) -> Self {
        Self {
            fields,
            body: BytesMut::new(),
            start: 0,
            room: 0,
            headers: Vec::new(),
            count: 0,
            last_offset_delta: -1,
            max_timestamp: TimestampMs::NONE,
        }
    }

    /// Starts the first of several batches that are to lie one behind the other, `prefix` bytes in front of each: they
    /// are closed by [`BatchBuilder::place`], not by [`BatchBuilder::build`].
    pub fn placing(fields: BatchFields, prefix: usize) -> Self {
        let mut builder = Self { room: prefix + HEADER_LEN, ..Self::new(fields) };
        builder.make_room();
        builder
    }

    /// Makes room for `bytes` of records, so that several batches are built without growing the buffer step by step;
    /// they share one allocation then.
    pub fn reserve(&mut self, bytes: usize) {
        self.body.reserve(bytes);
    }

    /// Drops what was pushed and starts another batch.
    pub fn reset(&mut self, fields: BatchFields) {
        self.fields = fields;
        self.body.truncate(self.start);
        self.count = 0;
        self.last_offset_delta = -1;
        self.max_timestamp = TimestampMs::NONE;
    }

    /// Records pushed since the start of the batch.
    pub const fn record_count(&self) -> i32 {
        self.count
    }

    /// Bytes of the batch so far, uncompressed, header included.
    pub fn len(&self) -> usize {
        HEADER_LEN + self.body.len() - self.start
    }

    /// Whether no record was pushed yet.
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Adds a record. Offset deltas must rise; the timestamp delta is in milliseconds from the base timestamp. After
    /// an error the batch stands as before.
    pub fn push<'h>(
        &mut self,
        offset_delta: i32,
        timestamp_delta: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: impl IntoIterator<Item = (&'h [u8], Option<&'h [u8]>)>,
    ) -> Result<(), Error> {
        let index = self.count;
        if offset_delta <= self.last_offset_delta {
            return Err(Error::Record { index, reason: "its offset delta does not rise" });
        }
        let Some(timestamp) = self.fields.base_timestamp.0.checked_add(timestamp_delta) else {
            return Err(Error::Timestamp { index, timestamp: timestamp_delta, reason: "past 64 bits" });
        };
        self.headers.clear();
        let mut header_count = 0;
        for (key, value) in headers {
            put_nullable(&mut self.headers, Some(key));
            put_nullable(&mut self.headers, value);
            header_count += 1;
        }
        let length = 1
            + varint::len(timestamp_delta)
            + varint::len(i64::from(offset_delta))
            + nullable_len(key)
            + nullable_len(value)
            + varint::len(header_count)
            + self.headers.len();
        let wire_length = i64::try_from(length).unwrap_or(i64::MAX);
        let bytes = self.len().saturating_add(varint::len(wire_length)).saturating_add(length);
        if i32::try_from(bytes).is_err() {
            return Err(Error::TooLarge { bytes, max: i32::MAX as usize });
        }

        self.body.reserve(varint::len(wire_length) + length);
        varint::put(&mut self.body, wire_length);
        self.body.extend_from_slice(&[0]);
        varint::put(&mut self.body, timestamp_delta);
        varint::put(&mut self.body, i64::from(offset_delta));
        put_nullable(&mut self.body, key);
        put_nullable(&mut self.body, value);
        varint::put(&mut self.body, header_count);
        self.body.extend_from_slice(&self.headers);
        self.count += 1;
        self.last_offset_delta = offset_delta;
        self.max_timestamp = self.max_timestamp.latest(TimestampMs(timestamp));
        Ok(())
    }

    /// Closes the batch and starts an empty one with the same fields.
    pub fn build(&mut self, codec: Codec) -> Result<Batch, Error> {
        debug_assert_eq!(self.room, 0, "batches that are placed stay together");
        let header = self.close(codec)?;
        let batch = Batch::from_parts(header, self.body.split().freeze());
        self.reset(self.fields);
        Ok(batch)
    }

    /// Closes the batch where it lies, behind the prefix that `prefix` makes for the bytes of its body, and starts an
    /// empty one with the same fields.
    pub fn place<const N: usize>(&mut self, codec: Codec, prefix: impl FnOnce(usize) -> [u8; N]) -> Result<(), Error> {
        let header = self.close(codec)?;
        let prefix = prefix(self.body.len() - self.start);
        debug_assert_eq!(self.room, N + HEADER_LEN, "a prefix of the length that was announced");
        let (front, body) = (self.start - self.room, self.start - HEADER_LEN);
        self.body[front..body].copy_from_slice(&prefix);
        self.body[body..self.start].copy_from_slice(&header);
        self.make_room();
        self.reset(self.fields);
        Ok(())
    }

    /// The batches that were placed, with their prefixes.
    pub fn into_placed(mut self) -> Bytes {
        self.body.truncate(self.start - self.room);
        // A large batch that was compressed leaves most of its memory free, which would stay as long as the bytes do.
        if self.body.capacity() / 2 > self.body.len() {
            return Bytes::copy_from_slice(&self.body);
        }
        self.body.freeze()
    }

    fn make_room(&mut self) {
        self.body.resize(self.body.len() + self.room, 0);
        self.start = self.body.len();
    }

    /// The header of the records, which are compressed by then. After an error they stand as before.
    fn close(&mut self, codec: Codec) -> Result<[u8; HEADER_LEN], Error> {
        let last_offset_delta = self.fields.last_offset_delta.unwrap_or(self.last_offset_delta);
        if last_offset_delta < 0 || last_offset_delta < self.last_offset_delta {
            return Err(Error::Batch("the last offset delta lies before the last record"));
        }
        let compressed = match codec {
            Codec::None => None,
            codec => Some(compress(codec, &self.body[self.start..])?),
        };
        let bytes = compressed.as_ref().map_or_else(|| self.len(), |records| HEADER_LEN + records.len());
        let Ok(length) = i32::try_from(bytes - 12) else {
            return Err(Error::TooLarge { bytes, max: i32::MAX as usize });
        };
        if let Some(records) = compressed {
            self.body.truncate(self.start);
            self.body.extend_from_slice(&records);
        }
        Ok(with_crc(self.header(codec, length, last_offset_delta), &self.body[self.start..]))
    }

    fn header(&self, codec: Codec, length: i32, last_offset_delta: i32) -> [u8; HEADER_LEN] {
        let fields = &self.fields;
        let max_timestamp = fields.max_timestamp.unwrap_or(self.max_timestamp);
        let mut header = [0; HEADER_LEN];
        let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &fields.base_offset.0.to_be_bytes());
        put(8, &length.to_be_bytes());
        put(12, &fields.leader_epoch.0.to_be_bytes());
        put(16, &[2]);
        put(21, &codec.set_in(fields.attributes).to_be_bytes());
        put(23, &last_offset_delta.to_be_bytes());
        put(27, &fields.base_timestamp.0.to_be_bytes());
        put(35, &max_timestamp.0.to_be_bytes());
        put(43, &fields.producer_id.0.to_be_bytes());
        put(51, &fields.producer_epoch.to_be_bytes());
        put(53, &fields.base_sequence.to_be_bytes());
        put(57, &self.count.to_be_bytes());
        header
    }
}

fn put_nullable(out: &mut impl bytes::BufMut, bytes: Option<&[u8]>) {
    varint::put(out, wire_len(bytes));
    out.put_slice(bytes.unwrap_or_default());
}

fn nullable_len(bytes: Option<&[u8]>) -> usize {
    varint::len(wire_len(bytes)) + bytes.map_or(0, <[u8]>::len)
}

/// A length as it stands on the wire. Saturation never shows: a batch over 2 GiB is refused.
fn wire_len(bytes: Option<&[u8]>) -> i64 {
    bytes.map_or(-1, |bytes| i64::try_from(bytes.len()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests;
