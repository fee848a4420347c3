//! The bucket: immutable objects, ranges, listings, and how every request is timed, counted and its error named.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::memory::InMemory;
use object_store::path::Path as Location;
use object_store::{Error as StoreError, GetOptions, GetRange, ObjectStore, ObjectStoreExt};
use runnel_runtime::FailPoints;
use tokio::time::Instant;

use crate::folder::{Folder, FolderStore};
use crate::options::Location as Place;
use crate::testing::{FaultStore, Faults, Gate, GateStore};
use crate::{Error, FolderLock, Key, Options, metrics, s3};

/// Ranges closer than this are fetched in one request.
const COALESCE_BYTES: u64 = 256 * 1024;
/// Requests of one [`Bucket::get_ranges`] in flight.
const PARALLEL_RANGES: usize = 8;

/// A handle to the bucket. Cheap to clone; all clones share connections.
#[derive(Debug, Clone)]
pub struct Bucket(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Arc<dyn ObjectStore>,
    /// How messages call it.
    name: String,
    prefix: String,
    timeout: Duration,
    folder: Option<Arc<Folder>>,
}

/// An object in a listing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listed {
    /// Its name, relative to the storage prefix.
    pub path: String,
    /// Its size.
    pub bytes: u64,
}

/// A whole object as it was read.
pub(crate) struct Object {
    pub(crate) bytes: Bytes,
    pub(crate) e_tag: Option<String>,
}

impl Bucket {
    /// Opens a bucket. No I/O, but for creating the folder of a `file://` bucket.
    pub fn open(options: &Options, fail: FailPoints) -> Result<Self, Error> {
        Self::build(options, fail, None)
    }

    /// As [`Bucket::open`]; `None` for a `file://` bucket whose folder is not there, which stays so.
    pub fn open_existing(options: &Options) -> Result<Option<Self>, Error> {
        match options.location()? {
            Place::Folder(path) if !path.is_dir() => Ok(None),
            _ => Self::open(options, FailPoints::default()).map(Some),
        }
    }

    /// As [`Bucket::open`], with `faults` between this crate and the store.
    pub fn open_with_faults(options: &Options, fail: FailPoints, faults: &Faults) -> Result<Self, Error> {
        Self::build(options, fail, Some(faults))
    }

    /// The same bucket behind `faults` of its own: how it looks to one of several processes.
    #[must_use]
    pub fn behind(&self, faults: &Faults) -> Self {
        self.over(Arc::new(FaultStore::new(Arc::clone(&self.0.store), faults.clone())))
    }

    /// The same bucket, for one of the clients of a gate.
    #[must_use]
    pub fn gated(&self, gate: &Gate, client: &'static str) -> Self {
        self.over(Arc::new(GateStore::new(Arc::clone(&self.0.store), gate.clone(), client)))
    }

    fn over(&self, store: Arc<dyn ObjectStore>) -> Self {
        let Inner { name, prefix, timeout, folder, .. } = self.0.as_ref();
        let (name, prefix, folder) = (name.clone(), prefix.clone(), folder.clone());
        Self(Arc::new(Inner { store, name, prefix, timeout: *timeout, folder }))
    }

    fn build(options: &Options, fail: FailPoints, faults: Option<&Faults>) -> Result<Self, Error> {
        metrics::describe();
        let mut inner = Inner {
            store: Arc::new(InMemory::new()),
            name: options.url.clone(),
            prefix: String::new(),
            timeout: options.request_timeout,
            folder: None,
        };
        match options.location()? {
            Place::Memory => {}
            Place::Folder(path) => {
                let folder = Arc::new(Folder::create(&path, fail)?);
                let unusable = |error: StoreError| Error::Url { url: options.url.clone(), reason: error.to_string() };
                inner.store = Arc::new(FolderStore::open(Arc::clone(&folder)).map_err(unusable)?);
                inner.folder = Some(folder);
            }
            Place::S3 { bucket, prefix } => {
                inner.store = Arc::new(s3::open(options, &bucket)?);
                if !prefix.is_empty() {
                    inner.prefix = format!("{prefix}/");
                }
                if let Some(endpoint) = &options.endpoint {
                    inner.name = format!("{} at {endpoint}", options.url);
                }
            }
        }
        if let Some(faults) = faults {
            inner.store = Arc::new(FaultStore::new(inner.store, faults.clone()));
        }
        Ok(Self(Arc::new(inner)))
    }

    /// Holds a `file://` bucket for this process until the lock is dropped. `None` for a bucket that is no folder.
    pub fn try_lock(&self) -> Result<Option<FolderLock>, Error> {
        self.0.folder.as_ref().map(|folder| folder.try_lock(&Key::ClusterLock.path())).transpose()
    }

    /// How messages call this bucket.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    pub(crate) fn is_folder(&self) -> bool {
        self.0.folder.is_some()
    }

    pub(crate) fn store(&self) -> &dyn ObjectStore {
        self.0.store.as_ref()
    }

    /// Reads a whole immutable object; `None` if it is absent.
    pub async fn get(&self, key: &Key) -> Result<Option<Bytes>, Error> {
        Ok(self.fetch(&key.path(), None).await?.map(|object| object.bytes))
    }

    /// Reads the first `max` bytes of an object, or all of it if it is shorter; `None` if it is absent.
    pub async fn get_start(&self, key: &Key, max: usize) -> Result<Option<Bytes>, Error> {
        let path = key.path();
        let location = self.location(&path)?;
        let answer = self.request("get_range", &path, async {
            let options = GetOptions { range: Some(GetRange::Bounded(0..max as u64)), ..GetOptions::default() };
            self.store().get_opts(&location, options).await?.bytes().await
        });
        match answer.await {
            Ok(bytes) => {
                metrics::bytes_in("get_range", bytes.len());
                Ok(Some(bytes))
            }
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Reads ranges of an object, in the order asked for; close ones share a request. An object that is shorter than
    /// a range is [`Error::Corrupt`].
    pub async fn get_ranges(&self, key: &Key, ranges: &[Range<u64>]) -> Result<Vec<Bytes>, Error> {
        let path = key.path();
        if let Some(bad) = ranges.iter().find(|r| r.start >= r.end) {
            return Err(Error::Invalid { key: path, reason: format!("the range {bad:?} is empty") });
        }
        let merged = merge(ranges);
        let requests = merged.iter().cloned().map(|range| self.fetch_range(&path, range));
        let fetched: Vec<Bytes> = futures::stream::iter(requests).buffered(PARALLEL_RANGES).try_collect().await?;
        let slices = ranges.iter().map(|range| {
            let i = merged.partition_point(|m| m.start <= range.start) - 1;
            let at = |offset: u64| usize::try_from(offset - merged[i].start).unwrap_or(usize::MAX);
            fetched[i].slice(at(range.start)..at(range.end))
        });
        Ok(slices.collect())
    }

    /// Deletes an object; one that is absent is fine.
    pub async fn delete(&self, key: &Key) -> Result<(), Error> {
        let path = key.path();
        let location = self.location(&path)?;
        match self.request("delete", &path, self.store().delete(&location)).await {
            Err(Error::NotFound { .. }) => Ok(()),
            answer => answer,
        }
    }

    /// All objects below the folder `prefix` (`""`: all), sorted by name.
    pub async fn list(&self, prefix: &str) -> Result<Vec<Listed>, Error> {
        let location = self.location(prefix)?;
        let listing = self.store().list(Some(&location));
        let found: Vec<_> = self.request("list", prefix, listing.try_collect()).await?;
        Ok(self.listed(found))
    }

    /// At most `limit` objects below the folder `prefix` whose names sort behind `after`, sorted by name. Fewer than
    /// `limit` means that there are no more.
    pub async fn list_after(&self, prefix: &str, after: &str, limit: usize) -> Result<Vec<Listed>, Error> {
        let location = self.location(prefix)?;
        let listing = if after.is_empty() {
            self.store().list(Some(&location))
        } else {
            self.store().list_with_offset(Some(&location), &self.location(after)?)
        };
        // A folder is walked in no order, so there the first names are known only at the end.
        let take = if self.is_folder() { usize::MAX } else { limit };
        let found: Vec<_> = self.request("list", prefix, listing.take(take).try_collect()).await?;
        let mut listed = self.listed(found);
        listed.truncate(limit);
        Ok(listed)
    }

    pub(crate) fn listed(&self, found: Vec<object_store::ObjectMeta>) -> Vec<Listed> {
        let name = |location: &Location| location.as_ref().strip_prefix(&self.0.prefix).map(str::to_owned);
        let mut listed: Vec<_> =
            found.iter().filter_map(|m| Some(Listed { path: name(&m.location)?, bytes: m.size })).collect();
        listed.sort();
        listed
    }

    pub(crate) fn location(&self, path: &str) -> Result<Location, Error> {
        let full = format!("{}{path}", self.0.prefix);
        Location::parse(&full).map_err(|error| Error::Invalid { key: path.to_owned(), reason: error.to_string() })
    }

    /// Reads a whole object of at most `limit` bytes; `None` if it is absent.
    pub(crate) async fn fetch(&self, path: &str, limit: Option<u64>) -> Result<Option<Object>, Error> {
        let location = self.location(path)?;
        let too_large = |bytes| Error::Corrupt { key: path.to_owned(), reason: format!("{bytes} bytes are too many") };
        let answer = self.request("get", path, async {
            let result = self.store().get_opts(&location, GetOptions::default()).await?;
            let (size, e_tag) = (result.meta.size, result.meta.e_tag.clone());
            if limit.is_some_and(|limit| size > limit) {
                return Ok(Err(too_large(size)));
            }
            Ok(Ok((result.bytes().await?, size, e_tag)))
        });
        let (bytes, size, e_tag) = match answer.await {
            Ok(found) => found?,
            Err(Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        metrics::bytes_in("get", bytes.len());
        if bytes.len() as u64 != size {
            return Err(short(path, size, bytes.len() as u64));
        }
        Ok(Some(Object { bytes, e_tag }))
    }

    async fn fetch_range(&self, path: &str, range: Range<u64>) -> Result<Bytes, Error> {
        let location = self.location(path)?;
        let answer = self.request("get_range", path, async {
            let options = GetOptions { range: Some(GetRange::Bounded(range.clone())), ..GetOptions::default() };
            self.store().get_opts(&location, options).await?.bytes().await
        });
        let bytes = match answer.await {
            Ok(bytes) => bytes,
            // A range that starts behind the end is refused, in every store's own way.
            Err(error) => return Err(self.shorter_than(path, range.end).await.unwrap_or(error)),
        };
        metrics::bytes_in("get_range", bytes.len());
        if bytes.len() as u64 != range.end - range.start {
            return Err(short(path, range.end, range.start + bytes.len() as u64));
        }
        Ok(bytes)
    }

    async fn shorter_than(&self, path: &str, end: u64) -> Option<Error> {
        let location = self.location(path).ok()?;
        let meta = self.request("head", path, self.store().head(&location)).await.ok()?;
        (meta.size < end).then(|| short(path, end, meta.size))
    }

    /// Runs one request to the store: with a time limit, counted, its error named.
    pub(crate) async fn request<T>(
        &self,
        op: &'static str,
        path: &str,
        request: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, Error> {
        let started = Instant::now();
        let answer = match self.0.folder.as_ref().map_or(Ok(()), |folder| folder.check()) {
            Err(error) => Err(error),
            Ok(()) => match tokio::time::timeout(self.0.timeout, request).await {
                Ok(answer) => answer.map_err(|error| self.name_error(op, path, error)),
                Err(_) => {
                    let (bucket, key) = (self.0.name.clone(), path.to_owned());
                    Err(Error::Timeout { bucket, op, key, after: self.0.timeout })
                }
            },
        };
        let code = answer.as_ref().map_or_else(|error| error.kind().label(), |_| "ok");
        metrics::request(op, code, started.elapsed());
        answer
    }

    fn name_error(&self, op: &'static str, path: &str, error: StoreError) -> Error {
        let (bucket, key) = (self.0.name.clone(), path.to_owned());
        // A few facts are only in the text of the answer. What is looked for cannot be part of a name in the bucket.
        let says = |part: &str| error.to_string().contains(part);
        match error {
            // S3 answers 404 for a key and for a bucket that is not there; mistaking the second for the first would
            // make a full cluster look empty.
            StoreError::NotFound { .. } | StoreError::Generic { .. } if says("<Code>NoSuchBucket</Code>") => {
                Error::BucketMissing { bucket, source: Some(Box::new(error)) }
            }
            StoreError::NotFound { .. } if self.0.folder.as_ref().is_some_and(|folder| !folder.exists()) => {
                Error::BucketMissing { bucket, source: Some(Box::new(error)) }
            }
            StoreError::NotFound { .. } => Error::NotFound { key },
            _ if says("<Code>RequestTimeTooSkewed</Code>") => Error::Clock { bucket, source: Box::new(error) },
            StoreError::AlreadyExists { .. } | StoreError::Precondition { .. } => {
                Error::Refused { key, source: Box::new(error) }
            }
            StoreError::PermissionDenied { .. } | StoreError::Unauthenticated { .. } => {
                Error::Denied { bucket, key, source: Box::new(error) }
            }
            StoreError::NotImplemented { .. } | StoreError::NotSupported { .. } => {
                Error::Unsupported { bucket, op, source: Box::new(error) }
            }
            StoreError::InvalidPath { .. } => Error::Invalid { key, reason: error.to_string() },
            StoreError::Generic { .. } if says("status code: 501") => {
                Error::Unsupported { bucket, op, source: Box::new(error) }
            }
            // Without credentials the instance's own are asked for, at an address that only AWS machines reach.
            StoreError::Generic { .. } if says("http://169.254.169.254") => {
                Error::Denied { bucket, key, source: Box::new(error) }
            }
            StoreError::Generic { .. } if says("status code: 403") || says("status code: 401") => {
                Error::Denied { bucket, key, source: Box::new(error) }
            }
            StoreError::Generic { .. } if io_kind(&error) == Some(std::io::ErrorKind::PermissionDenied) => {
                Error::Denied { bucket, key, source: Box::new(error) }
            }
            StoreError::Generic { .. } => Error::Unavailable { bucket, op, key, source: Box::new(error) },
            _ => Error::Internal { bucket, op, key, source: Box::new(error) },
        }
    }

    /// The folder of a `file://` bucket.
    pub fn folder(&self) -> Option<&Path> {
        self.0.folder.as_ref().map(|folder| folder.root())
    }
}

fn short(path: &str, wanted: u64, found: u64) -> Error {
    let reason = format!("it ends at byte {found}, what refers to it needs {wanted}");
    Error::Corrupt { key: path.to_owned(), reason }
}

/// The kind of the I/O error at the bottom of `error`.
fn io_kind(error: &StoreError) -> Option<std::io::ErrorKind> {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(current) = cause {
        if let Some(io) = current.downcast_ref::<std::io::Error>() {
            return Some(io.kind());
        }
        cause = current.source();
    }
    None
}

/// Sorts ranges and joins those that overlap or are close.
fn merge(ranges: &[Range<u64>]) -> Vec<Range<u64>> {
    let mut sorted = ranges.to_vec();
    sorted.sort_by_key(|r| (r.start, r.end));
    let mut merged: Vec<Range<u64>> = Vec::with_capacity(sorted.len());
    for range in sorted {
        match merged.last_mut() {
            Some(last) if range.start <= last.end.saturating_add(COALESCE_BYTES) => last.end = last.end.max(range.end),
            _ => merged.push(range),
        }
    }
    merged
}

#[cfg(test)]
mod tests;
