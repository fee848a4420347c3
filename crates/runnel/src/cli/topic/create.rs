//! `runnel topic create`.

use clap::Args;
use runnel_client::proto::admin::v1::CreateTopicRequest;
use runnel_client::{Client, ErrorKind};
use serde_json::json;

use crate::cli::output::{self, Output, count};

#[derive(Debug, Args)]
pub(super) struct CreateArgs {
    /// The topic.
    name: String,
    /// Number of partitions; the broker's default if not given.
    #[arg(short, long)]
    partitions: Option<i32>,
    /// A config of the topic; may be repeated.
    #[arg(short, long = "config", value_name = "NAME=VALUE", value_parser = super::config)]
    configs: Vec<(String, String)>,
    /// Do nothing if the topic exists.
    #[arg(long)]
    if_not_exists: bool,
    /// How to print what was created.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

pub(super) async fn run(args: &CreateArgs, client: Client) -> anyhow::Result<()> {
    let request = CreateTopicRequest {
        name: args.name.clone(),
        partitions: args.partitions,
        configs: args.configs.iter().cloned().collect(),
        ..CreateTopicRequest::default()
    };
    let topic = match client.create_topic(request).await {
        Ok(topic) => topic,
        Err(error) if error.kind() == ErrorKind::Exists && args.if_not_exists => {
            eprintln!("topic `{}` exists", args.name);
            client.topic(&args.name).await?
        }
        Err(error) => return Err(error.into()),
    };
    let partitions = topic.partitions.len();
    let value = json!({"name": topic.name, "id": topic.id, "partitions": partitions});
    let table = || format!("{}: {}\n", topic.name, count(partitions as u64, "partition"));
    Ok(output::print(args.output, &value, table)?)
}
