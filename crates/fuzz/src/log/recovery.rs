//! A log that is opened after somebody wrote into its files. The input is a list of changes: file (1), position (3),
//! length (1), bytes.

use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use runnel_record::{Batch, Codec, LeaderEpoch, Offset, TimestampMs, TopicId, TopicPartition};
use runnel_runtime::{Disk, FailPoints, Reuse, SimDisk};
use runnel_wal::{Entry, LaneIdentity, LaneSeq, Listener, LocalLog, Options};
use uuid::Uuid;

use crate::batches::{NOON, sample};

const DIR: &str = "/wal";
const PARTITIONS: i32 = 2;
const BATCHES: i32 = 6;

/// Opens the changed log. What it gives back must be what was written; everything else it must report.
pub(crate) fn recovery(input: &[u8]) {
    static IMAGE: OnceLock<Vec<(PathBuf, Vec<u8>)>> = OnceLock::new();
    let disk = restore(IMAGE.get_or_init(image), input);
    let Ok((log, recovered)) = open(&disk) else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    for partition in 0..PARTITIONS {
        let written = written(partition);
        for entry in recovered.tails.get(&tp(partition)).into_iter().flatten() {
            let base = Batch::from_parts(entry.header, bytes::Bytes::new()).base_offset();
            let original = written.iter().find(|batch| batch.base_offset() == base).expect("a batch that was written");
            // The body is checked when it is read.
            if let Ok(found) =
                runtime.block_on(log.read(tp(partition), base, original.next_offset(), 1, Reuse::Unlikely))
            {
                assert!(found.iter().all(|stored| stored.batch == *original), "another batch than was written");
            }
        }
    }
    log.close();
}

/// Changes at the places that matter: file headers, the first blocks, the state.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let change = |file: u8, at: u32, bytes: &[u8]| {
        [&[file][..], &at.to_le_bytes()[..3], &[u8::try_from(bytes.len()).expect("short")], bytes].concat()
    };
    let places =
        [(0, 0), (0, 40), (1, 0), (1, 4096), (1, 8192), (1, 8192 + 100), (1, 8192 + 250), (1, 12288), (2, 8192)];
    let single = places.iter().map(|(file, at)| change(*file, *at, &[0xff; 4]));
    let double = [change(1, 8192, &[0; 16]), change(1, 16384, &[0; 16])].concat();
    single.chain([Vec::new(), double]).collect()
}

fn tp(partition: i32) -> TopicPartition {
    TopicPartition { topic: TopicId(Uuid::from_u128(77)), partition }
}

fn written(partition: i32) -> Vec<Batch> {
    let batch = |n: i32| {
        let mut batch = sample(0, -1).build(Codec::None).expect("it fits");
        batch.assign(Offset(i64::from(n) * 4), LeaderEpoch(partition));
        batch
    };
    (0..BATCHES).map(batch).collect()
}

fn open(disk: &SimDisk) -> Result<(LocalLog, runnel_wal::Recovered), runnel_wal::Error> {
    let options = Options {
        file_bytes: 64 << 10,
        block_bytes: 4 << 10,
        reserve_bytes: 64 << 10,
        footer_after: Duration::from_secs(3600),
        ..Options::new(DIR)
    };
    let identity = LaneIdentity { session: 1, disk_id: Uuid::from_u128(5) };
    LocalLog::open(Arc::new(disk.clone()), options, identity, FailPoints::default())
}

/// Every file of a log that was killed: each batch a block of its own.
fn image() -> Vec<(PathBuf, Vec<u8>)> {
    let disk = SimDisk::new(1);
    let (log, _) = open(&disk).expect("an empty disk");
    let ears = Arc::new(Ears::default());
    let listener: Arc<dyn Listener> = Arc::clone(&ears) as _;
    for n in 0..usize::try_from(BATCHES).unwrap_or(0) {
        for partition in 0..PARTITIONS {
            let batch = written(partition).swap_remove(n);
            let entry = Entry { tp: tp(partition), append_time: TimestampMs(NOON), batch };
            let seq = log.append(entry, &listener).expect("room");
            ears.wait(seq);
        }
    }
    let mut files = Vec::new();
    for lane in disk.list(Path::new(DIR)).expect("the lanes") {
        let dir = Path::new(DIR).join(lane);
        for name in disk.list(&dir).unwrap_or_default() {
            let path = dir.join(name);
            files.push((path.clone(), disk.read(&path, usize::MAX).expect("a file")));
        }
    }
    files.sort_by_key(|(path, _)| path.extension().is_some());
    files
}

fn restore(image: &[(PathBuf, Vec<u8>)], mut changes: &[u8]) -> SimDisk {
    let disk = SimDisk::new(1);
    let mut image = image.to_vec();
    while let [file, a, b, c, length, rest @ ..] = changes {
        let (bytes, rest) = rest.split_at(usize::from(*length).min(rest.len()));
        let at = u32::from_le_bytes([*a, *b, *c, 0]) as usize;
        let index = usize::from(*file) % image.len();
        if let Some(place) = image[index].1.get_mut(at..at + bytes.len()) {
            place.copy_from_slice(bytes);
        }
        changes = rest;
    }
    for (path, bytes) in image {
        disk.create_dir(path.parent().expect("a folder")).expect("a folder");
        let file = disk.create(&path, bytes.len() as u64).expect("room");
        file.write_at(&[IoSlice::new(&bytes)], 0).expect("room");
    }
    disk
}

/// Waits for durability.
#[derive(Default)]
struct Ears(Mutex<u64>, Condvar);

impl Listener for Ears {
    fn durable(&self, upto: LaneSeq) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = upto.0;
        self.1.notify_all();
    }

    fn failed(&self) {
        panic!("the disk does not fail");
    }
}

impl Ears {
    fn wait(&self, seq: LaneSeq) {
        let mut durable = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while *durable < seq.0 {
            durable = self.1.wait(durable).unwrap_or_else(PoisonError::into_inner);
        }
    }
}
