//! Snappy, raw and in the framing of the xerial library.
//!
//! The Java client, kafka-python and Sarama write the xerial framing; librdkafka writes one raw block. All of them
//! read both. Framing: `0x82 "SNAPPY" 0x00 | version i32 | compatible version i32`, then `length i32 | raw block`
//! until the end, all big-endian; streams may follow each other.

use std::io;

use super::Failure;

const MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
const FRAME_HEADER_LEN: usize = MAGIC.len() + 8;
const VERSION: i32 = 1;
/// Bytes of input per block: what the Java client uses.
const BLOCK_BYTES: usize = 32 * 1024;
/// No element of a raw block expands further than three bytes to 64, so a claim above this is a lie.
const MAX_EXPANSION: usize = 64;

pub(super) fn compress(raw: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = snap::raw::Encoder::new();
    let mut block = vec![0; snap::raw::max_compress_len(BLOCK_BYTES)];
    let mut out = Vec::with_capacity(FRAME_HEADER_LEN + raw.len() / 2);
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&VERSION.to_be_bytes());
    out.extend_from_slice(&VERSION.to_be_bytes());
    for chunk in raw.chunks(BLOCK_BYTES) {
        let len = encoder.compress(chunk, &mut block).map_err(io::Error::from)?;
        let length = u32::try_from(len).map_err(io::Error::other)?;
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(&block[..len]);
    }
    Ok(out)
}

pub(super) fn decompress(data: &[u8], limit: usize, out: &mut Vec<u8>) -> Result<(), Failure> {
    if !data.starts_with(&MAGIC) {
        return block(data, limit, out);
    }
    let mut left = data;
    while !left.is_empty() {
        if left.starts_with(&MAGIC) {
            left = after_frame_header(left)?;
            continue;
        }
        let Some((length, rest)) = left.split_first_chunk::<4>() else {
            return Err(Failure::broken("a block length is cut off"));
        };
        let length = usize::try_from(i32::from_be_bytes(*length)).map_err(|_| Failure::broken("negative length"))?;
        let Some((compressed, rest)) = rest.split_at_checked(length) else {
            return Err(Failure::broken("a block is cut off"));
        };
        block(compressed, limit, out)?;
        left = rest;
    }
    Ok(())
}

fn after_frame_header(data: &[u8]) -> Result<&[u8], Failure> {
    let Some((header, rest)) = data.split_first_chunk::<FRAME_HEADER_LEN>() else {
        return Err(Failure::broken("the frame header is cut off"));
    };
    // The version is what a reader goes by; what the writer put into the other number differs between clients.
    if i32::from_be_bytes([header[8], header[9], header[10], header[11]]) < VERSION {
        return Err(Failure::broken("unknown version of the xerial framing"));
    }
    Ok(rest)
}

fn block(compressed: &[u8], limit: usize, out: &mut Vec<u8>) -> Result<(), Failure> {
    let claimed = snap::raw::decompress_len(compressed).map_err(|e| Failure::Io(e.into()))?;
    if claimed > compressed.len().saturating_mul(MAX_EXPANSION) {
        return Err(Failure::broken("a block claims more than it can hold"));
    }
    let start = out.len();
    if claimed > limit.saturating_sub(start) {
        return Err(Failure::OverLimit);
    }
    out.resize(start + claimed, 0);
    snap::raw::Decoder::new().decompress(compressed, &mut out[start..]).map_err(|e| Failure::Io(e.into()))?;
    Ok(())
}
