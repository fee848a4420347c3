//! Judges what clients of a log saw: whether any log that keeps Kafka's promises could have answered them so.
//!
//! A history is a sequence of events, each told by one client, from a simulation or from real processes alike. The checks
//! are pure functions over the indexed history, a file for each family. They know nothing of runnel: what they judge is
//! what clients may rely on (`docs/testing.md` has the table).
//!
//! Invariants:
//! - What is legal is never found: an event whose outcome is open may have happened or not, and clients may be anywhere
//!   between the two ends of an operation.
//! - Nothing but the times of events relates one client to another; within one client, their order does.
//! - The work is linear in the number of events, but for sorting them.

mod anomaly;
mod checks;
mod event;
mod history;
mod index;
mod report;

pub use anomaly::{Anomaly, Finding};
pub use checks::judge;
pub use event::{Event, Outcome, Poll, Record};
pub use history::{Error, EventId, History};
pub use report::{Summary, to_json, to_text};
