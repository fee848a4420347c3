//! `runnel topic accept-loss`: the way out of a corrupt range in the log, and of a disk that is lost.

use clap::Args;
use runnel_broker::{Ports, accept_loss};
use runnel_client::Client;
use runnel_client::proto::cluster::v1::AcceptLossRequest;
use runnel_client::proto::cluster::v1::accept_loss_response::Loss;
use runnel_runtime::FailPoints;
use serde_json::{Value, json};

use crate::cli::confirm::confirm;
use crate::cli::output::{self, Output, Table};
use crate::cli::remote::Remote;
use crate::cli::{Failure, Settings};

#[derive(Debug, Args)]
pub(super) struct AcceptLossArgs {
    /// The topic.
    topic: String,
    /// The partition. With --lost-disk all partitions that wait for a disk, if it is not given.
    #[arg(short, long, required_unless_present = "lost_disk")]
    partition: Option<i32>,
    /// In a cluster: a broker is gone for good, and its disk with it. Asks a running broker, and reads no settings.
    #[arg(long, conflicts_with_all = ["config", "sets"])]
    lost_disk: bool,
    /// Say what would be lost, and change nothing.
    #[arg(long)]
    dry_run: bool,
    /// Do it without asking.
    #[arg(long)]
    yes: bool,
    /// How to print what a lost disk takes along.
    #[arg(short, long, value_enum, default_value_t = Output::Table, requires = "lost_disk")]
    output: Output,
    #[command(flatten)]
    settings: Settings,
}

pub(super) fn run(args: &AcceptLossArgs, remote: &Remote) -> anyhow::Result<()> {
    match args.partition {
        Some(partition) if !args.lost_disk => of_stopped_broker(args, partition),
        _ => remote.run(|client| of_lost_disk(args, client)),
    }
}

fn of_stopped_broker(args: &AcceptLossArgs, partition: i32) -> anyhow::Result<()> {
    let AcceptLossArgs { topic, yes, settings, .. } = args;
    let config = settings.load()?;
    let options = config.broker_options()?;
    let ports = Ports::of_machine(FailPoints::default());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let look = |accept| runtime.block_on(accept_loss(&options, &ports, topic, partition, accept));
    let Some(loss) = look(false)? else {
        return Err(Failure::NotFound(format!("nothing of {topic}-{partition} is corrupt in this log")).into());
    };
    eprintln!(
        "{topic}-{partition} cannot be read from offset {} on. Accepting the loss gives up offsets {} to {} and opens the \
         partition there in a new epoch. This cannot be undone.",
        loss.from, loss.from, loss.known_end
    );
    if args.dry_run {
        return Ok(());
    }
    confirm(*yes)?;
    look(true)?;
    eprintln!("the loss is accepted: start the broker");
    Ok(())
}

async fn of_lost_disk(args: &AcceptLossArgs, client: Client) -> anyhow::Result<()> {
    let request = AcceptLossRequest { topic: args.topic.clone(), partition: args.partition, losses: Vec::new() };
    let losses = client.accept_loss(request.clone()).await?;
    if args.dry_run {
        return show(args, &losses);
    }
    eprint!("{}", table(&losses));
    eprintln!(
        "Accepting the loss gives up every record of these partitions from FROM on, known or not. They go on there in a new \
         epoch, by which consumers that have read further find out. This cannot be undone."
    );
    confirm(args.yes)?;
    // Exactly these: another broker may have gone since.
    let losses = client.accept_loss(AcceptLossRequest { losses, ..request }).await?;
    show(args, &losses)
}

fn show(args: &AcceptLossArgs, losses: &[Loss]) -> anyhow::Result<()> {
    let rows = losses.iter().map(|loss| {
        json!({
            "topic": args.topic, "partition": loss.partition, "from": loss.from_offset,
            "known_end": loss.known_end_offset, "brokers": loss.brokers,
        })
    });
    Ok(output::print(args.output, &rows.collect::<Value>(), || table(losses).to_string())?)
}

fn table(losses: &[Loss]) -> Table {
    let mut table = Table::new(["PARTITION", "FROM", "AT LEAST TO", "DISK OF"]);
    for loss in losses {
        let offsets = [i64::from(loss.partition), loss.from_offset, loss.known_end_offset].map(|n| n.to_string());
        let [partition, from, end] = offsets;
        table.row([partition, from, end, loss.brokers.join(", ")]);
    }
    table
}
