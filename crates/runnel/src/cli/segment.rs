//! `runnel segment list|show|verify`: straight from the bucket, without a broker; `seal` asks one.

mod audit;
mod catalog;
mod print;
mod seal;
mod verify;

use clap::{Args, Subcommand, ValueEnum};

use super::Settings;
use super::output::Output;
use super::remote::Remote;
use catalog::Catalog;

#[derive(Debug, Args)]
pub(crate) struct SegmentArgs {
    #[command(subcommand)]
    command: SegmentCommand,
}

#[derive(Debug, Subcommand)]
enum SegmentCommand {
    /// List the segments of a topic: the exact files that are its log.
    List {
        #[command(flatten)]
        wanted: Wanted,
        /// How to print. `paths` is one file per line, `duckdb` a view over exactly these files.
        #[arg(short, long, value_enum, default_value_t = ListOutput::Table)]
        output: ListOutput,
    },
    /// Show where a topic's log stands in the bucket, partition by partition.
    Show {
        #[command(flatten)]
        wanted: Wanted,
        /// How to print.
        #[arg(short, long, value_enum, default_value_t = Output::Table)]
        output: Output,
    },
    /// Read every byte of a topic's segments and check it: checksums, offsets, batches; or check with --all that everything
    /// in the bucket is there that should be. Exit code 1 if anything is wrong.
    Verify(VerifyArgs),
    /// Close the open segments of a topic, so that all that is committed ships now. Asks a running broker.
    Seal(seal::SealArgs),
}

#[derive(Debug, Args)]
struct VerifyArgs {
    /// The topic.
    #[arg(required_unless_present = "all")]
    topic: Option<String>,
    /// Only this partition.
    #[arg(short, long)]
    partition: Option<i32>,
    /// Instead of a topic: what the bucket's roots, manifests and lanes refer to is there, in the size that it should have,
    /// and what else is there will be deleted by somebody.
    #[arg(long, conflicts_with_all = ["topic", "partition"])]
    all: bool,
    /// With --all: read every byte of all segments, too.
    #[arg(long, requires = "all")]
    deep: bool,
    #[command(flatten)]
    settings: Settings,
    /// How to print.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

/// Which segments.
#[derive(Debug, Args)]
struct Wanted {
    /// The topic.
    topic: String,
    /// Only this partition.
    #[arg(short, long)]
    partition: Option<i32>,
    #[command(flatten)]
    settings: Settings,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ListOutput {
    Table,
    Json,
    Yaml,
    Paths,
    Duckdb,
}

pub(crate) fn run(args: &SegmentArgs, remote: &Remote) -> anyhow::Result<()> {
    match &args.command {
        SegmentCommand::List { wanted, output } => offline(async || print::list(&wanted.catalog().await?, *output)),
        SegmentCommand::Show { wanted, output } => offline(async || print::show(&wanted.catalog().await?, *output)),
        SegmentCommand::Verify(args) => offline(async || args.verify().await),
        SegmentCommand::Seal(args) => remote.run(|client| seal::run(args, client)),
    }
}

fn offline(look: impl AsyncFnOnce() -> anyhow::Result<()>) -> anyhow::Result<()> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(look())
}

impl VerifyArgs {
    async fn verify(&self) -> anyhow::Result<()> {
        let config = self.settings.load()?;
        match &self.topic {
            Some(topic) => verify::verify(&Catalog::read(&config, topic, self.partition).await?, self.output).await,
            None => audit::run(&config, self.deep, self.output).await,
        }
    }
}

impl Wanted {
    async fn catalog(&self) -> anyhow::Result<Catalog> {
        let config = self.settings.load()?;
        Catalog::read(&config, &self.topic, self.partition).await
    }
}
