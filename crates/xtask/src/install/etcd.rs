//! A real etcd for the tests.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use super::system;
use crate::{process, workspace};

/// The server's binary.
pub(crate) fn etcd() -> Result<PathBuf> {
    Ok(workspace::cache()?.join("bin/etcd"))
}

/// Builds the server unless it is there. Its version is in the module file.
pub(crate) fn install() -> Result<()> {
    let binary = etcd()?;
    let sources = workspace::root().join("tests/servers/etcd");
    let recipe = std::fs::read_to_string(sources.join("go.mod")).context("tests/servers/etcd/go.mod")?;
    let stamp = binary.with_extension("stamp");
    std::fs::create_dir_all(&stamp).with_context(|| format!("cannot create {}", stamp.display()))?;
    if binary.is_file() && super::is_stamped(&stamp, &recipe) {
        return Ok(());
    }
    system::install(&system::ETCD)?;
    println!("building etcd (takes some minutes)");
    process::run(Command::new("go").current_dir(&sources).args(["build", "-trimpath", "-o"]).arg(&binary))
        .context("cannot build etcd: `go build` in tests/servers/etcd must work")?;
    super::stamp(&stamp, &recipe)
}
