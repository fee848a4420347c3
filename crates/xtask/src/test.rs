//! The whole test run: `.ci/run` and the README call nothing else.

use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result};

use crate::{chaos, dist, install, instructions, process, tidy, workspace};

/// What the chaos of every run is drawn from.
const CHAOS_SEED: u32 = 11;

/// Options of `cargo xtask test`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only what needs no other programs: format, lints, tidy, Rust tests
    #[arg(long, conflicts_with = "long")]
    fast: bool,
    /// Also the forms that take tens of minutes: every protocol model, long crash tests
    #[arg(long)]
    long: bool,
}

/// Runs the steps in order and stops at the first that fails.
pub(crate) fn run(args: &Args) -> Result<()> {
    let started = Instant::now();
    if !args.fast {
        step("install", install::all)?;
    }
    step("format", || {
        process::run(workspace::cargo().args(["fmt", "--all", "--check"]))?;
        process::run(workspace::cargo().args(["fmt", "--check", "--manifest-path", "tests/clients/rust/Cargo.toml"]))
    })?;
    step("lints", || {
        let lint = ["clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"];
        process::run(workspace::cargo().args(lint))
    })?;
    step("tidy", tidy::run)?;
    if !args.fast {
        step("docs", || {
            let doc = ["doc", "--quiet", "--workspace", "--no-deps"];
            process::run(workspace::cargo().args(doc).env("RUSTDOCFLAGS", "-D warnings"))
        })?;
        step("protocol model", || model(args.long))?;
    }
    step("Rust tests", || rust_tests(args.fast))?;
    if !args.fast {
        step("build", || {
            // With the tests: of the binary alone other features of its dependencies would be built, and those anew.
            process::run(workspace::cargo().args(["build", "--quiet", "--workspace", "--all-targets"]))
        })?;
        step("instructions of the hot paths", || instructions::run(&instructions::Args::default()))?;
        step("tarball", || dist::check(&debug_binary()?))?;
        step("black-box tests, and beside them the simulation and chaos", || {
            // Half of the time black-box tests wait for something.
            std::thread::scope(|scope| {
                let trials = scope.spawn(|| simulation(args.long).and_then(|()| chaos_run(args.long)));
                let tests = black_box(args.long);
                trials.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)).and(tests)
            })
        })?;
    }
    println!("all passed in {:.0} s", started.elapsed().as_secs_f64());
    Ok(())
}

fn step(name: &str, work: impl FnOnce() -> Result<()>) -> Result<()> {
    println!("== {name}");
    let started = Instant::now();
    let result = work().with_context(|| format!("step `{name}` failed"));
    println!("== {name}: {} ({:.1} s)", if result.is_ok() { "ok" } else { "FAILED" }, started.elapsed().as_secs_f64());
    result
}

/// The local restart takes seconds; all the models take minutes.
fn model(long: bool) -> Result<()> {
    let mut command = Command::new(workspace::python()?);
    command.arg(workspace::root().join("docs/protocols/protocol_model.py"));
    process::run(if long { &mut command } else { command.arg("D") })
}

/// Those that need a real etcd are in modules named `real_etcd`.
fn rust_tests(fast: bool) -> Result<()> {
    let mut command = workspace::cargo();
    command.args(["test", "--quiet", "--workspace"]);
    if fast {
        command.args(["--", "--skip", "real_etcd"]);
    } else {
        command.env("ETCD_BIN", install::etcd()?);
    }
    process::run(&mut command)
}

fn debug_binary() -> Result<PathBuf> {
    Ok(workspace::metadata()?.target_directory.join("debug/runnel"))
}

/// Seeds beyond those that the Rust tests take, with what processor time others leave; says at the end what was done.
fn simulation(long: bool) -> Result<()> {
    let binary = workspace::metadata()?.target_directory.join("debug/runnel-sim");
    let jobs = std::thread::available_parallelism()?.to_string();
    let mut command = Command::new("nice");
    command.args(["-n", "19"]).arg(binary).args(["--seed", "11", "--jobs", &jobs]);
    process::run_aside(command.args(if long { ["--minutes", "30"] } else { ["--count", "400"] }))
}

/// A cluster of real processes that has a bad time. It is to leave the tests most of the processors.
fn chaos_run(long: bool) -> Result<()> {
    let mut command = Command::new("nice");
    command.args(["-n", "10"]).arg(workspace::python()?);
    let minutes = if long { 30 } else { 5 };
    process::run_aside(chaos::script(&mut command, minutes, Some(CHAOS_SEED))?)
}

/// The real binary with real clients.
fn black_box(long: bool) -> Result<()> {
    let mut command = Command::new(workspace::python()?);
    surroundings(&mut command)?
        .args(["-m", "pytest", "-q", "--color=no", "--durations=8", "-p", "no:cacheprovider", "tests"])
        .current_dir(workspace::root());
    if !long {
        command.args(["-m", "not long"]);
    }
    process::run(&mut command)
}

/// Tells what runs real binaries where all that it needs is.
pub(crate) fn surroundings(command: &mut Command) -> Result<&mut Command> {
    Ok(command
        .env("RUNNEL_BIN", debug_binary()?)
        .env("VERSITYGW_BIN", install::versitygw()?)
        .env("ETCD_BIN", install::etcd()?)
        .env("HELM_BIN", install::helm()?)
        .env("KUBERNETES_CHECK_BIN", install::kubernetes_check()?)
        .env("PROMETHEUS_CHECK_BIN", install::prometheus_check()?)
        .env("KAFKA_LIBS", install::kafka_libs()?)
        .env("CLIENT_DRIVERS", install::client_drivers()?)
        .env("PREVIOUS_RUNNEL_BIN", install::previous()?.map_or_else(debug_binary, Ok)?)
        .env("PYTHONDONTWRITEBYTECODE", "1"))
}
