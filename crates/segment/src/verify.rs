//! The check between encoding and committing: decode what was encoded and compare it with its source.

use runnel_record::{Batch, Codec, Offset};

use crate::footer::{Footer, Parsed};
use crate::pieces::Pieces;
use crate::{Encoded, Error, SourceBatch, decode_run, read};

/// Bytes that a compared batch may inflate to; it was inflated for encoding already.
const INFLATE_LIMIT: usize = i32::MAX as usize;

/// Decodes `encoded` as a reader would and compares it with the batches it was made from: boundaries, header fields,
/// append times, and of each record offset, timestamp, key, value and headers. Compression is not compared. CPU work,
/// as [`encode`](crate::encode()).
///
/// # Errors
/// [`Error::Differs`] or [`Error::Corrupt`]; the segment must not be committed then.
pub fn verify(encoded: &Encoded, batches: &[SourceBatch]) -> Result<(), Error> {
    let batches = batches.get(..encoded.batches).ok_or(Error::Differs { at: encoded.base, what: "batches" })?;
    let crc32c = encoded.bytes.iter().fold(0, |crc, part| crc32c::crc32c_append(crc, part));
    if crc32c != encoded.crc32c {
        return Err(Error::Differs { at: encoded.base, what: "CRC of the object" });
    }
    let footer = parse(encoded)?;
    let mut expected = batches.iter();
    for run in footer.runs() {
        for found in decode_run(&read::read_run(&footer, run.index, pieces(encoded))?)? {
            let source = expected.next().ok_or(Error::Differs { at: found.batch.base_offset(), what: "batches" })?;
            compare(source, &found)?;
        }
    }
    match expected.next() {
        Some(source) => Err(Error::Differs { at: source.batch.base_offset(), what: "batches" }),
        None => Ok(()),
    }
}

/// The footer of an encoded segment, which is all in its last part.
pub(crate) fn parse(encoded: &Encoded) -> Result<Footer, Error> {
    let tail = encoded.bytes.last().ok_or_else(|| Error::corrupt("no bytes"))?;
    match Footer::parse(tail, encoded.len)? {
        Parsed::Footer(footer) => Ok(*footer),
        Parsed::Need(_) => Err(Error::corrupt("its end is in pieces")),
    }
}

/// The whole object.
pub(crate) fn pieces(encoded: &Encoded) -> Pieces {
    let mut pieces = Pieces::default();
    let mut start = 0;
    for part in &encoded.bytes {
        pieces.push(start, part.clone());
        start += part.len() as u64;
    }
    pieces
}

/// Compares a batch with the one rebuilt from its rows.
fn compare(source: &SourceBatch, found: &SourceBatch) -> Result<(), Error> {
    let at = source.batch.base_offset();
    let (expected, rebuilt) = (&source.batch, &found.batch);
    let appended = expected.is_log_append_time();
    let same = |what: &'static str, same: bool| if same { Ok(()) } else { Err(Error::Differs { at, what }) };
    same("base offset", expected.base_offset() == rebuilt.base_offset())?;
    same("next offset", expected.next_offset() == rebuilt.next_offset())?;
    same("append time", source.append_time == found.append_time)?;
    same("leader epoch", expected.leader_epoch() == rebuilt.leader_epoch())?;
    same("attributes", expected.attributes() & !0b111 == rebuilt.attributes() & !0b111)?;
    same("base timestamp", appended || expected.base_timestamp() == rebuilt.base_timestamp())?;
    same("max timestamp", expected.max_timestamp() == rebuilt.max_timestamp())?;
    same("producer id", expected.producer_id() == rebuilt.producer_id())?;
    same("producer epoch", expected.producer_epoch() == rebuilt.producer_epoch())?;
    same("base sequence", expected.base_sequence() == rebuilt.base_sequence())?;
    same("record count", expected.record_count() == rebuilt.record_count())?;
    same("CRC", rebuilt.verify_crc().is_ok())?;
    compare_records(source, found)
}

/// Whether the records are the same byte for byte, neither side compressed: so for most batches, and cheap to see.
fn same_bytes(source: &Batch, found: &Batch) -> bool {
    let plain = |batch: &Batch| batch.codec().is_ok_and(|codec| codec == Codec::None);
    plain(source) && plain(found) && source.base_timestamp() == found.base_timestamp() && source.body() == found.body()
}

fn compare_records(source: &SourceBatch, found: &SourceBatch) -> Result<(), Error> {
    if same_bytes(&source.batch, &found.batch) {
        return Ok(());
    }
    let base = source.batch.base_offset();
    let unreadable = |_| Error::Differs { at: base, what: "body" };
    let appended = source.batch.is_log_append_time();
    let (expected_start, found_start) = (source.batch.base_timestamp().0, found.batch.base_timestamp().0);
    let expected = source.batch.inflate(INFLATE_LIMIT).map_err(unreadable)?;
    let rebuilt = found.batch.inflate(INFLATE_LIMIT).map_err(unreadable)?;
    let (mut theirs, mut ours) = (expected.records(), rebuilt.records());
    loop {
        let (a, b) = match (theirs.next().transpose(), ours.next().transpose()) {
            (Ok(Some(a)), Ok(Some(b))) => (a, b),
            (Ok(None), Ok(None)) => return Ok(()),
            _ => return Err(Error::Differs { at: base, what: "records" }),
        };
        let at = Offset(base.0 + i64::from(a.offset_delta));
        let same = |what: &'static str, same: bool| if same { Ok(()) } else { Err(Error::Differs { at, what }) };
        same("offset", a.offset_delta == b.offset_delta)?;
        let times = (expected_start.checked_add(a.timestamp_delta), found_start.checked_add(b.timestamp_delta));
        same("timestamp", appended || times.0 == times.1)?;
        same("key", a.key == b.key)?;
        same("value", a.value == b.value)?;
        let (mut theirs, mut ours) = (a.headers, b.headers);
        loop {
            match (theirs.next().transpose(), ours.next().transpose()) {
                (Ok(Some(a)), Ok(Some(b))) => same("header", a.key == b.key && a.value == b.value)?,
                (Ok(None), Ok(None)) => break,
                _ => return Err(Error::Differs { at, what: "headers" }),
            }
        }
    }
}
