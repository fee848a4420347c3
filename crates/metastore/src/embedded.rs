//! The metadata store of a single node: one redb file.
//!
//! All changes go through one thread, which commits what waits together: one fsync for many callers. Reads run on the
//! blocking pool, against the last durable commit. Leases never expire: whoever holds the file's lock has fenced its
//! predecessor. Watches live in this process; after a restart their history is gone (`Compacted`).
//!
//! A failed commit is final: its transactions have an unknown outcome, and every later call fails until the store is
//! opened anew. A full disk is no failure as long as the reserve of `room` lasts.

mod file;
mod history;
mod room;
mod tables;
mod writer;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock, RwLockReadGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use async_trait::async_trait;
use redb::{Database, ReadTransaction, ReadableDatabase};
use runnel_runtime::simulation::{blocking, is_simulated};
use tokio::sync::{mpsc, oneshot};

use self::history::History;
use self::writer::Request;
use crate::error::Error;
use crate::options::Options;
use crate::store::{Compare, LeaseId, MetaStore, Op, Snapshot, TxnOutcome, Versioned, check_key, check_txn};
use crate::watch::Watch;

/// Requests that may wait for the writing thread; callers beyond that wait before they are taken.
const QUEUE: usize = 1_024;

/// A [`MetaStore`] in a file of this machine.
#[derive(Debug)]
pub struct Embedded {
    inner: Arc<Inner>,
    requests: Mutex<Option<mpsc::Sender<Request>>>,
}

/// What the callers and the writing thread share.
#[derive(Debug)]
struct Inner {
    path: PathBuf,
    /// `None` once closed.
    db: RwLock<Option<Database>>,
    lock: Mutex<Option<file::Lock>>,
    writer: Mutex<Option<JoinHandle<()>>>,
    failure: OnceLock<Arc<redb::Error>>,
    history: Arc<History>,
}

impl Embedded {
    /// Opens the store at `path`, or creates it if nothing is there. Blocking.
    ///
    /// Errors: `InUse` if it is open elsewhere, `Corrupt` if the file is damaged or something else, `Unsupported` if a
    /// newer release wrote it, `Unavailable` if the file system refuses.
    pub fn open(path: &Path) -> Result<Self, Error> {
        Self::open_with(path, &Options::default())
    }

    /// [`open`](Self::open) with settings.
    pub fn open_with(path: &Path, options: &Options) -> Result<Self, Error> {
        let lock = file::Lock::acquire(path)?;
        let db = file::open_or_create(path, options)?;
        Self::start(db, Some(lock), path, options)
    }

    /// A store that is gone when it is closed.
    pub fn in_memory() -> Result<Self, Error> {
        Self::in_memory_with(&Options::default())
    }

    /// [`in_memory`](Self::in_memory) with settings.
    pub fn in_memory_with(options: &Options) -> Result<Self, Error> {
        Self::on_backend(redb::backends::InMemoryBackend::new(), options)
    }

    /// A store on any storage that redb can use.
    fn on_backend(backend: impl redb::StorageBackend, options: &Options) -> Result<Self, Error> {
        let path = Path::new("memory");
        let db = file::open_backend(backend, path, options)?;
        Self::start(db, None, path, options)
    }

    fn start(db: Database, lock: Option<file::Lock>, path: &Path, options: &Options) -> Result<Self, Error> {
        let revision = file::check_format(&db, path)?;
        let inner = Arc::new(Inner {
            path: path.to_owned(),
            db: RwLock::new(Some(db)),
            lock: Mutex::new(lock),
            writer: Mutex::new(None),
            failure: OnceLock::new(),
            history: History::new(revision, options),
        });
        let (requests, queue) = mpsc::channel(QUEUE);
        let writing = writer::run(Arc::clone(&inner), queue);
        if is_simulated() {
            tokio::spawn(writing);
        } else {
            let writer = std::thread::Builder::new()
                .name("runnel-meta".to_owned())
                .spawn(move || futures::executor::block_on(writing))
                .map_err(|e| file::io_error("start the writing thread of", path, e))?;
            *inner.writer.lock().unwrap_or_else(PoisonError::into_inner) = Some(writer);
        }
        Ok(Self { inner, requests: Mutex::new(Some(requests)) })
    }

    /// Hands a request to the writing thread and waits for the answer.
    async fn change<T>(&self, request: impl FnOnce(writer::Reply<T>) -> Request) -> Result<T, Error> {
        let requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (reply, answer) = oneshot::channel();
        let sent = match requests {
            Some(requests) => requests.send(request(reply)).await.is_ok(),
            None => false,
        };
        if !sent {
            return Err(self.inner.usable().err().unwrap_or(Error::Closed));
        }
        match answer.await {
            Ok(answer) => answer,
            Err(_) => Err(self.inner.failed().err().unwrap_or(Error::AnswerLost)),
        }
    }

    /// Runs `read` on the blocking pool, in a transaction of its own.
    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&ReadTransaction) -> Result<T, redb::Error> + Send + 'static,
    ) -> Result<T, Error> {
        let inner = Arc::clone(&self.inner);
        let work = blocking(move || {
            inner.usable()?;
            let db = inner.db();
            let db = db.as_ref().ok_or(Error::Closed)?;
            let read = || read(&db.begin_read()?);
            read().map_err(|e| file::read_error(&inner.path, e))
        });
        match work.await {
            Ok(answer) => answer,
            Err(e) if e.is_panic() => {
                Err(Error::Corrupt { path: self.inner.path.clone(), reason: "it cannot be read".to_owned() })
            }
            Err(_) => Err(Error::Closed),
        }
    }

    /// Turns later changes away; the writing thread ends after what it has taken.
    fn retire(&self) {
        drop(self.requests.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

impl Inner {
    fn db(&self) -> RwLockReadGuard<'_, Option<Database>> {
        self.db.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether nothing has failed so far.
    fn failed(&self) -> Result<(), Error> {
        self.failure.get().map_or(Ok(()), |e| Err(Error::Failed(Arc::clone(e))))
    }

    /// Whether the store can serve.
    fn usable(&self) -> Result<(), Error> {
        self.failed()?;
        if self.db().is_some() { Ok(()) } else { Err(Error::Closed) }
    }

    /// Ends the service after a failed commit.
    fn fail(&self, error: redb::Error) -> Error {
        let error = Arc::clone(self.failure.get_or_init(|| Arc::new(error)));
        tracing::error!(path = %self.path.display(), %error, "the metadata store failed and serves no more");
        self.history.close();
        Error::Failed(error)
    }

    /// Waits for the writing thread and the reads under way, then gives the file back. Blocking; idempotent.
    fn shut(&self) {
        // Held until the end, so that a second caller does not take the file from under the first.
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(writer) = writer.take()
            && writer.join().is_err()
        {
            tracing::error!(path = %self.path.display(), "the writing thread of the metadata store panicked");
        }
        let db = self.db.write().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(db) = db
            && let Err(error) = db.close()
        {
            // What was acknowledged is durable all the same: this costs a check at the next start.
            tracing::warn!(path = %self.path.display(), %error, "the metadata store was not closed cleanly");
        }
        self.history.close();
        drop(self.lock.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.retire();
        self.inner.shut();
    }
}

#[async_trait]
impl MetaStore for Embedded {
    async fn get(&self, key: &str) -> Result<Option<Versioned>, Error> {
        check_key(key)?;
        let key = key.to_owned();
        self.read(move |txn| tables::get(txn, &key)).await
    }

    async fn snapshot(&self, prefix: &str) -> Result<Snapshot, Error> {
        let prefix = prefix.to_owned();
        self.read(move |txn| tables::snapshot(txn, &prefix)).await
    }

    async fn txn(&self, compare: Vec<Compare>, then: Vec<Op>) -> Result<TxnOutcome, Error> {
        check_txn(&compare, &then)?;
        self.change(|reply| Request::Txn { compare, then, reply }).await
    }

    async fn grant_lease(&self, ttl: Duration) -> Result<LeaseId, Error> {
        let ttl_ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
        self.change(|reply| Request::Grant { ttl_ms, reply }).await
    }

    async fn keep_alive(&self, lease: LeaseId) -> Result<(), Error> {
        let found = self.read(move |txn| tables::has_lease(txn, lease)).await?;
        if found { Ok(()) } else { Err(Error::LeaseNotFound(lease)) }
    }

    async fn revoke(&self, lease: LeaseId) -> Result<(), Error> {
        self.change(|reply| Request::Revoke { lease, reply }).await
    }

    fn watch(&self, prefix: &str, from_revision: u64) -> Box<dyn Watch> {
        self.inner.history.watch(prefix, from_revision.max(1))
    }

    async fn close(&self) {
        self.retire();
        let inner = Arc::clone(&self.inner);
        let stop = blocking(move || inner.shut());
        if stop.await.is_err() {
            tracing::error!(path = %self.inner.path.display(), "the metadata store could not be closed");
        }
    }
}
