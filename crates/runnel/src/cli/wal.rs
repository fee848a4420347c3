//! `runnel wal`: write-ahead logs of brokers that are gone.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use runnel_broker::{AdoptProgress, Adopted, Broker};
use runnel_metastore::Etcd;
use serde_json::json;

use super::output::{self, Output, count};
use super::{Failure, Settings, serve};
use crate::config::MetadataStore;

#[derive(Debug, Args)]
pub(crate) struct WalArgs {
    #[command(subcommand)]
    command: WalCommand,
}

#[derive(Debug, Subcommand)]
enum WalCommand {
    /// Ship what is only on the disk of a dead broker of a cluster, from its data directory mounted on this machine, so
    /// that the others lead its partitions. May be cut off and run again.
    Adopt(AdoptArgs),
}

#[derive(Debug, Args)]
struct AdoptArgs {
    /// The data directory of the dead broker.
    dir: PathBuf,
    /// Show no progress bar.
    #[arg(long)]
    no_progress: bool,
    /// How to print.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
    #[command(flatten)]
    settings: Settings,
}

pub(crate) fn run(args: &WalArgs) -> anyhow::Result<()> {
    let WalCommand::Adopt(args) = &args.command;
    let config = args.settings.load()?;
    let MetadataStore::Etcd(etcd) = config.metadata_store()? else {
        let what = "metadata.url is not set: a single node needs nobody who adopts its data directory, start it there";
        return Err(Failure::Usage(what.to_owned()).into());
    };
    let mut options = config.broker_options()?;
    options.data_dir.clone_from(&args.dir);
    // Whoever needs the room is dead.
    options.cache.disk = 0;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let bar = bar(!args.no_progress && std::io::stderr().is_terminal())?;
    let mut said = None;
    let told = |progress: AdoptProgress| {
        bar.set_length(progress.all as u64);
        bar.set_position((progress.all - progress.left) as u64);
        if progress.waits_for != said {
            if let Some(what) = &progress.waits_for {
                bar.suspend(|| eprintln!("still waiting: {what}"));
            }
            said = progress.waits_for;
        }
    };
    let adopted = runtime.block_on(async {
        let meta = Arc::new(Etcd::connect(&etcd)?);
        Ok::<_, anyhow::Error>(Broker::adopt(meta, options, config.metadata.lease_ttl.0, serve::ports()?, told).await?)
    })?;
    bar.finish_and_clear();
    runtime.shutdown_background();
    show(args.output, &adopted)?;
    anyhow::ensure!(
        adopted.left.is_empty(),
        "the log is damaged where it holds records of {}: restore the disk, or go on without them by \
         `runnel topic accept-loss TOPIC --lost-disk`",
        adopted.left.join(", ")
    );
    Ok(())
}

fn show(output: Output, adopted: &Adopted) -> anyhow::Result<()> {
    let Adopted { broker, disk, shipped, left } = adopted;
    let value = json!({ "broker": broker, "disk_id": disk.to_string(), "shipped": shipped, "left": left });
    let text = || {
        let shipped = count(shipped.len() as u64, "partition");
        format!("shipped what was only on the disk of {broker}: {shipped}; the directory is not needed any more\n")
    };
    let damaged = || {
        let (shipped, left) = (count(shipped.len() as u64, "partition"), count(left.len() as u64, "partition"));
        format!("shipped what was only on the disk of {broker}: {shipped}; {left} cannot be read, keep the directory\n")
    };
    Ok(output::print(output, &value, || if left.is_empty() { text() } else { damaged() })?)
}

/// Moves with the partitions that are shipped; only for people.
fn bar(shown: bool) -> anyhow::Result<ProgressBar> {
    if !shown {
        return Ok(ProgressBar::hidden());
    }
    let style = ProgressStyle::with_template("{bar:40} {pos} of {len} partitions, {elapsed}")?;
    Ok(ProgressBar::new(0).with_style(style))
}
