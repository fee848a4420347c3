//! How many instructions the hot paths take: the measure of speed that noise does not reach.
//!
//! `runnel-bench --once` runs each path over a fixed input, callgrind counts, and what it counts is compared with a
//! baseline that is committed. Processor time of a test run says nothing about a change of a few percent; instructions do,
//! as long as the compiler is the same. Callgrind runs a processor of its own, so that the code which crc32c, zstd and the
//! C library choose by looking at the processor is the same on all that have AVX2.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::{install, process, workspace};

const BASELINE: &str = "crates/bench/instructions.txt";

/// More or fewer than this share of the baseline is a difference. The same build differs by less than a hundredth: hash
/// tables are seeded anew.
const TOLERANCE: f64 = 0.03;

const WRITE: &str = "cargo xtask instructions --write";

/// Options of `cargo xtask instructions`.
#[derive(Default, clap::Args)]
pub(crate) struct Args {
    /// Make what is counted now the baseline
    #[arg(long)]
    write: bool,
}

/// Counts, and compares or writes.
pub(crate) fn run(args: &Args) -> Result<()> {
    if !cfg!(target_arch = "x86_64") {
        println!("the baseline is of x86_64: nothing to compare with here");
        return Ok(());
    }
    install::for_instructions()?;
    let counted = Counts { rustc: rustc()?, paths: count(&build()?)? };
    let path = workspace::root().join(BASELINE);
    if args.write {
        fs::write(&path, counted.to_text()).with_context(|| format!("cannot write {BASELINE}"))?;
        println!("wrote {BASELINE}");
        return Ok(());
    }
    let baseline = fs::read_to_string(&path).with_context(|| format!("cannot read {BASELINE}"))?;
    let baseline = Counts::parse(&baseline).with_context(|| format!("cannot understand {BASELINE}"))?;
    let (table, differs) = compare(&baseline.paths, &counted.paths);
    print!("{table}");
    if !differs {
        return Ok(());
    }
    let compiler = if baseline.rustc == counted.rustc {
        String::new()
    } else {
        format!(
            " The baseline is of {}, this is {}: another compiler alone may explain it.",
            baseline.rustc, counted.rustc
        )
    };
    bail!(
        "the hot paths do not take the instructions of {BASELINE} to {:.0} %.{compiler} If it is meant: `{WRITE}`",
        TOLERANCE * 100.0
    )
}

/// The profile `release`, of this package alone: link-time optimization would take longer than all that is counted.
fn build() -> Result<PathBuf> {
    process::run(workspace::cargo().args(["build", "--quiet", "--release", "--package", "runnel-bench"]))?;
    Ok(workspace::metadata()?.target_directory.join("release/runnel-bench"))
}

fn rustc() -> Result<String> {
    Ok(process::output(Command::new("rustc").arg("--version").current_dir(workspace::root()))?.trim().to_owned())
}

/// Instructions of each path.
fn count(binary: &Path) -> Result<Vec<(String, u64)>> {
    let dir = workspace::metadata()?.target_directory.join("instructions");
    fs::remove_dir_all(&dir).ok(); // absent the first time
    fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    let mut command = Command::new("valgrind");
    command
        .args(["--quiet", "--tool=callgrind"])
        // A file each time that the function begins, of what came before, and when it ends, of what all threads did
        // meanwhile; numbered from 1.
        .args(["--dump-before=runnel_bench::counted", "--dump-after=runnel_bench::counted"])
        .arg(format!("--callgrind-out-file={}", dir.join("out").display()))
        .arg(binary)
        .arg("--once");
    let said = process::output(&mut command)?;
    let mut counted = Vec::new();
    for (number, name) in said.lines().enumerate() {
        let file = dir.join(format!("out.{}", 2 * number + 2));
        let dump = fs::read_to_string(&file).with_context(|| format!("callgrind wrote no {}", file.display()))?;
        let instructions = summary(&dump).with_context(|| format!("{} has no summary", file.display()))?;
        ensure!(instructions > 0, "callgrind counted nothing for `{name}`");
        counted.push((name.to_owned(), instructions));
    }
    Ok(counted)
}

/// Of a file that callgrind wrote.
fn summary(dump: &str) -> Option<u64> {
    dump.lines().find_map(|line| line.strip_prefix("summary:"))?.trim().parse().ok()
}

/// What was counted, and of whose code.
#[derive(Debug, PartialEq, Eq)]
struct Counts {
    rustc: String,
    paths: Vec<(String, u64)>,
}

impl Counts {
    fn to_text(&self) -> String {
        let mut text = format!("# Instructions of the hot paths, written by `{WRITE}`.\n{}\n", self.rustc);
        for (name, instructions) in &self.paths {
            writeln!(text, "{instructions:>12} {name}").ok(); // a string takes all that is written
        }
        text
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines().filter(|line| !line.starts_with('#'));
        let rustc = lines.next()?.to_owned();
        let path = |line: &str| {
            let (instructions, name) = line.trim_start().split_once(' ')?;
            Some((name.to_owned(), instructions.parse().ok()?))
        };
        Some(Self { rustc, paths: lines.map(path).collect::<Option<_>>()? })
    }
}

/// A line for each path, and whether one of them differs, is new or is gone.
fn compare(baseline: &[(String, u64)], counted: &[(String, u64)]) -> (String, bool) {
    let (mut table, mut differs) = (String::new(), false);
    for (name, now) in counted {
        let before = baseline.iter().find(|(known, _)| known == name).map(|(_, before)| *before);
        let change = before.map(|before| *now as f64 / before as f64 - 1.0);
        let is_off = change.is_none_or(|change| change.abs() > TOLERANCE);
        let shown = change.map_or("new".to_owned(), |change| format!("{:+.2} %", change * 100.0));
        let mark = if is_off { "  <-- differs" } else { "" };
        let before = before.map_or("-".to_owned(), |before| before.to_string());
        writeln!(table, "{before:>12} before {now:>12} now {shown:>9}  {name}{mark}").ok();
        differs |= is_off;
    }
    for (name, before) in baseline.iter().filter(|(name, _)| counted.iter().all(|(known, _)| known != name)) {
        writeln!(table, "{before:>12} before {:>12} now {:>9}  {name}  <-- differs", "-", "gone").ok();
        differs = true;
    }
    (table, differs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(paths: &[(&str, u64)]) -> Vec<(String, u64)> {
        paths.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
    }

    #[test]
    fn a_baseline_is_read_as_it_was_written() {
        let counts =
            Counts { rustc: "rustc 1.0.0 (abc)".to_owned(), paths: paths(&[("a path, quick", 7), ("other", 1 << 40)]) };
        assert_eq!(Counts::parse(&counts.to_text()), Some(counts));
        assert_eq!(Counts::parse("rustc 1.0.0\nno number\n"), None);
        assert_eq!(Counts::parse("# empty\n"), None);
    }

    #[test]
    fn slower_faster_new_and_gone_are_differences() {
        let before = paths(&[("a", 1000)]);
        let differs = |now: &[(&str, u64)]| compare(&before, &paths(now)).1;
        assert!(!differs(&[("a", 1000)]) && !differs(&[("a", 1029)]) && !differs(&[("a", 971)]));
        assert!(differs(&[("a", 1031)]) && differs(&[("a", 969)]));
        assert!(differs(&[("a", 1000), ("b", 1)]) && differs(&[]));
    }

    #[test]
    fn finds_what_callgrind_counted() {
        assert_eq!(summary("version: 1\nevents: Ir\nfn=(1) x\nsummary: 4711\n\ntotals: 4711\n"), Some(4711));
        assert_eq!(summary("events: Ir\n"), None);
    }
}
