//! `runnel topic delete`.

use clap::Args;
use runnel_client::Client;

use crate::cli::confirm::confirm;
use crate::cli::output::count;

#[derive(Debug, Args)]
pub(super) struct DeleteArgs {
    /// The topic.
    name: String,
    /// Do it without asking.
    #[arg(long)]
    yes: bool,
}

pub(super) async fn run(args: &DeleteArgs, client: Client) -> anyhow::Result<()> {
    let topic = client.topic(&args.name).await?;
    if !args.yes {
        let partitions = count(topic.partitions.len() as u64, "partition");
        eprintln!("Deleting topic `{}` with its {partitions} cannot be undone.", args.name);
    }
    confirm(args.yes)?;
    client.delete_topic(&args.name).await?;
    eprintln!("topic `{}` is deleted", args.name);
    Ok(())
}
