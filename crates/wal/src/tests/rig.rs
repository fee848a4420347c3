//! Batches, listeners and a log on a disk that can crash.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use bytes::Bytes;
use runnel_record::{Batch, HEADER_LEN, Offset, TimestampMs, TopicId, TopicPartition};
use runnel_runtime::{Disk, FailPoints, Reuse, SimDisk};
use uuid::Uuid;

use crate::{Entry, Error, LaneIdentity, LaneSeq, Listener, LocalLog, Options, Recovered, StoredBatch};

pub(crate) const DIR: &str = "/wal";

pub(crate) fn tp(partition: i32) -> TopicPartition {
    TopicPartition { topic: TopicId(Uuid::from_u128(77)), partition }
}

/// A batch of `records` offsets with a right CRC.
pub(crate) fn batch(base: i64, epoch: i32, records: i32, body: &[u8]) -> Batch {
    let mut header = [0; HEADER_LEN];
    header[0..8].copy_from_slice(&base.to_be_bytes());
    header[8..12].copy_from_slice(&i32::try_from(HEADER_LEN - 12 + body.len()).unwrap().to_be_bytes());
    header[12..16].copy_from_slice(&epoch.to_be_bytes());
    header[16] = 2;
    header[23..27].copy_from_slice(&(records - 1).to_be_bytes());
    header[57..61].copy_from_slice(&records.to_be_bytes());
    let crc = crc32c::crc32c_append(crc32c::crc32c(&header[21..]), body);
    header[17..21].copy_from_slice(&crc.to_be_bytes());
    Batch::from_parts(header, Bytes::copy_from_slice(body))
}

pub(crate) fn entry(partition: i32, base: i64, epoch: i32, records: i32, body: &[u8]) -> Entry {
    let append_time = TimestampMs(1_700_000_000_000 + base);
    Entry { tp: tp(partition), append_time, batch: batch(base, epoch, records, body) }
}

#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Heard {
    pub(crate) durable: u64,
    pub(crate) calls: usize,
    pub(crate) failed: usize,
}

/// Remembers what it heard, and that it heard it in order.
#[derive(Default)]
pub(crate) struct Ears(Mutex<Heard>, Condvar);

impl Listener for Ears {
    fn durable(&self, upto: LaneSeq) {
        let mut heard = self.0.lock().unwrap();
        assert!(upto.0 > heard.durable && heard.failed == 0, "out of order");
        heard.durable = upto.0;
        heard.calls += 1;
        self.1.notify_all();
    }

    fn failed(&self) {
        self.0.lock().unwrap().failed += 1;
        self.1.notify_all();
    }
}

impl Ears {
    pub(crate) fn heard(&self) -> Heard {
        *self.0.lock().unwrap()
    }

    /// Waits until `seq` is durable; false if the lane failed first.
    pub(crate) fn wait(&self, seq: LaneSeq) -> bool {
        let mut heard = self.0.lock().unwrap();
        while heard.durable < seq.0 && heard.failed == 0 {
            heard = self.1.wait(heard).unwrap();
        }
        heard.durable >= seq.0
    }
}

pub(crate) fn ears() -> (Arc<Ears>, Arc<dyn Listener>) {
    let ears = Arc::new(Ears::default());
    (Arc::clone(&ears), ears as Arc<dyn Listener>)
}

/// Small files and blocks, so that everything rolls often.
pub(crate) fn options() -> Options {
    Options {
        dir: PathBuf::from(DIR),
        file_bytes: 64 << 10,
        block_bytes: 16 << 10,
        max_unflushed: 64 << 20,
        max_unshipped: 1 << 30,
        reserve_bytes: 64 << 10,
        footer_after: Duration::from_secs(3600),
    }
}

pub(crate) fn identity() -> LaneIdentity {
    LaneIdentity { session: 1, disk_id: Uuid::from_u128(5) }
}

pub(crate) fn try_open(disk: &SimDisk) -> Result<(LocalLog, Recovered), Error> {
    LocalLog::open(Arc::new(disk.clone()), options(), identity(), FailPoints::default())
}

pub(crate) fn open(disk: &SimDisk) -> (LocalLog, Recovered) {
    try_open(disk).unwrap()
}

/// Appends and waits until it is durable: a block of its own.
pub(crate) fn put(log: &LocalLog, entry: Entry) {
    let (ears, listener) = ears();
    let seq = log.append(entry, &listener).unwrap();
    assert!(ears.wait(seq), "the lane failed");
}

pub(crate) fn read(log: &LocalLog, partition: i32, range: Range<i64>, max: usize) -> Result<Vec<StoredBatch>, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(log.read(tp(partition), Offset(range.start), Offset(range.end), max, Reuse::Unlikely))
}

/// Reads a partition to the end, some bytes at a time.
pub(crate) fn read_all(log: &LocalLog, partition: i32, from: i64, max: usize) -> Vec<StoredBatch> {
    let mut out: Vec<StoredBatch> = Vec::new();
    loop {
        let next = out.last().map_or(from, |stored| stored.batch.next_offset().0);
        let more = read(log, partition, next..i64::MAX, max).unwrap();
        if more.is_empty() {
            return out;
        }
        out.extend(more);
    }
}

pub(crate) fn bases(stored: &[StoredBatch]) -> Vec<i64> {
    stored.iter().map(|stored| stored.batch.base_offset().0).collect()
}

pub(crate) fn tail_bases(recovered: &Recovered, partition: i32) -> Vec<i64> {
    let tail = recovered.tails.get(&tp(partition)).map(Vec::as_slice).unwrap_or_default();
    tail.iter().map(|entry| Batch::from_parts(entry.header, Bytes::new()).base_offset().0).collect()
}

/// All files below the lanes' directory with this extension, oldest first.
pub(crate) fn files(disk: &SimDisk, extension: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for lane in disk.list(Path::new(DIR)).unwrap() {
        let dir = Path::new(DIR).join(lane);
        for name in disk.list(&dir).unwrap_or_default() {
            if name.ends_with(extension) {
                files.push(dir.join(name));
            }
        }
    }
    files
}

/// Waits until the keeper has nothing more to do, so that the next fault meets the writer.
pub(crate) fn wait_for_next_file(log: &LocalLog) {
    log.get_ahead();
    while !log.is_prepared() {
        std::thread::yield_now();
    }
}

/// Where `needle` stands in a file.
pub(crate) fn find(disk: &SimDisk, path: &Path, needle: &[u8]) -> Option<usize> {
    let bytes = disk.read(path, usize::MAX).unwrap();
    bytes.windows(needle.len()).position(|window| window == needle)
}

/// Turns a bit where `needle` stands, in whichever file that is.
pub(crate) fn damage(disk: &SimDisk, extension: &str, needle: &[u8]) {
    let hit = files(disk, extension).into_iter().find_map(|path| Some((find(disk, &path, needle)?, path)));
    let (at, path) = hit.unwrap();
    disk.flip_bit(&path, at, 2).unwrap();
}
