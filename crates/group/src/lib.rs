//! The state machine of a group coordinator: the groups of one partition of `__consumer_offsets`, in the classic protocol
//! and in the consumer protocol.
//!
//! Owns: who is a member, generations and epochs, rebalances, assignments and who makes them, committed offsets and when
//! they expire; what is written to the log and how a coordinator comes back from it. Deliberately not here: I/O, clocks,
//! randomness (time and member ids are arguments), the log itself, and which topics exist ([`Topics`] is an argument).
//!
//! A caller feeds [`Shard::on`] and [`Shard::tick`] and carries out the effects in order. Reference for behaviour: Apache
//! Kafka 4.x (KIP-62, 134, 211, 345, 394, 429, 800, 814, 848).
//!
//! Invariants:
//! - A change is in memory at once and its record precedes, among the effects, every reply that may tell of it. Who
//!   holds a reply back until the records before it are durable tells nobody what a crash could undo.
//! - Every token is answered once at most, and each that is not answered yet is held by a member that is waited for.
//! - A group without members is Empty; a member is never waited for without a deadline.
//! - A partition has one owner in a group of the consumer protocol, who has it until it says that it let go, or is removed.
//!
//! Reading order: `requests` and `error` are what goes in and out, `shard` routes, `group` is one group and its offsets, in
//! the classic protocol with a file for each verb; `consumer` is what it has instead in the consumer protocol, `assignor`
//! who is to read what.

mod assignment;
mod assignor;
mod consumer;
mod embedded;
mod error;
mod group;
mod hash;
mod offsets;
mod options;
mod partitions;
mod pattern;
mod requests;
mod shard;
mod text;
mod topics;
mod weight;

pub use assignment::assigned_partitions;
pub use error::Error;
pub use hash::partition_of;
pub use options::{GroupTimes, Options};
pub use partitions::Partitions;
pub use requests::*;
pub use shard::{Effect, Now, Shard, Token};
pub use topics::Topics;
pub use weight::Weight;
