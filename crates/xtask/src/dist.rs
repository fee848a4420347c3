//! The tarball of a release: `target/dist/runnel-<version>-<target>.tar.gz` and its SHA-256.
//!
//! The same binary gives the same bytes: names are sorted, times are that of the commit, and nobody's name is in it.

mod tar;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use flate2::Compression;

use crate::{process, workspace};
use tar::Entry;

/// Options of `cargo xtask dist`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Pack this binary instead of building one
    #[arg(long, value_name = "PATH")]
    binary: Option<PathBuf>,
    /// Also unpack it and use what comes out
    #[arg(long)]
    check: bool,
}

/// What goes in beside the binary and the completions: (path in the checkout, path in the tarball).
const FILES: [(&str, &str); 4] = [
    ("LICENSE", "LICENSE"),
    ("README.md", "README.md"),
    ("config/runnel.toml", "runnel.toml"),
    ("deploy/systemd/runnel.service", "runnel.service"),
];

/// Shells, and what their completion files are called.
const COMPLETIONS: [(&str, &str); 3] = [("bash", "runnel.bash"), ("zsh", "_runnel"), ("fish", "runnel.fish")];

/// Builds what is missing and makes the tarball.
pub(crate) fn run(args: &Args) -> Result<()> {
    let target = workspace::metadata()?.target_directory;
    let binary = match &args.binary {
        Some(binary) => binary.clone(),
        None => {
            process::run(workspace::cargo().args([
                "build",
                "--profile",
                "optimized",
                "--locked",
                "--package",
                "runnel",
            ]))?;
            target.join("optimized/runnel")
        }
    };
    let dir = target.join("dist");
    let tarball = make(&binary, &dir, Compression::best())?;
    if args.check {
        verify(&dir)?;
    }
    println!("{}", tarball.display());
    Ok(())
}

/// Makes a tarball of `binary`, fast and not small, and verifies it.
pub(crate) fn check(binary: &Path) -> Result<()> {
    let dir = workspace::metadata()?.target_directory.join("dist-check");
    make(binary, &dir, Compression::fast())?;
    verify(&dir)
}

/// Unpacks the tarball in `dir` and uses what comes out.
fn verify(dir: &Path) -> Result<()> {
    let name = name()?;
    checksum(&["-c", "--quiet"], &format!("{name}.tar.gz.sha256"), dir)?;
    let unpacked = dir.join(&name);
    if unpacked.exists() {
        fs::remove_dir_all(&unpacked).with_context(|| format!("cannot remove {}", unpacked.display()))?;
    }
    process::run(Command::new("tar").arg("-xzf").arg(format!("{name}.tar.gz")).current_dir(dir))?;
    let runnel = unpacked.join("runnel");
    let version = process::output(Command::new(&runnel).arg("--version"))?;
    ensure!(version.trim() == format!("runnel {}", version_of_runnel()?), "the binary says `{}`", version.trim());
    process::output(Command::new(&runnel).args(["config", "check", "--config"]).arg(unpacked.join("runnel.toml")))?;
    for file in FILES.map(|(_, file)| file.to_owned()).iter().chain(&COMPLETIONS.map(|(_, file)| completion(file))) {
        let size = fs::metadata(unpacked.join(file)).with_context(|| format!("{file} is missing"))?.len();
        ensure!(size > 0, "{file} is empty");
    }
    process::run(Command::new("bash").arg("-n").arg(unpacked.join(completion("runnel.bash"))))
}

fn make(binary: &Path, dir: &Path, compression: Compression) -> Result<PathBuf> {
    let name = name()?;
    fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
    let stripped = dir.join("runnel");
    process::run(Command::new("strip").arg("-o").arg(&stripped).arg(binary))?;
    let mut entries = vec![entry(&name, "runnel", read(&stripped)?)];
    for (from, to) in FILES {
        entries.push(entry(&name, to, read(&workspace::root().join(from))?));
    }
    for (shell, file) in COMPLETIONS {
        let script = process::output(Command::new(binary).args(["completion", shell]))?;
        entries.push(entry(&name, &completion(file), script.into_bytes()));
    }
    fs::remove_file(&stripped).with_context(|| format!("cannot remove {}", stripped.display()))?;
    let file = format!("{name}.tar.gz");
    let path = dir.join(&file);
    let out = fs::File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
    tar::write(out, entries, commit_time()?, compression)
        .with_context(|| format!("cannot write {}", path.display()))?;
    let sum = checksum(&[], &file, dir)?;
    fs::write(dir.join(format!("{file}.sha256")), sum).with_context(|| format!("cannot write the sum of {file}"))?;
    Ok(path)
}

fn entry(name: &str, path: &str, bytes: Vec<u8>) -> Entry {
    Entry { path: format!("{name}/{path}"), bytes, executable: path == "runnel" }
}

fn completion(file: &str) -> String {
    format!("completions/{file}")
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

/// The name of the tarball, and of the folder in it.
fn name() -> Result<String> {
    let rustc = process::output(Command::new("rustc").arg("-vV"))?;
    let host = rustc.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc does not say its host")?;
    Ok(format!("runnel-{}-{host}", version_of_runnel()?))
}

fn version_of_runnel() -> Result<String> {
    let packages = workspace::metadata()?.packages;
    let package = packages.into_iter().find(|package| package.name == "runnel").context("no package runnel")?;
    Ok(package.version)
}

/// SOURCE_DATE_EPOCH, else the time of the last commit; zero where there is no repository.
fn commit_time() -> Result<u64> {
    let commit = || {
        let mut log = Command::new("git");
        process::output(log.args(["log", "-1", "--format=%ct"]).current_dir(workspace::root()))
    };
    let time = env::var("SOURCE_DATE_EPOCH").or_else(|_| commit()).unwrap_or_else(|_| "0".to_owned());
    time.trim().parse().with_context(|| format!("`{}` is not a time", time.trim()))
}

/// `sha256sum`, or what a Mac has in its place; its output.
fn checksum(options: &[&str], file: &str, dir: &Path) -> Result<String> {
    let mut command = match process::find("sha256sum") {
        Some(program) => Command::new(program),
        None => {
            let mut shasum = Command::new("shasum");
            shasum.args(["-a", "256"]);
            shasum
        }
    };
    process::output(command.args(options).arg(file).current_dir(dir))
}
