//! The clients: Kafka's own ProducerPerformance, and kcat.
//!
//! Both brokers are read by kcat, which assigns itself all partitions and reads to their end: Kafka's ConsumerPerformance
//! joins a group first, and costs several times more.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::panic::resume_unwind;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use rustix::fs::{Advice, fadvise};

use super::server::{self, Server};
use super::{Bench, kafka, script};
use crate::process;

/// Partitions of a topic where nothing else is said.
pub(super) const PARTITIONS: u32 = 12;

/// Of a topic in which Kafka syncs each batch before it acknowledges.
pub(super) const FLUSH: &str = "flush.messages=1";

/// Bytes of a record where nothing else is said.
const RECORD_BYTES: u64 = 1024;

/// What a producer sends.
#[derive(Clone, Copy)]
pub(super) struct Kind<'a> {
    pub(super) record_bytes: u64,
    pub(super) codec: &'a str,
    /// Records to choose from, a line each; random letters if there are none.
    pub(super) payload: Option<&'a Path>,
}

/// For which a producer goes on while another client catches up.
const CATCH_UP_SECONDS: u64 = 15;

/// Random letters, not compressed.
const PLAIN: Kind<'_> = Kind { record_bytes: RECORD_BYTES, codec: "none", payload: None };

/// What one client run came to.
pub(super) struct Load {
    pub(super) mb_per_s: f64,
    /// Broker processor time, for the whole run of the client.
    pub(super) cpu_s_per_gb: f64,
    /// The client's own.
    pub(super) client_s_per_gb: f64,
}

pub(super) fn create_topic(server: &Server, topic: &str) -> Result<()> {
    create_topic_with(server, topic, PARTITIONS, &[])
}

/// With so many partitions, and settings `key=value`.
pub(super) fn create_topic_with(server: &Server, topic: &str, partitions: u32, settings: &[&str]) -> Result<()> {
    let partitions = partitions.to_string();
    script::run("topics", &[&[&server.address, "create", topic, &partitions], settings].concat())
}

pub(super) fn delete_topic(server: &Server, topic: &str) -> Result<()> {
    script::run("topics", &[&server.address, "delete", topic])
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
    produce_kind(bench, server, topic, records, PLAIN, settled)
}

/// The same with records of another kind.
pub(super) fn produce_kind(
    bench: &Bench,
    server: &Server,
    topic: &str,
    records: u64,
    kind: Kind<'_>,
    settled: impl FnOnce() -> Result<()>,
) -> Result<Load> {
    let mut command = producer(bench, server, topic, records, -1, kind);
    let (before, clients_before) = (server.cpu()?, server::cpu_of_children()?);
    let said = process::output(&mut command)?;
    let client = server::cpu_of_children()? - clients_before;
    settled()?;
    let cpu = server.cpu()? - before;
    let per_s = records_per_second(&said, records).with_context(|| format!("the producer said:\n{said}"))?;
    let bytes = kind.record_bytes as f64;
    let gb = records as f64 * bytes / 1e9;
    Ok(Load { mb_per_s: per_s * bytes / 1e6, cpu_s_per_gb: cpu / gb, client_s_per_gb: client / gb })
}

/// ProducerPerformance; at so many records a second, -1 for as fast as they go.
fn producer(bench: &Bench, server: &Server, topic: &str, records: u64, rate: i64, kind: Kind<'_>) -> Command {
    let mut command = kafka::java(bench);
    command.args(["-Xmx512m", "-Dorg.slf4j.simpleLogger.defaultLogLevel=error"]);
    command
        .arg("org.apache.kafka.tools.ProducerPerformance")
        .args(["--bootstrap-server", &server.address, "--topic", topic, "--throughput", &rate.to_string()])
        .args(["--num-records", &records.to_string()]);
    match kind.payload {
        Some(file) => command.arg("--payload-file").arg(file),
        None => command.args(["--record-size", &kind.record_bytes.to_string()]),
    };
    command.args(["--command-property", "acks=all", "linger.ms=5", "batch.size=65536"]);
    command.arg(format!("compression.type={}", kind.codec));
    command
}

/// What a consumer that catches up, and the producer that goes on meanwhile, came to.
pub(super) struct CatchUp {
    pub(super) mb_per_s: f64,
    /// Of the producer's acknowledgements.
    pub(super) median_ms: f64,
    pub(super) p99_ms: f64,
    pub(super) cpu_s: f64,
}

/// Sends `rate` records a second for some seconds and reads the first `backlog` records meanwhile, again and again.
pub(super) fn catch_up(bench: &Bench, server: &Server, topic: &str, backlog: u64, rate: u64) -> Result<CatchUp> {
    let records = bench.amount(rate * CATCH_UP_SECONDS);
    let mut command = producer(bench, server, topic, records, i64::try_from(rate)?, PLAIN);
    let before = server.cpu()?;
    let done = AtomicBool::new(false);
    let (said, mb_per_s) = thread::scope(|scope| {
        let reading = scope.spawn(|| {
            let (started, mut read) = (Instant::now(), 0);
            while read == 0 || !done.load(Ordering::Acquire) {
                kcat(server, topic, &["-c", &backlog.to_string()], backlog)?;
                read += backlog;
            }
            Ok(gb(read) * 1e3 / started.elapsed().as_secs_f64())
        });
        let said = process::output(&mut command);
        done.store(true, Ordering::Release);
        let read: Result<f64> = reading.join().unwrap_or_else(|panic| resume_unwind(panic));
        Ok::<_, anyhow::Error>((said?, read?))
    })?;
    let cpu_s = server.cpu()? - before;
    records_per_second(&said, records)?;
    let latency = |name| latency_ms(&said, name).with_context(|| format!("the producer said:\n{said}"));
    Ok(CatchUp { mb_per_s, median_ms: latency(" ms 50th")?, p99_ms: latency(" ms 99th")?, cpu_s })
}

/// Reads all of `topic`, `passes` times over; it holds `records`.
pub(super) fn consume(server: &Server, topic: &str, records: u64, passes: u64) -> Result<Load> {
    consume_at_once(server, topic, records, passes, 1)
}

/// The same with so many consumers beside each other.
pub(super) fn consume_at_once(server: &Server, topic: &str, records: u64, passes: u64, readers: u64) -> Result<Load> {
    let (before, clients_before) = (server.cpu()?, server::cpu_of_children()?);
    let started = Instant::now();
    for _ in 0..passes {
        thread::scope(|scope| {
            let reading: Vec<_> = (0..readers).map(|_| scope.spawn(|| read(server, topic, records))).collect();
            reading.into_iter().try_for_each(|one| one.join().unwrap_or_else(|panic| resume_unwind(panic)))
        })?;
    }
    let elapsed = started.elapsed().as_secs_f64();
    let (cpu, client) = (server.cpu()? - before, server::cpu_of_children()? - clients_before);
    let gb = gb(records * passes * readers);
    Ok(Load { mb_per_s: gb * 1e3 / elapsed, cpu_s_per_gb: cpu / gb, client_s_per_gb: client / gb })
}

/// All of `topic` once.
fn read(server: &Server, topic: &str, records: u64) -> Result<()> {
    kcat(server, topic, &["-e"], records)
}

/// From the beginning to where `until` says.
fn kcat(server: &Server, topic: &str, until: &[&str], records: u64) -> Result<()> {
    let mut command = Command::new("kcat");
    command.args(["-C", "-q", "-o", "beginning", "-f", ".", "-b", &server.address, "-t", topic]).args(until);
    let found = process::output(&mut command)?.len();
    if found as u64 != records {
        bail!("kcat read {found} of {records} records");
    }
    Ok(())
}

/// How many records the partitions of a topic hold that was empty before.
pub(super) fn held(server: &Server, topic: &str) -> Result<u64> {
    let mut command = Command::new("kcat");
    command.args(["-Q", "-b", &server.address]);
    for partition in 0..PARTITIONS {
        command.args(["-t", &format!("{topic}:{partition}:-1")]);
    }
    let said = process::output(&mut command)?;
    let ends = said.lines().map(|line| {
        let end = line.rsplit_once(" offset ").with_context(|| format!("kcat said: {line}"))?.1;
        end.trim().parse::<u64>().with_context(|| format!("kcat said: {line}"))
    });
    ends.sum()
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

/// One of the percentiles in that line, by what stands behind it.
fn latency_ms(said: &str, name: &str) -> Option<f64> {
    let line = said.lines().rfind(|line| line.contains(name))?;
    line.split_once(name)?.0.rsplit_once(' ')?.1.parse().ok()
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
        assert_eq!((latency_ms(said, " ms 50th"), latency_ms(said, " ms 99th")), (Some(58.0), Some(200.0)));
        assert_eq!(latency_ms(said, " ms 75th"), None);
        assert!(records_per_second(said, 301).is_err());
        assert!(records_per_second("", 1).is_err());
    }
}
