//! Driver of rdkafka, librdkafka in Rust; the contract is in `../../../README.md`.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result};
use clients::{Bytes, Record, Request, say, serve};
use futures::future::join_all;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use serde_json::json;

const PATIENCE: Duration = Duration::from_secs(30);

fn main() -> Result<()> {
    serve(async |request| match request {
        Request::Produce { bootstrap, topic, records, codec, java_keys, idempotent } => {
            let mut settings = settings(&bootstrap);
            if let Some(codec) = codec {
                settings.set("compression.type", codec);
            }
            if java_keys {
                settings.set("partitioner", "murmur2_random");
            }
            if idempotent {
                settings.set("enable.idempotence", "true");
            }
            produce(&settings, &topic, &records).await
        }
        Request::Consume { bootstrap, topic, partitions, offset, time, count } => {
            consume(&bootstrap, &topic, &partitions, offset, time, count)
        }
        Request::Create { bootstrap, topic, partitions, config } => {
            create(&bootstrap, &topic, partitions, &config).await
        }
        Request::Alter { bootstrap, topic, config } => {
            let change = AlterConfig::new(ResourceSpecifier::Topic(&topic));
            let change = config.iter().fold(change, |change, (name, value)| change.set(name, value));
            let results = admin(&bootstrap)?.alter_configs([&change], &AdminOptions::new()).await?;
            results.into_iter().try_for_each(|result| result.map(drop).map_err(|(_, code)| code.into()))
        }
        Request::Describe { bootstrap, topic } => describe(&bootstrap, &topic).await,
        Request::Delete { bootstrap, topic } => {
            let results = admin(&bootstrap)?.delete_topics(&[&topic], &AdminOptions::new()).await?;
            results.into_iter().try_for_each(|result| result.map(drop).map_err(|(_, code)| code.into()))
        }
    })
}

fn settings(bootstrap: &str) -> ClientConfig {
    let mut settings = ClientConfig::new();
    settings.set("bootstrap.servers", bootstrap);
    settings
}

async fn produce(settings: &ClientConfig, topic: &str, records: &[Record]) -> Result<()> {
    let producer: FutureProducer = settings.create()?;
    let mut sent = Vec::new();
    for record in records {
        let headers = record.headers.iter().fold(OwnedHeaders::new(), |headers, (key, value)| {
            headers.insert(Header { key, value: value.as_ref().map(|value| &value.0) })
        });
        let message = FutureRecord::<[u8], [u8]> {
            topic,
            partition: record.partition,
            payload: record.value.as_ref().map(|value| value.0.as_slice()),
            key: record.key.as_ref().map(|key| key.0.as_slice()),
            timestamp: record.timestamp,
            headers: Some(headers),
        };
        sent.push(producer.send_result(message).map_err(|(error, _)| error)?);
    }
    for delivered in join_all(sent).await {
        delivered?.map_err(|(error, _)| error)?;
    }
    Ok(producer.flush(PATIENCE)?)
}

fn consume(
    bootstrap: &str,
    topic: &str,
    partitions: &[i32],
    offset: Option<i64>,
    time: Option<i64>,
    count: usize,
) -> Result<()> {
    // librdkafka assigns nothing without the name of a group, even where the group does nothing.
    let consumer: BaseConsumer =
        settings(bootstrap).set("group.id", "unused").set("enable.auto.commit", "false").create()?;
    let mut assigned = TopicPartitionList::new();
    for &partition in partitions {
        let start = time.or(offset).map_or(Offset::Beginning, Offset::Offset);
        assigned.add_partition_offset(topic, partition, start)?;
    }
    if time.is_some() {
        assigned = consumer.offsets_for_times(assigned, PATIENCE)?;
    }
    consumer.assign(&assigned)?;
    for _ in 0..count {
        let message = consumer.poll(PATIENCE).context("no record came")??;
        let headers = message.headers().map(|headers| headers.iter()).into_iter().flatten();
        say(&Record {
            partition: Some(message.partition()),
            offset: message.offset(),
            timestamp: message.timestamp().to_millis(),
            key: message.key().map(|key| Bytes(key.to_vec())),
            value: message.payload().map(|value| Bytes(value.to_vec())),
            headers: headers.map(|header| (header.key.to_owned(), header.value.map(|v| Bytes(v.to_vec())))).collect(),
        })?;
    }
    Ok(())
}

fn admin(bootstrap: &str) -> Result<AdminClient<DefaultClientContext>> {
    Ok(settings(bootstrap).create()?)
}

async fn create(bootstrap: &str, topic: &str, partitions: i32, config: &BTreeMap<String, String>) -> Result<()> {
    let new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
    let new = config.iter().fold(new, |new, (name, value)| new.set(name, value));
    let results = admin(bootstrap)?.create_topics([&new], &AdminOptions::new()).await?;
    results.into_iter().try_for_each(|result| result.map(drop).map_err(|(_, code)| code.into()))
}

async fn describe(bootstrap: &str, topic: &str) -> Result<()> {
    let admin = admin(bootstrap)?;
    let metadata = admin.inner().fetch_metadata(Some(topic), PATIENCE)?;
    let partitions = metadata.topics().first().context("no such topic")?.partitions().len();
    let (mut earliest, mut latest) = (Vec::new(), Vec::new());
    for partition in 0..i32::try_from(partitions)? {
        let (low, high) = admin.inner().fetch_watermarks(topic, partition, PATIENCE)?;
        earliest.push(low);
        latest.push(high);
    }
    let answers = admin.describe_configs([&ResourceSpecifier::Topic(topic)], &AdminOptions::new()).await?;
    let resource = answers.into_iter().next().context("no answer")??;
    let config: BTreeMap<_, _> = resource.entries.iter().map(|entry| (&entry.name, &entry.value)).collect();
    say(&json!({"partitions": partitions, "earliest": earliest, "latest": latest, "config": config}))
}
