//! A cluster that has a bad time. What is done to it is in `tests/chaos`, which uses servers, clients and the judge as the tests do.

use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result};

use crate::{install, process, test, workspace};

/// Options of `cargo xtask chaos`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How long it has a bad time
    #[arg(long, default_value_t = 30)]
    minutes: u32,
    /// What is done to whom; drawn by default
    #[arg(long)]
    seed: Option<u32>,
}

/// Installs what is missing, builds what the tests run, and becomes the script.
pub(crate) fn run(args: &Args) -> Result<()> {
    install::all()?;
    println!("building the binaries");
    process::run(workspace::cargo().args(["build", "--quiet", "--workspace", "--bins"]))?;
    let mut script = Command::new(workspace::python()?);
    // Replacing this process leaves one that receives signals and cleans up, instead of two.
    Err(self::script(&mut script, args.minutes, args.seed)?.exec()).context("cannot start the script")
}

/// Tells Python to run the script.
pub(crate) fn script(python: &mut Command, minutes: u32, seed: Option<u32>) -> Result<&mut Command> {
    Ok(test::surroundings(python)?
        .args(["-m", "chaos", "--minutes", &minutes.to_string()])
        .args(seed.map(|seed| format!("--seed={seed}")))
        .arg("--directory")
        .arg(workspace::metadata()?.target_directory.join("chaos"))
        .current_dir(workspace::root().join("tests")))
}
