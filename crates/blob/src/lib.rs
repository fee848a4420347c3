//! The bucket: where segments, roots and metadata live, on S3, in a folder, or in memory.
//!
//! Owns the names of everything in the bucket ([`Key`]), requests with a time limit, metrics and errors that say what
//! to do, and compare-and-swap on [registers](CasOutcome) whose unclear answers are resolved. Does not own what the
//! objects mean, and caches nothing.
//!
//! Invariants:
//! - A write that returned `Ok` is durable: S3 answered 200, or file and folder were synced.
//! - At most one writer wins a register or creates an object, and [`CasOutcome::Done`] and [`Created::Done`] are only
//!   said of a write that was seen to happen.
//! - A bucket that is not there is an error, never an absent object.
//! - After a failed sync of a folder nothing more is read or written there.

mod bucket;
mod checkup;
mod create;
mod error;
mod folder;
mod key;
mod metrics;
mod options;
mod probe;
mod put;
mod register;
mod s3;
pub mod testing;
mod upload;
mod walk;

pub use bucket::{Bucket, Listed};
pub use checkup::{Ability, Checkup, checkup};
pub use create::Created;
pub use error::{Error, ErrorKind};
pub use folder::{FolderLock, Leftovers};
pub use key::{Key, chunk_prefix, lane_prefix, partition_prefix, producer_prefix, segment_prefix};
pub use options::Options;
pub use put::PART_BYTES;
pub use register::{CasOutcome, MAX_REGISTER_BYTES, Register, Version};
pub use upload::Upload;
pub use walk::Walk;
