//! Development commands, run as `cargo xtask <verb>`.
//!
//! Owns: what the tests and the demo need on a machine (`install`), the whole test run (`test`), a cluster that has a bad time
//! (`chaos`), which lines the simulation runs (`coverage`), the rules that the compiler does not know (`tidy`), the main job on
//! real data (`demo`), a cluster to try (`cluster`), the comparison with Apache Kafka (`bench`), how many instructions the hot
//! paths take (`instructions`) and the tarball of a release (`dist`). Not part of the product.

#![allow(clippy::print_stdout, clippy::disallowed_methods)] // a command-line tool: it prints, and measures real time

mod bench;
mod chaos;
mod cluster;
mod coverage;
mod demo;
mod dist;
mod install;
mod instructions;
mod process;
mod test;
mod tidy;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Development commands of runnel")]
struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Install what the tests and the demo need; does nothing where all is there
    Install,
    /// Install what is missing and run every check and test
    Test(test::Args),
    /// Let a cluster of real processes have a bad time, and judge what its clients saw
    Chaos(chaos::Args),
    /// Simulate seeds, and show which lines of the layers below the broker never ran
    Coverage(coverage::Args),
    /// Check layers, file sizes and the record-path table
    Tidy,
    /// Run the main job on real data: produce, consume, stop, query the Parquet, start again
    Demo(demo::Args),
    /// Run a cluster on this machine, with etcd and an S3 server, until Ctrl-C
    Cluster(cluster::Args),
    /// Make the tarball that is published: binary, completions, settings, systemd unit
    Dist(dist::Args),
    /// Count the instructions of the hot paths and compare them with those before
    Instructions(instructions::Args),
    /// Measure runnel beside Apache Kafka and write docs/performance.md
    Bench(bench::Args),
}

fn main() -> ExitCode {
    let result = match Args::parse().verb {
        Verb::Install => install::all(),
        Verb::Test(args) => test::run(&args),
        Verb::Chaos(args) => chaos::run(&args),
        Verb::Coverage(args) => coverage::run(&args),
        Verb::Tidy => tidy::run(),
        Verb::Demo(args) => demo::run(&args),
        Verb::Cluster(args) => cluster::run(&args),
        Verb::Dist(args) => dist::run(&args),
        Verb::Instructions(args) => instructions::run(&args),
        Verb::Bench(args) => bench::run(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
