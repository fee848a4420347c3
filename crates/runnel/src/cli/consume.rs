//! `runnel consume`: records to stdout.

mod format;
mod group;
mod position;
mod printer;

use std::io;
use std::os::fd::AsFd;
use std::pin::pin;

use clap::{Args, ValueEnum};
use runnel_client::proto::consume::v1::ReadRange;
use runnel_client::proto::consume::v1::read_session_response::Gap;
use runnel_client::{Client, Consumer, ConsumerOptions, Event};
use runnel_runtime::SystemClock;
use tokio::io::Interest;
use tokio::net::unix::pipe;
use tokio::signal::unix::{SignalKind, signal};

use super::remote::Remote;
use format::Format;
use position::Place;
use printer::Printer;

#[derive(Debug, Args)]
pub(crate) struct ConsumeArgs {
    /// The topic.
    topic: String,
    /// Where to begin, in each partition: start, end, an offset, -N for the last N records, or @TIME. TIME is
    /// 2024-05-31, 2024-05-31T23:59:00Z, milliseconds since 1970, or -1h for an hour ago. With --group this is for
    /// partitions of which the group has committed nothing.
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
    /// Read as a member of this consumer group, beside its other members, and go on where it was; what was printed is
    /// committed.
    #[arg(short, long, value_name = "GROUP", conflicts_with_all = ["until", "partitions"])]
    group: Option<String>,
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
    match &args.group {
        Some(group) => remote.run(|client| group::consume(args, group, client)),
        None => remote.run(|client| consume(args, client)),
    }
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
    let mut printer = Printer::new(args);
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
