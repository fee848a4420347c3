//! Producing to 10,000 partitions, beside 12 in the same broker.

use anyhow::Result;

use super::load::{self, Load};
use super::server::Server;
use super::stats::{HEAD, Series, row};
use super::throughput::{HELD_BACK, Work};
use super::{Bench, kafka, runnel};

/// The producer fills a batch, and then chooses another partition for the next.
const PARTITIONS: u32 = 10_000;

const RECORDS: u64 = 300_000;
const WARM_UP_RECORDS: u64 = 100_000;

/// Kafka takes most of a minute to make the partitions, once.
const MOST_ROUNDS: u32 = 3;

#[derive(Default)]
struct Side {
    narrow: Work,
    wide: Work,
    memory: Series,
}

impl Side {
    /// To both topics, whose order alternates.
    fn round(&mut self, bench: &Bench, server: &Server, round: u32) -> Result<()> {
        if round.is_multiple_of(2) {
            self.narrow.push(&produce(bench, server, "narrow", RECORDS)?);
        }
        self.wide.push(&produce(bench, server, "wide", RECORDS)?);
        if !round.is_multiple_of(2) {
            self.narrow.push(&produce(bench, server, "narrow", RECORDS)?);
        }
        self.memory.push(server.rss()?);
        Ok(())
    }

    fn share(&self) -> Series {
        self.wide.rate.over(&self.narrow.rate)
    }
}

pub(super) fn run(bench: &Bench) -> Result<String> {
    let kafka = kafka::start(bench, &[])?;
    println!("wide: warming up Apache Kafka");
    prepare(bench, &kafka)?;
    Side::default().round(bench, &kafka, 0)?;
    let (mut ours, mut theirs) = (Side::default(), Side::default());
    for round in 0..bench.pairs().min(MOST_ROUNDS) {
        println!("wide: round {}", round + 1);
        if round.is_multiple_of(2) {
            theirs.round(bench, &kafka, round)?;
        }
        let server = runnel::start(bench, &HELD_BACK)?.server;
        prepare(bench, &server)?;
        ours.round(bench, &server, round)?;
        drop(server);
        if !round.is_multiple_of(2) {
            theirs.round(bench, &kafka, round)?;
        }
    }
    kafka.stop()?;
    let mut table = HEAD.to_owned();
    table += &ours.narrow.rows("to 12 partitions", &theirs.narrow);
    table += &ours.wide.rows("to 10,000 partitions", &theirs.wide);
    table += &row("MB/s to 10,000 over those to 12", "", 2, &ours.share(), &theirs.share());
    table += &row("memory then", "MiB", 0, &ours.memory, &theirs.memory);
    Ok(table)
}

/// Both topics, a little in each.
fn prepare(bench: &Bench, server: &Server) -> Result<()> {
    load::create_topic(server, "narrow")?;
    load::create_topic_with(server, "wide", if bench.quick { PARTITIONS / 10 } else { PARTITIONS }, &[])?;
    produce(bench, server, "narrow", WARM_UP_RECORDS)?;
    produce(bench, server, "wide", WARM_UP_RECORDS).map(drop)
}

fn produce(bench: &Bench, server: &Server, topic: &str, records: u64) -> Result<Load> {
    load::produce(bench, server, topic, bench.amount(records), || Ok(()))
}
