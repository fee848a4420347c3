//! `runnel cluster upgrade`: from now on what the new release writes.

use clap::Args;
use runnel_client::Client;
use runnel_client::proto::cluster::v1::{GetClusterResponse, Node, UpgradeClusterResponse};

use crate::cli::confirm::confirm;

#[derive(Debug, Args)]
pub(crate) struct UpgradeArgs {
    /// Only say what it comes to.
    #[arg(long)]
    dry_run: bool,
    /// Do not ask.
    #[arg(long, conflicts_with = "dry_run")]
    yes: bool,
}

pub(crate) async fn run(client: Client, args: &UpgradeArgs) -> anyhow::Result<()> {
    let UpgradeClusterResponse { from, to, held_back_by } = client.upgrade(true).await?;
    if !held_back_by.is_empty() {
        let numbers: Vec<String> = held_back_by.iter().map(ToString::to_string).collect();
        eprintln!(
            "level {to} is the highest that these brokers support, and others support more: {}",
            numbers.join(", ")
        );
    }
    if from == to {
        eprintln!("level {from}: nothing to raise");
        // Also where it was raised and not all brokers were told.
        return if args.dry_run { Ok(()) } else { client.upgrade(false).await.map(drop).map_err(Into::into) };
    }
    eprintln!("level {from}, and all brokers that run support level {to}. Releases that do not cannot come back");
    if args.dry_run {
        return Ok(());
    }
    confirm(args.yes)?;
    let done = client.upgrade(false).await?;
    eprintln!("level {}", done.to);
    Ok(())
}

/// The levels that a broker supports.
pub(super) fn range(node: &Node) -> String {
    match (node.lowest_level, node.highest_level) {
        (0, _) => String::new(),
        (lowest, highest) if lowest == highest => highest.to_string(),
        (lowest, highest) => format!("{lowest}-{highest}"),
    }
}

/// A level above that of the cluster that all of its brokers support.
pub(super) fn within_reach(cluster: &GetClusterResponse) -> Option<u32> {
    let highest = cluster.nodes.iter().map(|node| node.highest_level).min()?;
    (highest > cluster.level?).then_some(highest)
}
