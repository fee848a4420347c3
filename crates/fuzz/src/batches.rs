//! Record batches and their codecs: what any producer may send.

use bytes::Bytes;
use runnel_record::{
    BatchBuilder, BatchFields, Codec, HEADER_LEN, LeaderEpoch, Limits, Offset, ProducerId, TimestampMs, TopicId,
    compress, decompress, validate,
};
use runnel_segment::{EncodeOptions, ParquetCodec, SourceBatch, encode, verify};
use uuid::Uuid;

/// 2026-11-23, noon.
pub(crate) const NOON: i64 = 1_795_435_200_000;

/// Largest size of the records of a batch.
const MAX_INFLATED: usize = 1 << 20;

/// As it comes, and with length, magic and CRC made right.
pub(crate) fn batch(input: &[u8]) {
    take(Bytes::copy_from_slice(input));
    take(mended(input));
}

/// What is accepted must be readable, must fit into Parquet, and must come back from there the same.
fn take(bytes: Bytes) {
    let limits = Limits {
        max_batch_bytes: 1 << 20,
        max_inflated_bytes: MAX_INFLATED,
        now: TimestampMs(NOON),
        before_max_ms: i64::MAX,
        after_max_ms: i64::MAX,
        log_append_time: false,
    };
    let Ok(mut batch) = validate(bytes, &limits) else { return };
    let body = batch.inflate(MAX_INFLATED).expect("it was inflated before");
    let mut records = 0;
    for record in body.records() {
        let record = record.expect("every record was walked before");
        assert!(record.headers.into_iter().all(|header| header.is_ok()), "headers were walked before");
        records += 1;
    }
    assert_eq!(records, batch.record_count());
    batch.assign(Offset(1000), LeaderEpoch(3));
    let source = [SourceBatch { batch, append_time: TimestampMs(NOON) }];
    let options = EncodeOptions { topic: TopicId(Uuid::from_u128(7)), partition: 1, compression: ParquetCodec::None };
    let encoded = encode(&source, &options).expect("a validated batch can be encoded");
    verify(&encoded, &source).expect("Parquet gives back what went in");
}

fn mended(input: &[u8]) -> Bytes {
    let mut bytes = input.to_vec();
    if bytes.len() >= HEADER_LEN {
        let length = i32::try_from(bytes.len() - 12).unwrap_or(i32::MAX);
        bytes[8..12].copy_from_slice(&length.to_be_bytes());
        bytes[16] = 2;
        let crc = crc32c::crc32c(&bytes[21..]);
        bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    }
    bytes.into()
}

/// The first byte picks the codec.
pub(crate) fn codec(input: &[u8]) {
    let Some((&first, data)) = input.split_first() else { return };
    let codec = Codec::ALL[usize::from(first) % Codec::ALL.len()];
    if let Ok(raw) = decompress(codec, data, MAX_INFLATED) {
        assert!(raw.len() <= MAX_INFLATED, "more than was allowed");
        let again = compress(codec, &raw).expect("anything can be compressed");
        assert_eq!(decompress(codec, &again, MAX_INFLATED).expect("our own bytes"), raw);
    }
}

/// Batches of every codec: with and without producer, nulls, headers, odd timestamps.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    Codec::ALL.iter().flat_map(|codec| [wire(sample(0, -1), *codec), wire(sample(0, 77), *codec)]).collect()
}

pub(crate) fn codec_seeds() -> Vec<Vec<u8>> {
    let raw: Vec<u8> = (0..400usize).map(|n| b"departure delay by carrier"[(n + n / 97) % 26]).collect();
    let packed = |(number, codec): (u8, &Codec)| {
        [&[number][..], &compress(*codec, &raw).expect("anything can be compressed")].concat()
    };
    (0..).zip(&Codec::ALL).map(packed).collect()
}

/// A batch of some records at an offset.
pub(crate) fn sample(base: i64, producer: i64) -> BatchBuilder {
    let idempotent = producer >= 0;
    let mut builder = BatchBuilder::new(BatchFields {
        base_offset: Offset(base),
        leader_epoch: LeaderEpoch(3),
        base_timestamp: TimestampMs(NOON),
        producer_id: ProducerId(producer),
        producer_epoch: if idempotent { 1 } else { -1 },
        base_sequence: if idempotent { i32::MAX - 1 } else { -1 },
        ..BatchFields::default()
    });
    let headers: [(&[u8], Option<&[u8]>); 3] = [(b"name", Some(b"value")), (b"", None), (&[0xff], Some(b""))];
    for n in 0..4u8 {
        let key = [Some(&b"key"[..]), Some(b""), None][usize::from(n % 3)];
        let value = [None, Some(&b"some value, some value, some value"[..]), Some(b"")][usize::from(n % 3)];
        let headers = headers.into_iter().take(usize::from(n));
        builder.push(i32::from(n), i64::from(n) - 1, key, value, headers).expect("it fits");
    }
    builder
}

fn wire(mut builder: BatchBuilder, codec: Codec) -> Vec<u8> {
    let mut out = Vec::new();
    builder.build(codec).expect("it fits").write_to(&mut out);
    out
}
