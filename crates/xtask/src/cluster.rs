//! A cluster on one machine, in the foreground. What it does is in `tests/demo/cluster.py`, which starts and ends servers in
//! the manner of the tests.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::{install, process, workspace};

/// Options of `cargo xtask cluster`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How many brokers
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=9))]
    brokers: u8,
    /// Tell Kafka clients of HAProxy alone, as where they cannot reach the brokers; by default it leads them to the brokers
    #[arg(long)]
    single_address: bool,
    /// The broker's binary; by default that of this checkout is built for release
    #[arg(long)]
    binary: Option<PathBuf>,
}

/// Installs what is missing, builds the release binary and becomes the script.
pub(crate) fn run(args: &Args) -> Result<()> {
    install::for_cluster()?;
    let target = workspace::metadata()?.target_directory;
    let binary = match &args.binary {
        Some(binary) => binary.canonicalize().with_context(|| format!("no binary at {}", binary.display()))?,
        None => {
            println!("building the release binary");
            process::run(workspace::cargo().args(["build", "--quiet", "--release", "--package", "runnel"]))?;
            target.join("release/runnel")
        }
    };
    let mut script = Command::new("python3");
    script
        .arg(workspace::root().join("tests/demo/cluster.py"))
        .args(["--brokers", &args.brokers.to_string()])
        .args(args.single_address.then_some("--single-address"))
        .arg("--directory")
        .arg(target.join("cluster"))
        .env("RUNNEL_BIN", binary)
        .env("VERSITYGW_BIN", install::versitygw()?)
        .env("ETCD_BIN", install::etcd()?)
        .env("PYTHONDONTWRITEBYTECODE", "1");
    // Replacing this process leaves one that receives signals and cleans up, instead of two.
    Err(script.exec()).context("cannot start the script of the cluster")
}
