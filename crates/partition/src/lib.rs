//! The state machine of one open partition: plain inputs in, [`Effect`]s out.
//!
//! Owns: offset and append-time assignment, the order of acknowledgements and the high watermark, epochs with their
//! start offsets, the dedup state of idempotent producers, the timestamp index of what is not shipped, and when to
//! seal a segment. Deliberately not here: record bytes (of each batch only [`BatchFacts`] are kept, and only until it
//! is shipped), I/O, clocks, tokio, storage.
//!
//! A partition's life:
//! 1. [`Partition::open`]: the root's state plus the recovered tail, which counts as committed.
//! 2. [`Partition::append`] judges a batch and stamps it; after handing it to the lane the caller says
//!    [`Partition::appended`] or [`Partition::refused`] before it appends another.
//! 3. [`Partition::durable`] as the lane reports progress: the high watermark moves and replies leave in offset order.
//! 4. [`Partition::seal_candidate`], [`Partition::snapshot_at`] and, once the root holds the segment,
//!    [`Partition::shipped`].
//! 5. [`Partition::failed`] when the lane fails, or after any [`ErrorKind::Internal`]: everything pending is answered
//!    with "outcome unknown", nothing more is taken, and the partition is opened anew from durable state.
//!
//! Invariants, checked in release builds as well (numbers from the protocol's list):
//! - A success leaves only after every earlier offset of the partition is durable (1), and offsets and lane sequence
//!   numbers rise together (5). The high watermark never falls (22).
//! - A batch gets its offset and append time once; a retry gets the same answer (3). Append times never fall.
//! - A refusal is only for a batch that is not in the log and not on its way there (6).
//! - The dedup state is a pure function of the log prefix: a snapshot plus the rest of the log gives the same state as
//!   the whole log (27).
//! - Epochs strictly rise (16).

mod acks;
mod append;
mod durable;
mod effect;
mod epochs;
mod error;
mod facts;
mod open;
mod options;
mod partition;
mod producers;
mod refused;
mod seal;
mod sequence;
mod ship;
mod times;

pub use append::{Decision, Terms};
pub use effect::{Effect, Produced, RequestId};
pub use epochs::EpochEnd;
pub use error::{Error, ErrorKind};
pub use facts::{BatchFacts, ProducerBatch};
pub use open::Start;
pub use options::{Options, ProducerLimits, SegmentLimits};
pub use partition::Partition;
pub use seal::append_day;
pub use times::TimedBatch;

#[cfg(test)]
mod model;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod twin;
