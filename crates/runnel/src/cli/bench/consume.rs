//! Reading a topic from its start to its present end.

use runnel_client::proto::consume::v1::position::{Earliest, Latest, Position as At};
use runnel_client::proto::consume::v1::{Position, ReadRange};
use runnel_client::proto::record::v1::StoredRecord;
use runnel_client::{Client, Consumer, ConsumerOptions, Event};
use tokio::time::Instant;

use super::Target;
use super::report::{self, Line, Volume};

pub(super) const START: Position = Position { position: Some(At::Earliest(Earliest {})) };
pub(super) const END: Position = Position { position: Some(At::Latest(Latest {})) };

/// A consumer of all partitions.
pub(super) async fn open(
    client: &Client,
    topic: &str,
    start: Position,
    stop: Option<Position>,
) -> runnel_client::Result<Consumer> {
    let range = ReadRange { topic: topic.to_owned(), start: Some(start), stop, ..ReadRange::default() };
    Consumer::open(client.clone(), vec![range], ConsumerOptions::default()).await
}

impl Volume {
    pub(super) fn add(&mut self, records: &[StoredRecord]) {
        self.records += records.len() as u64;
        self.bytes +=
            records.iter().map(|record| record.value.as_ref().map_or(0, |value| value.len() as u64)).sum::<u64>();
    }
}

pub(super) async fn run(target: &Target, client: Client) -> anyhow::Result<()> {
    let start = Instant::now();
    let mut consumer = open(&client, &target.topic, START, Some(END)).await?;
    let mut volume = Volume::default();
    while let Some(event) = consumer.next().await? {
        if let Event::Batch(batch) = event {
            volume.add(&batch.records);
        }
    }
    volume.time = start.elapsed();
    report::print(target.output, &[Line { what: "consume", volume, latency: None }])
}
