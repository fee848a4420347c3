//! Record batches as producers send them.

use bytes::{Bytes, BytesMut};
use runnel_api::ProducerIdentity;
use runnel_record::{BatchBuilder, BatchFields, Codec, TimestampMs};

use super::NOON;

/// What a batch holds, and how.
pub(crate) struct Content<'a> {
    /// Timestamp, key-less value.
    pub(crate) records: &'a [(i64, &'a [u8])],
    pub(crate) producer: Option<(ProducerIdentity, i32)>,
    pub(crate) codec: Codec,
}

pub(crate) fn batch_of(content: &Content<'_>) -> Bytes {
    let base = content.records.first().map_or(NOON, |(timestamp, _)| *timestamp);
    let mut fields = BatchFields { base_timestamp: TimestampMs(base), ..BatchFields::default() };
    if let Some((producer, sequence)) = content.producer {
        fields.producer_id = producer.id;
        fields.producer_epoch = producer.epoch;
        fields.base_sequence = sequence;
    }
    let mut builder = BatchBuilder::new(fields);
    for (delta, (timestamp, value)) in (0..).zip(content.records) {
        builder.push(delta, timestamp - base, None, Some(value), []).unwrap();
    }
    let mut out = BytesMut::new();
    builder.build(content.codec).unwrap().write_to(&mut out);
    out.freeze()
}

/// A batch of these values, without a producer.
pub(crate) fn batch<V: AsRef<[u8]>>(values: &[V]) -> Bytes {
    build(values, None)
}

/// A batch of these values by an idempotent producer.
pub(crate) fn idempotent<V: AsRef<[u8]>>(values: &[V], producer: ProducerIdentity, sequence: i32) -> Bytes {
    build(values, Some((producer, sequence)))
}

fn build<V: AsRef<[u8]>>(values: &[V], producer: Option<(ProducerIdentity, i32)>) -> Bytes {
    let records: Vec<(i64, &[u8])> = values.iter().map(|value| (NOON, value.as_ref())).collect();
    batch_of(&Content { records: &records, producer, codec: Codec::None })
}

/// `count` values that begin with `name` and a number, padded to `bytes`.
pub(crate) fn values(name: &str, count: usize, bytes: usize) -> Vec<String> {
    (0..count).map(|i| format!("{name}-{i}-")).map(|value| format!("{value:.<bytes$}")).collect()
}
