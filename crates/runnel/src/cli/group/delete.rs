//! `runnel group delete`.

use clap::Args;
use runnel_client::proto::admin::v1::{DeleteOffsetsRequest, TopicPartitions};
use runnel_client::{Client, Error};

use super::selection::selection;
use crate::cli::confirm::confirm;
use crate::cli::output::count;

#[derive(Debug, Args)]
pub(super) struct DeleteArgs {
    /// The group.
    group: String,
    /// Delete only what the group committed for this topic, or for some of its partitions; may be repeated.
    #[arg(long = "topic", value_name = "TOPIC[:PARTITION,..]", value_parser = selection)]
    topics: Vec<TopicPartitions>,
    /// Do it without asking.
    #[arg(long)]
    yes: bool,
}

pub(super) async fn run(args: &DeleteArgs, client: Client) -> anyhow::Result<()> {
    // One that does not exist is told before anything is asked.
    client.group(&args.group).await?;
    if !args.yes {
        match args.topics.as_slice() {
            [] => eprintln!("Deleting group `{}` and all that it committed cannot be undone.", args.group),
            topics => {
                let topics = topics.iter().map(|t| format!("`{}`", t.topic)).collect::<Vec<_>>().join(", ");
                eprintln!("Deleting what group `{}` committed for {topics} cannot be undone.", args.group);
            }
        }
    }
    confirm(args.yes)?;
    if args.topics.is_empty() {
        client.delete_group(&args.group).await?;
        eprintln!("group `{}` is deleted", args.group);
        return Ok(());
    }
    let request = DeleteOffsetsRequest { group: args.group.clone(), topics: args.topics.clone() };
    let mut offsets = client.delete_offsets(request).await?;
    let failed = offsets.iter_mut().find_map(|o| o.error.take().map(|error| (o.topic.clone(), o.partition, error)));
    if let Some((topic, partition, error)) = failed {
        return Err(anyhow::Error::from(Error::from(error)).context(format!("partition {partition} of `{topic}`")));
    }
    let partitions = count(offsets.len() as u64, "partition");
    eprintln!("what group `{}` committed for {partitions} is deleted", args.group);
    Ok(())
}
