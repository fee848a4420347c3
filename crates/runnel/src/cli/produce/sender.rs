//! Hands records to the producer and keeps the tally.

use runnel_client::proto::record::v1::Header;
use runnel_client::{Client, Delivery, Producer, ProducerOptions, Target};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::input::{Row, Source};
use crate::cli::output::{bytes, count};

/// Rows read ahead.
const READ_AHEAD: usize = 1024;
/// Records whose outcome is open; the producer bounds their bytes.
const UNSETTLED: usize = 1 << 16;

/// Where records go.
pub(super) struct Sender<'a> {
    pub(super) topic: &'a str,
    pub(super) partition: Option<i32>,
    pub(super) headers: &'a [Header],
}

/// What was stored.
#[derive(Debug, Default)]
struct Tally {
    records: u64,
    bytes: u64,
    error: Option<anyhow::Error>,
}

impl Sender<'_> {
    pub(super) async fn run(&self, client: Client, options: ProducerOptions, source: Source) -> anyhow::Result<()> {
        let started = Instant::now();
        // Told before anything is read, which may be never.
        client.topic(self.topic).await?;
        let producer = Producer::new(client, options);
        let (unsettled, deliveries) = mpsc::channel(UNSETTLED);
        let tally = tokio::spawn(settle(deliveries));
        let fed = self.feed(&producer, source, unsettled).await;
        producer.flush().await?;
        let tally = tally.await?;
        let seconds = started.elapsed().as_secs_f64();
        eprintln!("{}, {} in {seconds:.1} s", count(tally.records, "record"), bytes(tally.bytes));
        match tally.error {
            Some(error) => Err(error),
            None => fed,
        }
    }

    /// Sends row after row, until the end of the source or the first record that fails.
    async fn feed(
        &self,
        producer: &Producer,
        source: Source,
        unsettled: mpsc::Sender<(u64, Delivery)>,
    ) -> anyhow::Result<()> {
        let mut rows = read(source);
        loop {
            let row = tokio::select! {
                row = rows.recv() => row,
                () = unsettled.closed() => return Ok(()),
            };
            let Some(row) = row else { return Ok(()) };
            let Row { mut record, partition } = row?;
            record.headers.extend_from_slice(self.headers);
            let target = self.partition.or(partition).map_or(Target::Key, Target::Partition);
            let size = [&record.key, &record.value].map(|part| part.as_ref().map_or(0, |bytes| bytes.len() as u64));
            let delivery = producer.send(self.topic, target, record).await?;
            if unsettled.send((size.iter().sum(), delivery)).await.is_err() {
                return Ok(());
            }
        }
    }
}

/// Reads on a thread of its own, which may block for ever: it does not keep the process alive.
fn read(source: Source) -> mpsc::Receiver<anyhow::Result<Row>> {
    let (rows, received) = mpsc::channel(READ_AHEAD);
    std::thread::spawn(move || {
        for row in source {
            let last = row.is_err();
            if rows.blocking_send(row).is_err() || last {
                return;
            }
        }
    });
    received
}

/// Counts what is stored, up to the first record that is not.
async fn settle(mut deliveries: mpsc::Receiver<(u64, Delivery)>) -> Tally {
    let mut tally = Tally::default();
    while let Some((bytes, delivery)) = deliveries.recv().await {
        match delivery.await {
            Ok(_) => {
                tally.records += 1;
                tally.bytes += bytes;
            }
            Err(error) => {
                tally.error = Some(error.into());
                return tally;
            }
        }
    }
    tally
}
