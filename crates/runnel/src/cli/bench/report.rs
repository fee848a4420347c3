//! What was measured.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Map, Value, json};

use crate::cli::output::{self, Output, Table};

/// The percentiles that are shown, with their names.
const PERCENTILES: [(&str, f64); 5] = [("p50", 50.0), ("p90", 90.0), ("p99", 99.0), ("p99.9", 99.9), ("max", 100.0)];

/// An hour: nothing is measured for longer.
const LONGEST_US: u64 = 3_600_000_000;

/// Latencies, kept to three digits.
#[derive(Debug)]
pub(super) struct Latency(Histogram<u64>);

impl Latency {
    pub(super) fn new() -> anyhow::Result<Self> {
        Ok(Self(Histogram::new_with_bounds(1, LONGEST_US, 3)?))
    }

    pub(super) fn record(&mut self, latency: Duration) {
        self.0.saturating_record(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX));
    }

    /// In milliseconds.
    fn percentiles(&self) -> impl Iterator<Item = (&'static str, f64)> {
        PERCENTILES.iter().map(|(name, at)| (*name, self.0.value_at_percentile(*at) as f64 / 1000.0))
    }
}

/// How much moved in what time.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Volume {
    pub(super) records: u64,
    pub(super) bytes: u64,
    pub(super) time: Duration,
}

/// A measurement under a name.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) what: &'static str,
    pub(super) volume: Volume,
    pub(super) latency: Option<Latency>,
}

pub(super) fn print(output: Output, lines: &[Line]) -> anyhow::Result<()> {
    let value: Map<String, Value> = lines.iter().map(|line| (line.what.to_owned(), as_json(line))).collect();
    Ok(output::print(output, &value.into(), || as_table(lines))?)
}

fn rates(volume: &Volume) -> (f64, f64) {
    let seconds = volume.time.as_secs_f64().max(f64::EPSILON);
    (volume.records as f64 / seconds, volume.bytes as f64 / seconds / 1e6)
}

fn as_json(line: &Line) -> Value {
    let (records, megabytes) = rates(&line.volume);
    let latency: Option<Map<_, _>> = line
        .latency
        .as_ref()
        .map(|latency| latency.percentiles().map(|(name, ms)| (name.to_owned(), json!(ms))).collect());
    json!({
        "records": line.volume.records, "bytes": line.volume.bytes, "seconds": line.volume.time.as_secs_f64(),
        "records_per_second": records, "megabytes_per_second": megabytes, "latency_ms": latency,
    })
}

fn as_table(lines: &[Line]) -> String {
    let mut volumes = Table::new(["", "RECORDS", "SECONDS", "RECORDS/S", "MB/S"]);
    let mut latencies = Table::new(["LATENCY, MS", "P50", "P90", "P99", "P99.9", "MAX"]);
    for Line { what, volume, latency } in lines {
        let (records, megabytes) = rates(volume);
        volumes.row([
            (*what).to_owned(),
            volume.records.to_string(),
            format!("{:.2}", volume.time.as_secs_f64()),
            format!("{records:.0}"),
            format!("{megabytes:.2}"),
        ]);
        if let Some(latency) = latency {
            let mut cells = std::array::from_fn(|_| (*what).to_owned());
            for (cell, (_, ms)) in cells.iter_mut().skip(1).zip(latency.percentiles()) {
                *cell = format!("{ms:.3}");
            }
            latencies.row::<6>(cells);
        }
    }
    match lines.iter().any(|line| line.latency.is_some()) {
        true => format!("{volumes}\n{latencies}"),
        false => volumes.to_string(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_report_has_rates_and_percentiles() {
        let mut latency = Latency::new().unwrap();
        (1..=1000).for_each(|ms| latency.record(Duration::from_millis(ms)));
        let volume = Volume { records: 1000, bytes: 5_000_000, time: Duration::from_secs(2) };
        let line = Line { what: "produce", volume, latency: Some(latency) };
        let json = as_json(&line);
        assert_eq!(
            (json["records_per_second"].as_f64(), json["megabytes_per_second"].as_f64()),
            (Some(500.0), Some(2.5))
        );
        let p99 = json["latency_ms"]["p99"].as_f64().unwrap();
        assert!((989.0..=992.0).contains(&p99), "{p99}");
        let table = as_table(&[line]);
        assert!(table.contains("RECORDS/S") && table.contains("P99.9"), "{table}");
    }
}
