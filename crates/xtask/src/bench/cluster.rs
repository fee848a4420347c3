//! Three brokers on one bucket: failover, acknowledgements that wait for the bucket, and what forwarding costs. There is no
//! peer in it: what it is compared with is the store underneath, or the same work without forwarding. The client is in
//! `tests/bench/cluster.py`.

use anyhow::Result;

use super::Bench;
use super::script::{self, Figures, OWN_HEAD, Row};

/// Each is a cluster of its own.
const PARTS: [&str; 4] = ["failover", "acks", "object", "forwarding"];

const ROWS: [Row; 22] = [
    ("failover_first_s", "1,000 partitions, kill -9 of a broker: first of its partitions acknowledges", "s", 2),
    ("failover_p99_s", "99 % of them do", "s", 2),
    ("failover_last_s", "all of them do", "s", 2),
    ("move_p50_ms", "drain of a broker: pause of a partition, half of them at most", "ms", 0),
    ("move_p99_ms", "99 % of them at most", "ms", 0),
    ("etcd_writes", "changes in etcd while nothing happens, 1,000 partitions", "1/s", 2),
    ("ack_p50_ms", "200 records/s, acknowledged in the bucket: p50", "ms", 1),
    ("ack_p99_ms", "p99", "ms", 1),
    ("put_p50_ms", "an object of the same size put by itself: p50", "ms", 1),
    ("put_p99_ms", "p99", "ms", 1),
    ("puts", "objects put for it, 12 partitions", "1/s", 1),
    ("puts_wide", "600 partitions", "1/s", 1),
    ("loop_mb", "`object_store` by itself, four puts on their way, objects as large as a broker's", "MB/s", 0),
    ("loop_cpu", "loop and S3 server", "CPU s/GB", 2),
    ("held_mb", "produce, acknowledged in the bucket, one broker, shipping held back", "MB/s", 0),
    ("held_ratio", "ratio", "", 2),
    ("held_cpu", "client, broker and S3 server", "CPU s/GB", 2),
    ("shipped_mb", "and shipped meanwhile", "MB/s", 0),
    ("shipped_ratio", "ratio", "", 2),
    ("direct_cpu", "produce to the leaders, shipped: all brokers", "CPU s/GB", 2),
    ("forwarded_cpu", "to a broker that forwards everything", "CPU s/GB", 2),
    ("forwarded_ratio", "ratio", "", 2),
];

pub(super) fn run(bench: &Bench) -> Result<String> {
    let mut ours = Figures::default();
    for round in 0..bench.pairs() {
        println!("cluster: round {}", round + 1);
        for part in PARTS {
            let dir = bench.dir.join("cluster").display().to_string();
            let args = [part, &dir, "--quick"];
            let args = &args[..if bench.quick { 3 } else { 2 }];
            ours.push(script::run_with_servers("cluster", args, bench)?);
        }
    }
    Ok(OWN_HEAD.to_owned() + &script::own_rows(&ROWS, &ours))
}
