//! The clients: Kafka's own ProducerPerformance, and kcat.
//!
//! Both brokers are read by kcat, which assigns itself all partitions and reads to their end: Kafka's ConsumerPerformance
//! joins a group first, and costs several times more.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use rustix::fs::{Advice, fadvise};

use super::server::Server;
use super::{Bench, kafka};
use crate::process;

/// Partitions of every topic.
const PARTITIONS: &str = "12";

/// Bytes of a record.
const RECORD_BYTES: u64 = 1024;

/// What one client run came to.
pub(super) struct Load {
    pub(super) mb_per_s: f64,
    /// Broker processor time, for the whole run of the client.
    pub(super) cpu_s_per_gb: f64,
}

/// A Java program of Kafka's tools.
fn tool(bench: &Bench, class: &str) -> Command {
    let mut command = kafka::java(bench);
    command.args(["-Xmx512m", "-Dorg.slf4j.simpleLogger.defaultLogLevel=error", class]);
    command
}

pub(super) fn create_topic(bench: &Bench, address: &str, topic: &str) -> Result<()> {
    let mut command = tool(bench, "org.apache.kafka.tools.TopicCommand");
    command.args(["--bootstrap-server", address, "--create", "--topic", topic, "--partitions", PARTITIONS]);
    process::output(&mut command).map(drop)
}

pub(super) fn delete_topic(bench: &Bench, address: &str, topic: &str) -> Result<()> {
    let mut command = tool(bench, "org.apache.kafka.tools.TopicCommand");
    command.args(["--bootstrap-server", address, "--delete", "--topic", topic]);
    process::output(&mut command).map(drop)
}

/// Sends `records` as fast as they go: batches of 64 KiB, linger 5 ms, acks=all. `settled` returns when the broker has
/// done what belongs to it; its processor time counts up to there.
pub(super) fn produce(
    bench: &Bench,
    server: &Server,
    topic: &str,
    records: u64,
    settled: impl FnOnce() -> Result<()>,
) -> Result<Load> {
    let mut command = tool(bench, "org.apache.kafka.tools.ProducerPerformance");
    command
        .args(["--bootstrap-server", &server.address, "--topic", topic, "--throughput", "-1"])
        .args(["--record-size", &RECORD_BYTES.to_string(), "--num-records", &records.to_string()])
        .args(["--command-property", "acks=all", "linger.ms=5", "batch.size=65536"]);
    let before = server.cpu()?;
    let said = process::output(&mut command)?;
    settled()?;
    let cpu = server.cpu()? - before;
    let per_s = records_per_second(&said, records).with_context(|| format!("the producer said:\n{said}"))?;
    Ok(Load { mb_per_s: per_s * RECORD_BYTES as f64 / 1e6, cpu_s_per_gb: cpu / gb(records) })
}

/// Reads all of `topic`, `passes` times over; it holds `records`.
pub(super) fn consume(server: &Server, topic: &str, records: u64, passes: u64) -> Result<Load> {
    let before = server.cpu()?;
    let started = Instant::now();
    for _ in 0..passes {
        let mut command = Command::new("kcat");
        command.args(["-C", "-q", "-e", "-o", "beginning", "-f", ".", "-b", &server.address, "-t", topic]);
        let found = process::output(&mut command)?.len();
        if found as u64 != records {
            bail!("kcat read {found} of {records} records");
        }
    }
    let elapsed = started.elapsed().as_secs_f64();
    let cpu = server.cpu()? - before;
    let gb = gb(records * passes);
    Ok(Load { mb_per_s: gb * 1e3 / elapsed, cpu_s_per_gb: cpu / gb })
}

/// Drops what the page cache holds of the files below `dir`. A broker that runs may delete some of them meanwhile.
pub(super) fn forget_pages(dir: &Path) -> Result<()> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries.with_context(|| format!("cannot list {}", dir.display()))?,
    };
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            forget_pages(&path)?;
        } else {
            let file = match File::open(&path) {
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                file => file.with_context(|| format!("cannot open {}", path.display()))?,
            };
            // Only clean pages can be dropped.
            file.sync_all()?;
            fadvise(&file, 0, None, Advice::DontNeed)?;
        }
    }
    Ok(())
}

fn gb(records: u64) -> f64 {
    (records * RECORD_BYTES) as f64 / 1e9
}

/// From the last line of ProducerPerformance: `N records sent, R records/sec (...), ...`.
fn records_per_second(said: &str, records: u64) -> Result<f64> {
    let line = said.lines().rfind(|line| line.contains(" records sent")).context("no result")?;
    let (sent, rest) = line.split_once(" records sent, ").context("no count")?;
    if sent.trim().parse() != Ok(records) {
        bail!("{} of {records} records were acknowledged", sent.trim());
    }
    let rate = rest.split_once(" records/sec").context("no rate")?.0;
    rate.trim().parse().context("the rate is no number")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_last_line_of_the_tool_and_misses_no_lost_record() {
        let said = "100 records sent, 20.0 records/sec (0.02 MB/sec), 1.0 ms avg latency, 2.0 ms max latency.\n\
                    300 records sent, 84321.5 records/sec (82.34 MB/sec), 58.0 ms avg latency, 240.00 ms max latency, \
                    58 ms 50th, 100 ms 95th, 200 ms 99th, 240 ms 99.9th.\n";
        assert_eq!(records_per_second(said, 300).ok(), Some(84321.5));
        assert!(records_per_second(said, 301).is_err());
        assert!(records_per_second("", 1).is_err());
    }
}
