//! `runnel consume`: records to stdout.

mod format;
mod position;

use std::io::{self, BufWriter, Write};
use std::os::fd::AsFd;
use std::pin::pin;

use clap::{Args, ValueEnum};
use runnel_client::proto::consume::v1::ReadRange;
use runnel_client::proto::consume::v1::read_session_response::{Batch, Gap};
use runnel_client::{Client, Consumer, ConsumerOptions, Event};
use runnel_runtime::SystemClock;
use tokio::io::Interest;
use tokio::net::unix::pipe;
use tokio::signal::unix::{SignalKind, signal};

use super::record_json::Line;
use super::remote::Remote;
use format::Format;
use position::Place;

#[derive(Debug, Args)]
pub(crate) struct ConsumeArgs {
    /// The topic.
    topic: String,
    /// Where to begin, in each partition: start, end, an offset, -N for the last N records, or @TIME. TIME is
    /// 2024-05-31, 2024-05-31T23:59:00Z, milliseconds since 1970, or -1h for an hour ago.
    #[arg(long, value_name = "POSITION", default_value = "start", allow_hyphen_values = true)]
    from: Place,
    /// Where to end: end (as it is now), an offset, or @TIME. Without it reading goes on.
    #[arg(long, value_name = "POSITION", value_parser = position::until)]
    until: Option<Place>,
    /// End after this many records.
    #[arg(short = 'n', long)]
    count: Option<u64>,
    /// Only this partition; may be repeated.
    #[arg(short, long = "partition", value_name = "PARTITION")]
    partitions: Vec<i32>,
    /// How to print a record: %t topic, %p partition, %o offset, %k key, %v value, %h headers, %T timestamp in
    /// milliseconds, %% percent, \n newline, \t tab.
    #[arg(short, long, value_name = "FORMAT", conflicts_with = "output")]
    format: Option<Format>,
    /// How to print a record: its value on a line, or a line of JSON.
    #[arg(short, long, value_enum, default_value_t = RecordOutput::Value)]
    output: RecordOutput,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum RecordOutput {
    Value,
    Json,
}

pub(crate) fn run(args: &ConsumeArgs, remote: &Remote) -> anyhow::Result<()> {
    remote.run(|client| consume(args, client))
}

async fn consume(args: &ConsumeArgs, client: Client) -> anyhow::Result<()> {
    let range = ReadRange {
        topic: args.topic.clone(),
        partitions: args.partitions.clone(),
        start: Some(args.from.position(&SystemClock)),
        stop: args.until.map(|until| until.position(&SystemClock)),
        // Of one partition there may be as many as are wanted of all.
        max_records: args.count,
    };
    let mut left = args.count.unwrap_or(u64::MAX);
    // Listened to from here on: one that came between two events must not be lost.
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut consumer = Consumer::open(client, vec![range], ConsumerOptions::default()).await?;
    let mut printer = Printer { args, out: BufWriter::new(io::stdout().lock()) };
    let mut reader_left = pin!(reader_left());
    while left > 0 {
        let event = tokio::select! {
            event = consumer.next() => event?,
            _ = interrupt.recv() => break,
            () = &mut reader_left => break,
        };
        match event {
            Some(Event::Batch(batch)) => left -= printer.batch(&batch, left)?,
            Some(Event::Gap(gap)) => report(&gap),
            Some(Event::CaughtUp(_)) => {}
            None => break,
        }
    }
    Ok(())
}

/// Resolves when a pipe that is our stdout lost its reader, which nobody would tell us before the next record.
async fn reader_left() {
    // Only watched, never written to: writing goes on as before.
    let watched = io::stdout().as_fd().try_clone_to_owned().and_then(pipe::Sender::from_owned_fd_unchecked);
    match watched {
        // Either way nobody reads any more.
        Ok(stdout) => drop(stdout.ready(Interest::ERROR).await),
        // A file, which has no reader to lose.
        Err(_) => std::future::pending().await,
    }
}

fn report(gap: &Gap) {
    let Gap { topic, partition, from_offset, to_offset, reason } = gap;
    eprintln!("{topic}-{partition}: no records at offsets {from_offset} to {to_offset}: {reason}");
}

struct Printer<'a, W> {
    args: &'a ConsumeArgs,
    out: W,
}

impl<W: Write> Printer<'_, W> {
    /// Prints up to `most` records of a batch and returns how many.
    fn batch(&mut self, batch: &Batch, most: u64) -> anyhow::Result<u64> {
        let mut printed = 0;
        for record in batch.records.iter().take(usize::try_from(most).unwrap_or(usize::MAX)) {
            match (&self.args.format, self.args.output) {
                (Some(format), _) => format.write(&mut self.out, &batch.topic, batch.partition, record)?,
                (None, RecordOutput::Value) => {
                    self.out.write_all(record.value.as_deref().unwrap_or_default())?;
                    self.out.write_all(b"\n")?;
                }
                (None, RecordOutput::Json) => {
                    let line = serde_json::to_vec(&Line::new(&batch.topic, batch.partition, record))?;
                    self.out.write_all(&line)?;
                    self.out.write_all(b"\n")?;
                }
            }
            printed += 1;
        }
        self.out.flush()?;
        Ok(printed)
    }
}
