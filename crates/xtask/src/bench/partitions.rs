//! Many partitions: making them, keeping them, and a restart after a kill. The client is in `tests/bench/partitions.py`.

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::Result;

use super::script::{self, Figures, Row};
use super::server::Server;
use super::stats::HEAD;
use super::{Bench, kafka, runnel};

/// Topics of 1,000 partitions.
const TOPICS: u64 = 10;

/// Kafka takes minutes for a round.
const MOST_ROUNDS: u32 = 3;

const ROWS: [Row; 6] = [
    ("create_s", "a topic of 1,000 partitions: created", "s", 3),
    ("list_s", "then the end of each is asked for: answered", "s", 2),
    ("idle_mib", "10,000 partitions: idle", "MiB", 0),
    ("idle_cpu", "the same", "% of a core", 1),
    ("answers_s", "after kill -9: metadata answered", "s", 2),
    ("all_s", "the ends of all 10,000 answered", "s", 2),
];

pub(super) fn run(bench: &Bench) -> Result<String> {
    let (mut ours, mut theirs) = (Figures::default(), Figures::default());
    for round in 0..bench.pairs().min(MOST_ROUNDS) {
        println!("partitions: round {}", round + 1);
        let mut with_runnel = || -> Result<()> {
            let first = runnel::start(bench, &[])?.server;
            ours.push(measure(bench, first, || Ok(runnel::start_again(bench, &[])?.server))?);
            Ok(())
        };
        if round % 2 == 0 {
            with_runnel()?;
        }
        theirs.push(measure(bench, kafka::start(bench, &[])?, || kafka::start_again(bench, &[]))?);
        if round % 2 == 1 {
            with_runnel()?;
        }
    }
    Ok(HEAD.to_owned() + &script::rows(&ROWS, &ours, &theirs))
}

fn measure(bench: &Bench, server: Server, again: impl FnOnce() -> Result<Server>) -> Result<BTreeMap<String, f64>> {
    let topics = if bench.quick { 2 } else { TOPICS }.to_string();
    let ask = |verb: &str, server: &Server| -> Result<BTreeMap<String, f64>> {
        script::run("partitions", &[verb, &server.address, &server.pid().to_string(), &topics])
    };
    let mut found = ask("fill", &server)?;
    drop(server); // a kill -9
    let started = Instant::now();
    let server = again()?;
    found.insert("answers_s".to_owned(), server.ready_after.as_secs_f64());
    ask("list", &server)?;
    // With the start of the script, a fifth of a second.
    found.insert("all_s".to_owned(), started.elapsed().as_secs_f64());
    Ok(found)
}
