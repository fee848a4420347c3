//! The file under redb, with room set aside for the day the disk is full.
//!
//! After any error of its storage redb serves no more, and the log cannot be trimmed without commits: a disk that is
//! full must not stop them. So a reserve lies beside the file and is given up when a write finds no room.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Result, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use redb::StorageBackend;
use redb::backends::FileBackend;

use super::file::with_suffix;

/// Size of the reserve: room for some thousands of commits, which mostly reuse pages of the file.
const RESERVE: usize = 4 << 20;
/// How often a write without room is tried, and how long apart. Whoever fills the disk may take what the reserve
/// gives back for a moment: the log does, to see whether its next file fits.
const TRIES: u32 = 50;
const PAUSE: Duration = Duration::from_millis(50);
/// How long a reserve that was given up is left alone before it is made again.
const AGAIN_AFTER: Duration = Duration::from_secs(10);

/// First bytes of every redb file.
const MAGIC: &[u8; 9] = b"redb\x1A\x0A\xA9\x0D\x0A";

/// A file whose writes outlive a full disk for a while.
#[derive(Debug)]
pub(super) struct RoomyFile<B = FileBackend> {
    file: B,
    reserve: PathBuf,
    /// Since when there is none; `None` while there is one.
    missing_since: Mutex<Option<Instant>>,
}

impl RoomyFile {
    /// Opens `path`, which must be a redb file already: redb would take an empty one for new.
    pub(super) fn open(path: &Path) -> std::result::Result<Self, redb::DatabaseError> {
        let mut file = OpenOptions::new().read(true).write(true).open(path)?;
        let mut magic = [0; MAGIC.len()];
        file.read_exact(&mut magic)?;
        if magic != *MAGIC {
            return Err(std::io::Error::from(ErrorKind::InvalidData).into());
        }
        Ok(Self::new(FileBackend::new(file)?, with_suffix(path, ".reserve")))
    }
}

impl<B: StorageBackend> RoomyFile<B> {
    fn new(file: B, reserve: PathBuf) -> Self {
        let missing_since = if make(&reserve) { None } else { Some(now()) };
        Self { file, reserve, missing_since: Mutex::new(missing_since) }
    }

    /// Does `step` until there is room for it, giving up the reserve. `step` must be one that can be repeated.
    fn with_room(&self, step: impl Fn() -> Result<()>) -> Result<()> {
        for _ in 0..TRIES {
            match step() {
                Err(error) if is_full(&error) => self.give_up(&error),
                done => return done,
            }
            pause();
        }
        step()
    }

    fn give_up(&self, error: &std::io::Error) {
        let mut missing = self.missing_since.lock().unwrap_or_else(PoisonError::into_inner);
        if missing.is_none() {
            tracing::warn!(%error, "the disk is full: the metadata store gives up its reserve");
        }
        *missing = Some(now());
        if let Err(error) = std::fs::remove_file(&self.reserve)
            && error.kind() != ErrorKind::NotFound
        {
            tracing::warn!(%error, path = %self.reserve.display(), "the reserve cannot be given up");
        }
    }

    fn restore(&self) {
        let mut missing = self.missing_since.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(since) = *missing else { return };
        if since.elapsed() >= AGAIN_AFTER {
            *missing = if make(&self.reserve) { None } else { Some(now()) };
        }
    }
}

/// Only for how long the reserve is left alone; on redb's own thread there is no runtime whose clock could be paused.
#[allow(clippy::disallowed_methods)]
fn now() -> Instant {
    Instant::now()
}

/// Nobody tells when a disk has room again.
#[allow(clippy::disallowed_methods)]
fn pause() {
    std::thread::sleep(PAUSE);
}

fn is_full(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}

/// Makes the reserve if it is not there. Written, not merely announced: only then is the room ours.
fn make(path: &Path) -> bool {
    if std::fs::metadata(path).is_ok_and(|found| found.len() == RESERVE as u64) {
        return true;
    }
    let written = File::create(path).and_then(|mut file| {
        file.write_all(&vec![0; RESERVE])?;
        file.sync_all()
    });
    if let Err(error) = &written {
        tracing::debug!(%error, path = %path.display(), "no room for the reserve of the metadata store");
        std::fs::remove_file(path).ok(); // what counts is the first error
    }
    written.is_ok()
}

impl<B: StorageBackend> StorageBackend for RoomyFile<B> {
    fn len(&self) -> Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> Result<()> {
        self.with_room(|| self.file.set_len(len))
    }

    /// Not tried again: after a failed sync nobody knows what is on the disk.
    fn sync_data(&self) -> Result<()> {
        self.file.sync_data()?;
        self.restore();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<()> {
        self.with_room(|| self.file.write(offset, data))
    }

    fn close(&self) -> Result<()> {
        self.file.close()
    }

    fn try_lock_range(
        &self,
        start: std::ops::Bound<u64>,
        end: std::ops::Bound<u64>,
    ) -> std::result::Result<bool, redb::BackendError> {
        self.file.try_lock_range(start, end)
    }

    fn unlock_range(
        &self,
        start: std::ops::Bound<u64>,
        end: std::ops::Bound<u64>,
    ) -> std::result::Result<(), redb::BackendError> {
        self.file.unlock_range(start, end)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Has no room for writes as long as `reserve` exists.
    #[derive(Debug)]
    struct FullBeside {
        reserve: PathBuf,
        inner: redb::backends::InMemoryBackend,
    }

    impl StorageBackend for FullBeside {
        fn len(&self) -> Result<u64> {
            self.inner.len()
        }
        fn read(&self, offset: u64, out: &mut [u8]) -> Result<()> {
            self.inner.read(offset, out)
        }
        fn set_len(&self, len: u64) -> Result<()> {
            self.inner.set_len(len)
        }
        fn sync_data(&self) -> Result<()> {
            self.inner.sync_data()
        }
        fn write(&self, offset: u64, data: &[u8]) -> Result<()> {
            if self.reserve.exists() {
                return Err(ErrorKind::StorageFull.into());
            }
            self.inner.write(offset, data)
        }
    }

    #[test]
    fn a_full_disk_costs_the_reserve_and_not_the_store() {
        let dir = tempfile::tempdir().unwrap();
        let reserve = dir.path().join("reserve");
        let full = FullBeside { reserve: reserve.clone(), inner: redb::backends::InMemoryBackend::new() };
        let file = RoomyFile::new(full, reserve.clone());
        assert_eq!(std::fs::metadata(&reserve).unwrap().len(), RESERVE as u64);
        file.set_len(8).unwrap();
        file.write(0, b"a commit").unwrap();
        assert!(!reserve.exists(), "the room was needed");
        file.sync_data().unwrap();
        assert!(!reserve.exists(), "not at once: the disk is full");
        *file.missing_since.lock().unwrap() = now().checked_sub(AGAIN_AFTER);
        file.sync_data().unwrap();
        assert!(reserve.exists());
        let mut read = [0; 8];
        file.read(0, &mut read).unwrap();
        assert_eq!(&read, b"a commit");
    }
}
