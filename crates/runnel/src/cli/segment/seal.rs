//! `runnel segment seal`: into the bucket now.

use clap::Args;
use runnel_client::Client;
use runnel_client::proto::admin::v1::SealSegmentsRequest;
use serde_json::{Value, json};

use crate::cli::output::{self, Output, Table};
use crate::config::Span;

#[derive(Debug, Args)]
pub(super) struct SealArgs {
    /// The topic.
    topic: String,
    /// Only this partition.
    #[arg(short, long)]
    partition: Option<i32>,
    /// Return only once everything is in the bucket.
    #[arg(long)]
    wait: bool,
    /// How long to wait.
    #[arg(long, value_name = "TIME", default_value = "1m", requires = "wait")]
    timeout: Span,
    /// How to print.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

pub(super) async fn run(args: &SealArgs, client: Client) -> anyhow::Result<()> {
    let request = SealSegmentsRequest {
        topic: args.topic.clone(),
        partitions: args.partition.into_iter().collect(),
        wait: args.wait,
        timeout_ms: Some(u32::try_from(args.timeout.0.as_millis()).unwrap_or(u32::MAX)),
    };
    let partitions = client.seal_segments(request).await?;
    let rows = partitions.iter().map(|p| {
        let error = p.error.as_ref().map(|error| &error.message);
        json!({
            "partition": p.partition, "sealed_offset": p.sealed_offset, "shipped_offset": p.shipped_offset, "error": error,
        })
    });
    let table = || {
        let mut table = Table::new(["PARTITION", "SEALED", "SHIPPED"]);
        for p in &partitions {
            table.row([i64::from(p.partition), p.sealed_offset, p.shipped_offset].map(|n| n.to_string()));
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
