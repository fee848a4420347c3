//! 1,000 records a second, each sent by itself, from the moment it should have been sent to its arrival at a
//! consumer. The clients are in `tests/bench/latency.py`.

use std::time::Instant;

use anyhow::Result;
use serde::Deserialize;

use super::server::Server;
use super::stats::{HEAD, Series, row};
use super::{Bench, disk, kafka, load, runnel, script};

const RATE: u64 = 1000;
const SECONDS: u64 = 10;
const WARM_UP_SECONDS: u64 = 3;

/// What an acknowledgement of durable records costs by itself.
const SYNC_BYTES: usize = 4096;
const SYNCS: u64 = 500;

/// What the script prints.
#[derive(Deserialize)]
struct Found {
    p50: f64,
    p99: f64,
    p999: f64,
}

#[derive(Default)]
struct Side {
    p50: Series,
    p99: Series,
    p999: Series,
    cpu: Series,
}

pub(super) fn run(bench: &Bench) -> Result<String> {
    let kafka = kafka::start(bench, &[])?;
    load::create_topic(&kafka, "latency")?;
    println!("latency: warming up Apache Kafka");
    measure(bench, &kafka, 3 * SECONDS)?;
    let (mut ours, mut theirs, mut sync) = (Side::default(), Side::default(), Series::default());
    for pair in 0..bench.pairs() {
        println!("latency: pair {} of {}", pair + 1, bench.pairs());
        if pair % 2 == 0 {
            theirs.measure(bench, &kafka)?;
        }
        let runnel = runnel::start(bench, &[])?.server;
        load::create_topic(&runnel, "latency")?;
        measure(bench, &runnel, WARM_UP_SECONDS)?;
        ours.measure(bench, &runnel)?;
        drop(runnel);
        sync.push(disk::sync_seconds(bench, SYNC_BYTES, SYNCS)?.median() * 1e3);
        if pair % 2 == 1 {
            theirs.measure(bench, &kafka)?;
        }
    }
    kafka.stop()?;
    let mut table = HEAD.to_owned();
    table += &row("end to end at 1,000 records/s, p50", "ms", 2, &ours.p50, &theirs.p50);
    table += &row("p99", "ms", 2, &ours.p99, &theirs.p99);
    table += &row("p99.9", "ms", 2, &ours.p999, &theirs.p999);
    table += &row("broker CPU meanwhile", "% of a core", 1, &ours.cpu, &theirs.cpu);
    table += &format!("\nOne fdatasync of 4 KiB on this disk, median of 500, in ms: {}.\n", sync.show(2));
    Ok(table)
}

impl Side {
    fn measure(&mut self, bench: &Bench, server: &Server) -> Result<()> {
        let before = server.cpu()?;
        let started = Instant::now();
        let found = measure(bench, server, bench.amount(SECONDS))?;
        self.cpu.push((server.cpu()? - before) / started.elapsed().as_secs_f64() * 100.0);
        self.p50.push(found.p50);
        self.p99.push(found.p99);
        self.p999.push(found.p999);
        Ok(())
    }
}

fn measure(bench: &Bench, server: &Server, seconds: u64) -> Result<Found> {
    let seconds = if bench.quick { 1 } else { seconds };
    script::run("latency", &[&server.address, "latency", &RATE.to_string(), &seconds.to_string()])
}
