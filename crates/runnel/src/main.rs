//! The runnel binary: settings, telemetry, wiring and the command line. No logic of its own.

mod cli;
mod config;
mod open_files;
mod telemetry;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    match cli::run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => cli::report(&error),
    }
}
