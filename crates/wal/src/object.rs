//! The object lane: the log of one session in the bucket (protocol §4.4; bytes: `docs/formats/wal.md`).
//!
//! A lane is a row of immutable objects, its *slots* 0, 1, 2, …, and a register, its *header*. The owner writes each
//! slot if it is absent, a few at a time, and acknowledges the contiguous prefix of those that are there. Anybody may
//! end the lane for ever: a SEAL in the first absent slot is what the owner meets next. No clock and no lease is part
//! of it.
//!
//! Invariants:
//! - No slot is skipped, and no batch is ever written anywhere but in the slot that it was put into first: same slot,
//!   same bytes, until the outcome is known.
//! - What is acknowledged is below the end of the lane, and every slot from the trim pointer up to the end is there.
//! - The trim pointer is durable before a slot below it is deleted; a SEAL below the pointer is void.
//! - SEAL and header are never deleted: they are what a writer that stalled for a year still runs into.

mod draft;
mod driver;
mod event;
mod header;
mod index;
mod janitor;
mod lane;
mod log;
mod options;
mod read;
mod recover;
mod seal;
#[cfg(test)]
mod tests;
mod trim;

pub use janitor::{lanes_in_use, retire, sweep};
pub use log::ObjectLog;
pub use options::{ObjectLaneIdentity, ObjectOptions};
pub use recover::{SealedLane, Tails};
pub use seal::{is_sealed, seal};
