//! Reading what lies in the bucket alone, which an S3 server on the same machine keeps. What it is compared with are the limits:
//! the same objects got by `object_store` by itself, and batches rebuilt by one core. The client is in `tests/bench/cold.py`.

use anyhow::Result;

use super::Bench;
use super::script::{self, Figures, OWN_HEAD, Row};

/// A minute each.
const MOST_ROUNDS: u32 = 3;

const PARTS: [&str; 2] = ["bucket", "replay"];

const ROWS: [Row; 19] = [
    ("cold_mb", "`runnel bench consume`, nothing cached", "MB/s", 0),
    ("loop_logical_mb", "`object_store` by itself, four ranges on their way, as large as a broker's", "MB/s", 0),
    ("loop_mb", "the same in bytes of the objects", "MB/s", 0),
    ("rebuild_mb", "batches rebuilt from Parquet, one core", "MB/s", 0),
    ("cold_share", "the first over the lower of its limits", "", 2),
    ("packed", "values over bytes of the objects", "", 2),
    ("cold_cpu", "broker", "CPU s/GB", 2),
    ("cold_s3_cpu", "S3 server", "CPU s/GB", 2),
    ("cold_client_cpu", "client", "CPU s/GB", 2),
    ("cold_gets", "GET requests", "1/GB", 0),
    ("cold_get_kib", "bytes of one", "KiB", 0),
    ("alone_p50", "1,000 records/s from producer to consumer, p50", "ms", 2),
    ("alone_p99", "p99", "ms", 2),
    ("beside_p50", "while the bucket is read as fast as it goes: p50", "ms", 2),
    ("beside_p99", "p99", "ms", 2),
    ("beside_mb", "what is read meanwhile", "MB/s", 0),
    ("other_p50", "while another broker reads its own bucket that fast: p50", "ms", 2),
    ("other_p99", "p99", "ms", 2),
    ("other_mb", "what that reads meanwhile", "MB/s", 0),
];

pub(super) fn run(bench: &Bench) -> Result<String> {
    let mut ours = Figures::default();
    for round in 0..bench.pairs().min(MOST_ROUNDS) {
        println!("cold: round {}", round + 1);
        for part in PARTS {
            let dir = bench.dir.join("cold").display().to_string();
            let args = [part, &dir, "--quick"];
            let args = &args[..if bench.quick { 3 } else { 2 }];
            ours.push(script::run_with_servers("cold", args, bench)?);
        }
    }
    Ok(OWN_HEAD.to_owned() + &script::own_rows(&ROWS, &ours))
}
