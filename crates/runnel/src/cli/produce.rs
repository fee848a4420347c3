//! `runnel produce`: records from lines, JSON or a file.

mod file;
mod input;
mod sender;

use std::io::IsTerminal;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use runnel_client::proto::record::v1::{Compression, Header};
use runnel_client::{Client, ProducerOptions};

use super::Failure;
use super::remote::Remote;

#[derive(Debug, Args)]
pub(crate) struct ProduceArgs {
    /// The topic; it must exist.
    topic: String,
    /// What stdin holds.
    #[arg(short, long, value_enum, default_value_t = Input::Lines, conflicts_with = "file")]
    input: Input,
    /// What separates key and value in a line; a line without it has no key.
    #[arg(short = 'K', long, value_name = "SEPARATOR", conflicts_with = "file")]
    key_separator: Option<String>,
    /// A file instead of stdin: of a .csv each row becomes a JSON object, of a .ndjson (.jsonl) each line is a value.
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// The column, or field, of the file that is the key.
    #[arg(long, value_name = "COLUMN", requires = "file")]
    key: Option<String>,
    /// A header for every record; may be repeated.
    #[arg(short = 'H', long = "header", value_name = "NAME=VALUE", value_parser = header)]
    headers: Vec<Header>,
    /// The partition. Else the key chooses it, as with Kafka's clients.
    #[arg(short, long)]
    partition: Option<i32>,
    /// How batches are compressed in the log.
    #[arg(long, value_enum, default_value_t = Codec::None)]
    compression: Codec,
    /// Show no progress bar.
    #[arg(long)]
    no_progress: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Input {
    /// Each line is a value.
    Lines,
    /// Each line is a record as `runnel consume -o json` prints it.
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Codec {
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

fn header(text: &str) -> Result<Header, String> {
    let (key, value) = text.split_once('=').ok_or_else(|| format!("`{text}` is not NAME=VALUE"))?;
    Ok(Header { key: key.to_owned(), value: Some(value.to_owned().into()) })
}

pub(crate) fn run(args: &ProduceArgs, remote: &Remote) -> anyhow::Result<()> {
    if args.input == Input::Json && args.key_separator.is_some() {
        return Err(Failure::Usage("a record in JSON has its key: --key-separator is for lines".to_owned()).into());
    }
    let source = match &args.file {
        Some(path) => file::open(path, args.key.clone(), !args.no_progress && std::io::stderr().is_terminal())?,
        None => input::stdin(args.input, args.key_separator.clone()),
    };
    remote.run(|client| produce(args, client, source))
}

async fn produce(args: &ProduceArgs, client: Client, source: input::Source) -> anyhow::Result<()> {
    let compression = match args.compression {
        Codec::None => Compression::None,
        Codec::Gzip => Compression::Gzip,
        Codec::Snappy => Compression::Snappy,
        Codec::Lz4 => Compression::Lz4,
        Codec::Zstd => Compression::Zstd,
    };
    let options = ProducerOptions { compression, ..ProducerOptions::default() };
    let sender = sender::Sender { topic: &args.topic, partition: args.partition, headers: &args.headers };
    sender.run(client, options, source).await
}
