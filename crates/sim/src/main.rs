//! `cargo run -p runnel-sim -- --count 100`: simulates seeds, one after the other. `--mutants`: switches off one guard of the
//! protocol after the other, and sees that it is missed.

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::Parser;
use runnel_guard::{Guard, Without};

/// Simulates clusters whose every step follows from a seed, and tells which seeds end badly
#[derive(Parser)]
struct Args {
    /// The first seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many seeds from there on; with --mutants, how many each of them gets
    #[arg(long, default_value_t = 1)]
    count: u64,
    /// Steps with faults in each run, 5 ms each
    #[arg(long, default_value_t = runnel_sim::STEPS)]
    steps: u64,
    /// Print what happens, line by line
    #[arg(long, conflicts_with = "mutants")]
    trace: bool,
    /// Do without this guard
    #[arg(long, value_parser = guard, conflicts_with = "mutants")]
    without: Option<Guard>,
    /// Do without each guard in turn, until that is noticed
    #[arg(long)]
    mutants: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    // `RUST_LOG=runnel_broker=debug` shows what brokers say.
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_default();
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).init();
    let done = if args.mutants { mutants(&args) } else { seeds(&args) };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        // Nobody reads on.
        Ok(false) | Err(_) => ExitCode::FAILURE,
    }
}

fn seeds(args: &Args) -> io::Result<bool> {
    let _without = args.without.map(Without::of);
    let mut all_good = true;
    for seed in args.seed..args.seed + args.count {
        let report = runnel_sim::run(seed, args.steps);
        let mut out = io::stdout().lock();
        if args.trace {
            report.trace.iter().try_for_each(|line| writeln!(out, "{line}"))?;
        }
        match report.outcome {
            Ok(()) => writeln!(out, "seed {seed}: good")?,
            Err(failure) => {
                all_good = false;
                writeln!(out, "seed {seed}: {failure}\n  replay: {}", replay(args, seed))?;
            }
        }
    }
    Ok(all_good)
}

fn mutants(args: &Args) -> io::Result<bool> {
    let mut all_noticed = true;
    for guard in Guard::ALL {
        let _without = Without::of(*guard);
        let noticed = (args.seed..args.seed + args.count)
            .find_map(|seed| runnel_sim::run(seed, args.steps).outcome.err().map(|failure| (seed, failure)));
        let says = match &noticed {
            Some((seed, failure)) => format!("seed {seed:>4}: {failure}"),
            None => format!("NOT NOTICED in {} seeds", args.count),
        };
        all_noticed &= noticed.is_some();
        writeln!(io::stdout().lock(), "{:<20} {says}", guard.name())?;
    }
    Ok(all_noticed)
}

fn replay(args: &Args, seed: u64) -> String {
    let mut command = format!("cargo run -p runnel-sim -- --seed {seed} --steps {} --trace", args.steps);
    if let Some(guard) = args.without {
        command.push_str(&format!(" --without {guard}"));
    }
    command
}

fn guard(name: &str) -> Result<Guard, String> {
    let known = || Guard::ALL.iter().map(|guard| guard.name()).collect::<Vec<_>>().join(", ");
    Guard::ALL.iter().find(|guard| guard.name() == name).copied().ok_or_else(|| format!("there are {}", known()))
}
