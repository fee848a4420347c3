//! Disk files: blocking I/O for dedicated threads, as small as a write-ahead log needs it.
//!
//! Contract of every implementation:
//! - Written bytes are durable when [`DiskFile::sync`] has returned `Ok` after the write. Before that a crash may
//!   keep any part of them, sector by sector.
//! - A name (created, renamed, removed) is durable when [`Disk::sync_dir`] of its directory has returned `Ok`.
//! - After a failed `sync` nothing is known about what was written since the last good one, and asking again
//!   proves nothing: the kernel may have marked the pages clean. The caller gives the file up.
//! - A full disk is [`std::io::ErrorKind::StorageFull`] or `QuotaExceeded` ([`is_full`] tells).
//! - A file stays readable through its handle after it was removed or renamed.

mod sim;
mod std_disk;
#[cfg(test)]
mod tests;

use std::io::{Error, ErrorKind, IoSlice, Result};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

pub use sim::SimDisk;
pub use std_disk::StdDisk;

/// A file system below one or more directories. All methods block.
pub trait Disk: Send + Sync + 'static {
    /// Creates the file `path`, which must not exist, with `len` zero bytes that really occupy space, and syncs the
    /// file (not its directory). On an error no file is left.
    fn create(&self, path: &Path, len: u64) -> Result<Arc<dyn DiskFile>>;

    /// The same, made sooner: the space is only set aside, so that what is written first to a place takes longer to become
    /// durable. `None`, and no file, where that is not possible.
    fn reserve(&self, path: &Path, len: u64) -> Result<Option<Arc<dyn DiskFile>>>;

    /// Opens an existing file for reading and writing.
    fn open(&self, path: &Path) -> Result<Arc<dyn DiskFile>>;

    /// Renames a file within its directory, replacing what was there.
    fn rename(&self, from: &Path, to: &Path) -> Result<()>;

    /// Removes a file.
    fn remove(&self, path: &Path) -> Result<()>;

    /// Creates a directory and its missing parents; one that exists is fine.
    fn create_dir(&self, path: &Path) -> Result<()>;

    /// Removes an empty directory.
    fn remove_dir(&self, path: &Path) -> Result<()>;

    /// Names of the files and directories in `path`, sorted.
    fn list(&self, path: &Path) -> Result<Vec<String>>;

    /// Makes the names in the directory `path` durable.
    fn sync_dir(&self, path: &Path) -> Result<()>;

    /// Bytes that may still be allocated on the disk that holds `path`.
    fn free_space(&self, path: &Path) -> Result<u64>;

    /// Replaces the file `path` by `bytes`, durably: after a crash there is the old content or the new, whole.
    fn write_atomic(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        let dir = path.parent().ok_or(ErrorKind::InvalidInput)?;
        let mut name = path.file_name().ok_or(ErrorKind::InvalidInput)?.to_owned();
        name.push(".tmp");
        let temporary = dir.join(name);
        match self.remove(&temporary) {
            Err(e) if e.kind() != ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        let file = self.create(&temporary, bytes.len() as u64)?;
        file.write_at(&[IoSlice::new(bytes)], 0)?;
        file.sync()?;
        self.rename(&temporary, path)?;
        self.sync_dir(dir)
    }

    /// The whole content of a file of at most `limit` bytes; `InvalidData` for a longer one.
    fn read(&self, path: &Path, limit: usize) -> Result<Vec<u8>> {
        let file = self.open(path)?;
        let len = usize::try_from(file.len()?).ok().filter(|len| *len <= limit).ok_or(ErrorKind::InvalidData)?;
        file.read_exact_at(len, 0, Reuse::Unlikely)
    }
}

/// Whether somebody will want the same bytes again soon. Then they go through the page cache; else past it, where that is
/// possible.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reuse {
    /// Once is enough.
    Unlikely,
    /// They are to stay in memory while the system has room.
    Likely,
}

/// An open file. Positions are absolute; one writer, any number of readers.
pub trait DiskFile: Send + Sync + 'static {
    /// Writes all of `parts`, one behind the other, from `position` on, in as few system calls as possible.
    fn write_at(&self, parts: &[IoSlice<'_>], position: u64) -> Result<()>;

    /// Appends at most `len` bytes to `out` and says how many; 0 only at the end of the file.
    fn read_at(&self, out: &mut Vec<u8>, len: usize, position: u64, reuse: Reuse) -> Result<usize>;

    /// Tells the system what is about to be read with [`Reuse::Likely`], so that the disk may begin with all of it.
    fn prefetch(&self, _range: Range<u64>) {}

    /// Makes what was written durable (data and length).
    fn sync(&self) -> Result<()>;

    /// Length in bytes.
    fn len(&self) -> Result<u64>;

    /// Whether the file has no bytes.
    fn is_empty(&self) -> Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Reads exactly `len` bytes, or fails with `UnexpectedEof`.
    fn read_exact_at(&self, len: usize, position: u64, reuse: Reuse) -> Result<Vec<u8>> {
        let mut out = Vec::with_capacity(len);
        while out.len() < len {
            let done = out.len();
            if self.read_at(&mut out, len - done, position + done as u64, reuse)? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(out)
    }
}

/// The folder, or the nearest above it that exists: where its disk can be looked at before it is made.
pub fn nearest_folder(path: &Path) -> &Path {
    path.ancestors().find(|folder| folder.is_dir()).unwrap_or(Path::new("/"))
}

/// Whether an error means that the disk, or the quota, is full.
pub fn is_full(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}
