//! Consumer groups: commits, rebalances, and a group of a thousand. The clients are in `tests/bench/groups.py`.
//!
//! Kafka is one broker for all rounds, warmed up first; runnel starts afresh in each.

use anyhow::Result;

use super::script::{self, Figures, Row};
use super::server::Server;
use super::stats::HEAD;
use super::{Bench, kafka, runnel};

/// How long commits are counted, for each number of threads.
const SECONDS: u64 = 5;

/// A round takes a minute and a half on each side.
const MOST_ROUNDS: u32 = 3;

/// In this order.
const PARTS: [&str; 3] = ["commits", "rebalances", "thousand"];

/// Members of the consumer protocol beat as often as the broker says. With the default of both, 5 s, a rebalance would
/// take as long as that and say nothing of the broker.
const OURS: [(&str, &str); 2] =
    [("groups.initial_rebalance_delay", "3s"), ("groups.consumer_heartbeat_interval", "500ms")];
const THEIRS: [(&str, &str); 3] = [
    ("group.initial.rebalance.delay.ms", "3000"),
    ("group.consumer.heartbeat.interval.ms", "500"),
    ("group.consumer.min.heartbeat.interval.ms", "500"),
];

const ROWS: [Row; 26] = [
    ("commits_1", "commits of 12 offsets, one thread", "1/s", 0),
    ("commits_1_cpu_ms", "the same", "broker CPU ms per 1,000", 0),
    ("commits_16", "16 threads, each its own group", "1/s", 0),
    ("commits_16_cpu_ms", "the same", "broker CPU ms per 1,000", 0),
    ("range_form", "50 members, 200 partitions, range: forming", "s", 2),
    ("range_join", "one more joins", "s", 2),
    ("range_leave", "one leaves", "s", 2),
    ("range_cpu_ms", "both", "broker CPU ms", 0),
    ("sticky_form", "cooperative-sticky: forming", "s", 2),
    ("sticky_join", "one more joins", "s", 2),
    ("sticky_leave", "one leaves", "s", 2),
    ("sticky_cpu_ms", "both", "broker CPU ms", 0),
    ("consumer_form", "consumer protocol: forming", "s", 2),
    ("consumer_join", "one more joins", "s", 2),
    ("consumer_leave", "one leaves", "s", 2),
    ("consumer_cpu_ms", "both", "broker CPU ms", 0),
    ("thousand_classic_form", "1,000 members, 1,000 partitions, classic: forming", "s", 2),
    ("thousand_classic_form_cpu", "the same", "broker CPU s", 2),
    ("thousand_classic_leave", "one leaves", "s", 2),
    ("thousand_classic_idle", "idle, a heartbeat each 3 s", "% of a core", 1),
    ("thousand_classic_mib", "the same", "MiB", 0),
    ("thousand_modern_form", "1,000 members, consumer protocol: forming", "s", 2),
    ("thousand_modern_form_cpu", "the same", "broker CPU s", 2),
    ("thousand_modern_leave", "one leaves", "s", 2),
    ("thousand_modern_idle", "idle, a heartbeat each 3 s", "% of a core", 1),
    ("thousand_modern_mib", "the same", "MiB", 0),
];

pub(super) fn run(bench: &Bench) -> Result<String> {
    let kafka = kafka::start(bench, &THEIRS)?;
    println!("groups: warming up Apache Kafka");
    measure(bench, &kafka, &mut Figures::default())?;
    let (mut ours, mut theirs) = (Figures::default(), Figures::default());
    for pair in 0..bench.pairs().min(MOST_ROUNDS) {
        println!("groups: pair {}", pair + 1);
        if pair % 2 == 0 {
            measure(bench, &kafka, &mut theirs)?;
        }
        let runnel = runnel::start(bench, &OURS)?.server;
        measure(bench, &runnel, &mut ours)?;
        runnel.stop()?;
        if pair % 2 == 1 {
            measure(bench, &kafka, &mut theirs)?;
        }
    }
    kafka.stop()?;
    Ok(HEAD.to_owned() + &script::rows(&ROWS, &ours, &theirs))
}

fn measure(bench: &Bench, server: &Server, figures: &mut Figures) -> Result<()> {
    let seconds = if bench.quick { 1 } else { SECONDS };
    for part in PARTS {
        let args = [part, &server.address, &server.pid().to_string(), &seconds.to_string()];
        figures.push(script::run("groups", &args)?);
    }
    Ok(())
}
