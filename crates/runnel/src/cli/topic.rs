//! `runnel topic accept-loss`: the way out of a corrupt range in the log.

use std::io::{IsTerminal, Write};
use std::sync::Arc;

use clap::{Args, Subcommand};
use runnel_broker::{Ports, accept_loss};
use runnel_runtime::disk::StdDisk;
use runnel_runtime::{FailPoints, SystemClock};

use super::{Failure, Settings};

#[derive(Debug, Args)]
pub(crate) struct TopicArgs {
    #[command(subcommand)]
    command: TopicCommand,
}

#[derive(Debug, Subcommand)]
enum TopicCommand {
    /// Give up what lies behind a corrupt range of the write-ahead log, so that the partition takes writes again. The
    /// broker must be stopped. Without --yes it says what would be lost and asks.
    AcceptLoss {
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
    },
}

pub(crate) fn run(args: &TopicArgs) -> anyhow::Result<()> {
    let TopicCommand::AcceptLoss { topic, partition, yes, settings } = &args.command;
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
    if !yes && !confirmed()? {
        anyhow::bail!("nothing was changed (use --yes to go on without being asked)");
    }
    look(true)?;
    eprintln!("the loss is accepted: start the broker");
    Ok(())
}

fn confirmed() -> anyhow::Result<bool> {
    if !std::io::stdin().is_terminal() {
        return Ok(false);
    }
    eprint!("Type `yes` to go on: ");
    std::io::stderr().flush()?;
    let mut line = String::new();
    std::io::stdin().read_line(&mut line)?;
    Ok(line.trim() == "yes")
}
