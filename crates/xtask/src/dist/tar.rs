//! A tarball that depends on nothing but its content: no clock, no user, no order of a folder.

use std::io::{self, Write};

use flate2::write::GzEncoder;
use flate2::{Compression, GzBuilder};

const BLOCK: usize = 512;

/// A file of the tarball.
pub(super) struct Entry {
    /// Its path; at most 100 bytes.
    pub(super) path: String,
    /// Its content.
    pub(super) bytes: Vec<u8>,
    /// Whether it may be run.
    pub(super) executable: bool,
}

/// Writes `entries`, sorted by path, as a gzipped ustar archive; every file has the time `mtime`.
pub(super) fn write(out: impl Write, mut entries: Vec<Entry>, mtime: u64, compression: Compression) -> io::Result<()> {
    entries.sort_by(|a, b| a.path.cmp(&b.path));
    // A header without name and time.
    let mut out: GzEncoder<_> = GzBuilder::new().write(out, compression);
    for entry in &entries {
        out.write_all(&header(entry, mtime)?)?;
        out.write_all(&entry.bytes)?;
        let padding = entry.bytes.len().next_multiple_of(BLOCK) - entry.bytes.len();
        out.write_all(&[0; BLOCK][..padding])?;
    }
    out.write_all(&[0; 2 * BLOCK])?;
    out.finish()?.flush()
}

/// The header of a regular file, owned by root.
fn header(entry: &Entry, mtime: u64) -> io::Result<[u8; BLOCK]> {
    let mut header = [0; BLOCK];
    put(&mut header, 0..100, entry.path.as_bytes())?;
    put(&mut header, 100..107, if entry.executable { b"0000755" } else { b"0000644" })?;
    put(&mut header, 108..115, b"0000000")?;
    put(&mut header, 116..123, b"0000000")?;
    put(&mut header, 124..135, format!("{:011o}", entry.bytes.len()).as_bytes())?;
    put(&mut header, 136..147, format!("{mtime:011o}").as_bytes())?;
    put(&mut header, 156..157, b"0")?;
    put(&mut header, 257..265, b"ustar\x0000")?;
    put(&mut header, 265..269, b"root")?;
    put(&mut header, 297..301, b"root")?;
    // The sum is taken with spaces in its own place.
    put(&mut header, 148..156, b"        ")?;
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    put(&mut header, 148..156, format!("{sum:06o}\0 ").as_bytes())?;
    Ok(header)
}

fn put(header: &mut [u8; BLOCK], field: std::ops::Range<usize>, value: &[u8]) -> io::Result<()> {
    let room = &mut header[field];
    if value.len() > room.len() {
        return Err(io::Error::other(format!("{} is too long for a tarball", String::from_utf8_lossy(value))));
    }
    room[..value.len()].copy_from_slice(value);
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn pack(order: [usize; 2]) -> Vec<u8> {
        let entry = |i: usize| Entry { path: format!("x/{i}"), bytes: vec![7; 700 * i], executable: i == 1 };
        let mut out = Vec::new();
        write(&mut out, order.map(entry).into(), 1_700_000_000, Compression::best()).unwrap();
        out
    }

    #[test]
    fn the_order_of_the_files_does_not_matter() {
        assert_eq!(pack([0, 1]), pack([1, 0]));
    }

    #[test]
    fn a_path_that_does_not_fit_is_refused() {
        let entry = Entry { path: "x".repeat(101), bytes: Vec::new(), executable: false };
        assert!(write(Vec::new(), vec![entry], 0, Compression::fast()).is_err());
    }
}
