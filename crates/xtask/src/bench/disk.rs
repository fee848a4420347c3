//! What the machine gives to a loop that does nothing else.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result};
use rustix::fs::OFlags;

use super::Bench;
use super::stats::Series;

/// Writes past the page cache need memory and places that are multiples of this.
const ALIGNMENT: usize = 4096;

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

/// The least that a broker does whose acknowledgements mean a synced record: receives `bytes` from a socket, writes them
/// past the page cache over what a file holds, and syncs, `times` over. Processor seconds of a GB, without the sender's.
pub(super) fn receive_seconds_per_gb(bench: &Bench, bytes: usize, times: u64) -> Result<f64> {
    let path = bench.dir.join("received");
    let block = vec![7; bytes];
    fs::write(&path, &block).and_then(|()| File::open(&path)?.sync_all()).context("cannot fill a file")?;
    let direct = i32::try_from(OFlags::DIRECT.bits())?;
    let file = OpenOptions::new().write(true).custom_flags(direct).open(&path).context("cannot open past the cache")?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port")?;
    let address = listener.local_addr()?;
    let sender = thread::spawn(move || {
        let mut socket = TcpStream::connect(address)?;
        (0..times).try_for_each(|_| socket.write_all(&block))
    });
    let (mut socket, _) = listener.accept()?;
    let mut memory = vec![0; bytes + ALIGNMENT];
    let from = memory.as_ptr().align_offset(ALIGNMENT);
    let aligned = &mut memory[from..from + bytes];
    let before = own_cpu()?;
    for _ in 0..times {
        socket.read_exact(aligned)?;
        file.write_all_at(aligned, 0)?;
        file.sync_data()?;
    }
    let took = own_cpu()? - before;
    sender.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
    fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
    Ok(took / (bytes as u64 * times) as f64 * 1e9)
}

/// Processor time of this thread so far, in seconds.
fn own_cpu() -> Result<f64> {
    let path = "/proc/thread-self/schedstat";
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?;
    let nanoseconds = text.split(' ').next().and_then(|first| first.parse::<f64>().ok());
    Ok(nanoseconds.with_context(|| format!("cannot understand {path}"))? / 1e9)
}
