//! The drivers of Kafka client libraries (`tests/clients`), built with each language's own tool and lock file.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::{kafka, system};
use crate::{process, workspace};

/// Where the built drivers are: a folder for each language.
pub(crate) fn dir() -> Result<PathBuf> {
    Ok(workspace::cache()?.join("clients"))
}

/// How the drivers in one language are built.
struct Language {
    name: &'static str,
    needs: &'static [system::Need],
    /// Says which versions are used, where no file among the sources does.
    pinned: &'static str,
    /// Builds from the sources to a folder.
    build: fn(&Path, &Path) -> Result<()>,
}

const LANGUAGES: [Language; 4] = [
    Language { name: "go", needs: &system::GO_CLIENTS, pinned: "", build: go },
    Language { name: "node", needs: &system::NODE_CLIENTS, pinned: "", build: node },
    Language { name: "rust", needs: &system::RUST_CLIENTS, pinned: "", build: rust },
    Language { name: "java", needs: &system::JAVA_CLIENTS, pinned: kafka::VERSION, build: java },
];

/// Builds what is not built, or was built from other sources.
pub(crate) fn install() -> Result<()> {
    for language in LANGUAGES {
        let sources = workspace::root().join("tests/clients").join(language.name);
        let mut recipe = language.pinned.to_owned();
        collect(&sources, &mut recipe)?;
        let out = dir()?.join(language.name);
        if super::is_stamped(&out, &recipe) {
            continue;
        }
        system::install(language.needs)?;
        println!("building the {} clients in {}", language.name, out.display());
        fs::create_dir_all(&out).with_context(|| format!("cannot create {}", out.display()))?;
        (language.build)(&sources, &out)
            .with_context(|| format!("cannot build the {} clients: is its registry reachable?", language.name))?;
        super::stamp(&out, &recipe)?;
    }
    Ok(())
}

/// What a developer's own builds leave beside the sources.
const LEFTOVERS: [&str; 2] = ["node_modules", "target"];

/// The text of every source file below `dir`, by name.
fn collect(dir: &Path, text: &mut String) -> Result<()> {
    let entries = fs::read_dir(dir).with_context(|| format!("cannot list {}", dir.display()))?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    paths.sort();
    for path in paths {
        if LEFTOVERS.iter().any(|name| path.ends_with(name)) {
            continue;
        }
        if path.is_dir() {
            collect(&path, text)?;
        } else {
            text.push_str(&fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?);
        }
    }
    Ok(())
}

fn go(sources: &Path, out: &Path) -> Result<()> {
    let mut command = Command::new("go");
    process::run(command.current_dir(sources).args(["build", "-o"]).arg(out).args(["./franz", "./sarama"]))
}

/// Node looks for packages beside the script, so the scripts are copied to where those may be.
fn node(sources: &Path, out: &Path) -> Result<()> {
    for entry in fs::read_dir(sources)? {
        let file = entry?;
        if file.file_type()?.is_file() {
            fs::copy(file.path(), out.join(file.file_name()))?;
        }
    }
    process::run(Command::new("npm").args(["ci", "--no-audit", "--no-fund", "--loglevel=error"]).current_dir(out))
}

/// A workspace of its own, so that these crates are not in the broker's graph.
fn rust(sources: &Path, out: &Path) -> Result<()> {
    let target = out.join("target");
    process::run(
        workspace::cargo().current_dir(sources).args(["build", "--quiet", "--locked", "--target-dir"]).arg(&target),
    )?;
    for name in ["rdkafka", "rskafka"] {
        fs::copy(target.join("debug").join(name), out.join(name)).with_context(|| format!("{name} was not built"))?;
    }
    Ok(())
}

fn java(sources: &Path, out: &Path) -> Result<()> {
    let mut command = Command::new("javac");
    command.arg("-cp").arg(kafka::libs()?.join("*")).arg("-d").arg(out);
    process::run(command.args(["Driver.java", "Load.java"].map(|file| sources.join(file))))
}
