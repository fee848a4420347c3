//! The hot paths by themselves, each on one core: what a GB of records costs before sockets, disks and tasks come in.
//!
//! Prints a Markdown table; `cargo xtask bench` puts it into `docs/performance.md`. Sizes count the records as they are
//! on the wire, uncompressed. With `--once` each path runs once under a name that `cargo xtask instructions` has valgrind
//! look for.

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
    /// Run each path once, over less and always the same, and print its name: for a tool that counts instructions
    #[arg(long)]
    once: bool,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    if args.once {
        return once();
    }
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

/// Every path twice: the first time fills caches and buffers, the second is counted.
fn once() -> anyhow::Result<()> {
    for mut path in paths::all(paths::COUNTED_BATCHES)? {
        (path.work)()?;
        counted(&mut path.work)?;
        println!("{}", path.name);
    }
    Ok(())
}

/// By this name valgrind knows when to count.
#[inline(never)]
fn counted(work: &mut dyn FnMut() -> anyhow::Result<()>) -> anyhow::Result<()> {
    // Without the box this could become a jump, and would have no end.
    std::hint::black_box(work())
}
