//! Writing at a fixed rate, or as fast as it goes.

use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use runnel_client::proto::record::v1::Record;
use runnel_client::{Client, Delivery, Producer, ProducerOptions, Target};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::Run;
use super::report::{self, Latency, Line, Volume};
use crate::config::{ByteSize, Span};

/// Records whose acknowledgement is awaited at the same time; the producer bounds their bytes.
const UNSETTLED: usize = 1 << 20;
/// Different values that are written in turn.
const VARIETY: u64 = 64;

/// What is written.
#[derive(Debug, Clone, Args)]
pub(super) struct Load {
    /// Records a second; without it as fast as it goes.
    #[arg(long, value_parser = rate)]
    rate: Option<f64>,
    /// Bytes of a value.
    #[arg(long, default_value = "1KiB")]
    size: ByteSize,
    /// End after this many records.
    #[arg(short = 'n', long)]
    count: Option<u64>,
    /// End after this time, if not earlier.
    #[arg(long, value_name = "TIME", default_value = "10s")]
    duration: Span,
    /// Size of a batch.
    #[arg(long, value_name = "SIZE", default_value = "64KiB")]
    batch: ByteSize,
    /// How long a record waits for company.
    #[arg(long, value_name = "TIME", default_value = "5ms")]
    linger: Span,
}

impl Load {
    /// The same, at `rate` if none was asked for.
    pub(super) fn at_rate(&self, rate: f64) -> Self {
        Self { rate: self.rate.or(Some(rate)), ..self.clone() }
    }

    pub(super) fn producer(&self, client: &Client) -> Producer {
        let options = ProducerOptions {
            batch_bytes: usize::try_from(self.batch.0).unwrap_or(usize::MAX),
            linger: self.linger.0,
            ..ProducerOptions::default()
        };
        Producer::new(client.clone(), options)
    }

    /// Writes until it is time to end, then waits for the acknowledgements. A value begins with when its record was
    /// meant to be sent, in nanoseconds since `start`.
    pub(super) async fn write(&self, producer: &Producer, topic: &str, start: Instant) -> anyhow::Result<Line> {
        let size = usize::try_from(self.size.0).unwrap_or(usize::MAX).max(STAMP);
        let filler: Vec<Bytes> = (0..VARIETY).map(|seed| filler(seed, size - STAMP)).collect();
        let (unsettled, deliveries) = mpsc::channel(UNSETTLED);
        let settled = tokio::spawn(settle(deliveries));
        let mut sent = 0;
        while self.count.is_none_or(|count| sent < count) {
            let intended = match self.rate {
                Some(rate) => start + Duration::from_secs_f64(sent as f64 / rate),
                None => Instant::now(),
            };
            if intended - start >= self.duration.0 {
                break;
            }
            // A sleep takes a tick of the timer even if it is over.
            if intended > Instant::now() {
                sleep_until(intended).await;
            }
            let filler = usize::try_from(sent % VARIETY).ok().and_then(|at| filler.get(at));
            let value = stamped(intended - start, filler.map_or(&[], |filler| filler));
            let record = Record { value: Some(value), ..Record::default() };
            let delivery = producer.send(topic, Target::Key, record).await?;
            if unsettled.send((intended, delivery)).await.is_err() {
                break;
            }
            sent += 1;
        }
        drop(unsettled);
        producer.flush().await?;
        let latency = settled.await??;
        let volume = Volume { records: sent, bytes: sent * size as u64, time: start.elapsed() };
        Ok(Line { what: "produce", volume, latency: Some(latency) })
    }
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if (0.01..=1e9).contains(&rate) => Ok(rate),
        _ => Err(format!("`{text}` is no number of records a second")),
    }
}

/// The moment in front of a value: 16 digits.
const STAMP: usize = 16;

fn stamped(since_start: Duration, filler: &[u8]) -> Bytes {
    let mut value = format!("{:016x}", since_start.as_nanos()).into_bytes();
    value.extend_from_slice(filler);
    value.into()
}

/// When, after the start, a record was meant to be sent.
pub(super) fn stamp(value: &[u8]) -> Option<Duration> {
    let digits = std::str::from_utf8(value.get(..STAMP)?).ok()?;
    u64::from_str_radix(digits, 16).ok().map(Duration::from_nanos)
}

/// Text without a pattern that a codec would find: a quarter of its size is all there is to save.
fn filler(seed: u64, size: usize) -> Bytes {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut state = seed.wrapping_mul(2).wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mut letter = || {
        // xorshift64
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        LETTERS[usize::try_from(state >> 58).unwrap_or_default()]
    };
    (0..size).map(|_| letter()).collect()
}

/// Acknowledgements come in the order of sending.
async fn settle(mut deliveries: mpsc::Receiver<(Instant, Delivery)>) -> anyhow::Result<Latency> {
    let mut latency = Latency::new()?;
    while let Some((intended, delivery)) = deliveries.recv().await {
        delivery.await?;
        latency.record(intended.elapsed());
    }
    Ok(latency)
}

pub(super) async fn produce(run: &Run, client: Client) -> anyhow::Result<()> {
    run.prepare(&client).await?;
    let producer = run.load.producer(&client);
    let line = run.load.write(&producer, &run.target.topic, Instant::now()).await?;
    report::print(run.target.output, &[line])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_says_when_it_was_meant_to_be_sent() {
        let at = Duration::from_nanos(1_234_567_890_123);
        let value = stamped(at, &filler(3, 1000));
        assert_eq!((value.len(), stamp(&value)), (1016, Some(at)));
        assert_ne!(filler(1, 100), filler(2, 100));
        assert_eq!(stamp(b"short"), None);
    }
}
