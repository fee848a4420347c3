//! The main job on real data. The steps themselves are in `tests/demo/demo.py`: they drive real Python clients.

use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result};

use crate::{install, process, workspace};

/// Options of `cargo xtask demo`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Keep the bucket on a real S3 server, started for the occasion, instead of in a folder
    #[arg(long)]
    s3: bool,
}

/// Installs what is missing, builds the release binary and becomes the script.
pub(crate) fn run(args: &Args) -> Result<()> {
    install::for_demo(args.s3)?;
    println!("building the release binary");
    process::run(workspace::cargo().args(["build", "--quiet", "--release", "--package", "runnel"]))?;
    let binary = workspace::metadata()?.target_directory.join("release/runnel");
    let mut script = Command::new(workspace::python()?);
    script.arg(workspace::root().join("tests/demo/demo.py")).env("RUNNEL_BIN", binary);
    if args.s3 {
        script.arg("--s3").env("VERSITYGW_BIN", install::versitygw()?);
    }
    // Replacing this process leaves one that receives signals and cleans up, instead of two.
    Err(script.exec()).context("cannot start the demo script")
}
