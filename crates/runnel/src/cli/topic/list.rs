//! `runnel topic list`.

use clap::Args;
use runnel_client::Client;
use serde_json::{Value, json};

use crate::cli::output::{self, Output, Table};

#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// How to print.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

pub(super) async fn run(args: &ListArgs, client: Client) -> anyhow::Result<()> {
    let topics = client.topics().await?;
    let rows = topics.iter().map(|topic| {
        let partitions = topic.partitions.len();
        json!({"name": topic.name, "id": topic.id, "internal": topic.internal, "partitions": partitions})
    });
    let table = || {
        let mut table = Table::new(["TOPIC", "PARTITIONS"]);
        for topic in &topics {
            table.row([topic.name.clone(), topic.partitions.len().to_string()]);
        }
        table.to_string()
    };
    Ok(output::print(args.output, &rows.collect::<Value>(), table)?)
}
