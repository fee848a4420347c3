//! Sealed segments: one partition, one immutable offset range, one Parquet object that analysts read and consumers
//! replay.
//!
//! Owns: the Parquet v1 layout (`docs/formats/segment.md`), encoding batches into it, the check before a segment may
//! be committed, ranged reads that give the batches back, and the byte form of a run that the cache keeps.
//! Deliberately not here: when a segment is cut, who may commit it, caching, the Kafka wire.
//!
//! Invariants:
//! - What [`encode()`] wrote, [`Segment::read_run`] gives back: the same records at the same offsets with the same
//!   timestamps, headers and producer fields, in the same batches. Only compression, and so the CRC, may differ.
//! - Every byte of a run is covered by a CRC-32C that is checked before anything is decoded; so is the footer. Damage
//!   is [`ErrorKind::Corrupt`], never another answer and never a panic.
//! - A run is a number of whole batches and never spans two row groups.

mod checks;
mod columns;
mod encode;
mod error;
mod exceptions;
mod footer;
pub mod fuzz;
pub mod manifest;
mod merge;
mod options;
mod pieces;
mod read;
mod retention;
mod run;
mod schema;
mod segment;
mod sweep;
#[cfg(test)]
mod testing;
mod verify;

pub use encode::{Encoded, encode};
pub use error::{Error, ErrorKind};
pub use footer::Run;
pub use merge::{Merge, MergePolicy, Readback, replaced_chunks};
pub use options::{EncodeOptions, ParquetCodec};
pub use retention::{Policy, find_retired, retired_chunks};
pub use run::{SourceBatch, decode_run, encode_run};
pub use segment::{Fetched, Segment};
pub use sweep::{Orphans, find_orphans, sweep_orphans};
pub use verify::verify;
