//! Opening the file: the lock, a crash-safe creation, and refusing what is damaged, foreign or newer.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::{Builder, Database, DatabaseError, ReadableDatabase, StorageBackend, StorageError};

use super::room::RoomyFile;
use super::tables;
use crate::error::Error;
use crate::options::Options;

/// Keeps every other handle out, also while the file does not exist yet. Released when dropped.
#[derive(Debug)]
pub(super) struct Lock(#[expect(dead_code, reason = "held, not used")] File);

impl Lock {
    /// Takes the lock that goes with `path`, in a file beside it.
    pub(super) fn acquire(path: &Path) -> Result<Self, Error> {
        let beside = with_suffix(path, ".lock");
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).read(true).write(true);
        let file = options.open(&beside).map_err(|e| io_error("open", &beside, e))?;
        match file.try_lock() {
            Ok(()) => Ok(Self(file)),
            Err(TryLockError::WouldBlock) => Err(Error::InUse { path: path.to_owned() }),
            Err(TryLockError::Error(e)) => Err(io_error("lock", &beside, e)),
        }
    }
}

/// Opens the database at `path`; makes it first if nothing is there. The caller holds the lock.
pub(super) fn open_or_create(path: &Path, options: &Options) -> Result<Database, Error> {
    if !path.try_exists().map_err(|e| io_error("look for", path, e))? {
        create(path, options)?;
    }
    guarded(path, || builder(options).create_with_backend(RoomyFile::open(path)?))
}

/// Makes a complete store under another name, then renames it, so that a crash leaves nothing half made at `path`.
fn create(path: &Path, options: &Options) -> Result<(), Error> {
    let new = with_suffix(path, ".new");
    match std::fs::remove_file(&new) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(io_error("remove", &new, e)),
        _ => {}
    }
    let db = guarded(path, || builder(options).create(&new))?;
    initialise(&db).map_err(|e| read_error(&new, e))?;
    db.close().map_err(|e| read_error(&new, e.into()))?;
    std::fs::rename(&new, path).map_err(|e| io_error("create", path, e))?;
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder).and_then(|f| f.sync_all()).map_err(|e| io_error("sync", folder, e))
}

/// Opens, or makes, a database on `backend`; `name` stands for it in errors.
pub(super) fn open_backend(backend: impl StorageBackend, name: &Path, options: &Options) -> Result<Database, Error> {
    let db = guarded(name, || builder(options).create_with_backend(backend))?;
    initialise_if_blank(&db).map_err(|e| read_error(name, e))?;
    Ok(db)
}

fn initialise_if_blank(db: &Database) -> Result<(), redb::Error> {
    if tables::is_blank(&db.begin_read()?)? { initialise(db) } else { Ok(()) }
}

/// Checks that this release can read the store; returns its revision.
pub(super) fn check_format(db: &Database, path: &Path) -> Result<u64, Error> {
    let read = || {
        let txn = db.begin_read()?;
        Ok((tables::format(&txn)?, txn))
    };
    let (format, txn) = read().map_err(|e| read_error(path, e))?;
    match format {
        None => Err(corrupt(path, "it is not a metadata store".to_owned())),
        Some(found) if found > tables::FORMAT => {
            Err(Error::NewerFormat { path: path.to_owned(), found, newest: tables::FORMAT })
        }
        Some(_) => tables::revision(&txn).map_err(|e| read_error(path, e)),
    }
}

fn initialise(db: &Database) -> Result<(), redb::Error> {
    let txn = db.begin_write()?;
    tables::initialise(&txn)?;
    Ok(txn.commit()?)
}

fn builder(options: &Options) -> Builder {
    let mut builder = Builder::new();
    // The store is small, so checking every page at the start is cheap; unchecked, redb may trust a damaged page.
    builder.set_cache_size(options.cache_bytes).set_check_integrity_on_open(true);
    builder
}

/// Opens a database; a panic on a damaged file is an error like any other.
fn guarded(path: &Path, open: impl FnOnce() -> Result<Database, DatabaseError>) -> Result<Database, Error> {
    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(open)) {
        Ok(Ok(db)) => Ok(db),
        Ok(Err(DatabaseError::DatabaseAlreadyOpen)) => Err(Error::InUse { path: path.to_owned() }),
        Ok(Err(DatabaseError::Storage(StorageError::Io(e)))) if !is_damage(&e) => Err(io_error("open", path, e)),
        Ok(Err(e)) => Err(corrupt(path, e.to_string())),
        Err(_) => Err(corrupt(path, "it cannot be read".to_owned())),
    }
}

/// Whether an I/O error says that the bytes are wrong rather than that they could not be had.
fn is_damage(e: &std::io::Error) -> bool {
    matches!(e.kind(), std::io::ErrorKind::InvalidData | std::io::ErrorKind::UnexpectedEof)
}

/// What a failed read means.
pub(super) fn read_error(path: &Path, error: redb::Error) -> Error {
    match error {
        redb::Error::Corrupted(reason) => corrupt(path, reason),
        redb::Error::DatabaseClosed => Error::Closed,
        other => Error::Failed(Arc::new(other)),
    }
}

pub(super) fn io_error(action: &'static str, path: &Path, source: std::io::Error) -> Error {
    Error::Io { action, path: path.to_owned(), source: Arc::new(source) }
}

fn corrupt(path: &Path, reason: String) -> Error {
    Error::Corrupt { path: path.to_owned(), reason }
}

pub(super) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}
