//! From nothing to the first answer, the process that does nothing, and a start after a kill.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::server::Server;
use super::stats::{HEAD, Series, row};
use super::throughput::HELD_BACK;
use super::{Bench, kafka, load, runnel};

/// How long an idle broker is watched.
const IDLE: Duration = Duration::from_secs(5);

/// Records of 1 KiB that are not shipped when a broker is killed: a GiB, without what is around records.
const UNSHIPPED: u64 = 1 << 20;

const TOPIC: &str = "before";

/// All partitions have a leader again within this time.
const PATIENCE: Duration = Duration::from_secs(60);

/// They are to fit into the log.
const ROOM: (&str, &str) = ("wal.max_unshipped", "4GiB");

#[derive(Default)]
struct Side {
    ready_ms: Series,
    start_cpu: Series,
    idle_rss: Series,
    idle_cpu: Series,
    again_ms: Series,
    ends_ms: Series,
}

impl Side {
    fn watch(&mut self, server: Server) -> Result<()> {
        self.ready_ms.push(server.ready_after.as_secs_f64() * 1e3);
        let started = server.cpu()?;
        self.start_cpu.push(started * 1e3);
        thread::sleep(IDLE);
        self.idle_rss.push(server.rss()?);
        self.idle_cpu.push((server.cpu()? - started) / IDLE.as_secs_f64() * 100.0);
        server.stop()
    }

    /// A GiB is written, the broker is killed, and one is started on what it left.
    fn kill(&mut self, bench: &Bench, server: Server, start: impl FnOnce() -> Result<Server>) -> Result<()> {
        let records = bench.amount(UNSHIPPED);
        load::create_topic(&server, TOPIC)?;
        load::produce(bench, &server, TOPIC, records, || Ok(()))?;
        drop(server);
        let started = Instant::now();
        let server = start()?;
        self.again_ms.push(server.ready_after.as_secs_f64() * 1e3);
        let found = loop {
            match load::held(&server, TOPIC) {
                // It answers before every partition has a leader again.
                Err(_) if started.elapsed() < PATIENCE => thread::sleep(Duration::from_millis(20)),
                found => break found?,
            }
        };
        self.ends_ms.push(started.elapsed().as_secs_f64() * 1e3);
        if found != records {
            bail!("{found} of {records} records are there after a kill");
        }
        server.stop()
    }
}

pub(super) fn run(bench: &Bench) -> Result<String> {
    let (mut ours, mut theirs) = (Side::default(), Side::default());
    for pair in 0..bench.pairs().min(3) {
        println!("start-up: pair {}", pair + 1);
        ours.watch(runnel::start(bench, &[])?.server)?;
        theirs.watch(kafka::start(bench, &[])?)?;
        let settings = [HELD_BACK.as_slice(), &[ROOM]].concat();
        let server = runnel::start(bench, &settings)?.server;
        ours.kill(bench, server, || Ok(runnel::start_again(bench, &settings)?.server))?;
        theirs.kill(bench, kafka::start(bench, &[])?, || kafka::start_again(bench, &[]))?;
    }
    let mut table = HEAD.to_owned();
    table += &row("empty data directory to first answer", "ms", 0, &ours.ready_ms, &theirs.ready_ms);
    table += &row("the same", "CPU ms", 0, &ours.start_cpu, &theirs.start_cpu);
    table += &row("idle", "MiB", 0, &ours.idle_rss, &theirs.idle_rss);
    table += &row("idle, including what a start leaves to do", "% of a core", 1, &ours.idle_cpu, &theirs.idle_cpu);
    let again = "after kill -9 with 1 GiB not shipped: first answer";
    table += &row(again, "ms", 0, &ours.again_ms, &theirs.again_ms);
    table += &row("the ends of all partitions answered", "ms", 0, &ours.ends_ms, &theirs.ends_ms);
    Ok(table)
}
