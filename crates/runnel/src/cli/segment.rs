//! `runnel segment list|show|verify`: straight from the bucket, without a broker.

mod catalog;
mod print;
mod verify;

use clap::{Args, Subcommand, ValueEnum};

use super::Settings;
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
    /// Read every byte of a topic's segments and check it: checksums, offsets, batches. Exit code 1 if anything is wrong.
    Verify {
        #[command(flatten)]
        wanted: Wanted,
        /// How to print.
        #[arg(short, long, value_enum, default_value_t = Output::Table)]
        output: Output,
    },
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
    Paths,
    Duckdb,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Output {
    Table,
    Json,
}

pub(crate) fn run(args: &SegmentArgs) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        match &args.command {
            SegmentCommand::List { wanted, output } => {
                let catalog = wanted.catalog().await?;
                print::list(&catalog, *output)
            }
            SegmentCommand::Show { wanted, output } => {
                let catalog = wanted.catalog().await?;
                print::show(&catalog, *output)
            }
            SegmentCommand::Verify { wanted, output } => {
                let catalog = wanted.catalog().await?;
                verify::verify(&catalog, *output).await
            }
        }
    })
}

impl Wanted {
    async fn catalog(&self) -> anyhow::Result<Catalog> {
        let config = self.settings.load()?;
        Catalog::read(&config, &self.topic, self.partition).await
    }
}
