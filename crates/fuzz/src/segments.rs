//! Segments and cached runs.

use bytes::Bytes;
use runnel_record::{Codec, TimestampMs, TopicId};
use runnel_segment::{EncodeOptions, ParquetCodec, SourceBatch, decode_run, encode, encode_run, fuzz};
use uuid::Uuid;

use crate::batches::{NOON, sample};

/// A Parquet file, read without looking at its checksums.
pub(crate) fn file(input: &[u8]) {
    if let Ok(batches) = fuzz::read_unchecked(&Bytes::copy_from_slice(input)) {
        walk(&batches);
    }
}

/// What a cache gives back.
pub(crate) fn cached_run(input: &[u8]) {
    if let Ok(batches) = decode_run(&Bytes::copy_from_slice(input)) {
        assert_eq!(encode_run(&batches), input);
        walk(&batches);
    }
}

/// What the broker does with batches before a client gets them.
fn walk(batches: &[SourceBatch]) {
    for source in batches {
        assert!(source.batch.base_offset() < source.batch.next_offset());
        if let Ok(body) = source.batch.inflate(1 << 20) {
            body.records().filter_map(Result::ok).for_each(|record| record.headers.into_iter().for_each(drop));
        }
    }
}

pub(crate) fn file_seeds() -> Vec<Vec<u8>> {
    let encoded = |codec| {
        let options = EncodeOptions { topic: TopicId(Uuid::from_u128(7)), partition: 1, compression: codec };
        let parts = encode(&sources(), &options).expect("valid batches").bytes;
        parts.iter().flat_map(|part| part.to_vec()).collect()
    };
    [ParquetCodec::None, ParquetCodec::Snappy, ParquetCodec::Lz4, ParquetCodec::Zstd(1)].map(encoded).into()
}

pub(crate) fn run_seeds() -> Vec<Vec<u8>> {
    vec![encode_run(&sources()).to_vec(), encode_run(&sources()[..1]).to_vec()]
}

fn sources() -> Vec<SourceBatch> {
    let source = |base, producer| SourceBatch {
        batch: sample(base, producer).build(Codec::None).expect("it fits"),
        append_time: TimestampMs(NOON),
    };
    vec![source(100, -1), source(104, 77)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_read_to_the_end() {
        for seed in file_seeds() {
            assert_eq!(fuzz::read_unchecked(&seed.into()).expect("a whole segment").len(), sources().len());
        }
    }
}
