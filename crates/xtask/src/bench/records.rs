//! Producing records of other sizes, compressed, and to one partition; shipping is held back throughout.
//!
//! Each round: Kafka (one broker for all rounds, warmed up with all of it once) and runnel, which starts afresh. Kafka
//! also does what runnel does before it acknowledges, a sync of what was written, in a topic with `flush.messages=1`.

use std::path::Path;

use anyhow::{Context, Result};

use super::load::{self, FLUSH, Kind, Load};
use super::server::Server;
use super::stats::{HEAD, Series, row};
use super::throughput::HELD_BACK;
use super::{Bench, kafka, payload, runnel};

/// Kafka's producer takes its time for small records and for zstd.
const MOST_ROUNDS: u32 = 3;

const KIB: u64 = 1024;

/// The producer chooses from so many.
const PAYLOADS: u64 = 2_000;

/// One kind of work.
struct Shape {
    name: &'static str,
    record_bytes: u64,
    codec: &'static str,
    partitions: u32,
    records: u64,
}

const SHAPES: [Shape; 5] = [
    Shape { name: "100 B", record_bytes: 100, codec: "none", partitions: 12, records: 1_500_000 },
    Shape { name: "64 KiB", record_bytes: 64 * KIB, codec: "none", partitions: 12, records: 6_000 },
    Shape { name: "1 KiB of JSON, lz4", record_bytes: KIB, codec: "lz4", partitions: 12, records: 200_000 },
    Shape { name: "1 KiB of JSON, zstd", record_bytes: KIB, codec: "zstd", partitions: 12, records: 200_000 },
    Shape { name: "1 KiB, one partition", record_bytes: KIB, codec: "none", partitions: 1, records: 200_000 },
];

/// What is compared with Kafka that syncs: runnel does 200,000 of them, Kafka few of them in the same time.
const SYNCED: Shape = Shape { name: "1 KiB", record_bytes: KIB, codec: "none", partitions: 12, records: 200_000 };
const FLUSHED_SHARE: u64 = 6;

/// What one broker did of one kind of work.
#[derive(Default)]
struct Work {
    cpu: Series,
    mb: Series,
    records: Series,
}

impl Work {
    fn push(&mut self, load: &Load, record_bytes: u64) {
        self.cpu.push(load.cpu_s_per_gb);
        self.mb.push(load.mb_per_s);
        self.records.push(load.mb_per_s * 1e3 / record_bytes as f64);
    }

    fn rows(&self, name: &str, other: &Self) -> String {
        row(name, "broker CPU s/GB", 2, &self.cpu, &other.cpu)
            + &row("the same", "MB/s", 0, &self.mb, &other.mb)
            + &row("the same", "1,000 records/s", 1, &self.records, &other.records)
    }
}

/// What one broker did: a work for each of [`SHAPES`], and [`SYNCED`].
#[derive(Default)]
struct Side {
    works: [Work; SHAPES.len()],
    synced: Work,
}

pub(super) fn run(bench: &Bench) -> Result<String> {
    let json = payload::write_json(bench, "records", PAYLOADS, 1)?;
    let kafka = kafka::start(bench, &[])?;
    println!("records: warming up Apache Kafka");
    Round { bench, json: &json, name: "warm-up".to_owned() }.kafka(&kafka, &mut Side::default())?;
    let (mut ours, mut theirs) = (Side::default(), Side::default());
    for number in 0..bench.pairs().min(MOST_ROUNDS) {
        println!("records: round {}", number + 1);
        let round = Round { bench, json: &json, name: format!("round-{number}") };
        if number % 2 == 0 {
            round.kafka(&kafka, &mut theirs)?;
        }
        round.runnel(&mut ours)?;
        if number % 2 == 1 {
            round.kafka(&kafka, &mut theirs)?;
        }
    }
    kafka.stop()?;
    let shapes = SHAPES.iter().zip(ours.works.iter().zip(&theirs.works));
    let rows: String = shapes.map(|(shape, (ours, theirs))| ours.rows(shape.name, theirs)).collect();
    Ok(HEAD.to_owned() + &rows + &ours.synced.rows("1 KiB; Apache Kafka syncs each batch", &theirs.synced))
}

/// Everything once.
struct Round<'a> {
    bench: &'a Bench,
    json: &'a Path,
    name: String,
}

impl Round<'_> {
    fn kafka(&self, server: &Server, side: &mut Side) -> Result<()> {
        rustix::fs::sync();
        for (shape, work) in SHAPES.iter().zip(&mut side.works) {
            work.push(&self.produce(server, shape, &[], 1)?, shape.record_bytes);
        }
        side.synced.push(&self.produce(server, &SYNCED, &[FLUSH], FLUSHED_SHARE)?, KIB);
        Ok(())
    }

    fn runnel(&self, side: &mut Side) -> Result<()> {
        // Or what Kafka acknowledged from the page cache would be written to the disk meanwhile.
        rustix::fs::sync();
        let server = runnel::start(self.bench, &HELD_BACK)?.server;
        // It comes first, and warms up what the other shapes use.
        side.synced.push(&self.produce(&server, &SYNCED, &[], 1)?, KIB);
        for (shape, work) in SHAPES.iter().zip(&mut side.works) {
            work.push(&self.produce(&server, shape, &[], 1)?, shape.record_bytes);
        }
        Ok(())
    }

    /// A share of the records, to a topic that is deleted then.
    fn produce(&self, server: &Server, shape: &Shape, settings: &[&str], share: u64) -> Result<Load> {
        // A name of its own: Kafka deletes later than it says.
        let Shape { record_bytes, codec, partitions, .. } = *shape;
        let topic = format!("{}-{record_bytes}-{codec}-{partitions}-{share}", self.name);
        load::create_topic_with(server, &topic, partitions, settings)?;
        let kind = Kind { record_bytes, codec, payload: (codec != "none").then_some(self.json) };
        let records = self.bench.amount(shape.records / share);
        let load = load::produce_kind(self.bench, server, &topic, records, kind, || Ok(()));
        let load = load.with_context(|| shape.name)?;
        load::delete_topic(server, &topic)?;
        Ok(load)
    }
}
