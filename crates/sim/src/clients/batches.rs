//! What producers send: batches of every kind that they may be of, and what readers see of them.

use bytes::{Bytes, BytesMut};
use runnel_api::ProducerIdentity;
use runnel_record::build::{BatchBuilder, BatchFields};
use runnel_record::{Batch, Codec, Error, TimestampMs};
use runnel_runtime::simulation::Chance;

use crate::told::Read;

/// When the records are from, by what they say.
pub(super) const TIME: u64 = 1_700_000_000_000;

/// All are from so many milliseconds.
pub(super) const SPAN: u64 = 10_000;

const CODECS: [Codec; 8] =
    [Codec::None, Codec::None, Codec::None, Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

/// A batch of these values. Keys, headers, times and compression are as the dice say.
pub(super) fn build(
    values: &[String],
    identity: ProducerIdentity,
    sequence: i32,
    chance: &mut Chance,
) -> Result<Bytes, Error> {
    let mut builder = BatchBuilder::new(BatchFields {
        base_timestamp: TimestampMs(i64::try_from(TIME + chance.below(SPAN)).unwrap_or(0)),
        producer_id: identity.id,
        producer_epoch: identity.epoch,
        base_sequence: sequence,
        ..BatchFields::default()
    });
    let (has_keys, has_headers) = (chance.permille(300), chance.permille(200));
    for (delta, value) in (0..).zip(values) {
        let key = has_keys.then(|| [b'a' + u8::try_from(chance.below(20)).unwrap_or(0)]);
        // The first need not be as old as the batch says, and the key of a header need not be text.
        let headers: &[(&[u8], Option<&[u8]>)] = match has_headers.then(|| chance.below(3)) {
            Some(0) => &[(b"h", Some(b"1")), (b"h", None)],
            Some(1) => &[(b"\xff", Some(b""))],
            _ => &[],
        };
        let time = i64::try_from(chance.below(5)).unwrap_or(0);
        let key = key.as_ref().map(<[u8; 1]>::as_slice);
        builder.push(delta, time, key, Some(value.as_bytes()), headers.iter().copied())?;
    }
    let mut sent = BytesMut::new();
    builder.build(chance.pick(&CODECS))?.write_to(&mut sent);
    Ok(sent.freeze())
}

/// The records of a batch from an offset on.
pub(super) fn records(batch: &Batch, from: i64) -> Result<Vec<Read>, Error> {
    batch.verify_crc()?;
    let body = batch.inflate(64 << 20)?;
    // That of the append is the same for all, whatever the producer said of each.
    let appended = batch.is_log_append_time().then(|| batch.max_timestamp().0);
    let mut found = Vec::new();
    for record in body.records() {
        let record = record?;
        let offset = batch.base_offset().0 + i64::from(record.offset_delta);
        if offset >= from {
            let value = record.value.unwrap_or_default();
            let time = appended.unwrap_or_else(|| batch.base_timestamp().0 + record.timestamp_delta);
            let mut digest = crc32c::crc32c(value);
            digest = crc32c::crc32c_append(digest, &time.to_be_bytes());
            digest = crc32c::crc32c_append(digest, record.key.unwrap_or(b"none"));
            for header in record.headers {
                let header = header?;
                digest = crc32c::crc32c_append(digest, header.key);
                digest = crc32c::crc32c_append(digest, header.value.unwrap_or(b"none"));
            }
            let (producer, number) = writer(value);
            found.push(Read { offset, producer, number, digest });
        }
    }
    Ok(found)
}

/// Who wrote a value, and its number. What nobody wrote so has a writer that nobody knows.
fn writer(value: &[u8]) -> (String, u64) {
    let text = String::from_utf8_lossy(value);
    let mut parts = text.split(':');
    let named = parts.next().zip(parts.next().and_then(|number| number.parse().ok()));
    named.map_or_else(|| ("nobody".to_owned(), 0), |(producer, number)| (producer.to_owned(), number))
}
