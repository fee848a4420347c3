//! From producer to consumer.

use runnel_client::{Client, Consumer, Event};
use tokio::sync::watch;
use tokio::time::Instant;

use super::consume::{END, open};
use super::load::stamp;
use super::report::{self, Latency, Line, Volume};
use super::{GENTLE, Run};

pub(super) async fn run(run: &Run, client: Client) -> anyhow::Result<()> {
    run.prepare(&client).await?;
    let consumer = open(&client, &run.target.topic, END, None).await?;
    let producer = run.load.producer(&client);
    let start = Instant::now();
    let (expected, known) = watch::channel(None);
    let reader = tokio::spawn(read(consumer, start, known));
    let load = run.load.at_rate(GENTLE);
    let produced = load.write(&producer, &run.target.topic, start).await?;
    expected.send_replace(Some(produced.volume.records));
    let consumed = reader.await??;
    report::print(run.target.output, &[produced, consumed])
}

/// Reads until as many records have come as were sent, once that is known.
async fn read(
    mut consumer: Consumer,
    start: Instant,
    mut expected: watch::Receiver<Option<u64>>,
) -> anyhow::Result<Line> {
    let (mut volume, mut latency) = (Volume::default(), Latency::new()?);
    while expected.borrow_and_update().is_none_or(|expected| volume.records < expected) {
        let event = tokio::select! {
            event = consumer.next() => event?,
            changed = expected.changed() => match changed {
                Ok(()) => continue,
                // The producer failed; its error is the one to show.
                Err(_) => break,
            },
        };
        if let Some(Event::Batch(batch)) = event {
            let now = start.elapsed();
            let sent = batch.records.iter().filter_map(|record| stamp(record.value.as_deref()?));
            sent.for_each(|sent| latency.record(now.saturating_sub(sent)));
            volume.add(&batch.records);
        }
    }
    volume.time = start.elapsed();
    Ok(Line { what: "end to end", volume, latency: Some(latency) })
}
