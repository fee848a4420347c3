//! `runnel topic describe`.

use std::collections::BTreeMap;

use clap::Args;
use runnel_client::Client;
use runnel_client::proto::admin::v1::{ConfigEntry, ConfigSource, Partition, Topic};
use runnel_client::proto::consume::v1::Position;
use runnel_client::proto::consume::v1::list_offsets_response::PartitionOffset;
use runnel_client::proto::consume::v1::position::{Latest, Position as At};
use serde_json::{Value, json};

use crate::cli::output::{self, Output, Table};

#[derive(Debug, Args)]
pub(super) struct DescribeArgs {
    /// The topic.
    name: String,
    /// Show every config, the defaults too.
    #[arg(long)]
    all_configs: bool,
    /// How to print.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

/// A partition and where its log stands.
struct Row<'a> {
    partition: &'a Partition,
    offsets: Option<&'a PartitionOffset>,
}

pub(super) async fn run(args: &DescribeArgs, client: Client) -> anyhow::Result<()> {
    let topic = client.topic(&args.name).await?;
    let latest = Position { position: Some(At::Latest(Latest {})) };
    let offsets = client.list_offsets_of_each(&args.name, Vec::new(), latest).await?;
    let mut configs = client.topic_configs(&args.name).await?;
    configs.retain(|config| args.all_configs || config.source() == ConfigSource::Topic);
    let offsets: BTreeMap<_, _> = offsets.iter().map(|offset| (offset.partition, offset)).collect();
    let rows = topic.partitions.iter();
    let rows: Vec<_> =
        rows.map(|partition| Row { partition, offsets: offsets.get(&partition.partition).copied() }).collect();
    Ok(output::print(args.output, &as_json(&topic, &rows, &configs), || as_table(&topic, &rows, &configs))?)
}

fn as_json(topic: &Topic, rows: &[Row<'_>], configs: &[ConfigEntry]) -> Value {
    let partitions = rows.iter().map(|Row { partition: p, offsets }| {
        json!({
            "partition": p.partition, "leader": p.leader, "leader_epoch": p.leader_epoch, "replicas": p.replicas,
            "in_sync_replicas": p.in_sync_replicas,
            "log_start_offset": offsets.and_then(|o| o.error.is_none().then_some(o.log_start)),
            "end_offset": offsets.and_then(|o| o.error.is_none().then_some(o.high_watermark)),
            "error": offsets.and_then(|o| o.error.as_ref()).map(|error| &error.message),
        })
    });
    let configs = configs.iter().map(|c| json!({"name": c.name, "value": c.value, "source": source(c)}));
    json!({
        "name": topic.name, "id": topic.id, "internal": topic.internal,
        "partitions": partitions.collect::<Value>(), "configs": configs.collect::<Value>(),
    })
}

fn as_table(topic: &Topic, rows: &[Row<'_>], configs: &[ConfigEntry]) -> String {
    let mut partitions = Table::new(["PARTITION", "LEADER", "EPOCH", "LOG START", "END", "RECORDS"]);
    let mut problems = String::new();
    for Row { partition: p, offsets } in rows {
        let leader = p.leader.map_or_else(|| "none".to_owned(), |leader| leader.to_string());
        // A partition that nobody has used yet has no epoch.
        let epoch = if p.leader_epoch < 0 { "-".to_owned() } else { p.leader_epoch.to_string() };
        let [start, end, records] = match offsets {
            Some(o) if o.error.is_none() => {
                [o.log_start, o.high_watermark, o.high_watermark - o.log_start].map(|n| n.to_string())
            }
            _ => ["-"; 3].map(str::to_owned),
        };
        partitions.row([p.partition.to_string(), leader, epoch, start, end, records]);
        if let Some(error) = offsets.and_then(|o| o.error.as_ref()) {
            problems.push_str(&format!("partition {}: {}\n", p.partition, error.message));
        }
    }
    let mut table = Table::new(["CONFIG", "VALUE", "SOURCE"]);
    for config in configs {
        let value = config.value.clone().unwrap_or_else(|| "***".to_owned());
        table.row([config.name.clone(), value, source(config).to_owned()]);
    }
    let configs = if configs.is_empty() { "every config has its default\n".to_owned() } else { table.to_string() };
    format!("topic {} ({})\n\n{partitions}{problems}\n{configs}", topic.name, topic.id)
}

fn source(config: &ConfigEntry) -> &'static str {
    match config.source() {
        ConfigSource::Topic => "topic",
        ConfigSource::Broker => "broker",
        ConfigSource::Default => "default",
        ConfigSource::Unspecified => "unknown",
    }
}
