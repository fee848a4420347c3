//! Batches out of columns, with their old boundaries and header fields; uncompressed unless that makes them huge.
//!
//! They are built in the one buffer that the cache keeps: a record is copied once on its way out of its column.

use bytes::Bytes;
use parquet::data_type::ByteArray;
use runnel_record::{BatchBuilder, BatchFields, Codec, HEADER_LEN, LeaderEpoch, Offset, ProducerId, TimestampMs};

use crate::Error;
use crate::columns::{Columns, Leaf};
use crate::exceptions::Exceptions;
use crate::footer::Run;
use crate::run::{PREFIX, prefix};

/// Attribute bits that name the codec.
const CODEC_BITS: i16 = 0b111;
/// Attribute bit: timestamps are append times.
const LOG_APPEND_TIME: i16 = 0b1000;

/// A batch that is larger than this without compression gets its old codec back: clients refuse answers much larger
/// than what was once produced.
const MAX_PLAIN_BYTES: usize = 8 << 20;

/// Memory for the records of a run is taken at once up to this: what a run has unless a single batch is larger.
const MAX_RESERVED: u64 = 4 << 20;

/// Rebuilds a run, in the form of [`encode_run`](crate::encode_run).
pub(super) fn run(columns: &Columns, run: &Run, exceptions: &Exceptions) -> Result<Bytes, Error> {
    let bases = &columns.batch_base_offset.values;
    let batches = || bases.chunk_by(|a, b| a == b);
    let mut rows = Rows::new(columns, exceptions);
    let around = (batches().count() + 1) * PREFIX + HEADER_LEN;
    rows.builder.reserve(usize::try_from(run.bytes.min(MAX_RESERVED)).unwrap_or(0) + around);
    let (mut first, mut base) = (0, run.base.0);
    for chunk in batches() {
        let end = first + chunk.len();
        let next = bases.get(end).copied().unwrap_or(run.next.0);
        if chunk[0] != base {
            return Err(Error::corrupt(format!("a batch at offset {} instead of {base}", chunk[0])));
        }
        rows.batch(first..end, base, next)?;
        (first, base) = (end, next);
    }
    Ok(rows.builder.into_placed())
}

/// Rows in order; columns with nulls advance by themselves.
struct Rows<'a> {
    columns: &'a Columns,
    exceptions: &'a Exceptions,
    builder: BatchBuilder,
    keys: Optional<'a, ByteArray>,
    values: Optional<'a, ByteArray>,
    sequences: Optional<'a, i32>,
    producer_ids: Optional<'a, i64>,
    producer_epochs: Optional<'a, i32>,
    leader_epochs: Optional<'a, i32>,
    attributes: Optional<'a, i32>,
    headers: HeaderColumns<'a>,
}

/// The fields that all rows of a batch share.
struct Shared {
    leader_epoch: i32,
    producer_id: i64,
    producer_epoch: i16,
    attributes: i16,
}

impl<'a> Rows<'a> {
    fn new(columns: &'a Columns, exceptions: &'a Exceptions) -> Self {
        Self {
            columns,
            exceptions,
            builder: BatchBuilder::placing(BatchFields::default(), PREFIX),
            keys: Optional::new(&columns.key),
            values: Optional::new(&columns.value),
            sequences: Optional::new(&columns.sequence),
            producer_ids: Optional::new(&columns.producer_id),
            producer_epochs: Optional::new(&columns.producer_epoch),
            leader_epochs: Optional::new(&columns.leader_epoch),
            attributes: Optional::new(&columns.attributes),
            headers: HeaderColumns {
                keys: &columns.header_key,
                values: &columns.header_value,
                level: 0,
                key: 0,
                value: 0,
            },
        }
    }

    fn batch(&mut self, rows: std::ops::Range<usize>, base: i64, next: i64) -> Result<(), Error> {
        let columns = self.columns;
        let offsets = &columns.offset.values[rows.clone()];
        let timestamps = &columns.timestamp.values[rows.clone()];
        let append_time = TimestampMs(millis(columns.append_time.values[rows.start])?);
        let shared = self.shared(rows.len())?;
        let sequences = self.sequences.take(rows.len())?;
        let first_timestamp = millis(timestamps[0])?;
        let last_delta = delta(next, base + 1)?;
        let exception = self.exceptions.batch(base);
        let greatest = timestamps.iter().max().copied().map_or(Ok(-1), millis)?;
        let base_timestamp = exception.map_or(first_timestamp, |e| e.base_timestamp);
        let base_sequence = match (exception, sequences) {
            (Some(e), _) => e.base_sequence,
            (None, Some(first)) => unwrap_sequence(*first, delta(offsets[0], base)?),
            (None, None) => -1,
        };
        self.builder.reset(BatchFields {
            base_offset: Offset(base),
            leader_epoch: LeaderEpoch(shared.leader_epoch),
            attributes: shared.attributes & !CODEC_BITS,
            base_timestamp: TimestampMs(base_timestamp),
            max_timestamp: Some(TimestampMs(exception.map_or(greatest, |e| e.max_timestamp))),
            producer_id: ProducerId(shared.producer_id),
            producer_epoch: shared.producer_epoch,
            base_sequence,
            last_offset_delta: Some(last_delta),
        });
        let appended = shared.attributes & LOG_APPEND_TIME != 0;
        for (offset, timestamp) in offsets.iter().zip(timestamps) {
            let offset_delta = delta(*offset, base)?;
            if *offset >= next {
                return Err(Error::corrupt("a record behind its batch"));
            }
            let timestamp_delta = if appended { 0 } else { since(millis(*timestamp)?, base_timestamp)? };
            let key = self.keys.next()?.map(ByteArray::data);
            let value = self.values.next()?.map(ByteArray::data);
            let headers = self.headers.row(*offset, self.exceptions)?;
            self.builder.push(offset_delta, timestamp_delta, key, value, headers).map_err(rebuilding)?;
        }
        let codec = match self.builder.len() {
            0..=MAX_PLAIN_BYTES => Codec::None,
            _ => Codec::from_attributes(shared.attributes).map_err(rebuilding)?,
        };
        self.builder.place(codec, |body_len| prefix(append_time, body_len)).map_err(rebuilding)
    }

    fn shared(&mut self, rows: usize) -> Result<Shared, Error> {
        let narrow = |value: Option<&i32>| {
            i16::try_from(value.copied().unwrap_or(-1)).map_err(|_| Error::corrupt("a 16-bit field out of range"))
        };
        let attributes = self.attributes.take(rows)?;
        Ok(Shared {
            leader_epoch: self.leader_epochs.take(rows)?.copied().unwrap_or(-1),
            producer_id: self.producer_ids.take(rows)?.copied().unwrap_or(-1),
            producer_epoch: narrow(self.producer_epochs.take(rows)?)?,
            attributes: narrow(attributes.or(Some(&0)))?,
        })
    }
}

fn rebuilding(error: runnel_record::Error) -> Error {
    Error::corrupt(format!("a batch cannot be rebuilt: {error}"))
}

fn millis(micros: i64) -> Result<i64, Error> {
    if micros % 1000 == 0 { Ok(micros / 1000) } else { Err(Error::corrupt("a timestamp between milliseconds")) }
}

fn since(timestamp: i64, base: i64) -> Result<i64, Error> {
    timestamp.checked_sub(base).ok_or_else(|| Error::corrupt("a timestamp out of range"))
}

/// Distance of an offset from an earlier one.
fn delta(offset: i64, base: i64) -> Result<i32, Error> {
    let delta = offset.checked_sub(base).and_then(|d| i32::try_from(d).ok()).filter(|d| *d >= 0);
    delta.ok_or_else(|| Error::corrupt(format!("offset {offset} in the batch at {base}")))
}

/// The base sequence, from the sequence of a record: it wraps to 0 after the greatest i32.
const fn unwrap_sequence(sequence: i32, offset_delta: i32) -> i32 {
    sequence.wrapping_sub(offset_delta) & i32::MAX
}

/// A column with nulls, read row by row.
struct Optional<'a, T> {
    column: &'a Leaf<T>,
    row: usize,
    value: usize,
}

impl<'a, T> Optional<'a, T> {
    const fn new(column: &'a Leaf<T>) -> Self {
        Self { column, row: 0, value: 0 }
    }

    fn next(&mut self) -> Result<Option<&'a T>, Error> {
        let missing = || Error::corrupt("a column ends too early");
        let present = *self.column.definition.get(self.row).ok_or_else(missing)? == 1;
        self.row += 1;
        if !present {
            return Ok(None);
        }
        let value = self.column.values.get(self.value).ok_or_else(missing)?;
        self.value += 1;
        Ok(Some(value))
    }

    /// The value of the next row; the rest of the `rows` of its batch are skipped.
    fn take(&mut self, rows: usize) -> Result<Option<&'a T>, Error> {
        let first = self.next()?;
        for _ in 1..rows {
            self.next()?;
        }
        Ok(first)
    }
}

/// The two leaves of the headers, which share their repetition levels.
struct HeaderColumns<'a> {
    keys: &'a Leaf<ByteArray>,
    values: &'a Leaf<ByteArray>,
    level: usize,
    key: usize,
    value: usize,
}

impl<'a> HeaderColumns<'a> {
    /// The headers of the next row.
    fn row(
        &mut self,
        offset: i64,
        exceptions: &'a Exceptions,
    ) -> Result<impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)> + use<'a>, Error> {
        let missing = || Error::corrupt("a header column ends too early");
        let start = self.level;
        let first = *self.keys.definition.get(start).ok_or_else(missing)?;
        let more = self.keys.repetition.get(start + 1..).unwrap_or_default().iter().take_while(|r| **r == 1).count();
        self.level += 1 + more;
        let count = if first == 0 { 0 } else { 1 + more };
        let keys = self.keys.values.get(self.key..self.key + count).ok_or_else(missing)?;
        self.key += count;
        let levels = self.values.definition.get(start..start + count).ok_or_else(missing)?;
        let present = levels.iter().filter(|level| **level == 2).count();
        let mut values = self.values.values.get(self.value..self.value + present).ok_or_else(missing)?.iter();
        self.value += present;
        Ok((0..).zip(keys).zip(levels).map(move |((number, key), level)| {
            let key = exceptions.header_key(offset, number).map_or_else(|| key.data(), |raw| &raw[..]);
            let value = if *level == 2 { values.next().map(ByteArray::data) } else { None };
            (key, value)
        }))
    }
}
