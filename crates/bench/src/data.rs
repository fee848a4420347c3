//! Records as an application would write them: JSON of about 1 KiB with a key.

use std::fmt::Write;

use anyhow::{Context, Result};
use runnel_record::{Batch, BatchBuilder, BatchFields, Codec, Offset, ProducerId, TimestampMs};
use runnel_segment::SourceBatch;

/// Bytes of a value.
const VALUE_BYTES: usize = 1024;

/// 2026-11-26, noon.
pub(crate) const NOW: TimestampMs = TimestampMs(1_795_694_400_000);

const WORDS: [&str; 24] = [
    "payment",
    "accepted",
    "by",
    "gateway",
    "retry",
    "for",
    "customer",
    "order",
    "shipped",
    "from",
    "warehouse",
    "north",
    "delayed",
    "because",
    "address",
    "was",
    "incomplete",
    "refund",
    "issued",
    "after",
    "inspection",
    "of",
    "returned",
    "goods",
];

/// A small generator of numbers: the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }

    fn word(&mut self) -> &'static str {
        usize::try_from(self.below(WORDS.len() as u64)).ok().and_then(|at| WORDS.get(at)).copied().unwrap_or("word")
    }
}

fn value(random: &mut Random, number: u64) -> Result<String> {
    let mut json = String::with_capacity(VALUE_BYTES);
    let (high, low) = (random.below(1 << 31), random.below(1 << 31));
    write!(json, r#"{{"id":"{high:08x}-{low:08x}","sequence":{number},"amount":{}.{:02},"#, low % 9999, high % 100)?;
    write!(json, r#""country":"{}","customer":{},"items":["#, ["DE", "FR", "PT", "PL"][number as usize % 4], high)?;
    for _ in 0..4 {
        write!(json, r#"{{"sku":"{:07}","count":{}}},"#, random.below(9_999_999), 1 + random.below(9))?;
    }
    json.push_str(r#"null],"note":""#);
    while json.len() < VALUE_BYTES - 12 {
        json.push_str(random.word());
        json.push(' ');
    }
    json.truncate(VALUE_BYTES - 2);
    json.push_str("\"}");
    Ok(json)
}

/// Contiguous batches of `records` records each, one after another from offset 0.
pub(crate) fn batches(count: usize, records: i32, codec: Codec) -> Result<Vec<SourceBatch>> {
    let mut random = Random(42);
    let mut made = Vec::with_capacity(count);
    let mut next = Offset::ZERO;
    for number in 0..count {
        let batch = batch(&mut random, next, records, codec).with_context(|| format!("batch {number}"))?;
        next = batch.next_offset();
        made.push(SourceBatch { batch, append_time: NOW });
    }
    Ok(made)
}

fn batch(random: &mut Random, base: Offset, records: i32, codec: Codec) -> Result<Batch> {
    let mut builder = BatchBuilder::new(BatchFields {
        base_offset: base,
        base_timestamp: NOW,
        producer_id: ProducerId(7),
        producer_epoch: 0,
        base_sequence: i32::try_from(base.0)?,
        ..BatchFields::default()
    });
    for delta in 0..records {
        let number = base.0.unsigned_abs() + u64::from(delta.unsigned_abs());
        let (key, value) = (format!("customer-{:06}", random.below(100_000)), value(random, number)?);
        builder.push(delta, i64::from(delta), Some(key.as_bytes()), Some(value.as_bytes()), None)?;
    }
    Ok(builder.build(codec)?)
}
