//! `runnel-judge FILE...`: judges the history in these files, of which each holds whole clients. The exit status is 1 if
//! something is wrong with it, and 2 if it is none.
#![allow(clippy::print_stdout)] // a command-line tool

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, ValueEnum};
use runnel_judge::{History, judge, to_json, to_text};

#[derive(Parser)]
#[command(name = "runnel-judge", about = "Judges what clients of a log saw (docs/testing.md)")]
struct Args {
    /// Files of events, one JSON object a line
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Output format
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

#[derive(Clone, Copy, ValueEnum)]
enum Output {
    Text,
    Json,
}

fn main() -> ExitCode {
    run(&Args::parse()).unwrap_or_else(|error| {
        eprintln!("runnel-judge: {error:#}");
        ExitCode::from(2)
    })
}

fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let mut history = History::default();
    for file in &args.files {
        let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        history.read(&text).with_context(|| file.display().to_string())?;
    }
    let anomalies = judge(&history)?;
    match args.output {
        Output::Text => print!("{}", to_text(&history, &anomalies)),
        Output::Json => println!("{}", to_json(&history, &anomalies)?),
    }
    Ok(if anomalies.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
