//! Producing to 10,000 partitions, beside 12 in the same broker. Apache Kafka does not take part: on two cores it takes
//! minutes until all of so many partitions take records.

use std::collections::BTreeMap;

use anyhow::Result;

use super::load::{self, Load};
use super::script::{self, Figures, OWN_HEAD, Row, own_rows};
use super::server::Server;
use super::throughput::HELD_BACK;
use super::{Bench, runnel};

/// The producer fills a batch, and then chooses another partition for the next.
const PARTITIONS: u32 = 10_000;

const RECORDS: u64 = 300_000;
const WARM_UP_RECORDS: u64 = 100_000;

const ROWS: [Row; 8] = [
    ("narrow_mb", "to 12 partitions", "MB/s", 0),
    ("narrow_cpu", "the same", "broker CPU s/GB", 2),
    ("narrow_client", "the same", "client CPU s/GB", 2),
    ("wide_mb", "to 10,000 partitions", "MB/s", 0),
    ("wide_cpu", "the same", "broker CPU s/GB", 2),
    ("wide_client", "the same", "client CPU s/GB", 2),
    ("share", "MB/s to 10,000 over those to 12", "", 2),
    ("mib", "memory then", "MiB", 0),
];

pub(super) fn run(bench: &Bench) -> Result<String> {
    let mut figures = Figures::default();
    for number in 0..bench.pairs() {
        println!("wide: round {} of {}", number + 1, bench.pairs());
        let server = runnel::start(bench, &HELD_BACK)?.server;
        prepare(bench, &server)?;
        round(bench, &server, number % 2 == 0, &mut figures)?;
    }
    Ok(OWN_HEAD.to_owned() + &own_rows(&ROWS, &figures))
}

/// To both topics, whose order alternates.
fn round(bench: &Bench, server: &Server, narrow_first: bool, figures: &mut Figures) -> Result<()> {
    let before = if narrow_first { Some(produce(bench, server, "narrow", RECORDS)?) } else { None };
    let wide = produce(bench, server, "wide", RECORDS)?;
    let narrow = before.map_or_else(|| produce(bench, server, "narrow", RECORDS), Ok)?;
    let found = [
        ("narrow_mb", narrow.mb_per_s),
        ("narrow_cpu", narrow.cpu_s_per_gb),
        ("narrow_client", narrow.client_s_per_gb),
        ("wide_mb", wide.mb_per_s),
        ("wide_cpu", wide.cpu_s_per_gb),
        ("wide_client", wide.client_s_per_gb),
        ("share", wide.mb_per_s / narrow.mb_per_s),
        ("mib", server.rss()?),
    ];
    figures.push(found.map(|(name, figure)| (name.to_owned(), figure)).into());
    Ok(())
}

/// Both topics, a little in each, and all partitions open.
fn prepare(bench: &Bench, server: &Server) -> Result<()> {
    load::create_topic(server, "narrow")?;
    let partitions = if bench.quick { PARTITIONS / 10 } else { PARTITIONS };
    load::create_topic_with(server, "wide", partitions, &[])?;
    let _: BTreeMap<String, f64> =
        script::run("partitions", &["open", &server.address, "wide", &partitions.to_string()])?;
    produce(bench, server, "narrow", WARM_UP_RECORDS)?;
    produce(bench, server, "wide", WARM_UP_RECORDS).map(drop)
}

fn produce(bench: &Bench, server: &Server, topic: &str, records: u64) -> Result<Load> {
    load::produce(bench, server, topic, bench.amount(records), || Ok(()))
}
