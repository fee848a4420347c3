//! A reader that begins at the start while writing goes on.

use std::collections::BTreeSet;

use runnel_client::{Client, Consumer, Event};
use tokio::time::Instant;

use super::consume::{START, open};
use super::report::{self, Line, Volume};
use super::{GENTLE, Run};

pub(super) async fn run(run: &Run, client: Client) -> anyhow::Result<()> {
    run.prepare(&client).await?;
    let partitions = client.topic(&run.target.topic).await?.partitions.len();
    let producer = run.load.producer(&client);
    let start = Instant::now();
    let consumer = open(&client, &run.target.topic, START, None).await?;
    let reader = tokio::spawn(read(consumer, start, partitions));
    let produced = run.load.at_rate(GENTLE).write(&producer, &run.target.topic, start).await?;
    let consumed = reader.await??;
    report::print(run.target.output, &[produced, consumed])
}

/// Reads until every partition was once read to its end.
async fn read(mut consumer: Consumer, start: Instant, partitions: usize) -> anyhow::Result<Line> {
    let (mut volume, mut caught_up) = (Volume::default(), BTreeSet::new());
    while caught_up.len() < partitions {
        match consumer.next().await? {
            Some(Event::Batch(batch)) => volume.add(&batch.records),
            Some(Event::CaughtUp(partition)) => {
                caught_up.insert(partition.partition);
            }
            Some(Event::Gap(_)) => {}
            None => break,
        }
    }
    volume.time = start.elapsed();
    Ok(Line { what: "catch up", volume, latency: None })
}
