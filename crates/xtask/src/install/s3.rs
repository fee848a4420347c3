//! A real S3 server for the tests: versitygw, over a folder.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use super::system;
use crate::{process, workspace};

const MODULE: &str = "github.com/versity/versitygw/cmd/versitygw@v1.8.0";

/// The server's binary.
pub(crate) fn versitygw() -> Result<PathBuf> {
    Ok(workspace::cache()?.join("bin/versitygw"))
}

/// Builds the server unless it is there.
pub(crate) fn install() -> Result<()> {
    let binary = versitygw()?;
    if binary.is_file() {
        return Ok(());
    }
    system::install(&system::S3)?;
    println!("building {MODULE} (takes some minutes)");
    let dir = workspace::cache()?.join("bin");
    process::run(Command::new("go").args(["install", MODULE]).env("GOBIN", dir))
        .with_context(|| format!("cannot build the S3 server: `go install {MODULE}` must work"))
}
