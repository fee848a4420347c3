//! Tansu, another broker in Rust, to measure beside ours.

use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::{process, workspace};

const VERSION: &str = "0.6.0";

fn root() -> Result<PathBuf> {
    Ok(workspace::cache()?.join(format!("tansu-{VERSION}")))
}

/// The broker's binary.
pub(crate) fn tansu() -> Result<PathBuf> {
    Ok(root()?.join("bin/tansu"))
}

/// Builds the broker, with nothing but storage in a bucket, unless it is there.
pub(crate) fn install() -> Result<()> {
    if tansu()?.is_file() {
        return Ok(());
    }
    println!("building Tansu {VERSION} (takes half an hour)");
    let mut command = workspace::cargo();
    command.args(["install", "tansu", "--version", VERSION, "--locked", "--features", "dynostore"]);
    process::run(command.arg("--root").arg(root()?)).context("cannot build Tansu: `cargo install tansu` must work")
}
