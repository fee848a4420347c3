//! How much of a file a read touches.

use std::io::{IoSlice, Result};
use std::ops::Range;
use std::sync::{Arc, Mutex};

use runnel_record::Offset;
use runnel_runtime::{DiskFile, FailPoints, Reuse, SimDisk};

use super::rig::*;
use crate::file::LaneFile;
use crate::{LocalLog, Options};

/// What a file was asked for.
#[derive(Default)]
struct Asked {
    reads: Vec<(u64, usize)>,
    prefetched: Vec<Range<u64>>,
}

struct Watched {
    file: Arc<dyn DiskFile>,
    asked: Arc<Mutex<Asked>>,
    /// Of what was read through the page cache from there on, nothing is as it was written.
    stale_from: u64,
}

impl DiskFile for Watched {
    fn write_at(&self, parts: &[IoSlice<'_>], position: u64) -> Result<()> {
        self.file.write_at(parts, position)
    }

    fn read_at(&self, out: &mut Vec<u8>, len: usize, position: u64, reuse: Reuse) -> Result<usize> {
        self.asked.lock().unwrap().reads.push((position, len));
        let read = self.file.read_at(out, len, position, reuse)?;
        if reuse == Reuse::Likely && position >= self.stale_from {
            let start = out.len() - read;
            out[start..].fill(0);
        }
        Ok(read)
    }

    fn prefetch(&self, range: Range<u64>) {
        self.asked.lock().unwrap().prefetched.push(range);
    }

    fn sync(&self) -> Result<()> {
        self.file.sync()
    }

    fn len(&self) -> Result<u64> {
        self.file.len()
    }
}

/// Reads batches of so many bytes, each in a block of its own, and returns what was asked for.
fn asked_for(batches: i64, bytes: usize, reuse: Reuse) -> Asked {
    read_watched(batches, bytes, reuse, u64::MAX)
}

fn read_watched(batches: i64, bytes: usize, reuse: Reuse, stale_from: u64) -> Asked {
    let options = Options { file_bytes: 8 << 20, block_bytes: 1 << 20, ..options() };
    let disk = Arc::new(SimDisk::new(1));
    let (log, _) = LocalLog::open(disk, options, identity(), FailPoints::default()).unwrap();
    for i in 0..batches {
        put(&log, entry(0, i, 1, 1, &vec![i as u8; bytes]));
    }
    let mut plan = log.plan(tp(0), Offset(0), Offset(batches), usize::MAX).unwrap();
    let asked = Arc::<Mutex<Asked>>::default();
    for (piece, _) in &mut plan.pieces {
        let LaneFile { id, path, io, seed, len } = &*piece.file;
        let io = Arc::new(Watched { file: Arc::clone(io), asked: Arc::clone(&asked), stale_from });
        piece.file = Arc::new(LaneFile { id: *id, path: path.clone(), io, seed: *seed, len: *len });
    }
    let found = crate::read::read(plan, tp(0), Offset(0), Offset(batches), usize::MAX, reuse).unwrap();
    assert_eq!(bases(&found), (0..batches).collect::<Vec<_>>());
    Arc::try_unwrap(asked).ok().unwrap().into_inner().unwrap()
}

#[test]
fn of_large_blocks_the_table_and_the_body_are_read() {
    let asked = asked_for(8, 300_000, Reuse::Unlikely);
    assert_eq!(asked.reads.iter().filter(|(_, len)| *len == 4096).count(), 8);
    assert_eq!(asked.reads.iter().filter(|(_, len)| *len == 300_000).count(), 8);
    assert_eq!((asked.reads.len(), asked.prefetched.len()), (16, 0));
}

#[test]
fn small_blocks_are_read_many_at_a_time() {
    let asked = asked_for(60, 100, Reuse::Likely);
    assert_eq!(asked.reads.iter().map(|(_, len)| len).sum::<usize>(), 60 * 4096, "each page once");
    assert!(asked.reads.len() <= 4, "{:?}", asked.reads);
    assert!(asked.prefetched.is_empty());
}

#[test]
fn what_others_will_want_is_announced_before_it_is_read() {
    let asked = asked_for(5, 300_000, Reuse::Likely);
    let bodies = asked.reads.iter().filter(|(_, len)| *len == 300_000).map(|(at, len)| *at..at + *len as u64);
    assert_eq!(asked.prefetched, bodies.collect::<Vec<_>>());
    assert_eq!(asked.prefetched.len(), 5);
}

#[test]
fn the_disk_has_the_last_word_on_what_the_page_cache_has_wrong() {
    let asked = read_watched(5, 300_000, Reuse::Likely, 0);
    assert_eq!(asked.reads.iter().filter(|(_, len)| *len == 300_000).count(), 5, "no table was found at first");
}
