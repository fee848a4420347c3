//! Programs that judge what is in `deploy/`: Helm, and the decoders of Kubernetes and Prometheus, without their servers.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::system;
use crate::{process, workspace};

const HELM: &str = "helm.sh/helm/v3/cmd/helm@v3.22.0";

/// Helm's binary.
pub(crate) fn helm() -> Result<PathBuf> {
    Ok(workspace::cache()?.join("bin/helm"))
}

/// The binary that decodes manifests.
pub(crate) fn kubernetes_check() -> Result<PathBuf> {
    Ok(workspace::cache()?.join("bin/kubernetes-check"))
}

/// The binary that parses rules and expressions.
pub(crate) fn prometheus_check() -> Result<PathBuf> {
    Ok(workspace::cache()?.join("bin/prometheus-check"))
}

/// Builds those that are not there.
pub(crate) fn install() -> Result<()> {
    let helm = helm()?;
    unless_built(&helm, HELM, || {
        let dir = workspace::cache()?.join("bin");
        process::run(Command::new("go").args(["install", HELM]).env("GOBIN", dir))
    })?;
    build("kubernetes", &kubernetes_check()?)?;
    build("prometheus", &prometheus_check()?)
}

/// Builds a program of `tests/checkers`, anew whenever its files change.
fn build(name: &str, binary: &Path) -> Result<()> {
    let sources = workspace::root().join("tests/checkers").join(name);
    let unreadable = || format!("cannot read {}", sources.display());
    let mut files = Vec::new();
    for entry in std::fs::read_dir(&sources).with_context(unreadable)? {
        files.push(entry.with_context(unreadable)?.path());
    }
    files.sort();
    let mut recipe = String::new();
    for file in files {
        recipe += &std::fs::read_to_string(file).with_context(unreadable)?;
    }
    unless_built(binary, &recipe, || {
        process::run(Command::new("go").current_dir(&sources).args(["build", "-trimpath", "-o"]).arg(binary))
    })
}

fn unless_built(binary: &Path, recipe: &str, build: impl FnOnce() -> Result<()>) -> Result<()> {
    let stamp = binary.with_extension("stamp");
    std::fs::create_dir_all(&stamp).with_context(|| format!("cannot create {}", stamp.display()))?;
    if binary.is_file() && super::is_stamped(&stamp, recipe) {
        return Ok(());
    }
    system::install(&system::CHECKERS)?;
    println!("building {} (takes some minutes)", binary.display());
    build().with_context(|| format!("cannot build {}: Go must work", binary.display()))?;
    super::stamp(&stamp, recipe)
}
