//! Driver of rskafka; the contract is in `../../../README.md`.
//!
//! It chooses no partitions by itself, and its headers are a sorted map of names to bytes.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use chrono::{DateTime, Utc};
use clients::{Bytes, Record, Request, say, serve};
use rskafka::client::partition::{Compression, OffsetAt, PartitionClient, UnknownTopicHandling};
use rskafka::client::{Client, ClientBuilder};
use serde_json::json;

const PATIENCE_MS: i32 = 30_000;

fn main() -> Result<()> {
    serve(async |request| match request {
        Request::Produce { bootstrap, topic, records, codec, .. } => {
            produce(&bootstrap, &topic, records, codec.as_deref()).await
        }
        Request::Consume { bootstrap, topic, partitions, offset, time, count } => {
            consume(&bootstrap, &topic, &partitions, offset, time, count).await
        }
        Request::Create { bootstrap, topic, partitions, .. } => {
            let controller = connect(&bootstrap).await?.controller_client()?;
            Ok(controller.create_topic(topic, partitions, 1, PATIENCE_MS).await?)
        }
        Request::Alter { .. } => bail!("it changes no settings"),
        Request::Describe { bootstrap, topic } => describe(&bootstrap, &topic).await,
        Request::Delete { bootstrap, topic } => {
            Ok(connect(&bootstrap).await?.controller_client()?.delete_topic(topic, PATIENCE_MS).await?)
        }
    })
}

async fn connect(bootstrap: &str) -> Result<Client> {
    Ok(ClientBuilder::new(vec![bootstrap.to_owned()]).build().await?)
}

async fn open(client: &Client, topic: &str, partition: i32) -> Result<PartitionClient> {
    Ok(client.partition_client(topic, partition, UnknownTopicHandling::Error).await?)
}

async fn produce(bootstrap: &str, topic: &str, records: Vec<Record>, codec: Option<&str>) -> Result<()> {
    let codec = match codec {
        None => Compression::default(),
        Some("none") => Compression::NoCompression,
        Some("gzip") => Compression::Gzip,
        Some("snappy") => Compression::Snappy,
        Some("lz4") => Compression::Lz4,
        Some("zstd") => Compression::Zstd,
        Some(other) => bail!("no codec {other}"),
    };
    let mut batches = BTreeMap::<i32, Vec<rskafka::record::Record>>::new();
    for record in records {
        let partition = record.partition.context("it chooses no partition")?;
        batches.entry(partition).or_default().push(rskafka::record::Record {
            key: record.key.map(|key| key.0),
            value: record.value.map(|value| value.0),
            headers: record
                .headers
                .into_iter()
                .map(|(name, value)| (name, value.unwrap_or(Bytes(Vec::new())).0))
                .collect(),
            timestamp: match record.timestamp {
                Some(ms) => DateTime::from_timestamp_millis(ms).context("not a time")?,
                None => Utc::now(),
            },
        });
    }
    let client = connect(bootstrap).await?;
    for (partition, records) in batches {
        open(&client, topic, partition).await?.produce(records, codec).await?;
    }
    Ok(())
}

async fn consume(
    bootstrap: &str,
    topic: &str,
    partitions: &[i32],
    offset: Option<i64>,
    time: Option<i64>,
    count: usize,
) -> Result<()> {
    let client = connect(bootstrap).await?;
    let mut readers = Vec::new();
    for &partition in partitions {
        let reader = open(&client, topic, partition).await?;
        let start = match (offset, time) {
            (Some(offset), _) => offset,
            (None, Some(ms)) => {
                let time = DateTime::from_timestamp_millis(ms).context("not a time")?;
                reader.get_offset(OffsetAt::Timestamp(time)).await?
            }
            (None, None) => reader.get_offset(OffsetAt::Earliest).await?,
        };
        readers.push((partition, reader, start));
    }
    let mut left = count;
    while left > 0 {
        for (partition, reader, next) in &mut readers {
            let (records, _) = reader.fetch_records(*next, 1..1 << 20, 10).await?;
            for found in records.into_iter().take(left) {
                *next = found.offset + 1;
                left -= 1;
                say(&Record {
                    partition: Some(*partition),
                    offset: found.offset,
                    timestamp: Some(found.record.timestamp.timestamp_millis()),
                    key: found.record.key.map(Bytes),
                    value: found.record.value.map(Bytes),
                    headers: found.record.headers.into_iter().map(|(name, value)| (name, Some(Bytes(value)))).collect(),
                })?;
            }
        }
    }
    Ok(())
}

async fn describe(bootstrap: &str, topic: &str) -> Result<()> {
    let client = connect(bootstrap).await?;
    let topics = client.list_topics().await?;
    let partitions = &topics.iter().find(|found| found.name == topic).context("no such topic")?.partitions;
    let (mut earliest, mut latest) = (Vec::new(), Vec::new());
    for &partition in partitions {
        let reader = open(&client, topic, partition).await?;
        earliest.push(reader.get_offset(OffsetAt::Earliest).await?);
        latest.push(reader.get_offset(OffsetAt::Latest).await?);
    }
    say(&json!({"partitions": partitions.len(), "earliest": earliest, "latest": latest, "config": {}}))
}
