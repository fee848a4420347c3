//! The vocabulary of a log and the bytes of a record batch.
//!
//! Owns: identifiers, offsets, epochs and time as newtypes; RecordBatch v2 (magic 2): reading,
//! validating, building, compression; CRC-32C. Deliberately not here: I/O, async, topics, policy.
//!
//! Invariants: a [`Batch`] in hand has a consistent header and length; a batch that came through
//! [`validate()`] can be encoded to Parquet and back without an error.

pub mod batch;
pub mod ids;

pub use batch::{Batch, HEADER_LEN};
pub use ids::{LeaderEpoch, Offset, ProducerId, TimestampMs, TopicId, TopicPartition};
