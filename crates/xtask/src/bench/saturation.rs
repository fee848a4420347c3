//! Producing with a client that costs little: kcat, which is librdkafka, sends the lines of a file. What it takes itself
//! is in the table.
//!
//! Each round: Kafka (one broker for all rounds, warmed up first), also with a topic where it syncs each batch; runnel
//! with shipping held back; runnel with shipping, whose processor time counts until the last byte is in the bucket.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Result, bail};

use super::load::{self, FLUSH, Load};
use super::runnel;
use super::server::{self, Server};
use super::stats::{HEAD, Series, row};
use super::throughput::{HELD_BACK, SHIPPING};
use super::{Bench, disk, kafka, payload};
use crate::process;

/// So many different ones, and all of them so often.
const PAYLOADS: u64 = 50_000;
const TIMES: u64 = 12;

/// Of a record, without the end of its line.
const RECORD_BYTES: u64 = 1024;

/// Kafka does so much less in a topic where it syncs.
const FLUSHED_SHARE: u64 = 6;

/// How often a cold Java broker does the same work before it counts.
const WARM_UPS: usize = 3;

/// Of the loop that the disk's rate is measured with.
const APPEND_BYTES: usize = 4 << 20;
const APPENDS: u64 = 64;

/// Of the loop that only receives and syncs: what this client sends at once, and what `ProducerPerformance` does.
const RECEIVED_BYTES: [usize; 2] = [1 << 20, 256 << 10];
const RECEIVED_MIB: u64 = 2048;

/// One kind of work, run by run.
#[derive(Default)]
struct Work {
    rate: Series,
    cpu: Series,
    client: Series,
}

impl Work {
    fn push(&mut self, load: &Load) {
        self.rate.push(load.mb_per_s);
        self.cpu.push(load.cpu_s_per_gb);
        self.client.push(load.client_s_per_gb);
    }

    fn rows(&self, name: &str, other: &Self) -> String {
        row(name, "MB/s", 0, &self.rate, &other.rate)
            + &row("the same", "broker CPU s/GB", 2, &self.cpu, &other.cpu)
            + &row("the same", "client CPU s/GB", 2, &self.client, &other.client)
    }
}

/// What the client sends: all of it, and the lesser share.
struct Lines {
    all: (PathBuf, u64),
    few: (PathBuf, u64),
}

pub(super) fn run(bench: &Bench) -> Result<String> {
    let times = bench.amount(TIMES).max(1);
    let few = (times / FLUSHED_SHARE).max(1);
    let lines = Lines {
        all: (payload::write_json(bench, "all", PAYLOADS, times)?, PAYLOADS * times),
        few: (payload::write_json(bench, "few", PAYLOADS, few)?, PAYLOADS * few),
    };
    let kafka = kafka::start(bench, &[])?;
    for number in 0..if bench.quick { 1 } else { WARM_UPS } {
        println!("saturation: warming up Apache Kafka, {number}");
        kafka_round(&kafka, &format!("warm-up-{number}"), &lines, &mut Work::default(), &mut Work::default())?;
    }
    let (mut theirs, mut synced) = (Work::default(), Work::default());
    let (mut held, mut shipped, mut limit) = (Work::default(), Work::default(), Series::default());
    let mut least = [Series::default(), Series::default()];
    for round in 0..bench.pairs() {
        println!("saturation: round {} of {}", round + 1, bench.pairs());
        let topic = format!("round-{round}");
        if round % 2 == 0 {
            kafka_round(&kafka, &topic, &lines, &mut theirs, &mut synced)?;
        }
        runnel_round(bench, &HELD_BACK, &lines, false, &mut held)?;
        runnel_round(bench, &SHIPPING, &lines, true, &mut shipped)?;
        rustix::fs::sync();
        let took = disk::sync_seconds(bench, APPEND_BYTES, bench.amount(APPENDS))?;
        limit.push(APPEND_BYTES as f64 / 1e6 / took.mean());
        for (bytes, series) in RECEIVED_BYTES.into_iter().zip(&mut least) {
            let times = bench.amount(RECEIVED_MIB << 20) / bytes as u64;
            series.push(disk::receive_seconds_per_gb(bench, bytes, times)?);
        }
        if round % 2 == 1 {
            kafka_round(&kafka, &topic, &lines, &mut theirs, &mut synced)?;
        }
    }
    kafka.stop()?;
    let mut table = HEAD.to_owned();
    table += &held.rows("shipping held back", &theirs);
    table += &shipped.rows("all shipped as Parquet", &theirs);
    table += &held.rows("shipping held back; Apache Kafka syncs each batch", &synced);
    table += &format!("\nAppends of 4 MiB with fdatasync, one after the other, in MB/s: {}; ", limit.show(0));
    table += &format!("what is produced over that: {}.\n", held.rate.over(&limit).show(2));
    let [whole, quarter] = least.map(|series| series.show(2));
    table += "\nA loop that receives from a socket, writes past the page cache and syncs, and does nothing else, in CPU s/GB: ";
    table += &format!("{whole} with 1 MiB at a time, {quarter} with 256 KiB.\n");
    Ok(table)
}

fn kafka_round(kafka: &Server, topic: &str, lines: &Lines, work: &mut Work, synced: &mut Work) -> Result<()> {
    // Or what was acknowledged from the page cache before would be written to the disk meanwhile.
    rustix::fs::sync();
    work.push(&produce(kafka, topic, &[], &lines.all, || Ok(()))?);
    load::delete_topic(kafka, topic)?;
    rustix::fs::sync();
    let topic = format!("{topic}-synced");
    synced.push(&produce(kafka, &topic, &[FLUSH], &lines.few, || Ok(()))?);
    load::delete_topic(kafka, &topic)
}

fn runnel_round(bench: &Bench, settings: &[(&str, &str)], lines: &Lines, ships: bool, work: &mut Work) -> Result<()> {
    rustix::fs::sync();
    let runnel = runnel::start(bench, settings)?;
    let settled = || if ships { runnel.wait_shipped() } else { Ok(()) };
    // Buffers and the files of the log are made.
    produce(&runnel.server, "warm-up", &[], &lines.few, settled)?;
    work.push(&produce(&runnel.server, "measured", &[], &lines.all, settled)?);
    Ok(())
}

/// Sends all lines of a file, which has so many, to a topic that is made for it. The broker's processor time counts until
/// it has `settled`.
fn produce(
    server: &Server,
    topic: &str,
    topic_settings: &[&str],
    (file, records): &(PathBuf, u64),
    settled: impl FnOnce() -> Result<()>,
) -> Result<Load> {
    load::create_topic_with(server, topic, load::PARTITIONS, topic_settings)?;
    let (before, clients_before) = (server.cpu()?, server::cpu_of_children()?);
    let started = Instant::now();
    process::output(&mut kcat(server, topic, file))?;
    let elapsed = started.elapsed().as_secs_f64();
    let client = server::cpu_of_children()? - clients_before;
    settled()?;
    let cpu = server.cpu()? - before;
    let found = load::held(server, topic)?;
    if found != *records {
        bail!("{topic} holds {found} of {records} records");
    }
    let gb = (records * RECORD_BYTES) as f64 / 1e9;
    Ok(Load { mb_per_s: gb * 1e3 / elapsed, cpu_s_per_gb: cpu / gb, client_s_per_gb: client / gb })
}

fn kcat(server: &Server, topic: &str, file: &Path) -> Command {
    let mut command = Command::new("kcat");
    command.args(["-P", "-q", "-b", &server.address, "-t", topic, "-l"]).arg(file);
    command.args(["-X", "acks=all", "-X", "linger.ms=5", "-X", "batch.size=1000000"]);
    command
}
