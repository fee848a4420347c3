//! Five consumers that read the same records from memory at once.

use anyhow::Result;

use super::load::{self, Load};
use super::server::Server;
use super::stats::HEAD;
use super::throughput::{HELD_BACK, Work};
use super::{Bench, kafka, runnel};

const READERS: u64 = 5;

/// Less than the memory tail holds.
const RECORDS: u64 = 100_000;
const PASSES: u64 = 3;

/// How often a cold Java broker does the same work before it counts.
const WARM_UPS: u32 = 2;

pub(super) fn run(bench: &Bench) -> Result<String> {
    let kafka = kafka::start(bench, &[])?;
    println!("fanout: warming up Apache Kafka");
    fill(bench, &kafka)?;
    for _ in 0..WARM_UPS {
        read(bench, &kafka)?;
    }
    let (mut ours, mut theirs) = (Work::default(), Work::default());
    for round in 0..bench.pairs() {
        println!("fanout: round {} of {}", round + 1, bench.pairs());
        if round % 2 == 0 {
            theirs.push(&read(bench, &kafka)?);
        }
        let server = runnel::start(bench, &HELD_BACK)?.server;
        fill(bench, &server)?;
        ours.push(&read(bench, &server)?);
        drop(server);
        if round % 2 == 1 {
            theirs.push(&read(bench, &kafka)?);
        }
    }
    kafka.stop()?;
    Ok(HEAD.to_owned() + &ours.rows("five consumers at once, from memory", &theirs))
}

fn fill(bench: &Bench, server: &Server) -> Result<()> {
    load::create_topic(server, "fanout")?;
    load::produce(bench, server, "fanout", bench.amount(RECORDS), || Ok(())).map(drop)
}

fn read(bench: &Bench, server: &Server) -> Result<Load> {
    load::consume_at_once(server, "fanout", bench.amount(RECORDS), PASSES, READERS)
}
