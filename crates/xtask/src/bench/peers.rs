//! Brokers in Rust that acknowledge what is in the bucket, on an S3 server of their own each. The client is in
//! `tests/bench/peers.py`.

use anyhow::Result;

use super::Bench;
use super::script::{self, Figures, Row};

const HEAD: &str = "| | | runnel | Tansu | ratio |\n|---|---|---|---|---|\n";

const ROWS: [Row; 9] = [
    ("produce_mb", "produce, acknowledged in the bucket", "MB/s", 0),
    ("produce_cpu", "the same", "broker CPU s/GB", 2),
    ("produce_s3_cpu", "the same", "S3 server CPU s/GB", 2),
    ("read_mb", "read back", "MB/s", 0),
    ("read_cpu", "the same", "broker CPU s/GB", 2),
    ("read_s3_cpu", "the same", "S3 server CPU s/GB", 2),
    ("ack_p50", "100 records/s, acknowledged in the bucket: p50", "ms", 1),
    ("ack_p99", "p99", "ms", 1),
    ("mib", "memory then", "MiB", 0),
];

pub(super) fn run(bench: &Bench) -> Result<String> {
    let (mut ours, mut theirs) = (Figures::default(), Figures::default());
    for round in 0..bench.pairs() {
        println!("peers: round {} of {}", round + 1, bench.pairs());
        let mut sides = [("runnel", &mut ours), ("tansu", &mut theirs)];
        if round % 2 == 1 {
            sides.reverse();
        }
        for (part, side) in sides {
            let dir = bench.dir.join("peers").display().to_string();
            let args = [part, &dir, "--quick"];
            let args = &args[..if bench.quick { 3 } else { 2 }];
            side.push(script::run_with_servers("peers", args, bench)?);
        }
    }
    Ok(HEAD.to_owned() + &script::rows(&ROWS, &ours, &theirs))
}
