//! A consumer that was away: it reads what has piled up while a producer goes on.

use anyhow::Result;

use super::load;
use super::server::Server;
use super::stats::{HEAD, Series, row};
use super::{Bench, kafka, runnel};

/// What has piled up: more than the memory tail holds.
const BACKLOG: u64 = 500_000;
/// Of the producer that goes on, a second.
const RATE: u64 = 10_000;

/// How often a cold Java broker does the same work before it counts.
const WARM_UPS: u32 = 2;

#[derive(Default)]
struct Figures {
    read: Series,
    median: Series,
    late: Series,
    cpu: Series,
}

pub(super) fn run(bench: &Bench) -> Result<String> {
    let kafka = kafka::start(bench, &[])?;
    println!("catch-up: warming up Apache Kafka");
    for _ in 0..WARM_UPS {
        measure(bench, &kafka, &mut Figures::default())?;
    }
    let (mut ours, mut theirs) = (Figures::default(), Figures::default());
    for round in 0..bench.pairs() {
        println!("catch-up: round {} of {}", round + 1, bench.pairs());
        if round % 2 == 0 {
            measure(bench, &kafka, &mut theirs)?;
        }
        let server = runnel::start(bench, &[])?.server;
        measure(bench, &server, &mut ours)?;
        drop(server);
        if round % 2 == 1 {
            measure(bench, &kafka, &mut theirs)?;
        }
    }
    kafka.stop()?;
    Ok([
        HEAD.to_owned(),
        row("what has piled up is read", "MB/s", 0, &ours.read, &theirs.read),
        row("10,000 records/s are acknowledged meanwhile, p50", "ms", 0, &ours.median, &theirs.median),
        row("p99", "ms", 0, &ours.late, &theirs.late),
        row("both", "broker CPU s", 2, &ours.cpu, &theirs.cpu),
    ]
    .concat())
}

fn measure(bench: &Bench, server: &Server, figures: &mut Figures) -> Result<()> {
    let (topic, backlog) = ("catch-up", bench.amount(BACKLOG));
    load::create_topic(server, topic)?;
    load::produce(bench, server, topic, backlog, || Ok(()))?;
    let found = load::catch_up(bench, server, topic, backlog, RATE)?;
    load::delete_topic(server, topic)?;
    figures.read.push(found.mb_per_s);
    figures.median.push(found.median_ms);
    figures.late.push(found.p99_ms);
    figures.cpu.push(found.cpu_s);
    Ok(())
}
