//! `cargo run -p runnel-sim -- --count 100`: simulates seeds, and counts what was done in them. `--mutants`: switches off one
//! guard of the protocol after the other, and sees that it is missed.

mod command;

use std::io::{self, Write as _};
use std::ops::Range;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use runnel_guard::{Guard, Without};
use runnel_sim::{Fault, Report};
use tokio::time::Instant;

use crate::command::shrink::{Case, shrink};
use crate::command::summary::{Progress, Summary};
use crate::command::{campaign, known};

/// Simulates clusters whose every step follows from a seed, and tells which seeds end badly
#[derive(Parser)]
struct Args {
    /// The first seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many seeds from there on; with --mutants, how many each of them gets
    #[arg(long, default_value_t = 1)]
    count: u64,
    /// As many seeds as can be begun in so many minutes
    #[arg(long, conflicts_with_all = ["count", "mutants"])]
    minutes: Option<u64>,
    /// Seeds, or mutants, that are simulated at a time
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=256))]
    jobs: u64,
    /// Steps with faults in each run, 5 ms each
    #[arg(long, default_value_t = runnel_sim::STEPS)]
    steps: u64,
    /// Faults that are not to happen
    #[arg(long, value_parser = fault, value_delimiter = ',')]
    off: Vec<Fault>,
    /// Print what happens, line by line
    #[arg(long, conflicts_with = "mutants")]
    trace: bool,
    /// Look for fewer steps and fewer kinds of faults that end badly too
    #[arg(long, conflicts_with = "mutants")]
    shrink: bool,
    /// Do without this guard
    #[arg(long, value_parser = guard, conflicts_with = "mutants")]
    without: Option<Guard>,
    /// Do without each guard in turn, until that is noticed
    #[arg(long)]
    mutants: bool,
    /// How the summary is printed
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    Text,
    Json,
}

impl Args {
    fn seeds(&self) -> Range<u64> {
        let count = if self.minutes.is_some() { u64::MAX - self.seed } else { self.count };
        self.seed..self.seed.saturating_add(count)
    }

    /// Whether a seed says what it is known for.
    fn is_usual(&self) -> bool {
        self.steps == runnel_sim::STEPS && self.off.is_empty()
    }

    fn case(&self, seed: u64) -> Case {
        Case { seed, steps: self.steps, off: self.off.clone(), without: self.without }
    }
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
    let until = args.minutes.map(|minutes| Instant::now() + Duration::from_secs(60 * minutes));
    let (mut summary, mut progress) = (Summary::new(args.seed, args.jobs), Progress::new());
    let simulate = |seed| {
        let report = args.case(seed).run();
        // It is large, and there may be thousands.
        if args.trace { report } else { Report { trace: Vec::new(), ..report } }
    };
    campaign::run(args.seeds(), until, args.jobs, simulate, |seed, report| {
        let mut out = io::stdout().lock();
        report.trace.iter().try_for_each(|line| writeln!(out, "{line}"))?;
        let told = summary.add(seed, &report, &args.case(seed));
        if let (Some(told), Output::Text) = (told, args.output) {
            writeln!(out, "{told}")?;
        }
        if let (Err(failure), true) = (&report.outcome, args.shrink) {
            let smaller = shrink(&args.case(seed), failure, report.steps);
            writeln!(io::stderr(), "  smaller: {smaller}")?;
        }
        progress.tell(&summary)
    })?;
    match args.output {
        Output::Text => writeln!(io::stdout().lock(), "{summary}")?,
        Output::Json => writeln!(io::stdout().lock(), "{}", summary.to_json())?,
    }
    Ok(summary.all_good())
}

fn mutants(args: &Args) -> io::Result<bool> {
    let (all, mut all_noticed) = (Guard::ALL.len() as u64, true);
    let guard_of = |at: u64| Guard::ALL[usize::try_from(at).unwrap_or(0)];
    let first_noticed = |at: u64| {
        let _without = Without::of(guard_of(at));
        let run = |seed| runnel_sim::run_without(seed, args.steps, &args.off).outcome.err();
        let known = args.is_usual().then(|| known::missed_in(guard_of(at)));
        known.into_iter().chain(args.seeds()).find_map(|seed| run(seed).map(|failure| (seed, failure)))
    };
    campaign::run(0..all, None, args.jobs, first_noticed, |at, noticed| {
        let says = match &noticed {
            Some((seed, failure)) => {
                // The judge may have much to say.
                format!("seed {seed:>4}: {}", failure.to_string().lines().next().unwrap_or_default())
            }
            None => format!("NOT NOTICED in {} seeds", args.count),
        };
        all_noticed &= noticed.is_some();
        writeln!(io::stdout().lock(), "{:<20} {says}", guard_of(at).name())
    })?;
    Ok(all_noticed)
}

fn guard(name: &str) -> Result<Guard, String> {
    let known = || Guard::ALL.iter().map(|guard| guard.name()).collect::<Vec<_>>().join(", ");
    Guard::ALL.iter().find(|guard| guard.name() == name).copied().ok_or_else(|| format!("there are {}", known()))
}

fn fault(name: &str) -> Result<Fault, String> {
    let known = || Fault::ALL.iter().map(|fault| fault.name()).collect::<Vec<_>>().join(", ");
    Fault::ALL.iter().find(|fault| fault.name() == name).copied().ok_or_else(|| format!("there are {}", known()))
}
