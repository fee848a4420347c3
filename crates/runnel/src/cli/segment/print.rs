//! Printing what the bucket holds.

use std::io::Write;

use runnel_format::manifest::SegmentRef;
use serde_json::{Value, json};

use super::ListOutput;
use super::catalog::{Catalog, Listed};
use crate::cli::Failure;
use crate::cli::output::{self, Output, Table, count};

pub(super) fn list(catalog: &Catalog, output: ListOutput) -> anyhow::Result<()> {
    match output {
        ListOutput::Table => output::print(Output::Table, &Value::Null, || list_table(catalog))?,
        ListOutput::Json => output::print(Output::Json, &list_value(catalog), String::new)?,
        ListOutput::Yaml => output::print(Output::Yaml, &list_value(catalog), String::new)?,
        ListOutput::Paths => {
            let mut out = std::io::stdout().lock();
            for (listed, s) in catalog.segments() {
                writeln!(out, "{}", catalog.address(listed, s))?;
            }
        }
        ListOutput::Duckdb => write!(std::io::stdout().lock(), "{}", duckdb_view(catalog)?)?,
    }
    Ok(())
}

fn list_table(catalog: &Catalog) -> String {
    let mut table = Table::new(["PARTITION", "BASE", "NEXT", "RECORDS", "BYTES", "FILE"]);
    for (listed, s) in catalog.segments() {
        let [base, next, records, bytes] =
            [s.base.0.to_string(), s.next.0.to_string(), s.records.to_string(), s.bytes.to_string()];
        table.row([listed.partition.to_string(), base, next, records, bytes, catalog.address(listed, s)]);
    }
    table.to_string()
}

fn list_value(catalog: &Catalog) -> Value {
    let row = |(listed, s): (&Listed, &SegmentRef)| {
        json!({
            "partition": listed.partition, "base_offset": s.base.0, "next_offset": s.next.0,
            "records": s.records, "bytes": s.bytes, "leader_epoch": s.epoch.0,
            "min_timestamp_ms": s.min_timestamp.0, "max_timestamp_ms": s.max_timestamp.0,
            "crc32c": format!("{:08x}", s.crc32c), "path": catalog.address(listed, s),
        })
    };
    catalog.segments().map(row).collect()
}

/// A view over exactly the files that are the log.
fn duckdb_view(catalog: &Catalog) -> anyhow::Result<String> {
    let files: Vec<String> =
        catalog.segments().map(|(l, s)| format!("  '{}'", catalog.address(l, s).replace('\'', "''"))).collect();
    if files.is_empty() {
        let what = format!("nothing of `{}` is in the bucket yet: a view needs at least one file", catalog.topic.name);
        return Err(Failure::NotFound(what).into());
    }
    let name = catalog.topic.name.replace('"', "\"\"");
    // The columns of a file say all that its path says, so the path's keys stay out.
    Ok(format!(
        "CREATE OR REPLACE VIEW \"{name}\" AS SELECT * FROM read_parquet([\n{}\n], hive_partitioning = false);\n",
        files.join(",\n")
    ))
}

pub(super) fn show(catalog: &Catalog, output: Output) -> anyhow::Result<()> {
    Ok(output::print(output, &show_value(catalog), || show_table(catalog))?)
}

fn show_table(catalog: &Catalog) -> String {
    let mut table = Table::new(["PARTITION", "EPOCH", "LOG START", "END", "SEGMENTS", "RECORDS", "BYTES"]);
    for listed in &catalog.partitions {
        let root = listed.snapshot.root();
        let records: u64 = listed.segments.iter().map(|s| u64::from(s.records)).sum();
        let bytes: u64 = listed.segments.iter().map(|s| s.bytes).sum();
        table.row([
            listed.partition.to_string(),
            root.epoch.0.to_string(),
            root.log_start.0.to_string(),
            root.end.0.to_string(),
            listed.segments.len().to_string(),
            records.to_string(),
            bytes.to_string(),
        ]);
    }
    let topic = &catalog.topic;
    format!(
        "topic {} ({}), {}\n{table}",
        topic.name,
        topic.id,
        count(i64::from(topic.partitions).unsigned_abs(), "partition")
    )
}

fn show_value(catalog: &Catalog) -> Value {
    let partition = |listed: &Listed| {
        let root = listed.snapshot.root();
        let epochs: Vec<_> =
            root.epochs.iter().map(|e| json!({"epoch": e.epoch.0, "start_offset": e.start.0})).collect();
        json!({
            "partition": listed.partition, "leader_epoch": root.epoch.0, "root_version": root.version,
            "log_start_offset": root.log_start.0, "end_offset": root.end.0,
            "segments": listed.segments.len(), "epochs": epochs,
        })
    };
    let topic = &catalog.topic;
    json!({
        "topic": topic.name, "topic_id": topic.id.to_string(), "configs": topic.configs,
        "partitions": catalog.partitions.iter().map(partition).collect::<Value>(),
    })
}
