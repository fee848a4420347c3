//! Printing what the bucket holds.

use std::io::Write;

use serde_json::json;

use super::catalog::Catalog;
use super::{ListOutput, Output};
use crate::cli::Failure;

pub(super) fn list(catalog: &Catalog, output: ListOutput) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match output {
        ListOutput::Table => {
            writeln!(
                out,
                "{:>9}  {:>12}  {:>12}  {:>9}  {:>12}  FILE",
                "PARTITION", "BASE", "NEXT", "RECORDS", "BYTES"
            )?;
            for (listed, s) in catalog.segments() {
                writeln!(
                    out,
                    "{:>9}  {:>12}  {:>12}  {:>9}  {:>12}  {}",
                    listed.partition,
                    s.base.0,
                    s.next.0,
                    s.records,
                    s.bytes,
                    catalog.address(listed, s)
                )?;
            }
        }
        ListOutput::Json => {
            let rows: Vec<_> = catalog
                .segments()
                .map(|(listed, s)| {
                    json!({
                        "partition": listed.partition, "base_offset": s.base.0, "next_offset": s.next.0,
                        "records": s.records, "bytes": s.bytes, "leader_epoch": s.epoch.0,
                        "min_timestamp_ms": s.min_timestamp.0, "max_timestamp_ms": s.max_timestamp.0,
                        "crc32c": format!("{:08x}", s.crc32c), "path": catalog.address(listed, s),
                    })
                })
                .collect();
            writeln!(out, "{}", serde_json::to_string_pretty(&rows)?)?;
        }
        ListOutput::Paths => {
            for (listed, s) in catalog.segments() {
                writeln!(out, "{}", catalog.address(listed, s))?;
            }
        }
        ListOutput::Duckdb => write!(out, "{}", duckdb_view(catalog)?)?,
    }
    Ok(())
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
    let mut out = std::io::stdout().lock();
    match output {
        Output::Table => {
            let topic = &catalog.topic;
            writeln!(out, "topic {} ({}), {} partitions", topic.name, topic.id, topic.partitions)?;
            writeln!(
                out,
                "{:>9}  {:>6}  {:>12}  {:>12}  {:>8}  {:>9}  {:>14}",
                "PARTITION", "EPOCH", "LOG START", "END", "SEGMENTS", "RECORDS", "BYTES"
            )?;
            for listed in &catalog.partitions {
                let root = listed.snapshot.root();
                let records: u64 = listed.segments.iter().map(|s| u64::from(s.records)).sum();
                let bytes: u64 = listed.segments.iter().map(|s| s.bytes).sum();
                writeln!(
                    out,
                    "{:>9}  {:>6}  {:>12}  {:>12}  {:>8}  {records:>9}  {bytes:>14}",
                    listed.partition,
                    root.epoch.0,
                    root.log_start.0,
                    root.end.0,
                    listed.segments.len(),
                )?;
            }
        }
        Output::Json => {
            let partitions: Vec<_> = catalog
                .partitions
                .iter()
                .map(|listed| {
                    let root = listed.snapshot.root();
                    let epochs: Vec<_> =
                        root.epochs.iter().map(|e| json!({"epoch": e.epoch.0, "start_offset": e.start.0})).collect();
                    json!({
                        "partition": listed.partition, "leader_epoch": root.epoch.0, "root_version": root.version,
                        "log_start_offset": root.log_start.0, "end_offset": root.end.0,
                        "segments": listed.segments.len(), "epochs": epochs,
                    })
                })
                .collect();
            let topic = &catalog.topic;
            let all = json!({
                "topic": topic.name, "topic_id": topic.id.to_string(), "partitions": partitions, "configs": topic.configs,
            });
            writeln!(out, "{}", serde_json::to_string_pretty(&all)?)?;
        }
    }
    Ok(())
}
