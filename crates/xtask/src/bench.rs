//! runnel beside Apache Kafka, doing the same work on the same machine in turn.
//!
//! The figure to trust is the broker's processor time per GB: wall time is noise wherever client and broker share the
//! cores. Every case runs in pairs, the order within a pair alternating, so that a machine whose speed drifts treats
//! both alike. The tables in `docs/performance.md` are written from the results; the text around them is not touched.

mod catchup;
mod cluster;
mod cold;
mod cost;
mod disk;
mod fanout;
mod groups;
mod kafka;
mod latency;
mod load;
mod machine;
mod micro;
mod page;
mod partitions;
mod payload;
mod peers;
mod plot;
mod probe;
mod profiles;
mod records;
mod runnel;
mod saturation;
mod script;
mod server;
mod startup;
mod stats;
mod storm;
mod throughput;
mod wide;

use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::ValueEnum;

use crate::{install, process, workspace};

/// Options of `cargo xtask bench`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// What to measure; everything if nothing is named
    #[arg(value_enum)]
    cases: Vec<Case>,
    /// One short pair of each case: shows that the machinery works, measures nothing, writes no page
    #[arg(long)]
    quick: bool,
    /// Pairs of each case
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=50))]
    pairs: u32,
    /// Measure this build of runnel instead of making one: to compare with an earlier version
    #[arg(long)]
    binary: Option<PathBuf>,
}

/// What can be measured.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
enum Case {
    /// The hot paths by themselves, single-threaded
    Micro,
    /// From an empty data directory to the first answer, and the idle process
    Startup,
    /// Produce, consume from memory, consume from the bucket or the disk
    Throughput,
    /// Produce with a client that costs little
    Saturation,
    /// Produce other sizes of records, compressed ones, and to one partition
    Records,
    /// Five consumers of the same records at once
    Fanout,
    /// 1,000 records a second from producer to consumer
    Latency,
    /// Read what has piled up while a producer goes on
    CatchUp,
    /// Thousands of connections at once
    Storm,
    /// Commits, rebalances, and a group of a thousand members
    Groups,
    /// 10,000 partitions: made, idle, and after a kill
    Partitions,
    /// Produce to 10,000 partitions, and to 12
    Wide,
    /// Read from the bucket of an S3 server, and follow a tail meanwhile
    Cold,
    /// Three brokers: failover, acknowledgements from the bucket, forwarding
    Cluster,
    /// Another broker in Rust, Tansu, which takes half an hour to build the first time
    Peers,
    /// What takes the processor time, with `perf`: flame graphs
    Profiles,
    /// Requests to the bucket, and what they cost
    Cost,
}

/// What all cases share.
struct Bench {
    quick: bool,
    pairs: u32,
    /// Jars of Apache Kafka, broker and tools.
    jars: PathBuf,
    /// The build of runnel that is measured.
    binary: PathBuf,
    /// The benchmarks of the hot paths.
    micro: PathBuf,
    /// A loop that puts objects.
    puts: PathBuf,
    /// A loop that gets objects.
    gets: PathBuf,
    /// Where brokers keep their data; emptied by each.
    dir: PathBuf,
}

impl Bench {
    fn pairs(&self) -> u32 {
        if self.quick { 1 } else { self.pairs }
    }

    /// A full amount of work, or little of it in a quick run.
    fn amount(&self, full: u64) -> u64 {
        if self.quick { full / 10 } else { full }
    }
}

/// Installs, builds, measures and writes the page.
pub(crate) fn run(args: &Args) -> Result<()> {
    let jars = install::for_bench()?;
    let mut cases = args.cases.clone();
    if cases.is_empty() {
        cases = Case::value_variants().to_vec();
        if args.quick {
            // Half an hour of building for a few seconds of it.
            cases.retain(|case| *case != Case::Peers);
        }
    }
    if cases.contains(&Case::Profiles) {
        install::for_profiles()?;
    }
    if cases.contains(&Case::Peers) {
        install::for_peers()?;
    }
    let built = build(args.binary.is_none(), &cases)?;
    let dir = workspace::cache()?.join("bench");
    fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    let bench = Bench {
        quick: args.quick,
        pairs: args.pairs,
        jars,
        binary: args.binary.clone().unwrap_or_else(|| built.join("runnel")),
        micro: built.join("runnel-bench"),
        puts: built.join("examples/puts"),
        gets: built.join("examples/gets"),
        dir,
    };
    let started = Instant::now();
    let mut sections = vec![("machine", machine::describe(&bench.dir, args.binary.as_deref())?)];
    for case in cases {
        sections.push(match case {
            Case::Micro => ("micro", micro::run(&bench)?),
            Case::Startup => ("startup", startup::run(&bench)?),
            Case::Throughput => ("throughput", throughput::run(&bench)?),
            Case::Saturation => ("saturation", saturation::run(&bench)?),
            Case::Records => ("records", records::run(&bench)?),
            Case::Fanout => ("fanout", fanout::run(&bench)?),
            Case::Latency => ("latency", latency::run(&bench)?),
            Case::CatchUp => ("catch-up", catchup::run(&bench)?),
            Case::Storm => ("storm", storm::run(&bench)?),
            Case::Groups => ("groups", groups::run(&bench)?),
            Case::Partitions => ("partitions", partitions::run(&bench)?),
            Case::Wide => ("wide", wide::run(&bench)?),
            Case::Cold => ("cold", cold::run(&bench)?),
            Case::Cluster => ("cluster", cluster::run(&bench)?),
            Case::Peers => ("peers", peers::run(&bench)?),
            Case::Profiles => ("profiles", profiles::run(&bench)?),
            Case::Cost => ("cost", cost::run(&bench)?),
        });
    }
    fs::remove_dir_all(&bench.dir).with_context(|| format!("cannot remove {}", bench.dir.display()))?;
    for (_, text) in &sections {
        println!("\n{text}");
    }
    println!("measured in {:.0} s", started.elapsed().as_secs_f64());
    if args.quick { Ok(()) } else { page::write(&sections) }
}

/// Builds what is needed; returns the folder of it.
fn build(with_runnel: bool, cases: &[Case]) -> Result<PathBuf> {
    let has = |case| cases.contains(&case);
    let needed = [
        (with_runnel, ["--bin", "runnel"]),
        (has(Case::Micro) || has(Case::Cold), ["--bin", "runnel-bench"]),
        (has(Case::Cluster), ["--example", "puts"]),
        (has(Case::Cold), ["--example", "gets"]),
    ];
    let targets: Vec<&str> =
        needed.into_iter().filter(|(is_needed, _)| *is_needed).flat_map(|(_, args)| args).collect();
    if !targets.is_empty() {
        println!("building what is measured");
        // Of the whole workspace, whose crates are built with the same features whichever of them is wanted.
        process::run(
            workspace::cargo().args(["build", "--quiet", "--profile", "optimized", "--workspace"]).args(targets),
        )?;
    }
    Ok(workspace::metadata()?.target_directory.join("optimized"))
}
