//! From nothing to the first answer, and the process that does nothing.

use std::thread;
use std::time::Duration;

use anyhow::Result;

use super::server::Server;
use super::stats::{HEAD, Series, row};
use super::{Bench, kafka, runnel};

/// How long an idle broker is watched.
const IDLE: Duration = Duration::from_secs(5);

#[derive(Default)]
struct Side {
    ready_ms: Series,
    start_cpu: Series,
    idle_rss: Series,
    idle_cpu: Series,
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
}

pub(super) fn run(bench: &Bench) -> Result<String> {
    let (mut ours, mut theirs) = (Side::default(), Side::default());
    for pair in 0..bench.pairs().min(3) {
        println!("start-up: pair {}", pair + 1);
        ours.watch(runnel::start(bench, &[])?.server)?;
        theirs.watch(kafka::start(bench, &[])?)?;
    }
    let mut table = HEAD.to_owned();
    table += &row("empty data directory to first answer", "ms", 0, &ours.ready_ms, &theirs.ready_ms);
    table += &row("the same", "CPU ms", 0, &ours.start_cpu, &theirs.start_cpu);
    table += &row("idle", "MiB", 0, &ours.idle_rss, &theirs.idle_rss);
    table += &row("idle, including what a start leaves to do", "% of a core", 1, &ours.idle_cpu, &theirs.idle_cpu);
    Ok(table)
}
