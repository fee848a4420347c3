//! The bytes that runnel persists, and nothing else: WAL blocks, the manifest, metadata values.
//!
//! Every layout is versioned, has a table in `docs/formats/`, a golden file, and a reader for every version ever
//! released. No I/O. Invariant: decoding never panics and never allocates from an unchecked length.

pub mod codec;
mod error;
pub mod groups;
mod level;
pub mod manifest;
pub mod meta;
pub mod producer;
pub mod wal;

pub use error::Error;
pub use level::{Levels, Misfit};
