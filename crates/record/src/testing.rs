//! Batches for the tests of this crate.
#![allow(clippy::unwrap_used, clippy::panic)]

use bytes::Bytes;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use crate::{Batch, BatchBuilder, BatchFields, Codec, Error, Limits, TimestampMs};

/// The same three records as the Java client (4.3.1) writes them, by codec. Base timestamp 1700000000000, producer
/// 4000, epoch 3, sequence 7, leader epoch −1. Records: `k` = `v1` with headers `h` = 00 FF and `h` = null; null =
/// empty, 5 ms later; empty = null, 5 ms before the first.
pub(crate) const JAVA: [(Codec, &str); 5] = [
    (
        Codec::None,
        "000000000000000000000051ffffffff027b1d7f0d0000000000020000018bcfe568000000018bcfe568050000000000000fa00003\
         000000070000000322000000026b0476310402680400ff0268010c000a020100000c000904000100",
    ),
    (
        Codec::Gzip,
        "000000000000000000000065ffffffff021bc53a410001000000020000018bcfe568000000018bcfe568050000000000000fa00003\
         00000007000000031f8b08000000000000ff5362606060ca6629336461ca6061f8cf94c1c8c3c0c5c4c8c0c0c3c0c9c2c0c8000006\
         fdffde20000000",
    ),
    (
        Codec::Snappy,
        "000000000000000000000067ffffffff025c89f16b0002000000020000018bcfe568000000018bcfe568050000000000000fa00003\
         000000070000000382534e4150505900000000010000000100000022207c22000000026b0476310402680400ff0268010c000a0201\
         00000c000904000100",
    ),
    (
        Codec::Lz4,
        "000000000000000000000060ffffffff028165df460003000000020000018bcfe568000000018bcfe568050000000000000fa00003\
         000000070000000304224d186040822000008022000000026b0476310402680400ff0268010c000a020100000c0009040001000000\
         0000",
    ),
    (
        Codec::Zstd,
        "00000000000000000000005dffffffff02b501e3a50004000000020000018bcfe568000000018bcfe568050000000000000fa00003\
         000000070000000328b52ffd005800010022000000026b0476310402680400ff0268010c000a020100000c000904000100010000",
    ),
];

pub(crate) fn hex(digits: &str) -> Bytes {
    assert!(digits.len().is_multiple_of(2));
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

/// The bytes of [`JAVA`] in `codec`.
pub(crate) fn java(codec: Codec) -> Bytes {
    hex(JAVA.iter().find(|(c, _)| *c == codec).unwrap().1)
}

pub(crate) fn to_bytes(batch: &Batch) -> Bytes {
    let mut out = Vec::new();
    batch.write_to(&mut out);
    out.into()
}

/// `bytes` with some replaced and the CRC made right again.
pub(crate) fn edited(bytes: &[u8], at: usize, with: &[u8]) -> Bytes {
    let mut bytes = bytes.to_vec();
    bytes[at..at + with.len()].copy_from_slice(with);
    let crc = crc32c::crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    bytes.into()
}

/// A batch around a body, claiming `count` records, with the CRC right.
pub(crate) fn around(body: &[u8], count: i32, codec: Codec) -> Bytes {
    let mut builder = BatchBuilder::new(BatchFields { last_offset_delta: Some(count - 1), ..BatchFields::default() });
    let mut bytes = to_bytes(&builder.build(Codec::None).unwrap()).to_vec();
    bytes.extend_from_slice(body);
    let length = i32::try_from(bytes.len() - 12).unwrap();
    bytes[8..12].copy_from_slice(&length.to_be_bytes());
    bytes[57..61].copy_from_slice(&count.to_be_bytes());
    edited(&bytes, 21, &(codec as i16).to_be_bytes())
}

/// Limits that let everything through that can be stored.
pub(crate) fn open_limits() -> Limits {
    Limits {
        max_batch_bytes: 1 << 20,
        max_inflated_bytes: 1 << 20,
        now: TimestampMs(1_700_000_000_000),
        before_max_ms: i64::MAX,
        after_max_ms: i64::MAX,
        log_append_time: false,
    }
}

/// A record that owns its parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Owned {
    pub(crate) timestamp: i64,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

/// Builds a batch of `records` at consecutive offsets.
pub(crate) fn batch_of(records: &[Owned], fields: BatchFields, codec: Codec) -> Batch {
    let mut builder = BatchBuilder::new(fields);
    for (offset_delta, record) in (0..).zip(records) {
        let headers = record.headers.iter().map(|(key, value)| (key.as_slice(), value.as_deref()));
        let delta = record.timestamp - fields.base_timestamp.0;
        builder.push(offset_delta, delta, record.key.as_deref(), record.value.as_deref(), headers).unwrap();
    }
    builder.build(codec).unwrap()
}

/// Reads the records of `batch` into parts of their own.
pub(crate) fn records_of(batch: &Batch) -> Result<Vec<Owned>, Error> {
    let owned = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
    let body = batch.inflate(1 << 20)?;
    let mut out = Vec::new();
    for record in body.records() {
        let record = record?;
        let headers = record.headers.map(|header| header.map(|h| (h.key.to_vec(), owned(h.value))));
        out.push(Owned {
            timestamp: batch.base_timestamp().0.wrapping_add(record.timestamp_delta),
            key: owned(record.key),
            value: owned(record.value),
            headers: headers.collect::<Result<_, _>>()?,
        });
    }
    Ok(out)
}

pub(crate) fn any_codec() -> impl Strategy<Value = Codec> {
    prop::sample::select(Codec::ALL.to_vec())
}

fn any_bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![4 => vec(any::<u8>(), 0..40), 1 => (any::<u8>(), 0..3000usize).prop_map(|(b, n)| vec![b; n])]
}

fn any_timestamp() -> impl Strategy<Value = i64> {
    prop_oneof![
        6 => 1_699_999_999_000..1_700_000_001_000i64,
        1 => Just(-1),
        1 => Just(0),
        1 => -62_135_596_800_000..253_402_300_800_000i64,
    ]
}

prop_compose! {
    fn any_record()(
        timestamp in any_timestamp(),
        key in option::of(any_bytes()),
        value in option::of(any_bytes()),
        // Short keys, so that they repeat.
        headers in vec((vec(any::<u8>(), 0..2), option::of(vec(any::<u8>(), 0..9))), 0..4),
    ) -> Owned {
        Owned { timestamp, key, value, headers }
    }
}

/// One to a dozen storable records.
pub(crate) fn any_records() -> impl Strategy<Value = Vec<Owned>> {
    vec(any_record(), 1..12)
}
