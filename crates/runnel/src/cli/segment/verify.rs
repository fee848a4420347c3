//! Reading everything and checking it.

use std::io::IsTerminal;

use runnel_blob::{Bucket, Key};
use runnel_format::manifest::SegmentRef;
use runnel_record::Offset;
use runnel_segment::Segment;
use serde_json::{Value, json};

use super::catalog::Catalog;
use crate::cli::output::{self, Output};

/// What was found wrong with one segment.
struct Finding {
    partition: i32,
    base: Offset,
    path: String,
    problem: String,
}

pub(super) async fn verify(catalog: &Catalog, output: Output) -> anyhow::Result<()> {
    let total = catalog.segments().count();
    let mut findings = Vec::new();
    let (mut done, mut records) = (0, 0_u64);
    for (listed, segment) in catalog.segments() {
        match check(&catalog.bucket, &listed.snapshot.key(segment), segment).await {
            Ok(()) => records += u64::from(segment.records),
            Err(problem) => findings.push(Finding {
                partition: listed.partition,
                base: segment.base,
                path: catalog.address(listed, segment),
                problem: format!("{problem:#}"),
            }),
        }
        done += 1;
        if std::io::stderr().is_terminal() {
            eprint!("\r{done} of {total} segments");
        }
    }
    if std::io::stderr().is_terminal() && total > 0 {
        eprintln!();
    }
    report(output, total, records, &findings)?;
    if findings.is_empty() {
        return Ok(());
    }
    anyhow::bail!(
        "{} of {total} segments are damaged: restore these objects from a backup or another copy",
        findings.len()
    )
}

/// Whole object, footer, every run; offsets without a gap from the reference's base to its end.
pub(super) async fn check(bucket: &Bucket, key: &Key, reference: &SegmentRef) -> anyhow::Result<()> {
    let Some(object) = bucket.get(key).await? else { anyhow::bail!("the object is missing") };
    anyhow::ensure!(object.len() as u64 == reference.bytes, "it has {} bytes, not {}", object.len(), reference.bytes);
    let crc = crc32c::crc32c(&object);
    anyhow::ensure!(crc == reference.crc32c, "its CRC-32C is {crc:08x}, not {:08x}", reference.crc32c);
    drop(object);
    let segment = Segment::open(bucket, key, reference.bytes).await?;
    let mut next = reference.base;
    for run in segment.runs() {
        for source in segment.read_run(run.index).await? {
            anyhow::ensure!(source.batch.base_offset() == next, "offset {next} is missing");
            source.batch.verify_crc()?;
            next = source.batch.next_offset();
        }
    }
    anyhow::ensure!(next == reference.next, "it ends at offset {next}, not {}", reference.next);
    Ok(())
}

fn report(output: Output, total: usize, records: u64, findings: &[Finding]) -> anyhow::Result<()> {
    let sound = total - findings.len();
    let damaged = findings
        .iter()
        .map(|f| json!({"partition": f.partition, "base_offset": f.base.0, "path": f.path, "problem": f.problem}));
    let all = json!({
        "segments": total, "sound": sound, "records": records, "damaged": damaged.collect::<Value>(),
    });
    let table = || {
        let lines = findings
            .iter()
            .map(|f| format!("DAMAGED  partition {}  base {}  {}: {}\n", f.partition, f.base, f.path, f.problem));
        lines.chain([format!("{sound} of {total} segments are sound, {records} records\n")]).collect()
    };
    Ok(output::print(output, &all, table)?)
}
