//! A broker, its surroundings, and what clients do with it.

mod batches;
mod bucket;
pub(crate) mod chance;
pub(crate) mod client;
pub(crate) mod clients;
pub(crate) mod cluster;
pub(crate) mod direct;
pub(crate) mod store;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use runnel_blob::Bucket;
use runnel_blob::testing::Faults;
use runnel_broker::{
    Broker, CacheOptions, Options, Ports, SegmentOptions, StartError, StopReport, TopicOptions, WalOptions,
};
use runnel_record::{TopicId, TopicPartition};
use runnel_runtime::disk::{Disk, SimDisk};
use runnel_runtime::{FailPoints, ManualClock, TcpDial};
use tokio::runtime::Runtime;
use tokio::time::Instant;

pub(crate) use batches::{Content, batch, batch_of, idempotent, values};
pub(crate) use client::FetchFrom;

/// 2026-11-23, noon, UTC.
pub(crate) const NOON: i64 = 1_795_435_200_000;

/// Age at which segments ship; the clock stands still until a test moves it.
pub(crate) const MAX_AGE_MS: i64 = 60_000;

/// How long a test waits for something that must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// What outlives a broker: its disk, its bucket, the clock.
pub(crate) struct World {
    dir: tempfile::TempDir,
    pub(crate) disk: SimDisk,
    pub(crate) faults: Faults,
    pub(crate) bucket: Bucket,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) fail: FailPoints,
    pub(crate) options: Options,
}

impl World {
    pub(crate) fn new() -> Self {
        // What is not simulated (the metadata store) syncs its files: in memory that costs nothing, where there is such.
        let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let data_dir = dir.path().join("data");
        let faults = Faults::new();
        let mut storage = runnel_blob::Options::new("memory:");
        storage.request_timeout = Duration::from_millis(800);
        let bucket = Bucket::open_with_faults(&storage, FailPoints::default(), &faults).unwrap();
        let disk = SimDisk::new(1);
        make_durable_dir(&disk, &data_dir);
        let options = Options {
            node_name: "node".to_owned(),
            node_number: Some(0),
            zone: None,
            data_dir,
            storage,
            wal: WalOptions::new(64 << 20, 1 << 30),
            // What is tested are segments as they were shipped, unless a test says otherwise.
            segment: SegmentOptions {
                max_bytes: 64 << 20,
                max_age: Duration::from_millis(60_000),
                merge_bytes: 0,
                merge_after: Duration::ZERO,
            },
            cache: CacheOptions { memory: 16 << 20, disk: 0 },
            groups: runnel_broker::GroupOptions::default(),
            topics: TopicOptions {
                auto_create: true,
                default_partitions: 1,
                default_retention_ms: -1,
                retention_check: Duration::from_millis(20),
                producer_expiration: Duration::from_secs(24 * 60 * 60),
            },
            shutdown_timeout: Duration::from_secs(5),
        };
        let clock = Arc::new(ManualClock::new(NOON));
        Self { dir, disk, faults, bucket, clock, fail: FailPoints::default(), options }
    }

    /// A folder beside the data directory, for tests that need one.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn start(&self) -> Node {
        self.try_start().unwrap()
    }

    pub(crate) fn try_start(&self) -> Result<Node, StartError> {
        self.try_start_on(Arc::new(self.disk.clone()))
    }

    pub(crate) fn ports(&self) -> Ports {
        let (clock, disk) = (Arc::clone(&self.clock), Arc::new(self.disk.clone()));
        Ports { clock, disk, dial: Arc::new(TcpDial), fail: self.fail.clone() }
    }

    /// Starts a broker with another disk for log and identity.
    pub(crate) fn try_start_on(&self, disk: Arc<dyn Disk>) -> Result<Node, StartError> {
        let ports = Ports { disk, ..self.ports() };
        Node::start(Broker::start_on(self.bucket.clone(), self.options.clone(), ports))
    }

    /// Lets everything that is unshipped become due by age.
    pub(crate) fn age(&self) {
        self.clock.advance(MAX_AGE_MS + 1);
    }

    /// The process dies, the machine does not.
    pub(crate) fn kill(&mut self, node: Node) {
        self.disk = self.disk.kill();
        node.end();
    }

    /// The power fails: of what was not synced, `seed` decides.
    pub(crate) fn cut_power(&mut self, node: Node, seed: u64) {
        self.disk = self.disk.crash(seed);
        node.end();
    }

    /// Deletes the metadata store of a broker that does not run.
    pub(crate) fn lose_metadata(&self) {
        std::fs::remove_file(self.metadata()).unwrap();
    }

    pub(crate) fn metadata(&self) -> PathBuf {
        self.options.data_dir.join("metadata.redb")
    }

    /// The files of all lanes, without the lanes' states.
    pub(crate) fn lane_files(&self) -> Vec<PathBuf> {
        lane_files(&self.disk, &self.options.data_dir)
    }

    /// Every place in the log where `marker` stands.
    pub(crate) fn places(&self, marker: &[u8]) -> Vec<(PathBuf, usize)> {
        places(&self.disk, &self.options.data_dir, marker)
    }

    /// Turns a bit of the `nth` place in the log where `marker` stands.
    pub(crate) fn rot(&self, marker: &[u8], nth: usize) {
        let (path, at) = self.places(marker).swap_remove(nth);
        self.disk.flip_bit(&path, at, 0).unwrap();
    }
}

fn lane_files(disk: &SimDisk, data_dir: &Path) -> Vec<PathBuf> {
    let list = |dir: &Path| disk.list(dir).unwrap().into_iter().map(|name| dir.join(name)).collect::<Vec<_>>();
    let lanes = list(&data_dir.join("wal"));
    let lanes = lanes.into_iter().filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("lane-"));
    lanes.flat_map(|lane| list(&lane)).filter(|path| !path.ends_with("state")).collect()
}

/// Every place in the log of a data directory where `marker` stands.
pub(crate) fn places(disk: &SimDisk, data_dir: &Path, marker: &[u8]) -> Vec<(PathBuf, usize)> {
    let mut found = Vec::new();
    for path in lane_files(disk, data_dir) {
        let bytes = disk.read(&path, usize::MAX).unwrap();
        // Most of a lane file was never written.
        for page in
            (0..bytes.len()).step_by(PAGE).filter(|page| bytes[*page..bytes.len().min(page + PAGE)] != [0; PAGE])
        {
            let starts = (page..bytes.len().min(page + PAGE)).filter(|at| bytes[*at..].starts_with(marker));
            found.extend(starts.map(|at| (path.clone(), at)));
        }
    }
    found
}

const PAGE: usize = 4 << 10;

fn make_durable_dir(disk: &SimDisk, dir: &Path) {
    disk.create_dir(dir).unwrap();
    dir.ancestors().for_each(|dir| disk.sync_dir(dir).unwrap());
}

/// A running broker.
pub(crate) struct Node {
    runtime: Option<Runtime>,
    broker: Option<Arc<Broker>>,
}

impl Node {
    pub(crate) fn start(start: impl Future<Output = Result<Arc<Broker>, StartError>>) -> Result<Self, StartError> {
        // `RUST_LOG=runnel_broker=debug` shows what brokers say. A second call changes nothing.
        let filter = tracing_subscriber::EnvFilter::from_default_env();
        drop(tracing_subscriber::fmt().with_env_filter(filter).with_test_writer().try_init());
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let broker = runtime.block_on(start)?;
        Ok(Self { runtime: Some(runtime), broker: Some(broker) })
    }

    pub(crate) fn broker(&self) -> Arc<Broker> {
        Arc::clone(self.broker.as_ref().unwrap())
    }

    pub(crate) fn run<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.as_ref().unwrap().block_on(work)
    }

    pub(crate) fn spawn<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> tokio::task::JoinHandle<T> {
        self.runtime.as_ref().unwrap().spawn(work)
    }

    /// Whether it cannot go on.
    pub(crate) fn has_failed(&self) -> bool {
        let broker = self.broker();
        self.run(async { tokio::time::timeout(Duration::ZERO, broker.failed()).await.is_ok() })
    }

    /// A clean stop.
    pub(crate) fn stop(self) -> StopReport {
        let report = self.run(self.broker().stop());
        self.end();
        report
    }

    /// Drops everything as it is.
    fn end(mut self) {
        self.runtime.take().unwrap().shutdown_timeout(PATIENCE);
        let broker = self.broker.take().unwrap();
        // Others may wait for its answer, for a moment.
        eventually("everything lets go of a broker that has ended", || (Arc::strong_count(&broker) == 1).then_some(()));
    }
}

/// Waits until `check` gives something.
pub(crate) fn eventually<T>(what: &str, mut check: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = check() {
            return found;
        }
        assert!(start.elapsed() < PATIENCE, "{what} did not happen in time");
        pause();
    }
}

#[expect(clippy::disallowed_methods, reason = "between two looks at a condition, not instead of one")]
fn pause() {
    std::thread::sleep(Duration::from_millis(5));
}

/// Waits until a fail point that was armed for one error has fired.
pub(crate) fn fired(fail: &FailPoints, point: &str) {
    eventually(point, || (!fail.is_armed(point)).then_some(()));
}

pub(crate) fn tp(topic: TopicId, partition: i32) -> TopicPartition {
    TopicPartition { topic, partition }
}
