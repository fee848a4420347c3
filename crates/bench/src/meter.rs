//! Processor time of this process.

use std::fs;

use anyhow::{Context, Result};

/// How fast a path is.
pub(crate) struct Speed {
    bytes: f64,
    cpu_s: f64,
}

impl Speed {
    pub(crate) fn mb_per_s(&self) -> f64 {
        self.bytes / self.cpu_s / 1e6
    }

    pub(crate) fn cpu_s_per_gb(&self) -> f64 {
        self.cpu_s * 1e9 / self.bytes
    }
}

/// Repeats `work`, which gets through `bytes` each time, until it has used `seconds`.
pub(crate) fn measure(seconds: f64, bytes: usize, mut work: impl FnMut() -> Result<()>) -> Result<Speed> {
    work()?; // fills caches and buffers
    let started = cpu_s()?;
    let mut done = 0.0;
    loop {
        work()?;
        done += bytes as f64;
        let cpu_s = cpu_s()? - started;
        if cpu_s >= seconds {
            return Ok(Speed { bytes: done, cpu_s });
        }
    }
}

/// User and system time of all threads so far, by the ticks of `/proc` (100 a second on Linux).
fn cpu_s() -> Result<f64> {
    let stat = fs::read_to_string("/proc/self/stat").context("cannot read /proc/self/stat")?;
    ticks(&stat).map(|ticks| ticks / 100.0).context("cannot understand /proc/self/stat")
}

fn ticks(stat: &str) -> Option<f64> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_ticks_of_a_process_with_any_name() {
        assert_eq!(ticks("7 (a) b) R 1 2 3 0 -1 4 5 6 7 8 21 34 0 0"), Some(55.0));
        assert_eq!(ticks("7 (a"), None);
        assert!(cpu_s().is_ok());
    }
}
