//! Record batches from plain values.

use bytes::{Bytes, BytesMut};
use runnel_record::{BatchBuilder, BatchFields, Codec, ProducerId, TimestampMs};

/// Key and value of a record.
pub type KeyValue<'a> = (Option<&'a [u8]>, Option<&'a [u8]>);

/// What a batch is made of.
#[derive(Debug, Clone)]
pub struct BatchSpec<'a> {
    /// Timestamp of every record.
    pub timestamp: TimestampMs,
    /// The records.
    pub records: &'a [KeyValue<'a>],
    /// Producer id, epoch and first sequence; −1 for none.
    pub producer: (i64, i16, i32),
    /// How the records are compressed.
    pub codec: Codec,
}

/// One record, `value`, without a producer.
impl Default for BatchSpec<'_> {
    fn default() -> Self {
        Self {
            timestamp: TimestampMs(1_700_000_000_000),
            records: &[(None, Some(b"value"))],
            producer: (-1, -1, -1),
            codec: Codec::None,
        }
    }
}

/// A RecordBatch v2 as a producer sends it.
///
/// # Panics
/// On what no batch can hold.
#[allow(clippy::unwrap_used)] // for tests
pub fn batch(spec: &BatchSpec<'_>) -> Bytes {
    let (producer_id, producer_epoch, base_sequence) = spec.producer;
    let mut builder = BatchBuilder::new(BatchFields {
        base_timestamp: spec.timestamp,
        producer_id: ProducerId(producer_id),
        producer_epoch,
        base_sequence,
        ..BatchFields::default()
    });
    for (delta, (key, value)) in (0..).zip(spec.records) {
        builder.push(delta, 0, *key, *value, []).unwrap();
    }
    let mut out = BytesMut::new();
    builder.build(spec.codec).unwrap().write_to(&mut out);
    out.freeze()
}
