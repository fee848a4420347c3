//! As much as the clients can send and read.
//!
//! Each round: Kafka (one broker for all rounds, warmed up first); runnel with shipping held back; runnel with
//! shipping to Parquet, whose processor time counts until the last byte is in the bucket, then stopped, and started
//! again with empty caches to read it all from the bucket, twice, since what is replayed again goes to the cache on the
//! disk, and once more to read it from there.

use anyhow::Result;

use super::load::{self, Load};
use super::runnel::{self, Runnel};
use super::server::Server;
use super::stats::{HEAD, Series, row};
use super::{Bench, kafka};

/// Warms up client paths and files, and is what hot consumers read: less than the memory tail holds.
const HOT_RECORDS: u64 = 100_000;
const HOT_PASSES: u64 = 6;

/// What is produced under measurement.
const RECORDS: u64 = 300_000;

/// How often a cold Java broker does the same work before it counts.
const WARM_UPS: usize = 3;

/// Nothing is shipped while it is measured.
pub(super) const HELD_BACK: [(&str, &str); 2] = [("segment.max_bytes", "1GiB"), ("segment.max_age", "1h")];

/// Segments smaller than the default, so that several of each partition are shipped in one run.
pub(super) const SHIPPING: [(&str, &str); 2] = [("segment.max_bytes", "16MiB"), ("segment.max_age", "3s")];

/// One kind of work, run by run.
#[derive(Default)]
pub(super) struct Work {
    pub(super) cpu: Series,
    pub(super) rate: Series,
}

impl Work {
    pub(super) fn push(&mut self, load: &Load) {
        self.cpu.push(load.cpu_s_per_gb);
        self.rate.push(load.mb_per_s);
    }

    pub(super) fn rows(&self, name: &str, other: &Self) -> String {
        row(name, "broker CPU s/GB", 2, &self.cpu, &other.cpu) + &row(name, "MB/s", 0, &self.rate, &other.rate)
    }
}

/// What one broker did.
#[derive(Default)]
struct Side {
    produce: Work,
    hot: Work,
    cold: Work,
    cached: Work,
    peak: Series,
}

pub(super) fn run(bench: &Bench) -> Result<String> {
    let kafka = kafka::start(bench, &[])?;
    for number in 0..if bench.quick { 1 } else { WARM_UPS } {
        println!("throughput: warming up Apache Kafka, {number}");
        kafka_round(bench, &kafka, &format!("warm-up-{number}"), &mut Side::default())?;
    }
    let (mut theirs, mut held, mut shipped) = (Side::default(), Side::default(), Side::default());
    for round in 0..bench.pairs() {
        println!("throughput: round {} of {}", round + 1, bench.pairs());
        let topic = format!("round-{round}");
        if round % 2 == 0 {
            kafka_round(bench, &kafka, &topic, &mut theirs)?;
        }
        held_round(bench, &topic, &mut held)?;
        shipped_round(bench, &topic, &mut shipped)?;
        if round % 2 == 1 {
            kafka_round(bench, &kafka, &topic, &mut theirs)?;
        }
    }
    kafka.stop()?;
    let mut table = HEAD.to_owned();
    table += &held.produce.rows("produce, shipping held back", &theirs.produce);
    table += &shipped.produce.rows("produce, all shipped as Parquet", &theirs.produce);
    table += &held.hot.rows("consume from memory", &theirs.hot);
    table += &shipped.cold.rows("consume from the bucket, nothing cached", &theirs.cold);
    table += &shipped.cached.rows("consume from the cache on the disk", &theirs.cold);
    table += &row("peak memory, shipping held back", "MiB", 0, &held.peak, &theirs.peak);
    table += &row("peak memory, with shipping", "MiB", 0, &shipped.peak, &theirs.peak);
    Ok(table)
}

fn kafka_round(bench: &Bench, kafka: &Server, topic: &str, side: &mut Side) -> Result<()> {
    hot_and_produce(bench, kafka, topic, side, || Ok(()))?;
    load::forget_pages(&kafka::data(bench))?;
    let all = bench.amount(HOT_RECORDS) + bench.amount(RECORDS);
    side.cold.push(&load::consume(kafka, topic, all, 1)?);
    side.peak.push(kafka.peak()?);
    load::delete_topic(kafka, topic)
}

fn held_round(bench: &Bench, topic: &str, side: &mut Side) -> Result<()> {
    let Runnel { server, .. } = runnel::start(bench, &HELD_BACK)?;
    hot_and_produce(bench, &server, topic, side, || Ok(()))?;
    side.peak.push(server.peak()?);
    Ok(())
}

fn shipped_round(bench: &Bench, topic: &str, side: &mut Side) -> Result<()> {
    let runnel = runnel::start(bench, &SHIPPING)?;
    hot_and_produce(bench, &runnel.server, topic, side, || runnel.wait_shipped())?;
    let peak = runnel.server.peak()?;
    runnel.server.stop()?;
    load::forget_pages(&runnel::bucket(bench))?;
    let runnel = runnel::start_again(bench, &SHIPPING)?;
    let all = bench.amount(HOT_RECORDS) + bench.amount(RECORDS);
    side.cold.push(&load::consume(&runnel.server, topic, all, 1)?);
    load::consume(&runnel.server, topic, all, 1)?;
    side.peak.push(peak.max(runnel.server.peak()?));
    runnel.server.stop()?;
    load::forget_pages(&runnel::cache(bench))?;
    let runnel = runnel::start_cached(bench, &SHIPPING)?;
    side.cached.push(&load::consume(&runnel.server, topic, all, 1)?);
    runnel.server.stop()
}

/// A little is produced and consumed while it is hot, then much is produced.
fn hot_and_produce(
    bench: &Bench,
    server: &Server,
    topic: &str,
    side: &mut Side,
    settled: impl Fn() -> Result<()>,
) -> Result<()> {
    server.forget_peak()?;
    load::create_topic(server, topic)?;
    let hot = bench.amount(HOT_RECORDS);
    load::produce(bench, server, topic, hot, &settled)?;
    side.hot.push(&load::consume(server, topic, hot, HOT_PASSES)?);
    side.produce.push(&load::produce(bench, server, topic, bench.amount(RECORDS), &settled)?);
    Ok(())
}
