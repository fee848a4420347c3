//! LZ4 frames (LZ4 frame format 1.6), as far as Kafka's clients know them.
//!
//! Our own framing over a block codec, because a general frame decoder allocates up to 12 MiB for each frame before
//! it has seen a block, and takes a frame without its end mark for a whole one. Linked blocks and dictionaries are
//! refused: neither the Java client nor the broker it was made for can read them.

use std::io;

use lz4_flex::block::{self, DecompressError};
use twox_hash::XxHash32;

use super::Failure;

const MAGIC: [u8; 4] = 0x184D_2204u32.to_le_bytes();
const FLG_VERSION: u8 = 0x40;
const FLG_VERSION_MASK: u8 = 0xc0;
const FLG_INDEPENDENT: u8 = 0x20;
const FLG_BLOCK_CHECKSUM: u8 = 0x10;
const FLG_CONTENT_SIZE: u8 = 0x08;
const FLG_CONTENT_CHECKSUM: u8 = 0x04;
const FLG_RESERVED: u8 = 0x02;
const FLG_DICTIONARY: u8 = 0x01;
/// Block descriptor of 64 KiB blocks, the only size that every client reads without a large buffer.
const BD_64_KIB: u8 = 0x40;
const BLOCK_BYTES: usize = 64 * 1024;
/// Set in a block size when the block is stored as it is.
const STORED: u32 = 1 << 31;
/// A byte of a block stands for at most 255 bytes of output.
const MAX_EXPANSION: usize = 255;
const END_MARK: [u8; 4] = [0; 4];

pub(super) fn compress(raw: &[u8]) -> io::Result<Vec<u8>> {
    let descriptor = [FLG_VERSION | FLG_INDEPENDENT, BD_64_KIB];
    let mut packed = vec![0; block::get_maximum_output_size(BLOCK_BYTES)];
    let mut out = Vec::with_capacity(16 + raw.len() / 2);
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&descriptor);
    out.push(descriptor_check(&descriptor));
    for chunk in raw.chunks(BLOCK_BYTES) {
        let len = block::compress_into(chunk, &mut packed).map_err(io::Error::other)?;
        let (bytes, flag) = if len < chunk.len() { (&packed[..len], 0) } else { (chunk, STORED) };
        let size = u32::try_from(bytes.len()).map_err(io::Error::other)?;
        out.extend_from_slice(&(size | flag).to_le_bytes());
        out.extend_from_slice(bytes);
    }
    out.extend_from_slice(&END_MARK);
    Ok(out)
}

pub(super) fn decompress(data: &[u8], limit: usize, out: &mut Vec<u8>) -> Result<(), Failure> {
    let mut left = data;
    while !left.is_empty() {
        let frame = Frame::open(&mut left)?;
        let start = out.len();
        while let Some(block) = frame.next_block(&mut left)? {
            frame.append(&block, limit, out)?;
        }
        frame.close(&mut left, &out[start..])?;
    }
    Ok(())
}

/// Whether one frame is all there is. The Java client and librdkafka read no further than the first end mark.
pub(crate) fn is_single_frame(data: &[u8]) -> bool {
    let mut left = data;
    let walk = |left: &mut &[u8]| -> Result<(), Failure> {
        let frame = Frame::open(left)?;
        while frame.next_block(left)?.is_some() {}
        if frame.flags & FLG_CONTENT_CHECKSUM != 0 {
            take_u32(left)?;
        }
        Ok(())
    };
    walk(&mut left).is_ok() && left.is_empty()
}

/// The descriptor of a frame.
struct Frame {
    flags: u8,
    max_block_bytes: usize,
    content_bytes: Option<u64>,
}

/// One block as it stands in the frame.
struct Block<'a> {
    bytes: &'a [u8],
    stored: bool,
}

impl Frame {
    fn open(left: &mut &[u8]) -> Result<Self, Failure> {
        if take(left, MAGIC.len())? != MAGIC {
            return Err(Failure::broken("not an LZ4 frame"));
        }
        let descriptor = *left;
        let [flags, bd] = *take_array::<2>(left)?;
        if flags & FLG_VERSION_MASK != FLG_VERSION || flags & FLG_RESERVED != 0 {
            return Err(Failure::broken("unknown frame version"));
        }
        if flags & FLG_INDEPENDENT == 0 || flags & FLG_DICTIONARY != 0 {
            return Err(Failure::broken("linked blocks and dictionaries are not supported"));
        }
        let max_block_bytes = match bd {
            0x40 => 64 << 10,
            0x50 => 256 << 10,
            0x60 => 1 << 20,
            0x70 => 4 << 20,
            _ => return Err(Failure::broken("unknown block size")),
        };
        let content_bytes = match flags & FLG_CONTENT_SIZE {
            0 => None,
            _ => Some(u64::from_le_bytes(*take_array(left)?)),
        };
        let descriptor = &descriptor[..descriptor.len() - left.len()];
        if *take_array::<1>(left)? != [descriptor_check(descriptor)] {
            return Err(Failure::broken("frame descriptor checksum mismatch"));
        }
        Ok(Self { flags, max_block_bytes, content_bytes })
    }

    /// The next block, its checksum verified; `None` after the end mark.
    fn next_block<'a>(&self, left: &mut &'a [u8]) -> Result<Option<Block<'a>>, Failure> {
        let size = take_u32(left)?;
        if size == 0 {
            return Ok(None);
        }
        let bytes = take(left, (size & !STORED) as usize)?;
        if bytes.len() > self.max_block_bytes {
            return Err(Failure::broken("a block is larger than the frame allows"));
        }
        if self.flags & FLG_BLOCK_CHECKSUM != 0 && take_u32(left)? != XxHash32::oneshot(0, bytes) {
            return Err(Failure::broken("block checksum mismatch"));
        }
        Ok(Some(Block { bytes, stored: size & STORED != 0 }))
    }

    fn append(&self, block: &Block<'_>, limit: usize, out: &mut Vec<u8>) -> Result<(), Failure> {
        let start = out.len();
        let allowed = limit.saturating_sub(start);
        if block.stored {
            if block.bytes.len() > allowed {
                return Err(Failure::OverLimit);
            }
            out.extend_from_slice(block.bytes);
            return Ok(());
        }
        let possible = self.max_block_bytes.min(block.bytes.len().saturating_mul(MAX_EXPANSION));
        out.resize(start + possible.min(allowed), 0);
        match block::decompress_into(block.bytes, &mut out[start..]) {
            Ok(len) => {
                out.truncate(start + len);
                Ok(())
            }
            Err(DecompressError::OutputTooSmall { .. }) if allowed < possible => Err(Failure::OverLimit),
            Err(e) => Err(Failure::Io(io::Error::new(io::ErrorKind::InvalidData, e))),
        }
    }

    fn close(&self, left: &mut &[u8], content: &[u8]) -> Result<(), Failure> {
        if self.content_bytes.is_some_and(|expected| expected != content.len() as u64) {
            return Err(Failure::broken("content size mismatch"));
        }
        if self.flags & FLG_CONTENT_CHECKSUM != 0 && take_u32(left)? != XxHash32::oneshot(0, content) {
            return Err(Failure::broken("content checksum mismatch"));
        }
        Ok(())
    }
}

/// The second byte of the hash of the descriptor closes it.
fn descriptor_check(descriptor: &[u8]) -> u8 {
    XxHash32::oneshot(0, descriptor).to_le_bytes()[1]
}

fn take<'a>(left: &mut &'a [u8], len: usize) -> Result<&'a [u8], Failure> {
    let (head, rest) = left.split_at_checked(len).ok_or_else(|| Failure::broken("the frame is cut off"))?;
    *left = rest;
    Ok(head)
}

fn take_array<'a, const N: usize>(left: &mut &'a [u8]) -> Result<&'a [u8; N], Failure> {
    let (head, rest) = left.split_first_chunk().ok_or_else(|| Failure::broken("the frame is cut off"))?;
    *left = rest;
    Ok(head)
}

fn take_u32(left: &mut &[u8]) -> Result<u32, Failure> {
    take_array(left).map(|bytes| u32::from_le_bytes(*bytes))
}
