//! The local lane on disk: file header, block, and the lane's state; the object lane in the bucket: slot and lane
//! header. Byte tables: `docs/formats/wal.md`.
//!
//! A local lane is a sequence of files; a file is a header of two pages and blocks on page boundaries; a block is a
//! header, a table of rows (one per batch, with everything but the records), the index of the block before it, and
//! the bodies of the batches. All little-endian but the batch header, which stands as on the Kafka wire.
//!
//! Every CRC of a block starts from the file's [`FileHeader::seed`], so bytes left over from an earlier life of a
//! recycled file never pass. The bodies have no CRC of their own: the batch's CRC-32C, which its producer computed,
//! is in the batch header in the row and covers header and body.
//!
//! An object lane is a sequence of slots, each an object: a header, a table of the same rows, sometimes a checkpoint,
//! and the bodies.

mod block;
mod file;
mod lane_header;
mod slot;
mod state;
#[cfg(test)]
mod tests;

pub use block::{BLOCK_HEADER_LEN, BlockHeader, BlockKind, ROW_LEN, Row, SPAN_LEN, Span, seeded_crc};
pub use file::{FILE_HEADER_LEN, FileHeader};
pub use lane_header::LaneHeader;
pub use slot::{CHECKPOINT_EVERY, RUN_LEN, SLOT_HEADER_LEN, SlotHeader, SlotKind, SlotRun};
pub use state::{LaneEnd, LaneState};

/// Blocks and file headers start on multiples of this, so that a torn write never touches an earlier block.
pub const PAGE: usize = 4096;

/// The newest version of the lane format.
pub const VERSION: u16 = 1;

/// `len` rounded up to whole pages.
pub const fn pages(len: u64) -> u64 {
    len.div_ceil(PAGE as u64) * PAGE as u64
}
