//! The vocabulary of a log and the bytes of a record batch.
//!
//! Owns: identifiers, offsets, epochs and time as newtypes; RecordBatch v2 (magic 2): framing, validation, CRC-32C,
//! compression, a record walker and a builder; the partition of a key. Deliberately not here: I/O, async, topics, policy;
//! message formats 0 and 1 are recognised and refused, never read. The layout and the order of checks are written
//! down in `docs/formats/record-batch.md`.
//!
//! Invariants: the header of a parsed [`Batch`] agrees with its length and its offset range does not overflow; a
//! batch that came through [`validate()`] can be walked to the end without an error and encoded to Parquet and back;
//! no function here allocates from a length that the input only claims to have, nor more than its caller's limit.

pub mod batch;
pub mod build;
pub mod compression;
pub mod error;
pub mod ids;
pub mod partitioner;
pub mod read;
pub mod validate;
mod varint;

#[cfg(test)]
mod testing;

pub use batch::{Batch, HEADER_LEN};
pub use build::{BatchBuilder, BatchFields};
pub use compression::{Codec, compress, decompress};
pub use error::{Error, ErrorKind};
pub use ids::{LeaderEpoch, Offset, ProducerId, TimestampMs, TopicId, TopicPartition};
pub use partitioner::{murmur2, partition_for_key};
pub use read::{Body, HeaderRef, Headers, Mark, RecordRef, Records};
pub use validate::{Limits, validate};
