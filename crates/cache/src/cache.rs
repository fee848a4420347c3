//! The cache itself: foyer below, budgets and single flight above.

#[cfg(test)]
mod tests;

use std::error::Error as StdError;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use foyer::{
    BlockEngineConfig, Cache, CacheBuilder, DeviceBuilder, FifoConfig, FsDeviceBuilder, HybridCache,
    HybridCacheBuilder, HybridCachePolicy, Load, LruConfig, PsyncIoEngineConfig, RecoverMode,
};

use crate::error::Error;
use crate::flight::{Flights, Landed};
use crate::folder::{Folder, prepare};
use crate::key::{BlockKey, KEY_BYTES, Run};
use crate::loaded::Loaded;
use crate::metrics::Metrics;
use crate::options::Options;
use crate::sizes::{DiskSizes, ENTRY_OVERHEAD, MIN_DISK, MIN_MEMORY_FOR_DISK, Sizes};

/// How long a close may wait for the disk. What is not written by then is lost, which a cache may lose.
const CLOSE_LIMIT: Duration = Duration::from_secs(5);

/// On whose behalf a run is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// A reader near the tail: others will want the same run soon.
    Hot,
    /// A reader far behind: its runs have a small budget of their own.
    Backfill,
}

/// Runs of sealed segments, in memory and on disk. Cheap to clone; the clones share everything.
#[derive(Clone)]
pub struct BlockCache(Arc<Inner>);

struct Inner {
    hot: HybridCache<BlockKey, Run>,
    backfill: Cache<BlockKey, Run>,
    loaded: Mutex<Loaded>,
    sizes: Sizes,
    flights: Flights,
    metrics: Metrics,
    closed: AtomicBool,
}

impl BlockCache {
    /// Opens the cache; entries that an earlier process left on the disk are found again.
    ///
    /// A disk tier that cannot be had (folder not writable, budgets too small) is left out with a warning: a broker
    /// without it is slower, and right.
    pub async fn open(options: &Options) -> Result<Self, Error> {
        let sizes = Sizes::of(options);
        if options.disk > 0 && sizes.disk.is_none() {
            tracing::warn!(
                "the disk tier of the fetch cache is off: it needs cache.disk of {MIN_DISK} bytes at least, and \
                 {MIN_MEMORY_FOR_DISK} bytes of memory, of which it gets three eighths of cache.memory"
            );
        }
        let Some(disk) = &sizes.disk else { return Self::start(sizes, None).await };
        let opened = match prepare(&options.dir).await {
            Ok(folder) => Self::start(sizes.clone(), Some((disk, &folder))).await.map_err(|e| e.to_string()),
            Err(e) => Err(e.to_string()),
        };
        match opened {
            Ok(cache) => Ok(cache),
            Err(error) => {
                let dir = options.dir.display();
                tracing::warn!(%dir, error, "the disk tier of the fetch cache is off: its folder cannot be used");
                Self::start(Sizes::without_disk(options), None).await
            }
        }
    }

    async fn start(sizes: Sizes, disk: Option<(&DiskSizes, &Folder)>) -> Result<Self, Error> {
        // Nothing goes to the disk because it leaves the memory or because the cache closes.
        let builder = HybridCacheBuilder::new()
            .with_name("runnel")
            .with_policy(HybridCachePolicy::WriteOnInsertion)
            .with_flush_on_close(false)
            .memory(sizes.hot)
            .with_shards(sizes.shards)
            .with_eviction_config(LruConfig::default())
            .with_weighter(weight)
            .storage();
        let builder = match disk {
            None => builder,
            Some((disk, folder)) => {
                let device = FsDeviceBuilder::new(&folder.dir).with_capacity(disk.capacity).with_direct(folder.direct);
                let engine = BlockEngineConfig::new(device.build().map_err(Error::Open)?)
                    .with_block_size(disk.block)
                    .with_buffer_pool_size(disk.buffer)
                    .with_submit_queue_size_threshold(disk.buffer);
                builder
                    .with_io_engine_config(PsyncIoEngineConfig::new())
                    .with_engine_config(engine)
                    .with_recover_mode(RecoverMode::Quiet)
            }
        };
        let hot = builder.build().await.map_err(Error::Open)?;
        let backfill = CacheBuilder::new(sizes.backfill)
            .with_name("runnel-backfill")
            .with_shards(1)
            // What was read ahead is older than what was read since, and needed sooner.
            .with_eviction_config(FifoConfig::default())
            .with_weighter(weight)
            .build();
        let loaded = Mutex::new(Loaded::new(sizes.disk.as_ref().map_or(0, |disk| disk.capacity as u64)));
        let (flights, metrics, closed) = (Flights::default(), Metrics::new(), AtomicBool::new(false));
        Ok(Self(Arc::new(Inner { hot, backfill, loaded, sizes, flights, metrics, closed })))
    }

    /// Whether entries are kept on disk too.
    pub fn has_disk(&self) -> bool {
        self.0.sizes.disk.is_some()
    }

    /// Memory for runs of [`Class::Backfill`].
    pub fn backfill_bytes(&self) -> u64 {
        self.0.sizes.backfill as u64
    }

    /// The run, from the cache or from `load`.
    ///
    /// Of all callers that miss a run at once, whatever their class, one runs its `load`; the others wait and get the
    /// same bytes or the same error. Errors are not kept: the next call loads again. A run too large for its budget is
    /// returned and not kept. Cancel-safe: when the call that loads is dropped, one that waits loads instead.
    ///
    /// The loaded bytes should own their memory: a slice of a larger buffer keeps all of it alive.
    pub async fn get_or_load<F, Fut>(&self, key: BlockKey, class: Class, load: F) -> Result<Bytes, Error>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<Bytes, Box<dyn StdError + Send + Sync>>>,
    {
        let inner = &*self.0;
        if let Some(bytes) = inner.in_memory(key, class) {
            return Ok(bytes);
        }
        let Landed { bytes, own } = inner.flights.join(key, inner.fetch(key, class, load)).await?;
        if !own {
            inner.metrics.flight.increment(1);
        }
        Ok(bytes)
    }

    /// Whether the run is here, as far as can be told without reading the disk; counts as no use of it.
    pub fn contains(&self, key: &BlockKey) -> bool {
        self.0.hot.contains(key) || self.0.backfill.contains(key)
    }

    /// Finishes writing to the disk, within a few seconds. Later reads still work; nothing more goes to the disk.
    pub async fn close(&self) {
        self.0.closed.store(true, Ordering::Release);
        match tokio::time::timeout(CLOSE_LIMIT, self.0.hot.close()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the fetch cache was not closed cleanly"),
            Err(_) => tracing::warn!("the fetch cache did not finish writing in time: some entries are lost"),
        }
    }

    /// Waits until what was handed to the disk tier has been written or dropped.
    #[cfg(test)]
    async fn settle(&self) {
        self.0.hot.storage().wait().await;
    }

    #[cfg(test)]
    fn forget_memory(&self) {
        self.0.hot.memory().clear();
        self.0.backfill.clear();
    }
}

impl Inner {
    fn in_memory(&self, key: BlockKey, class: Class) -> Option<Bytes> {
        let bytes = if let Some(entry) = self.hot.memory().get(&key) {
            entry.value().0.clone()
        } else {
            let bytes = self.backfill.get(&key)?.value().0.clone();
            if class == Class::Hot {
                self.keep(key, class, &bytes);
            }
            bytes
        };
        self.metrics.memory.increment(1);
        Some(bytes)
    }

    async fn fetch<F, Fut>(&self, key: BlockKey, class: Class, load: F) -> Result<Bytes, Error>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<Bytes, Box<dyn StdError + Send + Sync>>>,
    {
        // A flight may have landed between the caller's look and this one.
        if let Some(bytes) = self.in_memory(key, class) {
            return Ok(bytes);
        }
        if let Some(bytes) = self.on_disk(key, class).await {
            self.metrics.disk.increment(1);
            return Ok(bytes);
        }
        self.metrics.misses.increment(1);
        let bytes = load().await.map_err(|e| Error::Load(e.into()))?;
        self.keep(key, class, &bytes);
        if self.goes_to_disk(&bytes) && self.is_back(key, &bytes) {
            self.hot.storage_writer(key).force().insert(Run(bytes.clone()));
        }
        Ok(bytes)
    }

    async fn on_disk(&self, key: BlockKey, class: Class) -> Option<Bytes> {
        self.sizes.disk.as_ref()?;
        match self.hot.storage().load(&key).await {
            Ok(Load::Entry { value: Run(bytes), .. }) => {
                self.keep(key, class, &bytes);
                Some(bytes)
            }
            // Still on its way to the disk.
            Ok(Load::Piece { piece, .. }) => Some(piece.value().0.clone()),
            Ok(Load::Miss | Load::Throttled) => None,
            Err(error) => {
                tracing::warn!(?key, %error, "the fetch cache could not read an entry from its disk");
                None
            }
        }
    }

    /// In memory only.
    fn keep(&self, key: BlockKey, class: Class, bytes: &Bytes) {
        if !self.fits(class, bytes) {
            return;
        }
        let run = Run(bytes.clone());
        match class {
            Class::Backfill => drop(self.backfill.insert(key, run)),
            Class::Hot => drop(self.hot.memory().insert(key, run)),
        }
        self.show_bytes();
    }

    fn is_back(&self, key: BlockKey, bytes: &Bytes) -> bool {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        loaded.is_back(key, bytes.len() as u64)
    }

    const fn fits(&self, class: Class, bytes: &Bytes) -> bool {
        let most = match class {
            Class::Hot => self.sizes.max_hot_entry(),
            Class::Backfill => self.sizes.max_backfill_entry(),
        };
        bytes.len() + KEY_BYTES + ENTRY_OVERHEAD <= most
    }

    fn goes_to_disk(&self, bytes: &Bytes) -> bool {
        self.sizes.disk.as_ref().is_some_and(|d| bytes.len() <= d.max_entry) && !self.closed.load(Ordering::Acquire)
    }

    #[allow(clippy::cast_precision_loss)] // a gauge
    fn show_bytes(&self) {
        self.metrics.hot_bytes.set(self.hot.memory().usage() as f64);
        self.metrics.backfill_bytes.set(self.backfill.usage() as f64);
    }
}

fn weight(_: &BlockKey, run: &Run) -> usize {
    KEY_BYTES + ENTRY_OVERHEAD + run.0.len()
}

impl fmt::Debug for BlockCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockCache").field("sizes", &self.0.sizes).finish_non_exhaustive()
    }
}
