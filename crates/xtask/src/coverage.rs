//! Which lines of the layers below the broker the simulation runs: a line that it never runs it proves nothing about.
//!
//! `runnel-sim` is compiled once more, with counters, in a folder of its own, and simulates seeds. Unit tests do not count:
//! they look at a file by itself, and nobody doubts that they run it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::{process, workspace};

/// Whose lines are counted.
const CRATES: [&str; 4] = ["metastore", "partition", "segment", "wal"];

/// What is not: the stores themselves. The simulation has one of its own in their place.
const ADAPTERS: [&str; 4] = [
    "crates/metastore/src/embedded.rs",
    "crates/metastore/src/embedded/",
    "crates/metastore/src/etcd.rs",
    "crates/metastore/src/etcd/",
];

/// Files that are shown, those with the most lines that never ran first.
const SHOWN: usize = 15;

/// Options of `cargo xtask coverage`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The first seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many seeds
    #[arg(long, default_value_t = 100)]
    count: u64,
    /// Seeds that are simulated at a time
    #[arg(long, default_value_t = 2)]
    jobs: u64,
    /// Also print every line that never ran
    #[arg(long)]
    lines: bool,
}

/// Builds, simulates and counts.
pub(crate) fn run(args: &Args) -> Result<()> {
    let tools = Tools::find()?;
    let dir = workspace::metadata()?.target_directory.join("coverage");
    let binary = build(&dir, &tools.host)?;
    let profiles = dir.join("profiles");
    fs::remove_dir_all(&profiles).ok(); // absent the first time
    fs::create_dir_all(&profiles).with_context(|| format!("cannot create {}", profiles.display()))?;
    let [seed, count, jobs] = [args.seed, args.count, args.jobs].map(|number| number.to_string());
    process::run(
        Command::new(&binary)
            .args(["--seed", &seed, "--count", &count, "--jobs", &jobs])
            .env("LLVM_PROFILE_FILE", profiles.join("%p.profraw")),
    )?;
    let merged = tools.merge(&profiles)?;
    print!("\n{}", table(&tools.files(&binary, &merged)?));
    if args.lines {
        print!("{}", tools.lines_that_never_ran(&binary, &merged)?);
    }
    Ok(())
}

/// With counters, and each crate as one unit, since the linker leaves out units of which nothing is used, and with them their
/// lines. For a named target, so that build scripts are not counted.
fn build(dir: &Path, host: &str) -> Result<PathBuf> {
    println!("building the simulation with counters");
    process::run(
        workspace::cargo()
            .args(["build", "--quiet", "--package", "runnel-sim", "--target", host, "--target-dir"])
            .arg(dir)
            .env("CARGO_INCREMENTAL", "0")
            .env("RUSTFLAGS", "-C instrument-coverage -C codegen-units=1"),
    )?;
    Ok(dir.join(host).join("debug/runnel-sim"))
}

/// Those of the compiler's own LLVM: others may not read what it writes.
struct Tools {
    host: String,
    profdata: PathBuf,
    cov: PathBuf,
}

impl Tools {
    fn find() -> Result<Self> {
        let ask = |what| process::output(Command::new("rustc").args(["--print", what]).current_dir(workspace::root()));
        let libraries = PathBuf::from(ask("target-libdir")?.trim());
        let tools = libraries.with_file_name("bin");
        let tool = |name: &str| {
            let path = tools.join(name);
            ensure!(path.is_file(), "there is no {}: `rustup component add llvm-tools` installs it", path.display());
            Ok(path)
        };
        let (profdata, cov) = (tool("llvm-profdata")?, tool("llvm-cov")?);
        Ok(Self { host: ask("host-tuple")?.trim().to_owned(), profdata, cov })
    }

    fn merge(&self, profiles: &Path) -> Result<PathBuf> {
        let merged = profiles.join("merged.profdata");
        let mut merge = Command::new(&self.profdata);
        process::run(merge.args(["merge", "--sparse", "--output"]).arg(&merged).arg(profiles))?;
        Ok(merged)
    }

    fn files(&self, binary: &Path, merged: &Path) -> Result<Vec<File>> {
        let mut export = Command::new(&self.cov);
        export.args(["export", "--summary-only", "--instr-profile"]).arg(merged).arg(binary);
        let exported = process::output(&mut export)?;
        let files = counted(&exported, &workspace::root()).context("cannot read what llvm-cov says")?;
        ensure!(!files.is_empty(), "llvm-cov says nothing about the crates that are counted");
        Ok(files)
    }

    /// A line each, with what it says.
    fn lines_that_never_ran(&self, binary: &Path, merged: &Path) -> Result<String> {
        let mut show = Command::new(&self.cov);
        show.args(["show", "--use-color=0", "--show-instantiations=0", "--instr-profile"]).arg(merged).arg(binary);
        let root = workspace::root();
        show.args(CRATES.map(|name| root.join("crates").join(name).join("src")));
        Ok(uncovered(&process::output(&mut show)?, &root))
    }
}

/// What llvm-cov says of all files.
#[derive(Deserialize)]
struct Exported {
    data: Vec<Data>,
}

#[derive(Deserialize)]
struct Data {
    files: Vec<ExportedFile>,
}

#[derive(Deserialize)]
struct ExportedFile {
    filename: PathBuf,
    summary: Summary,
}

#[derive(Deserialize)]
struct Summary {
    lines: Lines,
}

/// Lines with code, and those of them that ran.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
struct Lines {
    count: u64,
    covered: u64,
}

impl Lines {
    fn percent(self) -> f64 {
        100.0 * self.covered as f64 / self.count.max(1) as f64
    }
}

#[derive(Debug, PartialEq, Eq)]
struct File {
    /// From the root of the checkout on.
    path: String,
    lines: Lines,
}

impl File {
    fn of(path: &Path, root: &Path, lines: Lines) -> Option<Self> {
        let path = path.strip_prefix(root).ok()?.to_str()?.to_owned();
        is_counted(&path).then_some(Self { path, lines })
    }
}

fn is_counted(path: &str) -> bool {
    crate_of(path).is_some_and(|name| CRATES.contains(&name))
        && !ADAPTERS.iter().any(|adapter| path.starts_with(adapter))
}

fn crate_of(path: &str) -> Option<&str> {
    path.strip_prefix("crates/")?.split_once('/').map(|(name, _)| name)
}

fn counted(exported: &str, root: &Path) -> Result<Vec<File>> {
    let exported: Exported = serde_json::from_str(exported)?;
    let files = exported.data.into_iter().flat_map(|data| data.files);
    Ok(files.filter_map(|file| File::of(&file.filename, root, file.summary.lines)).collect())
}

/// A line for each crate, then for the files of which most is missing.
fn table(files: &[File]) -> String {
    let (mut crates, mut all) = (BTreeMap::<&str, Lines>::new(), Lines::default());
    for file in files {
        for sum in [crates.entry(crate_of(&file.path).unwrap_or_default()).or_default(), &mut all] {
            sum.count += file.lines.count;
            sum.covered += file.lines.covered;
        }
    }
    let mut table = format!("{:<48} {:>6} {:>6} {:>7}\n", "CRATE", "LINES", "RAN", "SHARE");
    let mut row = |name: &str, lines: Lines| {
        // A string takes all that is written.
        writeln!(table, "{name:<48} {:>6} {:>6} {:>5.1} %", lines.count, lines.covered, lines.percent()).ok();
    };
    crates.iter().for_each(|(name, lines)| row(name, *lines));
    row("all", all);
    let mut worst: Vec<&File> = files.iter().filter(|file| file.lines.covered < file.lines.count).collect();
    worst.sort_by_key(|file| (std::cmp::Reverse(file.lines.count - file.lines.covered), &file.path));
    worst.iter().take(SHOWN).for_each(|file| row(&file.path, file.lines));
    table
}

/// Of what `llvm-cov show` prints: a line with a path before each file, then lines of `number| count| text`.
fn uncovered(shown: &str, root: &Path) -> String {
    let (mut found, mut path) = (String::new(), None);
    for line in shown.lines() {
        if let Some(file) = line.strip_suffix(':').map(Path::new).and_then(|file| file.strip_prefix(root).ok()) {
            path = file.to_str().filter(|path| is_counted(path));
        }
        let mut parts = line.splitn(3, '|').map(str::trim_end);
        if let (Some(path), Some(number), Some(count), Some(text)) = (path, parts.next(), parts.next(), parts.next())
            && count.trim() == "0"
        {
            // A string takes all that is written.
            writeln!(found, "{path}:{}:{text}", number.trim()).ok();
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, count: u64, covered: u64) -> File {
        File { path: path.to_owned(), lines: Lines { count, covered } }
    }

    #[test]
    fn files_of_the_layers_are_counted_and_adapters_are_not() {
        let of = |path: &str, count, covered| {
            let lines = format!("{{\"count\":{count},\"covered\":{covered},\"percent\":1}}");
            format!("{{\"filename\":\"{path}\",\"summary\":{{\"lines\":{lines},\"regions\":{{}}}}}}")
        };
        let files = [
            of("/here/crates/wal/src/lib.rs", 10, 5),
            of("/here/crates/broker/src/lib.rs", 10, 5),
            of("/here/crates/metastore/src/store.rs", 4, 4),
            of("/here/crates/metastore/src/etcd.rs", 100, 0),
            of("/elsewhere/crates/wal/src/lib.rs", 10, 5),
        ];
        let exported = format!("{{\"data\":[{{\"files\":[{}],\"totals\":{{}}}}],\"version\":\"3\"}}", files.join(","));
        let expected = vec![file("crates/wal/src/lib.rs", 10, 5), file("crates/metastore/src/store.rs", 4, 4)];
        assert_eq!(counted(&exported, Path::new("/here")).expect("JSON"), expected);
        assert!(counted("{}", Path::new("/here")).is_err());
    }

    #[test]
    fn crates_come_first_and_then_what_is_missing_most() {
        let files = [
            file("crates/wal/src/a.rs", 10, 10),
            file("crates/wal/src/b.rs", 30, 20),
            file("crates/segment/src/c.rs", 60, 48),
        ];
        let table = table(&files);
        let rows: Vec<Vec<&str>> = table.lines().skip(1).map(|line| line.split_whitespace().collect()).collect();
        let expected = [
            ["segment", "60", "48", "80.0", "%"],
            ["wal", "40", "30", "75.0", "%"],
            ["all", "100", "78", "78.0", "%"],
            ["crates/segment/src/c.rs", "60", "48", "80.0", "%"],
            ["crates/wal/src/b.rs", "30", "20", "66.7", "%"],
        ];
        assert_eq!(rows, expected);
    }

    #[test]
    fn lines_that_never_ran_are_found() {
        let shown = "/here/crates/wal/src/a.rs:\n    1|       |//! Doc.\n    2|      0|fn f() {\n    3|    17|}\n\
                     /here/crates/broker/src/b.rs:\n    1|      0|fn g() {\n";
        assert_eq!(uncovered(shown, Path::new("/here")), "crates/wal/src/a.rs:2:fn f() {\n");
    }
}
