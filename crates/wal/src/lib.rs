//! The write-ahead log: batches of many partitions made durable together, and kept until they are in the bucket.
//!
//! Owns: the **local lane** (design §6): group commit, files, recovery by sealing the predecessor, reads of what is
//! not shipped yet, trim; and the **object lane** (protocol §4.4): the same in the bucket. Deliberately not here:
//! offsets, the high watermark, what to ship and when, which session owns which lane.
//!
//! Invariants of both, where those of the object lane are in `object.rs`:
//! - An entry is published to its listener after the sync of its block, never before, and in order.
//! - A lane has one writer and is never reopened: [`LocalLog::open`] seals what earlier sessions left on the disk,
//!   durably, before it reports a byte of it. Nothing past a seal is ever read.
//! - The first failed write or sync ends the lane for ever.
//! - A block is cut as torn only if nothing valid follows it and nothing says that it was durable; everything else
//!   that does not read back is reported as corrupt, stays on the disk, and blocks its own offsets only.
//! - The trim pointer is durable before a file is recycled, and a file is only recycled while nobody reads it.

mod aside;
mod block;
mod cursor;
mod entry;
mod error;
mod file;
mod hands;
mod index;
mod keeper;
mod lanes;
mod local;
mod metrics;
pub mod object;
mod options;
mod queue;
mod read;
mod recover;
mod reserve;
mod seal;
mod shared;
#[cfg(test)]
mod tests;
mod writer;

pub use aside::set_aside;
pub use entry::{CorruptRange, Entry, LaneSeq, Listener, Pressure, Recovered, StoredBatch, TailEntry};
pub use error::{Error, ErrorKind};
pub use local::LocalLog;
pub use options::{LaneIdentity, Options};
