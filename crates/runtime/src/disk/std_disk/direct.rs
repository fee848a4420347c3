//! Writes and reads past the page cache, where the system and the file system can.
//!
//! A log is written once and mostly never read from the disk: the newest records are in the broker's own memory. In the
//! page cache it would cost another copy of every byte, fresh memory for it, and the write-back. What is not made for
//! this (small, or the end of a file that is not a whole page) goes through the page cache; the kernel keeps both views
//! of a file the same.

use std::cell::RefCell;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, IoSlice, Result};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

/// Positions, lengths and memory must be multiples of this; no disk in use asks for more.
const ALIGN: usize = 4096;

/// What goes to the disk at once, and the buffer that a thread keeps for it. Each write waits for the disk, so a block of the
/// log is to be one; what nobody waits for is not worth the memory.
pub(super) const MAX_LOG: usize = 4 << 20;
pub(super) const MAX_OTHER: usize = 1 << 20;

/// Files shorter than this are not worth a second descriptor.
const MIN_FILE_BYTES: u64 = 64 << 10;

/// Shorter writes that end within a page are not worth two ways to the disk.
const MIN_ODD_WRITE: usize = 64 << 10;

/// Shorter reads profit from what the page cache reads along.
const MIN_READ: usize = 32 << 10;

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A file opened a second time, for direct access.
pub(super) struct Direct {
    file: File,
    /// The most that is written at once.
    max_write: usize,
}

impl Direct {
    /// `None` where that is of no use or not possible.
    pub(super) fn open(path: &Path, len: u64, max_write: usize) -> Option<Self> {
        let flag = flag().filter(|_| len >= MIN_FILE_BYTES)?;
        let file = OpenOptions::new().read(true).write(true).custom_flags(flag).open(path).ok()?;
        Some(Self { file, max_write })
    }

    /// Writes the whole pages of `parts` from `position` on; how many bytes that was. The rest has to go through the
    /// page cache.
    pub(super) fn write(&self, parts: &[IoSlice<'_>], position: u64) -> Result<usize> {
        let len: usize = parts.iter().map(|part| part.len()).sum();
        let whole = len - len % ALIGN;
        if !is_aligned(position) || (whole < len && len < MIN_ODD_WRITE) {
            return Ok(0);
        }
        with_buffer(whole.min(self.max_write), |buffer| {
            let (mut done, mut filled) = (0, 0);
            for part in parts {
                let mut left = &part[..part.len().min(whole - done - filled)];
                while !left.is_empty() {
                    let (now, later) = left.split_at(left.len().min(buffer.len() - filled));
                    buffer[filled..filled + now.len()].copy_from_slice(now);
                    (left, filled) = (later, filled + now.len());
                    if filled == buffer.len() || done + filled == whole {
                        if !self.put(&buffer[..filled], position + done as u64)? {
                            return Ok(done);
                        }
                        (done, filled) = (done + filled, 0);
                    }
                }
            }
            Ok(done)
        })
    }

    /// Writes `len` zeros from the start on. `false`: they have to go through the page cache.
    pub(super) fn fill(&self, len: u64) -> Result<bool> {
        if !is_aligned(len) {
            return Ok(false);
        }
        with_buffer(MAX_OTHER, |buffer| {
            buffer.fill(0);
            let mut at = 0;
            while at < len {
                let part = usize::try_from(len - at).map_or(buffer.len(), |left| left.min(buffer.len()));
                if !self.put(&buffer[..part], at)? {
                    return Ok(false);
                }
                at += part as u64;
            }
            Ok(true)
        })
    }

    fn put(&self, bytes: &[u8], at: u64) -> Result<bool> {
        match self.file.write_all_at(bytes, at) {
            Ok(()) => Ok(true),
            // Some file systems accept the flag and then ask for more than pages.
            Err(error) if error.kind() == ErrorKind::InvalidInput => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Appends some of `len` bytes at `position` to `out`; `None`: they have to come through the page cache.
    pub(super) fn read(&self, out: &mut Vec<u8>, len: usize, position: u64) -> Result<Option<usize>> {
        if len < MIN_READ {
            return Ok(None);
        }
        let skip = usize::try_from(position % ALIGN as u64).unwrap_or(0);
        with_buffer(MAX_OTHER, |buffer| {
            let wanted = (skip + len).next_multiple_of(ALIGN).min(buffer.len());
            let read = match self.file.read_at(&mut buffer[..wanted], position - skip as u64) {
                Err(error) if error.kind() == ErrorKind::InvalidInput => return Ok(None),
                read => read?,
            };
            let found = &buffer[skip.min(read)..read.min(skip + len)];
            out.extend_from_slice(found);
            Ok(Some(found.len()))
        })
    }
}

const fn is_aligned(number: u64) -> bool {
    number.is_multiple_of(ALIGN as u64)
}

/// So much of the thread's buffer, its start aligned.
fn with_buffer<T>(bytes: usize, work: impl FnOnce(&mut [u8]) -> T) -> T {
    BUFFER.with_borrow_mut(|buffer| {
        if buffer.len() < bytes + ALIGN {
            buffer.resize(bytes + ALIGN, 0);
        }
        let start = buffer.as_ptr().align_offset(ALIGN).min(ALIGN);
        work(&mut buffer[start..start + bytes])
    })
}

#[cfg(target_os = "linux")]
fn flag() -> Option<i32> {
    i32::try_from(rustix::fs::OFlags::DIRECT.bits()).ok()
}

#[cfg(not(target_os = "linux"))]
fn flag() -> Option<i32> {
    None
}
