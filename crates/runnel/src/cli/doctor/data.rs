//! The data directory, its disk and its clock.

use runnel_broker::{DiskFacts, Tenant, examine_disk};
use runnel_runtime::Clock;
use runnel_runtime::disk::StdDisk;

use super::report::Report;
use crate::config::{ByteSize, Config};

/// A first log file, what is kept in reserve, and metadata.
const LEAST_BYTES: u64 = 128 << 20;
/// A file system of another machine may be this far off.
const SKEW_MS: i64 = 5_000;
/// 2026-01-01: no clock that is right shows an earlier time.
const BUILT_MS: i64 = 1_767_225_600_000;

/// Whose the directory is.
pub(super) fn directory(config: &Config, tenant: &Tenant, report: &mut Report) {
    let dir = &config.node.data_dir;
    match (tenant.running, dir.is_dir(), &tenant.cluster) {
        (true, ..) => report.ok("node.data_dir", format!("{}: a broker runs on it", dir.display())),
        (_, true, Some(cluster)) => report.ok("node.data_dir", format!("{}: of cluster {cluster}", dir.display())),
        (_, true, None) => report.ok("node.data_dir", format!("{}: not used yet", dir.display())),
        (_, false, _) => report.ok("node.data_dir", format!("{}: the first start creates it", dir.display())),
    }
}

/// What its disk can do, its space and its clock.
pub(super) fn disk(config: &Config, clock: &dyn Clock, report: &mut Report) {
    let dir = &config.node.data_dir;
    match examine_disk(dir, &StdDisk, clock) {
        Ok(facts) => {
            let (at, took) = (facts.folder.display(), facts.sync_latency);
            report.ok(
                "disk",
                format!("{at}: writes, syncs, renames and locks work; fdatasync of 4 KiB takes {took:.1?}"),
            );
            space(config, &facts, report);
            system_clock(&facts, clock, report);
        }
        Err(error) => {
            let advice =
                "give the broker's user a local disk that it may write to; network file systems often lack locks";
            report.fail("disk", format!("{}: {error}", dir.display()), advice);
        }
    }
}

fn space(config: &Config, facts: &DiskFacts, report: &mut Report) {
    let show = |bytes: u64| match bytes >> 30 {
        0 => format!("{} MiB", bytes >> 20),
        _ => format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30)),
    };
    let free = facts.free_bytes;
    let cache = config.cache.disk.0;
    let log = match config.max_unshipped() {
        Ok(log) => log,
        Err(error) => {
            return report.fail("free space", format!("{error:#}"), "give the broker a disk that it can look at");
        }
    };
    let detail = format!(
        "{} free; the log may take {} (wal.max_unshipped), the cache {} (cache.disk)",
        show(free),
        show(log),
        ByteSize(cache)
    );
    if free < LEAST_BYTES {
        report.fail("free space", detail, format!("a start needs {}: free some", ByteSize(LEAST_BYTES)));
    } else if free < log.saturating_add(cache) {
        let advice =
            "a long outage of the bucket would fill the disk: free some, or lower wal.max_unshipped or cache.disk";
        report.warn("free space", detail, advice);
    } else {
        report.ok("free space", detail);
    }
}

fn system_clock(facts: &DiskFacts, clock: &dyn Clock, report: &mut Report) {
    const CHECK: &str = "clock";
    let skew_ms = facts.clock_skew_ms;
    if clock.now_ms() < BUILT_MS {
        report.fail(CHECK, "this machine's clock shows a time before this release", "set it, with NTP for one");
    } else if skew_ms.abs() > SKEW_MS {
        let detail = format!("the file system's clock is {:.1} s ahead of this machine's", skew_ms as f64 / 1e3);
        report.warn(CHECK, detail, "set both, with NTP for one");
    } else {
        report.ok(CHECK, "agrees with the file system's");
    }
}
