//! Builders and fakes for tests.
//!
//! Owns: [`batch()`], record batches from plain values; [`MemoryBroker`], a broker that keeps everything in memory
//! behind the traits of `runnel_api`, for tests of the front doors; [`Relay`], the way from one broker to another. Deliberately not here: durability, shipping,
//! leadership. A fake that knew them would be a second broker.

mod batches;
mod broker;
mod groups;
mod relay;
mod topic;

pub use batches::{BatchSpec, KeyValue, batch};
pub use broker::{Gate, MemoryBroker};
pub use relay::Relay;
