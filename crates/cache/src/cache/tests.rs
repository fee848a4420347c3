#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize};

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use tokio::sync::Semaphore;
use uuid::Uuid;

use super::*;
use crate::error::ErrorKind;

const KIB: usize = 1 << 10;
const RUN: usize = 64 * KIB;

fn in_memory(memory: usize) -> Options {
    Options { memory: memory as u64, disk: 0, dir: "/nonexistent".into() }
}

fn on_disk(dir: &Path) -> Options {
    Options { memory: 16 << 20, disk: MIN_DISK, dir: dir.to_owned() }
}

fn key(run: u32) -> BlockKey {
    BlockKey { segment: Uuid::from_u128(7), run }
}

/// Contents that differ from run to run and from place to place.
fn contents(run: u32, len: usize) -> Bytes {
    let mut state = u64::from(run).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut out = Vec::with_capacity(len + 8);
    while out.len() < len.min(RUN) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        out.extend_from_slice(&state.to_le_bytes());
    }
    out.truncate(len);
    // A large one repeats itself: only its size matters.
    while out.len() < len {
        out.extend_from_within(..out.len().min(len - out.len()));
    }
    out.into()
}

/// A bucket that counts.
#[derive(Default)]
struct Source {
    loads: AtomicUsize,
}

impl Source {
    async fn read(&self, cache: &BlockCache, run: u32, class: Class) {
        self.read_of(cache, run, class, RUN).await;
    }

    async fn read_of(&self, cache: &BlockCache, run: u32, class: Class, len: usize) {
        let load = async || -> Result<Bytes, Box<dyn StdError + Send + Sync>> {
            self.loads.fetch_add(1, Ordering::SeqCst);
            Ok(contents(run, len))
        };
        let bytes = cache.get_or_load(key(run), class, load).await.unwrap();
        assert!(bytes == contents(run, len), "run {run} came back with other bytes");
    }

    fn loads(&self) -> usize {
        self.loads.load(Ordering::SeqCst)
    }
}

#[tokio::test]
async fn a_run_is_loaded_once() {
    let cache = BlockCache::open(&in_memory(16 << 20)).await.unwrap();
    let source = Source::default();
    for class in [Class::Hot, Class::Backfill, Class::Hot] {
        assert_eq!(cache.contains(&key(1)), source.loads() == 1);
        source.read(&cache, 1, class).await;
    }
    // A load may borrow from its caller, and the whole can still be spawned.
    fn sendable<F: Send>(f: F) -> F {
        f
    }
    sendable(source.read(&cache, 2, Class::Backfill)).await;
    source.read(&cache, 2, Class::Hot).await;
    assert_eq!(source.loads(), 2);
    assert!(!cache.has_disk() && cache.contains(&key(2)) && !cache.contains(&key(3)));
    let other = BlockKey { segment: Uuid::from_u128(8), ..key(1) };
    assert!(!cache.contains(&other));
}

/// Starts `count` reads of one run that wait at a gate inside their load, and lets them all get as far as they can.
async fn crowd(
    cache: &BlockCache,
    count: usize,
    answer: fn() -> Result<Bytes, String>,
) -> (Arc<Semaphore>, Arc<AtomicUsize>, Vec<tokio::task::JoinHandle<Result<Bytes, Error>>>) {
    let (gate, loads) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut tasks = Vec::new();
    for i in 0..count {
        let (cache, gate, loads) = (cache.clone(), Arc::clone(&gate), Arc::clone(&loads));
        let class = if i % 2 == 0 { Class::Hot } else { Class::Backfill };
        tasks.push(tokio::spawn(async move {
            let load = || async move {
                loads.fetch_add(1, Ordering::SeqCst);
                gate.acquire().await.unwrap().forget();
                answer().map_err(Into::into)
            };
            cache.get_or_load(key(1), class, load).await
        }));
    }
    // On one thread every task runs until it waits before this one goes on.
    tokio::task::yield_now().await;
    (gate, loads, tasks)
}

#[tokio::test]
async fn of_many_readers_one_loads() {
    let cache = BlockCache::open(&in_memory(16 << 20)).await.unwrap();
    let (gate, loads, tasks) = crowd(&cache, 50, || Ok(contents(1, RUN))).await;
    gate.add_permits(50);
    for task in tasks {
        assert_eq!(task.await.unwrap().unwrap(), contents(1, RUN));
    }
    assert_eq!(loads.load(Ordering::SeqCst), 1);
    assert_eq!(cache.0.flights.under_way(), 0);
}

#[tokio::test]
async fn an_error_reaches_every_waiter_and_is_not_kept() {
    let cache = BlockCache::open(&in_memory(16 << 20)).await.unwrap();
    let (gate, loads, tasks) = crowd(&cache, 50, || Err("the bucket is away".to_owned())).await;
    gate.add_permits(50);
    for task in tasks {
        let error = task.await.unwrap().unwrap_err();
        assert_eq!((error.kind(), error.to_string()), (ErrorKind::Load, "the bucket is away".to_owned()));
    }
    assert_eq!(loads.load(Ordering::SeqCst), 1);
    assert_eq!(cache.0.flights.under_way(), 0);
    let source = Source::default();
    source.read(&cache, 1, Class::Hot).await;
    assert_eq!(source.loads(), 1);
}

#[tokio::test]
async fn a_dropped_loader_is_replaced_by_a_waiter() {
    let cache = BlockCache::open(&in_memory(16 << 20)).await.unwrap();
    let (gate, loads, mut tasks) = crowd(&cache, 3, || Ok(contents(1, RUN))).await;
    let first = tasks.remove(0);
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    gate.add_permits(3);
    for task in tasks {
        assert_eq!(task.await.unwrap().unwrap(), contents(1, RUN));
    }
    assert_eq!(loads.load(Ordering::SeqCst), 2);

    // When all are dropped nothing is left behind.
    let cache = BlockCache::open(&in_memory(16 << 20)).await.unwrap();
    let (_gate, _, tasks) = crowd(&cache, 3, || Ok(Bytes::new())).await;
    assert_eq!(cache.0.flights.under_way(), 1);
    tasks.iter().for_each(tokio::task::JoinHandle::abort);
    for task in tasks {
        assert!(task.await.unwrap_err().is_cancelled());
    }
    assert_eq!(cache.0.flights.under_way(), 0);
}

#[tokio::test]
async fn a_panic_in_a_load_does_not_block_the_run() {
    let cache = BlockCache::open(&in_memory(16 << 20)).await.unwrap();
    let (gate, loads, tasks) = crowd(&cache, 2, || panic!("a bug in the loader")).await;
    gate.add_permits(2);
    for task in tasks {
        assert!(task.await.unwrap_err().is_panic());
    }
    assert_eq!(loads.load(Ordering::SeqCst), 2);
    Source::default().read(&cache, 1, Class::Hot).await;
}

/// Reads a hot set that fills three quarters of its budget, then ten times the whole budget as `class`; returns how
/// much of the hot set has to be loaded again.
async fn hot_set_lost_to_a_scan(options: &Options, class: Class) -> usize {
    let cache = BlockCache::open(options).await.unwrap();
    let source = Source::default();
    let hot = u32::try_from(cache.0.sizes.hot * 3 / 4 / RUN).unwrap();
    for run in 0..hot {
        source.read(&cache, run, Class::Hot).await;
    }
    let scan = u32::try_from(10 * usize::try_from(options.memory).unwrap() / RUN).unwrap();
    for run in 0..scan {
        source.read(&cache, 1_000_000 + run, class).await;
    }
    assert_eq!(source.loads(), usize::try_from(hot + scan).unwrap());
    cache.settle().await;
    let before = source.loads();
    for run in 0..hot {
        source.read(&cache, run, Class::Hot).await;
    }
    assert!(cache.0.hot.memory().usage() <= cache.0.sizes.hot);
    assert!(cache.0.backfill.usage() <= cache.0.sizes.backfill);
    cache.close().await;
    source.loads() - before
}

#[tokio::test]
async fn a_backfill_of_ten_times_the_budget_leaves_the_hot_set() {
    let options = in_memory(6 << 20);
    assert_eq!(hot_set_lost_to_a_scan(&options, Class::Backfill).await, 0);
    // The same scan by a reader who says that it is hot takes everything: the class is what protects.
    assert!(hot_set_lost_to_a_scan(&options, Class::Hot).await > 30);
}

#[tokio::test]
async fn what_is_read_ahead_outlives_what_was_read_since() {
    let cache = BlockCache::open(&in_memory(4 << 20)).await.unwrap();
    let source = Source::default();
    // Two thirds of what the memory for a backfill holds.
    let ahead = u32::try_from(cache.0.sizes.backfill * 2 / 3 / RUN).unwrap();
    for run in 0..ahead {
        source.read(&cache, run, Class::Backfill).await;
    }
    for run in 0..200 {
        source.read(&cache, run + ahead, Class::Backfill).await;
        // Answers end within a run, and there are readers a little behind.
        for back in 0..4 {
            source.read(&cache, run.saturating_sub(back), Class::Backfill).await;
        }
    }
    assert_eq!(source.loads(), 200 + ahead as usize, "each once");
}

#[tokio::test]
async fn what_is_loaded_once_writes_nothing_to_the_disk() {
    let dir = tempfile::tempdir().unwrap();
    let cache = BlockCache::open(&on_disk(dir.path())).await.unwrap();
    let source = Source::default();
    for class in [Class::Backfill, Class::Hot] {
        let first = if class == Class::Hot { 1_000 } else { 0 };
        for run in first..first + 200 {
            source.read(&cache, run, class).await;
            source.read(&cache, run, class).await;
        }
    }
    cache.settle().await;
    assert_eq!(source.loads(), 400, "the second time each came from memory");
    assert_eq!(cache.0.hot.statistics().disk_write_bytes(), 0);
    cache.close().await;
}

#[tokio::test]
async fn what_is_loaded_again_goes_to_the_disk_once() {
    for class in [Class::Backfill, Class::Hot] {
        let dir = tempfile::tempdir().unwrap();
        let cache = BlockCache::open(&on_disk(dir.path())).await.unwrap();
        let source = Source::default();
        let mut written = Vec::new();
        for _ in 0..4 {
            for run in 0..64 {
                source.read(&cache, run, class).await;
                cache.settle().await;
            }
            cache.forget_memory();
            written.push(cache.0.hot.statistics().disk_write_bytes());
        }
        assert_eq!(source.loads(), 2 * 64, "{class:?}: from the third time on all came from the disk");
        assert!(
            written[0] == 0 && written[1] >= 64 * RUN && written[1..].iter().all(|w| *w == written[1]),
            "{written:?}"
        );
        source.read(&cache, 7, class).await;
        assert_eq!(cache.0.hot.memory().usage() > 0, class == Class::Hot);
        cache.close().await;
        let cache = BlockCache::open(&on_disk(dir.path())).await.unwrap();
        source.read(&cache, 7, class).await;
        assert_eq!(source.loads(), 2 * 64, "{class:?}: and after a restart");
        cache.close().await;
    }
}

#[tokio::test]
async fn what_exceeds_its_budget_passes_through() {
    let cache = BlockCache::open(&in_memory(8 << 20)).await.unwrap();
    let source = Source::default();
    source.read(&cache, 1, Class::Hot).await;
    source.read(&cache, 2, Class::Backfill).await;
    for class in [Class::Hot, Class::Backfill] {
        for len in [8 << 20, 16 << 20] {
            source.read_of(&cache, 9, class, len).await;
            source.read_of(&cache, 9, class, len).await;
            assert!(!cache.contains(&key(9)));
        }
    }
    assert_eq!(source.loads(), 2 + 8);
    assert!(cache.contains(&key(1)) && cache.contains(&key(2)), "the large one pushed others out");

    let nothing = BlockCache::open(&in_memory(0)).await.unwrap();
    source.read_of(&nothing, 1, Class::Hot, 0).await;
    source.read_of(&nothing, 1, Class::Hot, 1).await;
    assert!(!nothing.contains(&key(1)));
}

/// Fills a disk tier with `runs` runs, waiting for each to be written, and closes it.
async fn fill(dir: &Path, runs: u32) {
    let cache = BlockCache::open(&on_disk(dir)).await.unwrap();
    assert!(cache.has_disk());
    for _ in 0..2 {
        for run in 0..runs {
            Source::default().read(&cache, run, Class::Hot).await;
            cache.settle().await;
        }
        cache.forget_memory();
    }
    cache.close().await;
}

#[tokio::test]
async fn a_reopened_cache_has_its_entries() {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path(), 64).await;
    let cache = BlockCache::open(&on_disk(dir.path())).await.unwrap();
    let source = Source::default();
    for run in 0..64 {
        assert!(cache.contains(&key(run)));
        let class = if run % 2 == 0 { Class::Hot } else { Class::Backfill };
        source.read(&cache, run, class).await;
    }
    assert_eq!(source.loads(), 0);
    cache.close().await;
    // A closed cache still answers, from memory and by loading.
    source.read(&cache, 0, Class::Hot).await;
    source.read(&cache, 1_000, Class::Hot).await;
    assert_eq!(source.loads(), 1);
}

/// Flips one byte in every `step` bytes of every file of the disk tier, from `phase` on.
fn damage(dir: &Path, step: u64, phase: u64) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let mut file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        let mut at = phase;
        while at < file.metadata().unwrap().len() {
            let mut byte = [0];
            file.seek(SeekFrom::Start(at)).unwrap();
            file.read_exact(&mut byte).unwrap();
            file.seek(SeekFrom::Start(at)).unwrap();
            file.write_all(&[byte[0] ^ 0x40]).unwrap();
            at += step;
        }
    }
}

#[tokio::test]
async fn damage_on_the_disk_never_shows() {
    // Phases that meet the headers, the indexes, the lengths and the contents of entries.
    for (step, phase) in [(4_096, 0), (4_096, 3), (4_096, 7), (4_096, 20), (4_096, 34), (4_096, 36), (40_000, 17_000)] {
        let dir = tempfile::tempdir().unwrap();
        fill(dir.path(), 16).await;
        damage(dir.path(), step, phase);
        let cache = BlockCache::open(&on_disk(dir.path())).await.unwrap();
        let source = Source::default();
        for run in 0..16 {
            source.read(&cache, run, Class::Hot).await;
        }
        assert!(source.loads() > 0, "no entry was damaged by {step} from {phase}");
        cache.close().await;
    }
}

#[tokio::test]
async fn other_files_in_the_folder_and_cut_ones_are_no_entries() {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path(), 16).await;
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let file = OpenOptions::new().write(true).open(entry.unwrap().path()).unwrap();
        file.set_len(100_000).unwrap();
    }
    std::fs::write(dir.path().join("unrelated"), b"x").unwrap();
    let cache = BlockCache::open(&on_disk(dir.path())).await.unwrap();
    let source = Source::default();
    for run in 0..16 {
        source.read(&cache, run, Class::Hot).await;
    }
    assert!((1..16).contains(&source.loads()), "{}", source.loads());
    cache.close().await;
}

#[tokio::test]
async fn without_a_usable_folder_the_memory_remains() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, b"not a folder").unwrap();
    for options in [
        on_disk(&file),
        on_disk(&file.join("below")),
        Options { disk: MIN_DISK - 1, ..on_disk(dir.path()) },
        Options { memory: MIN_MEMORY_FOR_DISK - 1, ..on_disk(dir.path()) },
    ] {
        let cache = BlockCache::open(&options).await.unwrap();
        assert!(!cache.has_disk());
        // The memory that the disk tier would have used is not lost.
        assert_eq!((cache.0.sizes.hot + cache.0.sizes.backfill) as u64, options.memory);
        let source = Source::default();
        source.read(&cache, 1, Class::Hot).await;
        source.read(&cache, 1, Class::Hot).await;
        assert_eq!(source.loads(), 1);
        cache.close().await;
    }
}

/// Keeps every metric by name and label.
#[derive(Default)]
struct Ledger(Mutex<BTreeMap<String, Arc<AtomicU64>>>);

impl Ledger {
    fn cell(&self, key: &Key) -> Arc<AtomicU64> {
        let labels: Vec<_> = key.labels().map(|l| l.value().to_owned()).collect();
        let name = format!("{}/{}", key.name(), labels.join(","));
        Arc::clone(self.0.lock().unwrap().entry(name).or_default())
    }

    fn count(&self, name: &str) -> u64 {
        self.0.lock().unwrap()[name].load(Ordering::SeqCst)
    }
}

impl Recorder for Ledger {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.cell(key))
    }
    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.cell(key))
    }
    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

#[test]
fn every_read_is_counted_once() {
    let ledger = Ledger::default();
    let dir = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    metrics::with_local_recorder(&ledger, || {
        runtime.block_on(async {
            fill(dir.path(), 4).await; // 8 misses
            let cache = BlockCache::open(&on_disk(dir.path())).await.unwrap();
            let source = Source::default();
            for run in [0, 1, 0, 1, 9] {
                source.read(&cache, run, Class::Hot).await; // 2 from disk, 2 from memory, 1 miss
            }
            source.read(&cache, 8, Class::Backfill).await; // 1 miss
            let cache = BlockCache::open(&in_memory(16 << 20)).await.unwrap();
            let (gate, _, tasks) = crowd(&cache, 5, || Err(String::new())).await; // 1 miss that fails
            gate.add_permits(5);
            for task in tasks {
                task.await.unwrap().unwrap_err();
            }
            let (gate, _, tasks) = crowd(&cache, 5, || Ok(contents(1, RUN))).await; // 1 miss, 4 in its flight
            gate.add_permits(5);
            for task in tasks {
                task.await.unwrap().unwrap();
            }
        });
    });
    assert_eq!(ledger.count("runnel_cache_misses_total/"), 8 + 2 + 1 + 1);
    assert_eq!(ledger.count("runnel_cache_hits_total/disk"), 2);
    assert_eq!(ledger.count("runnel_cache_hits_total/memory"), 2);
    assert_eq!(ledger.count("runnel_cache_hits_total/flight"), 4);
    let entry = (RUN + KEY_BYTES + ENTRY_OVERHEAD) as f64;
    assert_eq!(f64::from_bits(ledger.count("runnel_cache_bytes/hot")), entry);
}
