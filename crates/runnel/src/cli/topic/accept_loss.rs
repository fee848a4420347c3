//! `runnel topic accept-loss`: the way out of a corrupt range in the log.

use std::sync::Arc;

use clap::Args;
use runnel_broker::{Ports, accept_loss};
use runnel_runtime::disk::StdDisk;
use runnel_runtime::{FailPoints, SystemClock};

use crate::cli::confirm::confirm;
use crate::cli::{Failure, Settings};

#[derive(Debug, Args)]
pub(super) struct AcceptLossArgs {
    /// The topic.
    topic: String,
    /// The partition.
    #[arg(short, long)]
    partition: i32,
    /// Do it without asking.
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    settings: Settings,
}

pub(super) fn run(args: &AcceptLossArgs) -> anyhow::Result<()> {
    let AcceptLossArgs { topic, partition, yes, settings } = args;
    let options = settings.load()?.broker_options()?;
    let ports = Ports { clock: Arc::new(SystemClock), disk: Arc::new(StdDisk), fail: FailPoints::default() };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let look = |accept| runtime.block_on(accept_loss(&options, &ports, topic, *partition, accept));
    let Some(loss) = look(false)? else {
        return Err(Failure::NotFound(format!("nothing of {topic}-{partition} is corrupt in this log")).into());
    };
    eprintln!(
        "{topic}-{partition} cannot be read from offset {} on. Accepting the loss gives up offsets {} to {} and opens the \
         partition there in a new epoch. This cannot be undone.",
        loss.from, loss.from, loss.known_end
    );
    confirm(*yes)?;
    look(true)?;
    eprintln!("the loss is accepted: start the broker");
    Ok(())
}
