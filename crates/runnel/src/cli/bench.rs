//! `runnel bench`: what a running broker does, measured over gRPC.
//!
//! Latency counts from the moment at which a record was meant to be sent, not from when it could be: a broker that
//! stalls pays for every record that had to wait meanwhile (no coordinated omission).

mod catchup;
mod consume;
mod e2e;
mod load;
mod report;

use clap::{Args, Subcommand};
use runnel_client::proto::admin::v1::CreateTopicRequest;
use runnel_client::{Client, ErrorKind};

use super::output::Output;
use super::remote::Remote;
use load::Load;

/// Without a rate or a count, latency is measured at this rate.
const GENTLE: f64 = 1000.0;

#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    #[command(subcommand)]
    command: BenchCommand,
}

#[derive(Debug, Subcommand)]
enum BenchCommand {
    /// Write, as fast as it goes or at a fixed rate: throughput, and the latency of acknowledgements.
    Produce(Run),
    /// Read a topic from its start to its present end: throughput.
    Consume(Target),
    /// Write and read at the same time: latency from producer to consumer. At 1,000 records a second by default.
    E2e(Run),
    /// Read a topic from its start while writing to it, until the reader has caught up. At 1,000 records a second by
    /// default.
    Catchup(Run),
}

/// What to measure on.
#[derive(Debug, Args)]
struct Target {
    /// The topic.
    #[arg(long, default_value = "runnel-bench")]
    topic: String,
    /// How to print.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

#[derive(Debug, Args)]
struct Run {
    #[command(flatten)]
    target: Target,
    /// Partitions of the topic, if it has to be created.
    #[arg(long, default_value_t = 12)]
    partitions: i32,
    #[command(flatten)]
    load: Load,
}

impl Run {
    async fn prepare(&self, client: &Client) -> anyhow::Result<()> {
        let topic = &self.target.topic;
        let request = CreateTopicRequest {
            name: topic.clone(),
            partitions: Some(self.partitions),
            ..CreateTopicRequest::default()
        };
        match client.create_topic(request).await {
            Ok(_) => eprintln!("created topic `{topic}`; delete it with `runnel topic delete {topic}`"),
            Err(error) if error.kind() == ErrorKind::Exists => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}

pub(crate) fn run(args: &BenchArgs, remote: &Remote) -> anyhow::Result<()> {
    match &args.command {
        BenchCommand::Produce(run) => remote.run(|client| load::produce(run, client)),
        BenchCommand::Consume(target) => remote.run(|client| consume::run(target, client)),
        BenchCommand::E2e(run) => remote.run(|client| e2e::run(run, client)),
        BenchCommand::Catchup(run) => remote.run(|client| catchup::run(run, client)),
    }
}
