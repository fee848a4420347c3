//! Decisions of the controller: who is fenced, who leads which partition. Plain data in, steps out; no I/O, no clock, no
//! randomness.
//!
//! Owns: what is to be done next ([`decide`]), given who is alive, what the metadata store says of sessions and
//! partitions, and how much goes through them; what that is, from what leaders say now and then ([`Scales`]); how far the
//! level of the cluster can be raised ([`raise()`]). Deliberately not here: carrying a step out, who the controller is, what
//! a broker's death is known by, how a partition moves (its leader's).
//!
//! Invariants:
//! - A partition whose leader may still write is never assigned: it is fenced first, or asked to hand over. What the
//!   store says of a session counts, not whether the session is heard of.
//! - What lies on a disk alone is only led where that disk is, also by a broker that leaves: it ships it and hands over.
//! - Steps that are carried out, in part or not at all, and decided again come to rest: every one of them makes the
//!   placement more even, or a partition led that was not.

mod case;
mod decide;
mod place;
mod raise;
mod roster;
mod scales;
mod view;

#[cfg(test)]
mod tests;

pub use decide::{Decision, Step, Waiting, decide};
pub use raise::{Raise, raise};
pub use scales::{Pace, Scales};
pub use view::{BrokerView, Led, Limits, PartitionView, SessionView};
