//! Decisions of the controller: who leads which partition. Plain data in, a plan out; no I/O, no clock, no randomness.
//!
//! Owns: the placement of partitions on brokers ([`place`]). Deliberately not here: how a partition moves (the broker's),
//! who the controller is, what a broker's death is known by.

mod place;

pub use place::{Assignment, BrokerView, Limits, PartitionView, place};
