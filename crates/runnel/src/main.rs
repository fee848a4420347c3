//! The runnel binary: settings, telemetry, wiring and the command line. No logic of its own.

mod cli;
mod config;
mod open_files;
mod telemetry;

use std::process::ExitCode;

use clap::Parser;

/// Batches and frames are large and short-lived: jemalloc keeps their pages for a while, where the C library's allocator
/// would fault them in again for every request.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    match cli::run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => cli::report(&error),
    }
}
