//! What the disk gives to a loop that does nothing else.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::time::Instant;

use anyhow::{Context, Result};

use super::Bench;
use super::stats::Series;

/// Writes `bytes` and syncs them, `times` over, in a file that is there already, as the log does; seconds of each.
pub(super) fn sync_seconds(bench: &Bench, bytes: usize, times: u64) -> Result<Series> {
    let path = bench.dir.join("sync");
    let file = File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
    let place = |number: u64| number * bytes as u64;
    let block = vec![7; bytes];
    for number in 0..times {
        file.write_all_at(&block, place(number))?;
    }
    file.sync_all()?;
    let mut took = Series::default();
    for number in 0..times {
        let started = Instant::now();
        file.write_all_at(&block, place(number))?;
        file.sync_data()?;
        took.push(started.elapsed().as_secs_f64());
    }
    fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
    Ok(took)
}
