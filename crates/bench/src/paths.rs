//! The paths that are measured.

use std::hint::black_box;

use anyhow::{Context, Result, bail};
use bytes::BytesMut;
use runnel_blob::{Bucket, Key, Options};
use runnel_record::{Batch, Codec, LeaderEpoch, Limits, Offset, TopicId, TopicPartition, validate};
use runnel_runtime::FailPoints;
use runnel_segment::{EncodeOptions, ParquetCodec, Segment, SourceBatch, decode_run, encode, encode_run, verify};
use uuid::Uuid;

use crate::data;

/// Batches of a segment: 32 MiB, as the Java client sends them with `batch.size=65536`.
pub(crate) const BATCHES: usize = 512;
const RECORDS: i32 = 62;

/// Batches whose instructions are counted: 2 MiB, since counting takes fifty times as long.
pub(crate) const COUNTED_BATCHES: usize = 32;

/// A path, ready to be run again and again.
pub(crate) struct Path {
    pub(crate) name: &'static str,
    /// What one run gets through.
    pub(crate) bytes: usize,
    pub(crate) work: Box<dyn FnMut() -> Result<()>>,
}

fn path(name: &'static str, bytes: usize, work: impl FnMut() -> Result<()> + 'static) -> Path {
    Path { name, bytes, work: Box::new(work) }
}

/// All of them, over so many batches.
pub(crate) fn all(count: usize) -> Result<Vec<Path>> {
    let plain = data::batches(count, RECORDS, Codec::None)?;
    let bytes = plain.iter().map(|source| source.batch.len()).sum();
    Ok(vec![
        validating("validate batches, uncompressed", Codec::None, count, bytes)?,
        validating("validate batches, lz4", Codec::Lz4, count, bytes)?,
        validating("validate batches, zstd", Codec::Zstd, count, bytes)?,
        encoding("encode Parquet, zstd 1", plain.clone(), bytes),
        checking("check the Parquet against its source", plain.clone(), bytes)?,
        rebuilding("rebuild batches from Parquet", &plain, bytes)?,
        walking("take a run from the cache, walk its records", &plain, bytes),
    ])
}

fn validating(name: &'static str, codec: Codec, count: usize, bytes: usize) -> Result<Path> {
    let limits = Limits {
        max_batch_bytes: 1 << 20,
        max_inflated_bytes: 128 << 20,
        now: data::NOW,
        before_max_ms: i64::MAX,
        after_max_ms: 3_600_000,
        log_append_time: false,
    };
    let wire: Vec<_> = data::batches(count, RECORDS, codec)?.iter().map(|source| wire(&source.batch)).collect();
    Ok(path(name, bytes, move || {
        for batch in &wire {
            black_box(validate(batch.clone(), &limits)?);
        }
        Ok(())
    }))
}

fn wire(batch: &Batch) -> bytes::Bytes {
    let mut bytes = BytesMut::with_capacity(batch.len());
    batch.write_to(&mut bytes);
    bytes.freeze()
}

fn options() -> EncodeOptions {
    EncodeOptions { topic: TopicId(Uuid::nil()), partition: 0, compression: ParquetCodec::default() }
}

fn encoding(name: &'static str, batches: Vec<SourceBatch>, bytes: usize) -> Path {
    path(name, bytes, move || {
        black_box(encode(&batches, &options())?);
        Ok(())
    })
}

fn checking(name: &'static str, batches: Vec<SourceBatch>, bytes: usize) -> Result<Path> {
    let encoded = encode(&batches, &options())?;
    Ok(path(name, bytes, move || Ok(verify(&encoded, &batches)?)))
}

fn rebuilding(name: &'static str, batches: &[SourceBatch], bytes: usize) -> Result<Path> {
    let encoded = encode(batches, &options())?;
    let key = Key::Segment {
        topic_name: "bench".to_owned(),
        tp: TopicPartition { topic: TopicId(Uuid::nil()), partition: 0 },
        day: 0,
        base: encoded.base,
        last: Offset(encoded.next.0 - 1),
        epoch: LeaderEpoch(1),
        id: Uuid::nil(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().context("no runtime")?;
    let segment = runtime.block_on(async {
        let bucket = Bucket::open(&Options::new("memory:"), FailPoints::default())?;
        bucket.put(&key, encoded.bytes.clone()).await?;
        Ok::<_, anyhow::Error>(Segment::open(&bucket, &key, encoded.len).await?)
    })?;
    let expected = batches.len();
    Ok(path(name, bytes, move || {
        let mut found = 0;
        for run in segment.runs() {
            found += runtime.block_on(segment.read_run(run.index))?.len();
        }
        if found == expected { Ok(()) } else { bail!("{found} of {expected} batches were rebuilt") }
    }))
}

fn walking(name: &'static str, batches: &[SourceBatch], bytes: usize) -> Path {
    let cached = encode_run(batches);
    path(name, bytes, move || {
        for source in decode_run(&cached)? {
            for record in source.batch.inflate(usize::MAX)?.records() {
                black_box(record?);
            }
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_runs() -> Result<()> {
        for mut path in all(20)? {
            (path.work)().with_context(|| path.name)?;
            assert!(path.bytes > 1 << 20, "{} of {} bytes", path.name, path.bytes);
        }
        Ok(())
    }
}
