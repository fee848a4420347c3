//! Writes one segment with every kind of row into a bucket folder, for trying Parquet readers on it:
//! `cargo run -p runnel-segment --example sample_segment -- FOLDER`.
#![allow(clippy::print_stdout)]

use std::error::Error;

use runnel_blob::{Bucket, Key, Options};
use runnel_record::{
    BatchBuilder, BatchFields, Codec, LeaderEpoch, Offset, ProducerId, TimestampMs, TopicId, TopicPartition,
};
use runnel_runtime::FailPoints;
use runnel_segment::{EncodeOptions, ParquetCodec, SourceBatch, encode, verify};
use uuid::Uuid;

/// 2026-11-23, noon.
const NOON: i64 = 1_795_435_200_000;
const TOPIC: TopicId = TopicId(Uuid::from_u128(0xab));

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args().nth(1).ok_or("which folder?")?;
    let batches = sample()?;
    let options = EncodeOptions { topic: TOPIC, partition: 3, compression: ParquetCodec::default() };
    let encoded = encode(&batches, &options)?;
    verify(&encoded, &batches)?;
    let key = Key::Segment {
        topic_name: "042".to_owned(),
        tp: TopicPartition { topic: TOPIC, partition: 3 },
        day: i32::try_from(NOON / 86_400_000)?,
        base: encoded.base,
        last: Offset(encoded.next.0 - 1),
        epoch: LeaderEpoch(1),
        id: Uuid::from_u128(0xcd),
    };
    let bucket = Bucket::open(&Options::new(format!("file://{folder}")), FailPoints::default())?;
    bucket.put(&key, encoded.bytes).await?;
    println!("{folder}/{}: {} records, {} bytes", key.path(), encoded.records, encoded.len);
    Ok(())
}

/// Five batches of a thousand records: nulls, empty bytes, binary and repeated headers, a sequence that wraps, records
/// without a timestamp, log-append time.
fn sample() -> Result<Vec<SourceBatch>, Box<dyn Error>> {
    let mut batches: Vec<SourceBatch> = Vec::new();
    for number in 0..5i32 {
        let base = batches.last().map_or(Offset(1000), |b| b.batch.next_offset());
        let appended = number == 3;
        let mut builder = BatchBuilder::new(BatchFields {
            base_offset: base,
            leader_epoch: LeaderEpoch(number / 2),
            attributes: if appended { 0b1000 } else { 0 },
            base_timestamp: TimestampMs(if number == 4 { -1 } else { NOON }),
            max_timestamp: appended.then_some(TimestampMs(NOON + 5)),
            producer_id: ProducerId(if number < 2 { 77 } else { -1 }),
            producer_epoch: if number < 2 { 1 } else { -1 },
            base_sequence: [i32::MAX - 500, 499, -1, -1, -1][usize::try_from(number)?],
            ..BatchFields::default()
        });
        for n in 0..1000u32 {
            push(&mut builder, n, number)?;
        }
        let append_time = TimestampMs(NOON + i64::from(number));
        batches.push(SourceBatch { batch: builder.build(Codec::Lz4)?, append_time });
    }
    Ok(batches)
}

fn push(builder: &mut BatchBuilder, n: u32, number: i32) -> Result<(), Box<dyn Error>> {
    let id = n.to_be_bytes();
    let json = format!("{{\"n\": {n}, \"batch\": {number}}}");
    let registered = [&[0][..], &id, b"avro"].concat();
    let value = [Some(json.as_bytes()), Some(&registered), Some(b""), None][n as usize % 4];
    let key = [Some(&id[..]), Some(b""), None][n as usize % 3];
    let headers: [(&[u8], Option<&[u8]>); 4] =
        [(b"name", Some(b"value")), (b"name", None), (b"", Some(b"")), (&[0xff, b'x'], Some(&[0, 0xfe]))];
    let delta = if number == 4 { 0 } else { i64::from(n) };
    builder.push(i32::try_from(n)?, delta, key, value, headers.into_iter().take(n as usize % 5))?;
    Ok(())
}
