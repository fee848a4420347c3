//! What the figures were measured on.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;

use anyhow::Result;

use crate::{install, process, workspace};

/// `given` is a build that was not made from this checkout.
pub(super) fn describe(dir: &Path, given: Option<&Path>) -> Result<String> {
    let cpu = field("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown processor".to_owned());
    let cores = thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let memory = field("/proc/meminfo", "MemTotal").unwrap_or_default();
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split_whitespace().next().unwrap_or("?");
    let first_line = |command: &mut Command| {
        process::output(command).map(|text| text.lines().next().unwrap_or_default().trim().to_owned())
    };
    let kernel = first_line(Command::new("uname").args(["-s", "-r", "-m"]))?;
    let date = first_line(Command::new("date").args(["-u", "+%F %R UTC"]))?;
    let java = first_line(Command::new("java").arg("--version"))?;
    let kcat = first_line(Command::new("sh").args(["-c", "kcat -V | grep -o 'Version.*'"]))?;
    let rustc = first_line(Command::new("rustc").arg("--version"))?;
    let git = &mut Command::new("git");
    let commit = first_line(git.args(["describe", "--always"]).current_dir(workspace::root()));
    let commit = commit.map_or_else(|_| "commit unknown".to_owned(), |commit| format!("commit {commit}"));
    let build = given.map_or(commit, |_| "a build that was given".to_owned());
    let file_system = first_line(Command::new("stat").args(["-f", "-c", "%T"]).arg(dir))?;
    Ok(format!(
        "- {date}, {build}, load average at the start {load}\n\
         - {cpu}, {cores} cores, {memory}; {kernel}; data on {file_system}\n\
         - Apache Kafka {} on {java}; {rustc}; {kcat}\n",
        install::KAFKA_VERSION,
    ))
}

/// The value of the first line `name : value` of a file.
fn field(path: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}
