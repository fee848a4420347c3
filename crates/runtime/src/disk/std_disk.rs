//! The machine's own file system.

mod direct;

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, IoSlice, Result};
#[cfg(target_os = "linux")]
use std::num::NonZeroU64;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use super::{Disk, DiskFile, Reuse};
use direct::{Direct, MAX_LOG, MAX_OTHER};
use rustix::buffer::spare_capacity;

/// The most parts that one `pwritev` takes (`IOV_MAX` on Linux).
const MAX_PARTS: usize = 1024;
static ZEROS: [u8; 1 << 20] = [0; 1 << 20];

/// Files of the operating system.
#[derive(Debug, Clone, Copy, Default)]
pub struct StdDisk;

struct StdFile {
    file: File,
    direct: Option<Direct>,
}

impl StdDisk {
    /// Creates the file `path`, which must not exist, for about `len` bytes that nobody is likely to read again soon: they
    /// go past the page cache, where that is possible. It is empty, and neither the file nor its name is synced.
    pub fn create_empty(path: &Path, len: u64) -> Result<Arc<dyn DiskFile>> {
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(path)?;
        Ok(Arc::new(StdFile { direct: Direct::open(path, len, MAX_OTHER), file }))
    }
}

impl Disk for StdDisk {
    fn create(&self, path: &Path, len: u64) -> Result<Arc<dyn DiskFile>> {
        make(path, len, |file| file.fill(len))
    }

    fn reserve(&self, path: &Path, len: u64) -> Result<Option<Arc<dyn DiskFile>>> {
        let set_aside = |file: &StdFile| if file.set_aside(len)? { Ok(()) } else { Err(ErrorKind::Unsupported.into()) };
        match make(path, len, set_aside) {
            Err(error) if error.kind() == ErrorKind::Unsupported => Ok(None),
            made => made.map(Some),
        }
    }

    fn open(&self, path: &Path) -> Result<Arc<dyn DiskFile>> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let len = file.metadata()?.len();
        Ok(Arc::new(StdFile { direct: Direct::open(path, len, MAX_LOG), file }))
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> Result<()> {
        fs::remove_file(path)
    }

    fn create_dir(&self, path: &Path) -> Result<()> {
        fs::create_dir_all(path)
    }

    fn remove_dir(&self, path: &Path) -> Result<()> {
        fs::remove_dir(path)
    }

    fn list(&self, path: &Path) -> Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(path)? {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        names.sort();
        Ok(names)
    }

    fn sync_dir(&self, path: &Path) -> Result<()> {
        File::open(path)?.sync_all()
    }

    fn free_space(&self, path: &Path) -> Result<u64> {
        let stat = rustix::fs::statvfs(path)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}

/// Creates a file of `len` bytes, for which `take_up` takes up the space, and syncs it.
fn make(path: &Path, len: u64, take_up: impl FnOnce(&StdFile) -> Result<()>) -> Result<Arc<dyn DiskFile>> {
    let file = OpenOptions::new().read(true).write(true).create_new(true).open(path)?;
    let file = StdFile { direct: Direct::open(path, len, MAX_LOG), file };
    match take_up(&file).and_then(|()| file.file.sync_all()) {
        Ok(()) => Ok(Arc::new(file)),
        Err(error) => {
            fs::remove_file(path).ok(); // what counts is the first error
            Err(error)
        }
    }
}

impl StdFile {
    /// Sets `len` bytes aside, which read as zeros; false where the file system cannot.
    fn set_aside(&self, len: u64) -> Result<bool> {
        #[cfg(target_os = "linux")]
        if len > 0 {
            match rustix::fs::fallocate(&self.file, rustix::fs::FallocateFlags::empty(), 0, len) {
                Ok(()) => return Ok(true),
                Err(rustix::io::Errno::OPNOTSUPP) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(len == 0)
    }

    /// Sets `len` bytes aside and writes zeros over them. The former alone leaves unwritten extents: every first write to
    /// one is a journal transaction, which makes a later sync several times slower. Zeros alone find out late that the
    /// disk is full.
    fn fill(&self, len: u64) -> Result<()> {
        self.set_aside(len)?;
        if let Some(direct) = &self.direct
            && direct.fill(len)?
        {
            return Ok(());
        }
        let mut position = 0;
        while position < len {
            let part = usize::try_from(len - position).map_or(ZEROS.len(), |left| left.min(ZEROS.len()));
            self.file.write_all_at(&ZEROS[..part], position)?;
            position += part as u64;
        }
        Ok(())
    }
}

impl DiskFile for StdFile {
    fn write_at(&self, parts: &[IoSlice<'_>], mut position: u64) -> Result<()> {
        if let Some(direct) = &self.direct {
            let done = direct.write(parts, position)?;
            if done > 0 {
                return write_rest(&self.file, parts, position, done);
            }
        }
        for chunk in parts.chunks(MAX_PARTS) {
            let len: usize = chunk.iter().map(|part| part.len()).sum();
            let written = write_vectored(&self.file, chunk, position)?;
            if written < len {
                // Rare: a signal, or a disk nearly full. The rest goes part by part.
                write_rest(&self.file, chunk, position, written)?;
            }
            position += len as u64;
        }
        Ok(())
    }

    fn read_at(&self, out: &mut Vec<u8>, len: usize, position: u64, reuse: Reuse) -> Result<usize> {
        if let Some(direct) = &self.direct
            && reuse == Reuse::Unlikely
            && let Some(read) = direct.read(out, len, position)?
        {
            return Ok(read);
        }
        let start = out.len();
        out.reserve_exact(len);
        // Memory that would be overwritten at once is not filled with zeros; but no more is read than was asked for.
        let is_exact = out.capacity() - start == len;
        if !is_exact {
            out.resize(start + len, 0);
        }
        let read = loop {
            let read = if is_exact {
                rustix::io::pread(&self.file, spare_capacity(out), position)
            } else {
                rustix::io::pread(&self.file, &mut out[start..], position)
            };
            match read {
                Err(rustix::io::Errno::INTR) => {}
                result => break result,
            }
        };
        out.truncate(start + read.unwrap_or(0));
        Ok(read?)
    }

    fn prefetch(&self, range: Range<u64>) {
        #[cfg(target_os = "linux")]
        if let Some(len) = NonZeroU64::new(range.end.saturating_sub(range.start)) {
            // Advice: without it the reads take longer.
            rustix::fs::fadvise(&self.file, range.start, Some(len), rustix::fs::Advice::WillNeed).ok();
        }
        #[cfg(not(target_os = "linux"))]
        let _ = range;
    }

    fn sync(&self) -> Result<()> {
        self.file.sync_data()
    }

    fn len(&self) -> Result<u64> {
        Ok(self.file.metadata()?.len())
    }
}

fn write_vectored(file: &File, parts: &[IoSlice<'_>], position: u64) -> Result<usize> {
    loop {
        match rustix::io::pwritev(file, parts, position) {
            Err(rustix::io::Errno::INTR) => {}
            result => return Ok(result?),
        }
    }
}

fn write_rest(file: &File, parts: &[IoSlice<'_>], mut position: u64, mut done: usize) -> Result<()> {
    for part in parts {
        let skip = done.min(part.len());
        done -= skip;
        if skip < part.len() {
            file.write_all_at(&part[skip..], position + skip as u64)?;
        }
        position += part.len() as u64;
    }
    Ok(())
}
