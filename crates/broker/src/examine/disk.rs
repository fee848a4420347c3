//! Whether a disk does what the write-ahead log asks of it, and how fast.

use std::fs::File;
use std::io::{Error, IoSlice, Result};
use std::path::{Path, PathBuf};
use std::time::Duration;

use runnel_runtime::Clock;
use runnel_runtime::disk::{Disk as Files, nearest_folder};
use runnel_runtime::simulation::random_id;
use rustix::fs::{FlockOperation, flock};
use tokio::time::Instant;

/// One small block of the log.
const BLOCK: [u8; 4096] = [0x72; 4096];
/// Blocks whose median is the latency.
const BLOCKS: u64 = 9;

/// What was found.
#[derive(Debug, Clone)]
pub struct DiskFacts {
    /// The folder that was written to: the data directory, or the nearest above it that exists.
    pub folder: PathBuf,
    /// Bytes that may still be written.
    pub free_bytes: u64,
    /// Median time to make 4 KiB durable.
    pub sync_latency: Duration,
    /// How far the file system's clock is ahead of ours.
    pub clock_skew_ms: i64,
}

/// Writes, syncs, renames and locks in a scratch folder on the disk of `data_dir`, as the log and the metadata store
/// do; an error says what does not work. Blocks.
pub fn examine_disk(data_dir: &Path, files: &dyn Files, clock: &dyn Clock) -> Result<DiskFacts> {
    if data_dir.exists() && !data_dir.is_dir() {
        return Err(Error::other("it is not a folder"));
    }
    let folder = nearest_folder(data_dir);
    let free_bytes = files.free_space(folder)?;
    let scratch = folder.join(format!(".runnel-doctor-{}", random_id().simple()));
    std::fs::create_dir(&scratch).map_err(|e| named("creating a folder", e))?;
    let tried = try_all(&scratch, files, clock);
    let cleaned = std::fs::remove_dir_all(&scratch).map_err(|e| named("removing a folder", e));
    let (sync_latency, clock_skew_ms) = tried?;
    cleaned?;
    Ok(DiskFacts { folder: folder.to_owned(), free_bytes, sync_latency, clock_skew_ms })
}

fn try_all(scratch: &Path, files: &dyn Files, clock: &dyn Clock) -> Result<(Duration, i64)> {
    let path = scratch.join("block");
    let file = files.create(&path, BLOCK.len() as u64 * BLOCKS).map_err(|e| named("preallocating a file", e))?;
    let mut took = Vec::new();
    for n in 0..BLOCKS {
        let started = Instant::now();
        file.write_at(&[IoSlice::new(&BLOCK)], n * BLOCK.len() as u64).map_err(|e| named("writing", e))?;
        file.sync().map_err(|e| named("fdatasync", e))?;
        took.push(started.elapsed());
    }
    let now_ms = clock.now_ms();
    took.sort();
    files
        .write_atomic(&scratch.join("whole"), &BLOCK)
        .map_err(|e| named("replacing a file and syncing its folder", e))?;
    if files.read(&path, usize::MAX)? != BLOCK.repeat(took.len()) {
        return Err(Error::other("what was read back is not what was written"));
    }
    locks_hold(&path).map_err(|e| named("locking a file", e))?;
    Ok((took[took.len() / 2], modified_ms(&path)? - now_ms))
}

/// Two brokers are kept apart by a lock: one that does not hold is worse than none.
fn locks_hold(path: &Path) -> Result<()> {
    let (first, second) = (File::open(path)?, File::open(path)?);
    flock(&first, FlockOperation::NonBlockingLockExclusive)?;
    match flock(&second, FlockOperation::NonBlockingLockExclusive) {
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(()),
        Err(error) => Err(error.into()),
        Ok(()) => Err(Error::other("a lock was granted twice")),
    }
}

fn modified_ms(path: &Path) -> Result<i64> {
    let since = std::fs::metadata(path)?.modified()?.duration_since(std::time::UNIX_EPOCH);
    Ok(since.map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX)))
}

fn named(what: &str, error: Error) -> Error {
    Error::new(error.kind(), format!("{what}: {error}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use runnel_runtime::{ManualClock, StdDisk, SystemClock};

    use super::*;

    #[test]
    fn a_good_disk_passes_and_stays_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let data_dir = dir.path().join("not/yet");
        let found = examine_disk(&data_dir, &StdDisk, &SystemClock).unwrap();
        assert_eq!(found.folder, dir.path());
        assert!(found.free_bytes > 0 && found.clock_skew_ms.abs() < 5_000, "{found:?}");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        let off = examine_disk(dir.path(), &StdDisk, &ManualClock::new(0)).unwrap();
        assert!(off.clock_skew_ms > 1_000_000_000_000, "{off:?}");
    }

    #[test]
    fn a_folder_that_takes_no_files_says_so() {
        let error = examine_disk(Path::new("/proc/runnel"), &StdDisk, &SystemClock).unwrap_err();
        assert!(error.to_string().contains("creating a folder"), "{error}");
    }
}
