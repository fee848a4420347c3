//! The hot paths by themselves, each on one core: what a GB of records costs before sockets, disks and tasks come in.
//!
//! Prints a Markdown table; `cargo xtask bench` puts it into `docs/performance.md`. Sizes count the records as they are
//! on the wire, uncompressed.

#![allow(clippy::print_stdout)] // a command-line tool

mod data;
mod meter;
mod paths;

use clap::Parser;

#[derive(Parser)]
#[command(about = "Benchmarks of the hot paths of runnel")]
struct Args {
    /// Processor time that each path is measured for, in seconds
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Only paths whose name contains this: for a profiler
    filter: Option<String>,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    println!("| path | MB/s per core | CPU s/GB |\n|---|---|---|");
    for path in paths::all(paths::BATCHES)? {
        if args.filter.as_ref().is_some_and(|filter| !path.name.contains(filter.as_str())) {
            continue;
        }
        let speed = meter::measure(args.seconds, path.bytes, path.work)?;
        println!("| {} | {:.0} | {:.2} |", path.name, speed.mb_per_s(), speed.cpu_s_per_gb());
    }
    Ok(())
}
