//! `runnel topic trim`: the log starts later.

use clap::Args;
use runnel_client::Client;
use runnel_client::proto::admin::v1::TrimTopicRequest;
use serde_json::{Value, json};

use crate::cli::confirm::confirm;
use crate::cli::output::{self, Output, Table};
use crate::config::Span;

#[derive(Debug, Args)]
pub(super) struct TrimArgs {
    /// The topic.
    topic: String,
    /// Only this partition.
    #[arg(short, long, requires = "before")]
    partition: Option<i32>,
    /// The first offset that stays; of one partition, or of all if it is `end`.
    #[arg(short, long, value_name = "OFFSET|end", value_parser = before)]
    before: Before,
    /// How long to wait for the bucket.
    #[arg(long, value_name = "TIME", default_value = "1m")]
    timeout: Span,
    /// Do it without asking.
    #[arg(long)]
    yes: bool,
    /// How to print.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

#[derive(Debug, Clone, Copy)]
enum Before {
    Offset(i64),
    End,
}

fn before(text: &str) -> Result<Before, String> {
    match (text, text.parse()) {
        ("end", _) => Ok(Before::End),
        (_, Ok(offset @ 0..)) => Ok(Before::Offset(offset)),
        _ => Err(format!("`{text}` is neither an offset nor `end`")),
    }
}

pub(super) async fn run(args: &TrimArgs, client: Client) -> anyhow::Result<()> {
    let topic = client.topic(&args.topic).await?;
    let before_offset = match args.before {
        Before::End => None,
        Before::Offset(_) if args.partition.is_none() && topic.partitions.len() > 1 => {
            anyhow::bail!("an offset is one of a partition: name it with --partition, or trim all with --before end");
        }
        Before::Offset(offset) => Some(offset),
    };
    if !args.yes {
        let what =
            before_offset.map_or_else(|| "all records".to_owned(), |offset| format!("the records below {offset}"));
        eprintln!("Deleting {what} of topic `{}` cannot be undone.", args.topic);
    }
    confirm(args.yes)?;
    let request = TrimTopicRequest {
        name: args.topic.clone(),
        partitions: args.partition.into_iter().collect(),
        before_offset,
        timeout_ms: Some(u32::try_from(args.timeout.0.as_millis()).unwrap_or(u32::MAX)),
    };
    let partitions = client.trim_topic(request).await?;
    let rows = partitions.iter().map(|p| {
        let error = p.error.as_ref().map(|error| &error.message);
        json!({ "partition": p.partition, "log_start_offset": p.log_start_offset, "error": error })
    });
    let table = || {
        let mut table = Table::new(["PARTITION", "LOG START"]);
        for p in partitions.iter().filter(|p| p.error.is_none()) {
            table.row([i64::from(p.partition), p.log_start_offset].map(|n| n.to_string()));
        }
        table.to_string()
    };
    output::print(args.output, &rows.collect::<Value>(), table)?;
    match partitions.into_iter().find_map(|p| p.error.map(|error| (p.partition, error))) {
        None => Ok(()),
        Some((partition, error)) => {
            Err(anyhow::Error::from(runnel_client::Error::from(error)).context(format!("partition {partition}")))
        }
    }
}
