//! The command line.

mod completion;
mod config;
mod segment;
mod serve;
mod topic;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

/// A streaming broker whose log is a lake: Kafka protocol in, Parquet in your bucket.
#[derive(Debug, Parser)]
#[command(name = "runnel", version, about, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a broker. With no settings: a single node that keeps everything under ./runnel-data.
    Serve(Settings),
    /// Print, check and explain settings.
    Config(config::ConfigArgs),
    /// Repair a topic of a stopped broker.
    Topic(topic::TopicArgs),
    /// Look at segments straight in the bucket; needs no running broker.
    Segment(segment::SegmentArgs),
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
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotFound(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for Failure {}

/// 1 error, 2 usage (clap's own), 3 not found.
pub(crate) fn exit_code(error: &anyhow::Error) -> ExitCode {
    match error.downcast_ref::<Failure>() {
        Some(Failure::NotFound(_)) => ExitCode::from(3),
        None => ExitCode::FAILURE,
    }
}

pub(crate) fn run(cli: Cli) -> anyhow::Result<()> {
    match cli.command {
        Command::Serve(settings) => serve::run(&settings),
        Command::Config(args) => config::run(&args),
        Command::Topic(args) => topic::run(&args),
        Command::Segment(args) => segment::run(&args),
        Command::Completion(args) => completion::run(&args),
    }
}
