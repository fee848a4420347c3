//! Batches for the tests of this crate, and what a consumer sees of them.
#![allow(clippy::unwrap_used, clippy::panic)]

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use runnel_record::{Batch, BatchBuilder, BatchFields, Codec, LeaderEpoch, Offset, ProducerId, TimestampMs, TopicId};
use uuid::Uuid;

use crate::{EncodeOptions, Encoded, Error, ParquetCodec, SourceBatch, decode_run, encode, read, verify};

/// 2026-11-23, noon.
pub(crate) const NOON: i64 = 1_795_435_200_000;

pub(crate) const CODECS: [Codec; 5] = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

pub(crate) fn options(compression: ParquetCodec) -> EncodeOptions {
    EncodeOptions { topic: TopicId(Uuid::from_u128(0xab)), partition: 3, compression }
}

/// A header: key and value.
pub(crate) type Header = (Vec<u8>, Option<Vec<u8>>);

/// A record of a test.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Record {
    /// Offsets left out in front of it.
    pub(crate) gap: i32,
    pub(crate) timestamp_delta: i64,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: Vec<Header>,
}

impl Record {
    pub(crate) fn of(value: impl Into<Vec<u8>>) -> Self {
        Self { value: Some(value.into()), ..Self::default() }
    }
}

/// Builds the batch of these records at `fields.base_offset`, followed by `gap` offsets without a record.
pub(crate) fn batch(fields: BatchFields, records: &[Record], gap: i32, codec: Codec) -> Batch {
    let last = records.iter().map(|r| r.gap + 1).sum::<i32>() - 1;
    let mut builder = BatchBuilder::new(BatchFields { last_offset_delta: Some(last + gap), ..fields });
    let mut offset_delta = -1;
    for record in records {
        offset_delta += 1 + record.gap;
        let headers = record.headers.iter().map(|(key, value)| (key.as_slice(), value.as_deref()));
        builder
            .push(offset_delta, record.timestamp_delta, record.key.as_deref(), record.value.as_deref(), headers)
            .unwrap();
    }
    builder.build(codec).unwrap()
}

/// One batch per list of records, contiguous from `base`, appended a millisecond apart.
pub(crate) fn log(base: i64, batches: &[Vec<Record>]) -> Vec<SourceBatch> {
    let mut next = Offset(base);
    let at = (NOON..).map(TimestampMs);
    batches
        .iter()
        .zip(at)
        .map(|(records, append_time)| {
            let fields = BatchFields { base_offset: next, base_timestamp: append_time, ..BatchFields::default() };
            let batch = batch(fields, records, 0, Codec::None);
            next = batch.next_offset();
            SourceBatch { batch, append_time }
        })
        .collect()
}

/// Encodes and verifies.
pub(crate) fn encoded(batches: &[SourceBatch], compression: ParquetCodec) -> Encoded {
    let encoded = encode(batches, &options(compression)).unwrap();
    verify(&encoded, batches).unwrap();
    encoded
}

/// All batches of an encoded segment, run by run.
pub(crate) fn read_all(encoded: &Encoded) -> Result<Vec<SourceBatch>, Error> {
    let footer = verify::parse(encoded)?;
    let mut all = Vec::new();
    for run in footer.runs() {
        all.extend(decode_run(&read::read_run(&footer, run.index, verify::pieces(encoded))?)?);
    }
    Ok(all)
}

/// The object in one piece.
pub(crate) fn object(encoded: &Encoded) -> Vec<u8> {
    encoded.bytes.concat()
}

/// What a consumer sees of a batch, and what dedup and failover need of it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    base: Offset,
    next: Offset,
    append_time: TimestampMs,
    leader_epoch: LeaderEpoch,
    attributes: i16,
    max_timestamp: TimestampMs,
    producer: (ProducerId, i16, i32),
    records: Vec<SeenRecord>,
}

#[derive(Debug, PartialEq, Eq)]
struct SeenRecord {
    offset: i64,
    timestamp: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<Header>,
}

pub(crate) fn seen(batches: &[SourceBatch]) -> Vec<Seen> {
    batches.iter().map(seen_batch).collect()
}

fn seen_batch(source: &SourceBatch) -> Seen {
    let batch = &source.batch;
    batch.verify_crc().unwrap();
    let body = batch.inflate(usize::MAX).unwrap();
    let timestamp = |delta: i64| match batch.is_log_append_time() {
        true => batch.max_timestamp().0,
        false => batch.base_timestamp().0 + delta,
    };
    let records = body.records().map(|record| {
        let record = record.unwrap();
        let headers = record.headers.map(|h| h.unwrap()).map(|h| (h.key.to_vec(), h.value.map(<[u8]>::to_vec)));
        SeenRecord {
            offset: batch.base_offset().0 + i64::from(record.offset_delta),
            timestamp: timestamp(record.timestamp_delta),
            key: record.key.map(<[u8]>::to_vec),
            value: record.value.map(<[u8]>::to_vec),
            headers: headers.collect(),
        }
    });
    Seen {
        base: batch.base_offset(),
        next: batch.next_offset(),
        append_time: source.append_time,
        leader_epoch: batch.leader_epoch(),
        attributes: batch.attributes() & !0b111,
        max_timestamp: batch.max_timestamp(),
        producer: (batch.producer_id(), batch.producer_epoch(), batch.base_sequence()),
        records: records.collect(),
    }
}

fn arbitrary_header() -> impl Strategy<Value = Header> {
    let key = prop_oneof![4 => "[a-zé]{0,3}".prop_map(String::into_bytes), 1 => vec(any::<u8>(), 0..5)];
    (key, option::of(vec(any::<u8>(), 0..6)))
}

fn arbitrary_record() -> impl Strategy<Value = Record> {
    let value = prop_oneof![
        3 => vec(any::<u8>(), 0..200),
        1 => vec(any::<u8>(), 0..9).prop_map(|tail| [vec![0], tail].concat()),
    ];
    let fields = (0..3i32, -5..2000i64, option::of(vec(any::<u8>(), 0..20)), option::of(value));
    (fields, vec(arbitrary_header(), 0..4)).prop_map(|((gap, timestamp_delta, key, value), headers)| Record {
        gap: (gap - 1).max(0),
        timestamp_delta,
        key,
        value,
        headers,
    })
}

/// Header fields but for offset and epoch, with the sequence close to its end now and then.
fn arbitrary_fields() -> impl Strategy<Value = BatchFields> {
    let sequence = prop_oneof![0..1000i32, i32::MAX - 5..=i32::MAX];
    // Without an id the other two mean nothing, and some clients write what they like.
    let anonymous = (Just(-1), any::<i16>(), prop_oneof![Just(-1), sequence.clone()]);
    let producer = prop_oneof![7 => (0..=i64::MAX, 0..=i16::MAX, sequence).boxed(), 3 => anonymous.boxed()];
    let base_timestamp = prop_oneof![1 => Just(-1i64), 4 => NOON - 10_000..NOON];
    let max_timestamp = option::weighted(0.2, NOON..NOON + 100_000);
    (producer, base_timestamp, max_timestamp, any::<bool>(), any::<bool>()).prop_map(
        |(producer, base_timestamp, max_timestamp, appended, transactional)| {
            let (id, epoch, sequence) = producer;
            BatchFields {
                attributes: i16::from(appended) << 3 | i16::from(transactional) << 4,
                base_timestamp: TimestampMs(base_timestamp),
                max_timestamp: if appended { Some(TimestampMs(NOON)) } else { max_timestamp.map(TimestampMs) },
                producer_id: ProducerId(id),
                producer_epoch: epoch,
                base_sequence: sequence,
                ..BatchFields::default()
            }
        },
    )
}

prop_compose! {
    /// Contiguous batches as a partition may hold them.
    pub(crate) fn arbitrary_log()(
        base in 0..1i64 << 60,
        epoch in 0..5i32,
        parts in vec((arbitrary_fields(), vec(arbitrary_record(), 1..20), 0..3i32, 0..5usize, 0..50i64, 0..2i32), 1..12),
    ) -> Vec<SourceBatch> {
        let (mut next, mut epoch, mut at) = (Offset(base), epoch, NOON);
        let mut batches = Vec::new();
        for (fields, records, gap, codec, later, newer) in parts {
            (epoch, at) = (epoch + newer, at + later);
            let fields = BatchFields { base_offset: next, leader_epoch: LeaderEpoch(epoch), ..fields };
            let batch = batch(fields, &records, gap, CODECS[codec]);
            next = batch.next_offset();
            batches.push(SourceBatch { batch, append_time: TimestampMs(at) });
        }
        batches
    }
}
