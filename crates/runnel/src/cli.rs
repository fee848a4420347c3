//! The command line.

mod bench;
mod cluster;
mod completion;
mod config;
mod confirm;
mod consume;
mod doctor;
mod group;
mod output;
mod produce;
mod progress;
mod record_json;
mod remote;
mod segment;
mod serve;
mod time;
mod topic;
mod wal;

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

/// A streaming broker whose log is a lake: Kafka protocol in, Parquet in your bucket.
#[derive(Debug, Parser)]
#[command(name = "runnel", version, about, max_term_width = 100)]
pub(crate) struct Cli {
    /// gRPC addresses of brokers, separated by commas; any broker of the cluster does.
    #[arg(
        long,
        global = true,
        env = "RUNNEL_BOOTSTRAP",
        value_name = "HOST:PORT",
        value_delimiter = ',',
        default_value = "127.0.0.1:9093"
    )]
    bootstrap: Vec<String>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a broker. With no settings: a single node that keeps everything under ./runnel-data.
    Serve(Settings),
    /// Print, check and explain settings.
    Config(config::ConfigArgs),
    /// Create, show, change and delete topics; repair one of a stopped broker.
    Topic(topic::TopicArgs),
    /// Show consumer groups and their lag, reset their offsets, delete them.
    Group(group::GroupArgs),
    /// Write records: lines, JSON or a file.
    Produce(produce::ProduceArgs),
    /// Read records.
    Consume(consume::ConsumeArgs),
    /// Look at segments straight in the bucket, without a broker; ship them now.
    Segment(segment::SegmentArgs),
    /// Rescue the write-ahead log of a broker that is gone.
    Wal(wal::WalArgs),
    /// Show the brokers and how they are.
    Cluster(cluster::ClusterArgs),
    /// Check what a broker with these settings needs: ports, disk, clock, bucket. Changes nothing.
    Doctor(doctor::DoctorArgs),
    /// Measure a running broker.
    Bench(bench::BenchArgs),
    /// Print the script that completes commands in a shell.
    Completion(completion::CompletionArgs),
}

/// Where settings come from.
#[derive(Debug, Args)]
pub(crate) struct Settings {
    /// TOML file with settings.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// One setting, over file and environment; may be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
}

impl Settings {
    fn load(&self) -> anyhow::Result<crate::config::Config> {
        crate::config::Config::load(self.config.as_deref(), std::env::vars(), &self.sets)
    }
}

/// An error that has an exit code of its own.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The thing asked for does not exist.
    NotFound(String),
    /// The command makes no sense.
    Usage(String),
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotFound(what) | Self::Usage(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for Failure {}

/// Says what went wrong and returns the exit code: 1 error, 2 usage, 3 not found, 4 denied, 5 timeout.
pub(crate) fn report(error: &anyhow::Error) -> ExitCode {
    // Whoever read our output has had enough.
    if error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe) {
        return ExitCode::SUCCESS;
    }
    eprintln!("error: {error:#}");
    if let Some(error) = error.downcast_ref::<runnel_client::Error>() {
        if let Some(hint) = remote::hint(error) {
            eprintln!("{hint}");
        }
        return ExitCode::from(remote::exit_code(error));
    }
    match error.downcast_ref::<Failure>() {
        Some(Failure::NotFound(_)) => ExitCode::from(3),
        Some(Failure::Usage(_)) => ExitCode::from(2),
        None => ExitCode::FAILURE,
    }
}

pub(crate) fn run(cli: Cli) -> anyhow::Result<()> {
    let remote = remote::Remote { bootstrap: cli.bootstrap };
    match cli.command {
        Command::Serve(settings) => serve::run(&settings),
        Command::Config(args) => config::run(&args),
        Command::Topic(args) => topic::run(&args, &remote),
        Command::Group(args) => group::run(&args, &remote),
        Command::Produce(args) => produce::run(&args, &remote),
        Command::Consume(args) => consume::run(&args, &remote),
        Command::Segment(args) => segment::run(&args, &remote),
        Command::Wal(args) => wal::run(&args),
        Command::Cluster(args) => cluster::run(&args, &remote),
        Command::Bench(args) => bench::run(&args, &remote),
        Command::Doctor(args) => doctor::run(&args),
        Command::Completion(args) => completion::run(&args),
    }
}
