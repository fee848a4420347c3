//! Record batches from plain values.

use bytes::{BufMut, Bytes};

/// What a batch is made of.
#[derive(Debug, Clone)]
pub struct BatchSpec<'a> {
    /// Timestamp of every record, in ms.
    pub timestamp_ms: i64,
    /// Key and value of each record.
    pub records: &'a [(Option<&'a [u8]>, Option<&'a [u8]>)],
    /// Producer id, epoch and first sequence; −1 for none.
    pub producer: (i64, i16, i32),
    /// Attribute bits. The records are never compressed, whatever the bits say.
    pub attributes: i16,
}

impl Default for BatchSpec<'_> {
    fn default() -> Self {
        Self {
            timestamp_ms: 1_700_000_000_000,
            records: &[(None, Some(b"value"))],
            producer: (-1, -1, -1),
            attributes: 0,
        }
    }
}

/// A RecordBatch v2 as a producer sends it, with a right CRC.
///
/// # Panics
/// On more than `i32::MAX` records or bytes.
#[allow(clippy::unwrap_used)] // for tests
pub fn batch(spec: &BatchSpec<'_>) -> Bytes {
    let count = i32::try_from(spec.records.len()).unwrap();
    let mut after_crc = Vec::new();
    after_crc.put_i16(spec.attributes);
    after_crc.put_i32(count - 1);
    after_crc.put_i64(spec.timestamp_ms);
    after_crc.put_i64(spec.timestamp_ms);
    after_crc.put_i64(spec.producer.0);
    after_crc.put_i16(spec.producer.1);
    after_crc.put_i32(spec.producer.2);
    after_crc.put_i32(count);
    for (delta, (key, value)) in (0_i64..).zip(spec.records) {
        let mut record = vec![0]; // attributes
        varint(&mut record, 0); // timestamp delta
        varint(&mut record, delta);
        field(&mut record, *key);
        field(&mut record, *value);
        varint(&mut record, 0); // headers
        varint(&mut after_crc, i64::try_from(record.len()).unwrap());
        after_crc.extend_from_slice(&record);
    }
    let mut out = Vec::new();
    out.put_i64(0); // base offset
    out.put_i32(i32::try_from(after_crc.len() + 9).unwrap());
    out.put_i32(-1); // leader epoch
    out.put_u8(2); // magic
    out.put_u32(crc32c::crc32c(&after_crc));
    out.extend_from_slice(&after_crc);
    out.into()
}

#[allow(clippy::unwrap_used)] // for tests
fn field(out: &mut Vec<u8>, value: Option<&[u8]>) {
    varint(out, value.map_or(-1, |v| i64::try_from(v.len()).unwrap()));
    out.extend_from_slice(value.unwrap_or_default());
}

#[allow(clippy::cast_sign_loss)] // zigzag
fn varint(out: &mut Vec<u8>, value: i64) {
    let mut zigzag = ((value << 1) ^ (value >> 63)) as u64;
    while zigzag >= 0x80 {
        out.push((zigzag & 0x7f) as u8 | 0x80);
        zigzag >>= 7;
    }
    out.push(zigzag as u8);
}
