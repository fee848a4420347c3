//! The Python environment with real Kafka clients, the engines that read Parquet, and pytest.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result};

use crate::{process, workspace};

/// Makes the environment anew whenever `tests/requirements.txt` changes.
pub(crate) fn install() -> Result<()> {
    let requirements = workspace::root().join("tests/requirements.txt");
    let recipe = fs::read_to_string(&requirements).context("cannot read tests/requirements.txt")?;
    let dir = workspace::cache()?.join("venv");
    if super::is_stamped(&dir, &recipe) {
        return Ok(());
    }
    println!("installing Python packages in {}", dir.display());
    super::empty(&dir)?;
    process::run(Command::new("python3").args(["-m", "venv"]).arg(&dir))?;
    process::run(
        Command::new(dir.join("bin/python"))
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"])
            .arg(&requirements),
    )
    .context("cannot install the Python packages of tests/requirements.txt: is a package index reachable?")?;
    super::stamp(&dir, &recipe)
}
