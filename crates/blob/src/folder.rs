//! `file://`: a folder that behaves as a bucket.
//!
//! Reads, listings and deletes are the library's. Writes are ours: past the page cache, and with the conditional replace
//! that it does not have, by compare and rename under a lock of this process and, for the brokers of a cluster that share
//! the folder, of a file in it. A replace compares the nonce inside the file, not inode and time, which can repeat.

use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use object_store::local::LocalFileSystem;
use object_store::path::Path as Location;
use object_store::{
    CopyOptions, Error as StoreError, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions,
};
use runnel_runtime::FailPoints;
use runnel_runtime::simulation::blocking;

use crate::{Error, register};

mod staged;
mod upload;

use staged::Staged;
use upload::Upload;

const STORE: &str = "folder";

/// One lock per group of objects; of the process, because two handles may be open on one folder. Each has a file in the
/// folder that keeps out other processes.
static LOCKS: [Mutex<()>; 64] = [const { Mutex::new(()) }; 64];

/// The folder and what is known about its health.
#[derive(Debug)]
pub(crate) struct Folder {
    root: PathBuf,
    fail: FailPoints,
    sync_failed: AtomicBool,
}

/// Holds a `file://` bucket for one process; given up when dropped, or when the process ends in any way.
#[derive(Debug)]
pub struct FolderLock {
    _file: File,
    root: PathBuf,
    since: SystemTime,
}

impl FolderLock {
    /// What processes that held the folder before may have left in it.
    pub fn leftovers(&self) -> Leftovers {
        Leftovers { root: self.root.clone(), since: self.since }
    }
}

/// Files that processes which were killed had staged and not completed.
#[derive(Debug)]
pub struct Leftovers {
    root: PathBuf,
    since: SystemTime,
}

impl Leftovers {
    /// Deletes them; returns how many there were. Walks through the whole folder: off the async threads.
    pub fn sweep(self) -> Result<usize, Error> {
        let io = |source| Error::Io { op: "sweep", path: self.root.display().to_string(), source };
        staged::sweep(&self.root, self.since).map_err(io)
    }
}

impl Folder {
    pub(crate) fn create(root: &Path, fail: FailPoints) -> Result<Self, Error> {
        let io = |source| Error::Io { op: "create the folder", path: root.display().to_string(), source };
        create_folders(root).map_err(io)?;
        let root = root.canonicalize().map_err(io)?;
        Ok(Self { root, fail, sync_failed: AtomicBool::new(false) })
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn exists(&self) -> bool {
        self.root.is_dir()
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.sync_failed.load(Ordering::Acquire) {
            return Err(Error::SyncFailed { folder: self.root.display().to_string() });
        }
        Ok(())
    }

    pub(crate) fn try_lock(&self, file: &str) -> Result<FolderLock, Error> {
        let path = self.root.join(file);
        let io = |source| Error::Io { op: "lock", path: path.display().to_string(), source };
        create_folders(path.parent().unwrap_or(&self.root)).map_err(io)?;
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(io)?;
        match file.try_lock() {
            Ok(()) => Ok(FolderLock { since: staged::now(&file).map_err(io)?, _file: file, root: self.root.clone() }),
            Err(std::fs::TryLockError::WouldBlock) => Err(Error::Locked { folder: self.root.display().to_string() }),
            Err(std::fs::TryLockError::Error(source)) => Err(io(source)),
        }
    }

    /// Keeps other processes from a group of objects, until the file is closed or this process ends. No listing shows such
    /// a file: its name ends as those of staged files do.
    fn lock_slot(&self, slot: usize) -> std::io::Result<File> {
        let folder = self.root.join("cluster");
        create_folders(&folder)?;
        let path = folder.join(format!("{}#{slot}", staged::LOCK));
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(path)?;
        file.lock()?;
        Ok(file)
    }

    /// Writes `payload` to `path` if the condition holds: absent, or present with the nonce `expected`.
    fn publish(&self, path: &Path, expected: Option<&str>, payload: &PutPayload) -> Result<(), StoreError> {
        let slot = crc32c::crc32c(path.as_os_str().as_encoded_bytes()) as usize % LOCKS.len();
        let _held = LOCKS[slot].lock().unwrap_or_else(PoisonError::into_inner);
        let _shared = self.lock_slot(slot).map_err(io)?;
        check_condition(path, expected)?;
        self.replace(path, payload)
    }

    /// Writes `payload` to `path`, whatever was there.
    fn replace(&self, path: &Path, payload: &PutPayload) -> Result<(), StoreError> {
        let staged = Staged::create(&self.root, path, payload.content_length() as u64).map_err(io)?;
        staged.write(payload, 0).map_err(io)?;
        self.complete(staged)
    }

    /// What was staged becomes the object, durably.
    fn complete(&self, staged: Staged) -> Result<(), StoreError> {
        let folder = staged.complete(|| self.fail.hit("bucket.staged").map_err(std::io::Error::other)).map_err(io)?;
        let renamed = self.fail.hit("bucket.renamed").map_err(std::io::Error::other);
        renamed.and_then(|()| File::open(folder)?.sync_all()).map_err(|error| {
            // Visible, but perhaps not durable, and a second sync may lie: nobody may build on it any more.
            self.sync_failed.store(true, Ordering::Release);
            io(error)
        })
    }
}

fn check_condition(path: &Path, expected: Option<&str>) -> Result<(), StoreError> {
    let refuse = |reason: &str| (path.display().to_string(), reason.to_owned().into());
    match (std::fs::read(path), expected) {
        (Err(e), None) if e.kind() == ErrorKind::NotFound => Ok(()),
        (Err(e), Some(_)) if e.kind() == ErrorKind::NotFound => {
            let (path, source) = refuse("it is absent");
            Err(StoreError::Precondition { path, source })
        }
        (Err(e), _) => Err(io(e)),
        (Ok(_), None) => {
            let (path, source) = refuse("it is present");
            Err(StoreError::AlreadyExists { path, source })
        }
        (Ok(found), Some(expected)) => match register::nonce_of(&found) {
            Some(nonce) if nonce.simple().to_string() == expected => Ok(()),
            _ => {
                let (path, source) = refuse("it holds another version");
                Err(StoreError::Precondition { path, source })
            }
        },
    }
}

/// Creates `folder` and what is missing above it; each new entry is synced before anything is put below it.
fn create_folders(folder: &Path) -> std::io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let Some(parent) = folder.parent() else { return Ok(()) };
    create_folders(parent)?;
    match std::fs::create_dir(folder) {
        Err(e) if e.kind() != ErrorKind::AlreadyExists => Err(e),
        _ => File::open(parent)?.sync_all(),
    }
}

/// What a write comes to: versions are in the objects themselves.
fn written() -> PutResult {
    PutResult { e_tag: None, version: None, extensions: Default::default() }
}

fn io(source: std::io::Error) -> StoreError {
    StoreError::Generic { store: STORE, source: Box::new(source) }
}

/// The folder as an object store.
#[derive(Debug)]
pub(crate) struct FolderStore {
    folder: Arc<Folder>,
    files: LocalFileSystem,
}

impl FolderStore {
    pub(crate) fn open(folder: Arc<Folder>) -> Result<Self, StoreError> {
        let files = LocalFileSystem::new_with_prefix(&folder.root)?.with_fsync(true);
        Ok(Self { folder, files })
    }
}

impl std::fmt::Display for FolderStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{STORE} {}", self.folder.root.display())
    }
}

#[async_trait]
impl ObjectStore for FolderStore {
    async fn put_opts(
        &self,
        location: &Location,
        payload: PutPayload,
        opts: PutOptions,
    ) -> Result<PutResult, StoreError> {
        let path = self.files.path_to_filesystem(location)?;
        let folder = Arc::clone(&self.folder);
        let write = move || match opts.mode {
            PutMode::Overwrite => folder.replace(&path, &payload),
            PutMode::Create => folder.publish(&path, None, &payload),
            PutMode::Update(version) => folder.publish(&path, Some(&version.version.unwrap_or_default()), &payload),
        };
        blocking(write).await??;
        Ok(written())
    }

    async fn put_multipart_opts(
        &self,
        location: &Location,
        _opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>, StoreError> {
        let path = self.files.path_to_filesystem(location)?;
        let folder = Arc::clone(&self.folder);
        // Who sends parts has more than the file store takes at once.
        let create =
            move || Staged::create(&folder.root, &path, u64::MAX).map(|staged| Upload::new(folder, Arc::new(staged)));
        Ok(Box::new(blocking(create).await?.map_err(io)?))
    }

    async fn get_opts(&self, location: &Location, options: GetOptions) -> Result<GetResult, StoreError> {
        self.files.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Location, ranges: &[Range<u64>]) -> Result<Vec<Bytes>, StoreError> {
        self.files.get_ranges(location, ranges).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Location, StoreError>>,
    ) -> BoxStream<'static, Result<Location, StoreError>> {
        self.files.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Location>) -> BoxStream<'static, Result<ObjectMeta, StoreError>> {
        self.files.list(prefix)
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Location>,
        offset: &Location,
    ) -> BoxStream<'static, Result<ObjectMeta, StoreError>> {
        self.files.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Location>) -> Result<ListResult, StoreError> {
        self.files.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Location, to: &Location, options: CopyOptions) -> Result<(), StoreError> {
        self.files.copy_opts(from, to, options).await
    }

    async fn rename_opts(&self, from: &Location, to: &Location, options: RenameOptions) -> Result<(), StoreError> {
        self.files.rename_opts(from, to, options).await
    }
}

#[cfg(test)]
mod tests;
