//! Batches as columns, run by run.

use parquet::data_type::ByteArray;
use runnel_record::{LeaderEpoch, Offset, ProducerId, TimestampMs};

use crate::columns::Columns;
use crate::exceptions::{Exceptions, LIMIT};
use crate::{Error, SourceBatch};
use examine::{Body, Examined};

mod examine;

/// Bytes of uncompressed batches that a run is filled with; a larger batch is a run of its own.
const RUN_BYTES: usize = 1 << 20;

/// One run, staged.
#[derive(Debug, Clone, Copy)]
pub(super) struct Staged {
    pub(super) rows: u32,
    pub(super) next: Offset,
    /// Bytes of its batches, uncompressed.
    pub(super) bytes: u64,
}

/// What is known of the batches taken so far.
#[derive(Debug)]
pub(super) struct Summary {
    pub(super) batches: usize,
    pub(super) records: u32,
    pub(super) base: Offset,
    pub(super) next: Offset,
    pub(super) min_timestamp: TimestampMs,
    pub(super) max_timestamp: TimestampMs,
    pub(super) max_timestamp_offset: Offset,
    pub(super) first_append_time: TimestampMs,
    pub(super) last_append_time: TimestampMs,
    pub(super) exceptions: Exceptions,
}

impl Summary {
    /// Of nothing, in front of `first`.
    fn at(first: &SourceBatch) -> Self {
        let base = first.batch.base_offset();
        Self {
            batches: 0,
            records: 0,
            base,
            next: base,
            min_timestamp: TimestampMs(i64::MAX),
            max_timestamp: TimestampMs(i64::MIN),
            max_timestamp_offset: base,
            first_append_time: first.append_time,
            last_append_time: first.append_time,
            exceptions: Exceptions::default(),
        }
    }
}

/// There is no segment without batches.
pub(super) fn nothing() -> Error {
    Error::Unencodable { base: Offset::ZERO, reason: "there are no batches".into() }
}

/// Takes batches one after another into [`Columns`].
pub(super) struct Stager<'a> {
    batches: &'a [SourceBatch],
    /// How many of them were taken.
    taken: usize,
    partition: i32,
    /// The batch after those taken, opened.
    ahead: Option<Body>,
    columns: Columns,
    summary: Summary,
}

impl<'a> Stager<'a> {
    /// Starts in front of the first batch, which follows what `before` is the summary of.
    pub(super) fn new(batches: &'a [SourceBatch], partition: i32, before: Option<Summary>) -> Result<Self, Error> {
        let first = batches.first().ok_or_else(nothing)?;
        let summary = before.unwrap_or_else(|| Summary::at(first));
        Ok(Self { batches, taken: 0, partition, ahead: None, columns: Columns::default(), summary })
    }

    /// The rows of the run that [`Stager::next_run`] staged.
    pub(super) const fn columns(&self) -> &Columns {
        &self.columns
    }

    /// Bytes of the batches that were not taken yet, counted up to `most`.
    pub(super) fn bytes_ahead(&self, most: usize) -> usize {
        let mut bytes = 0;
        for source in &self.batches[self.taken..] {
            if bytes >= most {
                break;
            }
            bytes += source.batch.len();
        }
        bytes.min(most)
    }

    /// How many batches were taken, and the summary with them.
    pub(super) fn finish(self) -> (usize, Summary) {
        (self.taken, self.summary)
    }

    /// Stages the next run; none at the end of the segment.
    pub(super) fn next_run(&mut self) -> Result<Option<Staged>, Error> {
        self.columns.clear();
        let mut bytes = 0;
        while let Some(body) = self.open_next()? {
            if bytes > 0 && bytes + body.bytes() > RUN_BYTES {
                self.ahead = Some(body);
                break;
            }
            bytes += body.bytes();
            self.take(body)?;
        }
        let rows = u32::try_from(self.columns.rows()).map_err(|_| self.too_many())?;
        Ok((rows > 0).then_some(Staged { rows, next: self.summary.next, bytes: bytes as u64 }))
    }

    fn too_many(&self) -> Error {
        Error::Unencodable { base: self.summary.base, reason: "more records than a segment can count".into() }
    }

    /// Opens and examines the next batch; none after the last, or where the exceptions would outgrow the footer.
    fn open_next(&mut self) -> Result<Option<Body>, Error> {
        if let Some(body) = self.ahead.take() {
            return Ok(Some(body));
        }
        let Some(source) = self.batches.get(self.taken) else { return Ok(None) };
        self.check_order(source)?;
        let body = Body::open(source)?;
        let full = self.summary.exceptions.len_with(&body.examined().exceptions) > LIMIT;
        if full && self.summary.batches > 0 {
            self.batches = &self.batches[..self.taken];
            return Ok(None);
        }
        Ok(Some(body))
    }

    fn check_order(&self, source: &SourceBatch) -> Result<(), Error> {
        const DAY_MS: i64 = 86_400_000;
        let base = source.batch.base_offset();
        let refuse = |reason: &str| Err(Error::Unencodable { base, reason: reason.into() });
        if base != self.summary.next {
            return refuse("its offsets do not follow the batch before");
        }
        if source.append_time < self.summary.last_append_time {
            return refuse("its append time is before that of the batch before");
        }
        let day = |t: TimestampMs| t.0.div_euclid(DAY_MS);
        if day(source.append_time) != day(self.summary.first_append_time) {
            return refuse("it was appended on another UTC day than the first batch");
        }
        Ok(())
    }

    fn take(&mut self, body: Body) -> Result<(), Error> {
        let source = &self.batches[self.taken];
        self.taken += 1;
        stage_batch(&mut self.columns, self.partition, source, &body)?;
        let examined = body.into_examined();
        let summary = &mut self.summary;
        summary.batches += 1;
        summary.next = source.batch.next_offset();
        summary.last_append_time = source.append_time;
        summary.min_timestamp = summary.min_timestamp.min(examined.min_timestamp);
        if examined.max_timestamp > summary.max_timestamp {
            summary.max_timestamp = examined.max_timestamp;
            summary.max_timestamp_offset = examined.max_timestamp_offset;
        }
        let records = u32::try_from(examined.records).ok().and_then(|n| n.checked_add(summary.records));
        let Some(records) = records else { return Err(self.too_many()) };
        summary.records = records;
        summary.exceptions.append(examined.exceptions);
        Ok(())
    }
}

/// Appends the rows of an examined batch.
fn stage_batch(columns: &mut Columns, partition: i32, source: &SourceBatch, body: &Body) -> Result<(), Error> {
    let batch = &source.batch;
    let Examined { records, .. } = *body.examined();
    let some = |present: bool, value: i32| present.then_some(value);
    columns.partition.fill(partition, records);
    columns.timestamp_type.fill(i32::from(batch.is_log_append_time()), records);
    columns.append_time.fill(source.append_time.0 * 1000, records);
    let epoch = batch.leader_epoch();
    columns.leader_epoch.fill_optional(some(epoch != LeaderEpoch(-1), epoch.0), records);
    let producer = batch.producer_id();
    columns.producer_id.fill_optional((producer != ProducerId::NONE).then_some(producer.0), records);
    let producer_epoch = i32::from(batch.producer_epoch());
    columns.producer_epoch.fill_optional(some(producer_epoch != -1, producer_epoch), records);
    columns.attributes.fill_optional(Some(i32::from(batch.attributes())), records);
    columns.batch_base_offset.fill(batch.base_offset().0, records);
    for record in body.records() {
        let record = record?;
        columns.offset.push(record.offset);
        columns.timestamp.push(record.timestamp * 1000);
        columns.sequence.push_optional(sequence(batch.base_sequence(), record.offset_delta));
        columns.key.push_optional(record.key.map(|key| body.share(key)));
        columns.schema_id.push_optional(record.value.and_then(schema_id));
        columns.value.push_optional(record.value.map(|value| body.share(value)));
        stage_headers(columns, record.headers, body)?;
    }
    Ok(())
}

/// Levels of the two header columns: an empty list is defined at 0; a key is required, so 1; a value optional, so 1
/// without and 2 with.
fn stage_headers(columns: &mut Columns, headers: runnel_record::Headers<'_>, body: &Body) -> Result<(), Error> {
    let mut repetition = 0;
    for header in headers {
        let header = header.map_err(|e| body.unreadable(&e))?;
        let key = match std::str::from_utf8(header.key) {
            Ok(_) => body.share(header.key),
            Err(_) => ByteArray::from(&*String::from_utf8_lossy(header.key)),
        };
        columns.header_key.push_level(repetition, 1, Some(key));
        let definition = 1 + i16::from(header.value.is_some());
        columns.header_value.push_level(repetition, definition, header.value.map(|value| body.share(value)));
        repetition = 1;
    }
    if repetition == 0 {
        columns.header_key.push_level(0, 0, None);
        columns.header_value.push_level(0, 0, None);
    }
    Ok(())
}

/// The sequence number of a record: it wraps to 0 after the greatest i32. None without a producer sequence.
fn sequence(base: i32, offset_delta: i32) -> Option<i32> {
    let sum = u32::try_from(base).ok()?.wrapping_add(u32::try_from(offset_delta).ok()?);
    i32::try_from(sum & 0x7fff_ffff).ok()
}

/// The id in front of a value that was written through a schema registry: a zero byte and four bytes big-endian.
fn schema_id(value: &[u8]) -> Option<i32> {
    match value {
        [0, a, b, c, d, ..] => Some(i32::from_be_bytes([*a, *b, *c, *d])),
        _ => None,
    }
}
