//! The fetch cache: rebuilt batch runs of sealed segments, in memory and on disk.
//!
//! Owns: keys and entries, the budgets, single-flight loading, the foyer hybrid cache below. Deliberately not here:
//! what a run is and how it is read (`segment`), the memory tail (`broker`).
//!
//! Invariants: an entry never changes, so a hit is never stale (keys name an immutable segment); of all callers that
//! miss a run at once one loads it; a failed load is not remembered; bytes from the disk have passed a checksum and
//! carry their key; losing any entry at any time costs a load and nothing else. Backfill never displaces what hot
//! readers use from memory; what is loaded once displaces nothing on the disk.

mod cache;
mod error;
mod flight;
mod folder;
mod key;
mod loaded;
mod metrics;
pub mod options;
mod sizes;

pub use cache::{BlockCache, Class};
pub use error::{Error, ErrorKind};
pub use key::BlockKey;
pub use options::Options;
