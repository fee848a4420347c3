//! One batch, opened and examined before anything of it is staged.

use bytes::Bytes;
use parquet::data_type::ByteArray;
use runnel_record::{Batch, Headers, Offset, TimestampMs};

use crate::exceptions::{BatchFacts, Exceptions};
use crate::{Error, SourceBatch};

/// Timestamps that fit into a column of microseconds.
const ENCODABLE_MS: std::ops::RangeInclusive<i64> = i64::MIN / 1000..=i64::MAX / 1000;

/// Base offsets whose batch cannot reach past the last offset.
const ENCODABLE_OFFSETS: std::ops::RangeInclusive<i64> = 0..=i64::MAX - (1 << 32);

/// A batch was inflated under the limits of the front door; this only keeps a damaged one from taking all memory.
const INFLATE_LIMIT: usize = i32::MAX as usize;

/// What a batch needs in the footer, and what the segment's reference says of it.
#[derive(Debug)]
pub(super) struct Examined {
    pub(super) records: usize,
    pub(super) min_timestamp: TimestampMs,
    pub(super) max_timestamp: TimestampMs,
    pub(super) max_timestamp_offset: Offset,
    pub(super) exceptions: Exceptions,
}

/// A record with its absolute offset and the timestamp that consumers see.
pub(super) struct Record<'a> {
    pub(super) offset: i64,
    pub(super) offset_delta: i32,
    /// Milliseconds.
    pub(super) timestamp: i64,
    pub(super) key: Option<&'a [u8]>,
    pub(super) value: Option<&'a [u8]>,
    pub(super) headers: Headers<'a>,
}

/// The records of one batch, uncompressed.
pub(super) struct Body {
    batch: Batch,
    body: runnel_record::Body,
    examined: Examined,
}

impl Body {
    /// Inflates a batch and walks it once: all that could make it unencodable is found here.
    pub(super) fn open(source: &SourceBatch) -> Result<Self, Error> {
        let batch = source.batch.clone();
        let refuse = |reason: String| Err(Error::Unencodable { base: batch.base_offset(), reason });
        let base = batch.base_offset().0;
        if !ENCODABLE_OFFSETS.contains(&base) || batch.last_offset_delta() < 0 {
            return refuse("its offsets are out of range".into());
        }
        if batch.is_control() {
            return refuse("control batches are not rows".into());
        }
        if !ENCODABLE_MS.contains(&source.append_time.0) {
            return refuse("its append time is out of range".into());
        }
        let body = match batch.inflate(INFLATE_LIMIT) {
            Ok(body) => body,
            Err(e) => return refuse(e.to_string()),
        };
        let examined = Examined {
            records: 0,
            min_timestamp: TimestampMs(i64::MAX),
            max_timestamp: TimestampMs(i64::MIN),
            max_timestamp_offset: batch.base_offset(),
            exceptions: Exceptions::default(),
        };
        let mut opened = Self { batch, body, examined };
        opened.examined = opened.examine()?;
        Ok(opened)
    }

    /// What the walk found.
    pub(super) const fn examined(&self) -> &Examined {
        &self.examined
    }

    /// What the walk found; the records are no longer needed.
    pub(super) fn into_examined(self) -> Examined {
        self.examined
    }

    /// Bytes of the batch when uncompressed.
    pub(super) fn bytes(&self) -> usize {
        runnel_record::HEADER_LEN + self.body.bytes().len()
    }

    /// A part of this body as a value that shares its memory.
    pub(super) fn share(&self, part: &[u8]) -> ByteArray {
        ByteArray::from(self.body.bytes().slice_ref(part))
    }

    /// The error for a record that cannot be read.
    pub(super) fn unreadable(&self, error: &runnel_record::Error) -> Error {
        self.refusal(&error.to_string())
    }

    fn refusal(&self, reason: &str) -> Error {
        Error::Unencodable { base: self.batch.base_offset(), reason: reason.to_owned() }
    }

    /// The records in order.
    pub(super) fn records(&self) -> impl Iterator<Item = Result<Record<'_>, Error>> {
        let base = self.batch.base_offset().0;
        let base_timestamp = self.batch.base_timestamp().0;
        let appended = self.batch.is_log_append_time().then(|| self.batch.max_timestamp().0);
        self.body.records().map(move |record| {
            let record = record.map_err(|e| self.unreadable(&e))?;
            let created = base_timestamp.checked_add(record.timestamp_delta);
            let timestamp = appended.or(created).filter(|t| ENCODABLE_MS.contains(t));
            Ok(Record {
                offset: base + i64::from(record.offset_delta),
                offset_delta: record.offset_delta,
                timestamp: timestamp.ok_or_else(|| self.refusal("a timestamp is out of range"))?,
                key: record.key,
                value: record.value,
                headers: record.headers,
            })
        })
    }

    fn examine(&self) -> Result<Examined, Error> {
        let base = self.batch.base_offset().0;
        let mut exceptions = Exceptions::default();
        let (mut records, mut last) = (0, base - 1);
        let mut first_timestamp = None;
        let (mut min, mut max, mut max_offset) = (i64::MAX, i64::MIN, base);
        for record in self.records() {
            let Record { offset, timestamp, headers, .. } = record?;
            if offset <= last {
                return Err(self.refusal("its offset deltas do not rise"));
            }
            (records, last) = (records + 1, offset);
            first_timestamp.get_or_insert(timestamp);
            min = min.min(timestamp);
            if timestamp > max {
                (max, max_offset) = (timestamp, offset);
            }
            self.examine_headers(offset, headers, &mut exceptions)?;
        }
        let Some(first_timestamp) = first_timestamp else { return Err(self.refusal("it has no records")) };
        if usize::try_from(self.batch.record_count()) != Ok(records) || last >= self.batch.next_offset().0 {
            return Err(self.refusal("its header does not fit its records"));
        }
        if let Some(facts) = self.exceptional(first_timestamp, max) {
            exceptions.add_batch(base, facts);
        }
        let (min_timestamp, max_timestamp) = (TimestampMs(min), TimestampMs(max));
        Ok(Examined { records, min_timestamp, max_timestamp, max_timestamp_offset: Offset(max_offset), exceptions })
    }

    fn examine_headers(&self, offset: i64, headers: Headers<'_>, found: &mut Exceptions) -> Result<(), Error> {
        for (number, header) in (0..).zip(headers) {
            let key = header.map_err(|e| self.unreadable(&e))?.key;
            if std::str::from_utf8(key).is_err() {
                found.add_header_key(offset, number, Bytes::copy_from_slice(key));
            }
        }
        Ok(())
    }

    /// The header fields, if a reader could not tell them from the rows. With log-append time clients see only the
    /// append time, so the timestamps of the client are not kept.
    fn exceptional(&self, first_timestamp: i64, max_timestamp: i64) -> Option<BatchFacts> {
        let batch = &self.batch;
        let usual_times = batch.is_log_append_time()
            || (batch.base_timestamp().0 == first_timestamp && batch.max_timestamp().0 == max_timestamp);
        let usual = usual_times && batch.base_sequence() >= -1;
        let (base_timestamp, max_timestamp) = match batch.is_log_append_time() {
            true => (first_timestamp, max_timestamp),
            false => (batch.base_timestamp().0, batch.max_timestamp().0),
        };
        (!usual).then_some(BatchFacts { base_timestamp, max_timestamp, base_sequence: batch.base_sequence() })
    }
}
