//! Files that are written and not yet renamed; and what a process that was killed has left of them.

use std::fs::File;
use std::io::{ErrorKind, IoSlice, Result, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::SystemTime;

use object_store::PutPayload;
use runnel_runtime::{DiskFile, StdDisk};

use super::create_folders;

/// Makes the names of staged files unique within this process.
static STAGED: AtomicU32 = AtomicU32::new(0);

/// A file on its way to its name. It is deleted if it does not get there.
pub(super) struct Staged {
    file: Arc<dyn DiskFile>,
    at: PathBuf,
    target: PathBuf,
    is_complete: bool,
}

impl Staged {
    /// Of about `len` bytes, which will be `target` below `root`.
    pub(super) fn create(root: &Path, target: &Path, len: u64) -> Result<Self> {
        create_folders(target.parent().unwrap_or(root))?;
        // The library leaves names that end in `#digits` out of its listings.
        let n = STAGED.fetch_add(1, Ordering::Relaxed) % 100_000;
        let mut at = target.as_os_str().to_owned();
        at.push(format!("#{n}"));
        let at = PathBuf::from(at);
        let file = match StdDisk::create_empty(&at, len) {
            // Left by a process that was killed, and had the same number.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                std::fs::remove_file(&at)?;
                StdDisk::create_empty(&at, len)
            }
            file => file,
        };
        Ok(Self { file: file?, at, target: target.to_owned(), is_complete: false })
    }

    pub(super) fn write(&self, payload: &PutPayload, position: u64) -> Result<()> {
        let parts: Vec<IoSlice<'_>> = payload.iter().map(|part| IoSlice::new(part)).collect();
        self.file.write_at(&parts, position)
    }

    /// Gives the file its name, once it is durable and `may_be_named`; returns the folder, which is not synced.
    pub(super) fn complete(mut self, may_be_named: impl FnOnce() -> Result<()>) -> Result<PathBuf> {
        self.file.sync()?;
        may_be_named()?;
        std::fs::rename(&self.at, &self.target)?;
        self.is_complete = true;
        Ok(self.target.parent().unwrap_or(&self.target).to_owned())
    }
}

impl std::fmt::Debug for Staged {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Staged({})", self.at.display())
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.is_complete {
            std::fs::remove_file(&self.at).ok(); // best effort: it is in nobody's listing
        }
    }
}

/// The stem of the files by which processes keep each other from one group of objects. A deleted one would let two in.
pub(super) const LOCK: &str = "lock";

/// Whether a file is a staged one: those end in `#digits`, here as in the library, and no listing shows them.
fn is_staged(name: &str) -> bool {
    name.rsplit_once('#').is_some_and(|(stem, number)| {
        stem != LOCK && !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
    })
}

/// The time now as the file system of an open file tells it, which may be another machine's.
pub(super) fn now(mut file: &File) -> Result<SystemTime> {
    file.write_all(b"held\n")?;
    file.metadata()?.modified()
}

/// Deletes staged files below `folder` that were last written before `before`; returns how many. One that is wrongly
/// taken for such a file, since a clock was set, costs an upload that fails and is made again.
pub(super) fn sweep(folder: &Path, before: SystemTime) -> Result<usize> {
    let mut swept = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            swept += sweep(&entry.path(), before)?;
        } else if is_staged(&entry.file_name().to_string_lossy()) && entry.metadata()?.modified()? < before {
            std::fs::remove_file(entry.path())?;
            swept += 1;
        }
    }
    Ok(swept)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs::FileTimes;
    use std::time::Duration;

    use super::*;

    #[test]
    fn only_old_files_that_no_listing_shows_are_swept() {
        let dir = tempfile::tempdir().unwrap();
        let (deep, second) = (dir.path().join("a/b"), Duration::from_secs(1));
        std::fs::create_dir_all(&deep).unwrap();
        let lock = File::create(dir.path().join("lock")).unwrap();
        let held = now(&lock).unwrap();
        let write = |name: &str, at| {
            let file = File::create(deep.join(name)).unwrap();
            file.set_times(FileTimes::new().set_modified(at)).unwrap();
        };
        for name in ["old.parquet#1", "old#20", "kept", "kept#", "kept#1a", "1", "lock#20"] {
            write(name, held - second);
        }
        write("new.parquet#1", held);
        assert_eq!(sweep(dir.path(), held).unwrap(), 2);
        let mut left: Vec<_> =
            std::fs::read_dir(&deep).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        left.sort();
        assert_eq!(left, ["1", "kept", "kept#", "kept#1a", "lock#20", "new.parquet#1"]);
    }
}
