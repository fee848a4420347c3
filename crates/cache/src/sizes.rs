//! How the two budgets are divided.

use crate::options::Options;

/// Share of the memory for backfill: one part in this many.
const BACKFILL_SHARE: u64 = 3;
/// Share of the memory for each of the disk tier's two write buffers: one part in this many.
const BUFFER_SHARE: u64 = 16;
const BUFFER_BYTES: std::ops::RangeInclusive<u64> = (512 << 10)..=(32 << 20);
/// Less memory than this leaves no room for the buffers of a disk tier.
pub(crate) const MIN_MEMORY_FOR_DISK: u64 = 8 << 20;
/// Less disk than this is too few blocks to write, clean and read at once.
pub(crate) const MIN_DISK: u64 = 32 << 20;
/// The disk is written and reclaimed in this many blocks, or more.
const DISK_BLOCKS: u64 = 32;
const BLOCK_BYTES: std::ops::RangeInclusive<u64> = (1 << 20)..=(64 << 20);
/// Memory of one shard, about; a shard must hold many runs to evict sensibly.
const SHARD_BYTES: u64 = 32 << 20;
/// What one entry costs beside its bytes: the record and its place in the index.
pub(crate) const ENTRY_OVERHEAD: usize = 256;
/// Room that the disk tier needs around an entry: index, header, alignment.
const DISK_OVERHEAD: u64 = 16 << 10;

/// The budgets in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sizes {
    pub(crate) hot: usize,
    pub(crate) shards: usize,
    pub(crate) backfill: usize,
    pub(crate) disk: Option<DiskSizes>,
}

/// Sizes of the disk tier in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DiskSizes {
    pub(crate) capacity: usize,
    pub(crate) block: usize,
    /// Each of two.
    pub(crate) buffer: usize,
    pub(crate) max_entry: usize,
}

impl Sizes {
    /// Divides what `options` allow; without a disk tier if either budget is too small for one.
    pub(crate) fn of(options: &Options) -> Self {
        let fits = options.memory >= MIN_MEMORY_FOR_DISK && options.disk >= MIN_DISK;
        Self::divide(options.memory, fits.then_some(options.disk))
    }

    /// The same memory without a disk tier.
    pub(crate) fn without_disk(options: &Options) -> Self {
        Self::divide(options.memory, None)
    }

    fn divide(memory: u64, disk: Option<u64>) -> Self {
        let disk = disk.map(|capacity| {
            let buffer = (memory / BUFFER_SHARE).clamp(*BUFFER_BYTES.start(), *BUFFER_BYTES.end());
            let block = (capacity / DISK_BLOCKS).clamp(*BLOCK_BYTES.start(), *BLOCK_BYTES.end());
            let max_entry = bytes(buffer.min(block) - DISK_OVERHEAD);
            DiskSizes { capacity: bytes(capacity), block: bytes(block), buffer: bytes(buffer), max_entry }
        });
        let backfill = memory / BACKFILL_SHARE;
        let buffers = disk.as_ref().map_or(0, |d| 2 * d.buffer);
        let hot = bytes(memory - backfill) - buffers;
        Self { hot, shards: bytes((hot as u64 / SHARD_BYTES).clamp(1, 8)), backfill: bytes(backfill), disk }
    }

    /// Bytes of the largest run that is kept for hot readers; a larger one would empty half a shard.
    pub(crate) const fn max_hot_entry(&self) -> usize {
        self.hot / self.shards / 2
    }

    /// Bytes of the largest run that is kept for backfill.
    pub(crate) const fn max_backfill_entry(&self) -> usize {
        self.backfill / 2
    }
}

fn bytes(n: u64) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(memory: u64, disk: u64) -> Sizes {
        Sizes::of(&Options { memory, disk, dir: "unused".into() })
    }

    #[test]
    fn the_parts_never_exceed_the_whole() {
        for memory in [0, 1, 4_096, 1 << 20, MIN_MEMORY_FOR_DISK, 100_000_001, 256 << 20, 64 << 30] {
            for disk in [0, 1, MIN_DISK, 1 << 30, 4 << 40] {
                let s = sizes(memory, disk);
                let buffers = s.disk.as_ref().map_or(0, |d| 2 * d.buffer);
                assert_eq!((s.hot + s.backfill + buffers) as u64, memory, "{memory} {disk}");
                assert_eq!(s.disk.is_some(), memory >= MIN_MEMORY_FOR_DISK && disk >= MIN_DISK, "{memory} {disk}");
                if let Some(d) = s.disk {
                    assert!(d.capacity / d.block >= 32 && d.max_entry < d.block.min(d.buffer), "{memory} {disk}");
                    assert!(s.hot as u64 >= memory / 2, "{memory} {disk}");
                }
            }
        }
    }

    #[test]
    fn the_defaults_hold_many_runs_of_a_mebibyte() {
        let s = sizes(256 << 20, 1 << 30);
        assert!(s.hot / s.shards >= 16 << 20);
        let d = s.disk.unwrap_or_else(|| unreachable!());
        assert!(d.max_entry >= 8 << 20 && d.buffer >= 16 << 20);
    }
}
