//! What a producer's batch must be before anything is acknowledged.
//!
//! Whatever passes here can be stored, encoded to Parquet and rebuilt without an error, so nothing that was
//! acknowledged can fail later. Cheap checks come first, the CRC before any field that it covers is believed, the
//! records last. An uncompressed batch is read twice (CRC, walk) and never copied; a compressed one is inflated into
//! a buffer that the thread keeps.
//!
//! Two fields are corrected instead of refused, as Kafka's broker does, because widely used clients get them wrong:
//! a max timestamp that is not that of the records (old Sarama sends none, librdkafka never less than 0), and a
//! producer epoch or sequence beside a producer id of −1 (kafkajs and Sarama send 0). The CRC follows the correction.

use std::cell::RefCell;

use bytes::Bytes;

use crate::batch::{Batch, CONTROL, LOG_APPEND_TIME, TRANSACTIONAL};
use crate::compression::{Codec, decompress_into, is_single_lz4_frame};
use crate::error::Error;
use crate::ids::{ProducerId, TimestampMs};
use crate::read::{RecordRef, Records};

/// First millisecond of year 1, UTC.
const FIRST_TIMESTAMP: i64 = -62_135_596_800_000;
/// Last millisecond of year 9999, UTC. Beyond these years calendars of engines that read the Parquet give up.
const LAST_TIMESTAMP: i64 = 253_402_300_799_999;

/// Codec, timestamp type, transactional and control: all that a producer may know of. Bit 6 is the log cleaner's.
const KNOWN_ATTRIBUTES: i16 = 0x07 | LOG_APPEND_TIME | TRANSACTIONAL | CONTROL;

/// A thread keeps its buffer for inflating up to this size.
const KEPT_BUFFER_BYTES: usize = 4 << 20;

thread_local! {
    static INFLATED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// What a topic allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Largest batch on the wire, header included (`max.message.bytes`).
    pub max_batch_bytes: usize,
    /// Largest size of the records of a compressed batch once they are inflated.
    pub max_inflated_bytes: usize,
    /// The time of the append.
    pub now: TimestampMs,
    /// How far record timestamps may lie before `now`, in milliseconds.
    pub before_max_ms: i64,
    /// How far record timestamps may lie after `now`, in milliseconds.
    pub after_max_ms: i64,
    /// The broker stamps the records, so the two limits above do not apply.
    pub log_append_time: bool,
}

/// Checks that `records` holds exactly one batch that can be stored, and hands it out. The records are not copied.
///
/// The base offset and the leader epoch are whatever the producer sent; the leader assigns both.
pub fn validate(records: Bytes, limits: &Limits) -> Result<Batch, Error> {
    if records.is_empty() {
        return Err(Error::Batch("there is none"));
    }
    let (mut batch, rest) = Batch::split_from(records)?;
    if !rest.is_empty() {
        return Err(Error::Batch("more than one batch for a partition"));
    }
    if batch.len() > limits.max_batch_bytes {
        return Err(Error::TooLarge { bytes: batch.len(), max: limits.max_batch_bytes });
    }
    batch.verify_crc()?;
    batch.check_ranges()?;
    let codec = check_attributes(&batch)?;
    check_count(&batch)?;
    check_producer(&batch)?;
    let max_timestamp = match codec {
        Codec::None => check_records(&batch, batch.body(), limits)?,
        codec => check_compressed(&batch, codec, limits)?,
    };
    batch.normalise(max_timestamp);
    Ok(batch)
}

fn check_attributes(batch: &Batch) -> Result<Codec, Error> {
    if batch.attributes() & !KNOWN_ATTRIBUTES != 0 {
        return Err(Error::Batch("reserved attribute bits are set"));
    }
    if batch.is_control() {
        return Err(Error::Batch("producers may not write control records"));
    }
    if batch.is_transactional() {
        return Err(Error::Batch("transactions are not supported"));
    }
    if batch.is_log_append_time() {
        return Err(Error::TimestampType);
    }
    batch.codec()
}

fn check_count(batch: &Batch) -> Result<(), Error> {
    if batch.record_count() < 1 {
        return Err(Error::Batch("no records"));
    }
    if batch.last_offset_delta() != batch.record_count() - 1 {
        return Err(Error::Batch("last offset delta and record count disagree"));
    }
    Ok(())
}

fn check_producer(batch: &Batch) -> Result<(), Error> {
    let id = batch.producer_id();
    if id == ProducerId::NONE {
        return Ok(()); // whatever stands in epoch and sequence means nothing
    }
    if id.0 < 0 {
        return Err(Error::Batch("negative producer id"));
    }
    if batch.producer_epoch() < 0 || batch.base_sequence() < 0 {
        return Err(Error::Batch("a producer id without epoch and sequence"));
    }
    Ok(())
}

fn check_compressed(batch: &Batch, codec: Codec, limits: &Limits) -> Result<TimestampMs, Error> {
    // We could read on after the first frame; Java and librdkafka consumers could not, and would be stuck here.
    if codec == Codec::Lz4 && !is_single_lz4_frame(batch.body()) {
        return Err(Error::Batch("the records must be one whole LZ4 frame of independent blocks"));
    }
    INFLATED.with_borrow_mut(|buffer| {
        let result = decompress_into(codec, batch.body(), limits.max_inflated_bytes, buffer)
            .and_then(|()| check_records(batch, buffer, limits));
        if buffer.capacity() > KEPT_BUFFER_BYTES {
            *buffer = Vec::new();
        }
        result
    })
}

/// Walks the uncompressed records to the last byte; returns their latest timestamp.
fn check_records(batch: &Batch, bytes: &[u8], limits: &Limits) -> Result<TimestampMs, Error> {
    let base = batch.base_timestamp();
    let mut max_timestamp = TimestampMs::NONE;
    for (index, record) in (0..).zip(Records::new(bytes, batch.record_count())) {
        let record = record?;
        check_record(&record, index)?;
        max_timestamp = max_timestamp.latest(check_timestamp(&record, index, base, limits)?);
    }
    Ok(max_timestamp)
}

fn check_record(record: &RecordRef<'_>, index: i32) -> Result<(), Error> {
    if record.attributes != 0 {
        return Err(Error::Record { index, reason: "reserved attribute bits are set" });
    }
    if record.offset_delta != index {
        return Err(Error::Record { index, reason: "its offset delta is not its position" });
    }
    record.headers.check()
}

fn check_timestamp(
    record: &RecordRef<'_>,
    index: i32,
    base: TimestampMs,
    limits: &Limits,
) -> Result<TimestampMs, Error> {
    let timestamp = base.0.saturating_add(record.timestamp_delta);
    if timestamp == TimestampMs::NONE.0 {
        return Ok(TimestampMs::NONE);
    }
    let refused = |reason| Err(Error::Timestamp { index, timestamp, reason });
    // Saturation ends far outside the years, so a sum that overflows is refused here too.
    if !(FIRST_TIMESTAMP..=LAST_TIMESTAMP).contains(&timestamp) {
        return refused("outside the years 1 to 9999");
    }
    if !limits.log_append_time {
        if limits.now.0.saturating_sub(timestamp) > limits.before_max_ms {
            return refused("further in the past than message.timestamp.before.max.ms allows");
        }
        if timestamp.saturating_sub(limits.now.0) > limits.after_max_ms {
            return refused("further in the future than message.timestamp.after.max.ms allows");
        }
    }
    Ok(TimestampMs(timestamp))
}

#[cfg(test)]
mod tests;
