//! `cargo run -p runnel-sim -- --seeds 1..100`: simulates seeds, one after the other.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser;

/// Simulates clusters whose every step follows from a seed, and tells which seeds end badly
#[derive(Parser)]
struct Args {
    /// The first seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many seeds from there on
    #[arg(long, default_value_t = 1)]
    count: u64,
    /// Steps with faults in each run, 5 ms each
    #[arg(long, default_value_t = runnel_sim::STEPS)]
    steps: u64,
    /// Print what happens, line by line
    #[arg(long)]
    trace: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    // `RUST_LOG=runnel_broker=debug` shows what brokers say.
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_default();
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let mut out = std::io::stdout().lock();
    let mut bad = 0;
    for seed in args.seed..args.seed + args.count {
        let report = runnel_sim::run(seed, args.steps);
        let mut lines = if args.trace { report.trace } else { Vec::new() };
        lines.push(match &report.outcome {
            Ok(()) => format!("seed {seed}: good"),
            Err(failure) => format!(
                "seed {seed}: {failure}\n  replay: cargo run -p runnel-sim -- --seed {seed} --steps {} --trace",
                args.steps
            ),
        });
        bad += u64::from(report.outcome.is_err());
        if writeln!(out, "{}", lines.join("\n")).is_err() {
            break;
        }
    }
    if bad == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
