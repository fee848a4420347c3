//! The check block: CRCs of what lies at the end of a segment, in front of the Parquet footer.
//!
//! Parquet has no room for a checksum of its own footer, and readers ignore bytes that no offset points to. So the
//! end of a segment is `page index | check block | footer | footer length (u32) | "PAR1"`, and the block is, in
//! little-endian order, `magic (8) | length of the page index (u32) | CRC-32C of the page index (u32) | CRC-32C from
//! the footer to the end of the file (u32) | CRC-32C of the 20 bytes before (u32)`.

use bytes::Bytes;

use crate::Error;

/// Bytes of the block.
const LEN: usize = 24;
const MAGIC: &[u8; 8] = b"RNLCHK01";
/// Footer length and magic.
const TAIL: usize = 8;

/// The end of a segment, checked.
#[derive(Debug)]
pub(crate) enum End {
    /// All of it is here: bytes from the page index to the end of the file.
    Checked(Bytes),
    /// This many bytes from the end of the file are needed.
    Need(u64),
}

/// Puts the block between the page index and the footer of `end`, which the Parquet writer produced.
pub(crate) fn insert(end: &[u8]) -> Result<Bytes, Error> {
    let footer = footer_len(end)?.filter(|len| *len <= end.len()).ok_or_else(|| Error::corrupt("no footer written"))?;
    let (index, footer) = end.split_at(end.len() - footer);
    let index_len = u32::try_from(index.len()).map_err(|_| Error::corrupt("a page index beyond 4 GiB"))?;
    let mut out = Vec::with_capacity(end.len() + LEN);
    out.extend_from_slice(index);
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&index_len.to_le_bytes());
    out.extend_from_slice(&crc32c::crc32c(index).to_le_bytes());
    out.extend_from_slice(&crc32c::crc32c(footer).to_le_bytes());
    let own = crc32c::crc32c(&out[index.len()..]);
    out.extend_from_slice(&own.to_le_bytes());
    out.extend_from_slice(footer);
    Ok(out.into())
}

/// Checks the last bytes of a file of `file_len` bytes.
pub(crate) fn check(tail: &Bytes, file_len: u64) -> Result<End, Error> {
    let have = tail.len();
    let missing = |need: usize| match need as u64 {
        need if need > file_len => Err(Error::corrupt("its end is larger than the file")),
        need => Ok(End::Need(need)),
    };
    let Some(footer) = footer_len(tail)? else { return missing(TAIL) };
    if footer + LEN > have {
        return missing(footer + LEN);
    }
    let block_at = have - footer - LEN;
    let block = &tail[block_at..block_at + LEN];
    let word = |at: usize| u32::from_le_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]]);
    if &block[..8] != MAGIC || crc32c::crc32c(&block[..20]) != word(20) {
        return Err(Error::corrupt("no check block in front of the footer"));
    }
    if crc32c::crc32c(&tail[have - footer..]) != word(16) {
        return Err(Error::corrupt("CRC mismatch in the footer"));
    }
    let index_len = word(8) as usize;
    if index_len > block_at {
        return missing(index_len + LEN + footer);
    }
    let index_at = block_at - index_len;
    if crc32c::crc32c(&tail[index_at..block_at]) != word(12) {
        return Err(Error::corrupt("CRC mismatch in the page index"));
    }
    Ok(End::Checked(tail.slice(index_at..)))
}

/// Bytes from the start of the footer to the end of the file; none if not even its length is here.
fn footer_len(tail: &[u8]) -> Result<Option<usize>, Error> {
    let Some((_, [a, b, c, d, magic @ ..])) = tail.split_last_chunk::<TAIL>() else { return Ok(None) };
    if magic != b"PAR1" {
        return Err(Error::corrupt("it does not end as a Parquet file"));
    }
    (u32::from_le_bytes([*a, *b, *c, *d]) as usize)
        .checked_add(TAIL)
        .map(Some)
        .ok_or_else(|| Error::corrupt("a footer length out of range"))
}
