//! A build of before this checkout, from which the tests upgrade: the commit that `tests/previous-build` names.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::{process, workspace};

/// The binary; `None` where the history of this checkout does not reach back to the commit.
pub(crate) fn previous() -> Result<Option<PathBuf>> {
    let (commit, binary) = (commit()?, folder()?.join("runnel"));
    Ok(super::is_stamped(&folder()?, &commit).then_some(binary))
}

/// Where its packages are, below the root of its workspace.
///
/// It shares a target directory with this checkout, so that what both depend on is not built again. Cargo tells packages of
/// two checkouts apart by the paths below their roots, and would take one build for the other if those were the same.
const APART: &str = "previous";

/// Builds it unless it is there.
pub(crate) fn install() -> Result<()> {
    let (commit, folder) = (commit()?, folder()?);
    if super::is_stamped(&folder, &commit) {
        return Ok(());
    }
    if !process::succeeds(git().args(["cat-file", "-e", &format!("{commit}^{{commit}}")])) {
        println!("the history here does not reach back to {commit}: upgrades are tested from this build to itself");
        return Ok(());
    }
    println!("building the release before this one (takes some minutes)");
    super::empty(&folder)?;
    let source = folder.join("source");
    unpack(&commit, &source)?;
    let target = workspace::metadata()?.target_directory;
    process::run(
        workspace::cargo()
            .current_dir(&source)
            .args(["build", "--quiet", "--locked", "--workspace", "--bins"])
            .env("CARGO_TARGET_DIR", &target),
    )
    .with_context(|| format!("cannot build commit {commit}"))?;
    let built = target.join("debug/runnel");
    fs::copy(&built, folder.join("runnel")).with_context(|| format!("cannot copy {}", built.display()))?;
    fs::remove_dir_all(&source).with_context(|| format!("cannot remove {}", source.display()))?;
    super::stamp(&folder, &commit)
}

/// Makes a workspace whose packages are in a folder of their own.
fn unpack(commit: &str, root: &Path) -> Result<()> {
    let to = root.join(APART);
    super::empty(&to)?;
    let mut archive = git().args(["archive", commit]).stdout(Stdio::piped()).spawn().context("cannot start git")?;
    let packed = archive.stdout.take().context("git has no output")?;
    let unpacked =
        Command::new("tar").arg("-x").arg("-C").arg(&to).stdin(packed).status().context("cannot start tar")?;
    ensure!(archive.wait()?.success() && unpacked.success(), "cannot unpack commit {commit}");
    for name in ["Cargo.toml", "Cargo.lock", "rust-toolchain.toml"] {
        let (from, to) = (to.join(name), root.join(name));
        fs::rename(&from, &to).with_context(|| format!("cannot move {} to {}", from.display(), to.display()))?;
    }
    let manifest = root.join("Cargo.toml");
    let text = fs::read_to_string(&manifest)?.replace("\"crates/", &format!("\"{APART}/crates/"));
    fs::write(&manifest, text).with_context(|| format!("cannot write {}", manifest.display()))
}

fn git() -> Command {
    let mut git = Command::new("git");
    git.current_dir(workspace::root());
    git
}

fn commit() -> Result<String> {
    let file = workspace::root().join("tests/previous-build");
    let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    Ok(text.trim().to_owned())
}

fn folder() -> Result<PathBuf> {
    Ok(workspace::cache()?.join("previous"))
}
