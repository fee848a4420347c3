//! Space set aside so that a full disk can still be trimmed and sealed.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use runnel_runtime::Disk;

use crate::Error;

/// A file that is given up when a small write finds no room, and made again when there is some.
pub(crate) struct Reserve {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    bytes: u64,
    held: AtomicBool,
}

impl Reserve {
    /// The reserve of the lanes in `root`, if it is there.
    pub(crate) fn new(disk: Arc<dyn Disk>, root: &Path, bytes: u64) -> Self {
        let path = root.join("reserve");
        let held = AtomicBool::new(disk.open(&path).is_ok());
        Self { disk, path, bytes, held }
    }

    /// Makes the reserve if it is not there and there is room. Writes all of it.
    pub(crate) fn restore(&self) {
        if self.bytes == 0 || self.held.load(Ordering::Acquire) {
            return;
        }
        match self.disk.create(&self.path, self.bytes) {
            Ok(_) => self.held.store(true, Ordering::Release),
            Err(error) => tracing::debug!(%error, path = %self.path.display(), "no room for the reserve yet"),
        }
    }

    /// Does `step`, and once more without the reserve if the disk was full.
    pub(crate) fn with<T>(&self, step: impl Fn() -> Result<T, Error>) -> Result<T, Error> {
        let error = match step() {
            Err(error) if error.is_full() && self.held.swap(false, Ordering::AcqRel) => error,
            done => return done,
        };
        tracing::warn!(%error, "the disk is full: the log gives up its reserve");
        self.disk.remove(&self.path).map_err(Error::io("removing", &self.path))?;
        step()
    }
}
