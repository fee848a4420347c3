//! Thousands of clients that come at once. The client is in `tests/bench/storm.py`.

use std::collections::BTreeMap;

use anyhow::Result;

use super::script::{self, Figures, Row};
use super::server::Server;
use super::stats::HEAD;
use super::{Bench, kafka, load, runnel};

const CONNECTIONS: u64 = 5_000;

const ROWS: [Row; 4] = [
    ("all_s", "5,000 connections at once: all have API versions and metadata", "s", 2),
    ("p99_ms", "99 % of them within", "ms", 0),
    ("cpu_ms", "broker CPU for 1,000 of them", "ms", 0),
    ("again_s", "all at once again, on open connections: metadata", "s", 2),
];

pub(super) fn run(bench: &Bench) -> Result<String> {
    let (mut ours, mut theirs) = (Figures::default(), Figures::default());
    let kafka = kafka::start(bench, &[])?;
    load::create_topic(&kafka, "storm")?;
    println!("storm: warming up Apache Kafka");
    measure(bench, &kafka)?;
    for round in 0..bench.pairs() {
        println!("storm: round {} of {}", round + 1, bench.pairs());
        if round % 2 == 0 {
            theirs.push(measure(bench, &kafka)?);
        }
        let server = runnel::start(bench, &[])?.server;
        load::create_topic(&server, "storm")?;
        ours.push(measure(bench, &server)?);
        drop(server);
        if round % 2 == 1 {
            theirs.push(measure(bench, &kafka)?);
        }
    }
    kafka.stop()?;
    Ok(HEAD.to_owned() + &script::rows(&ROWS, &ours, &theirs))
}

fn measure(bench: &Bench, server: &Server) -> Result<BTreeMap<String, f64>> {
    let connections = bench.amount(CONNECTIONS).to_string();
    script::run("storm", &[&server.address, &server.pid().to_string(), &connections])
}
