//! Where a broker's processor time goes: `perf` looks at it while it does what the throughput case has it do. A flame graph of
//! each kind of work, and the functions that take most by themselves.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::BufReader;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use inferno::collapse::Collapse;
use inferno::collapse::perf::{Folder, Options as Folding};
use inferno::flamegraph::{self, Options as Drawing};
use rustix::process::{Pid, Signal, kill_process};

use super::load;
use super::runnel;
use super::server::Server;
use super::throughput::{HELD_BACK, SHIPPING};
use super::{Bench, page};

/// What is sampled: a sample stands for the processor time since the one before, in nanoseconds.
const CLOCK: &str = "cpu-clock";

/// A second, enough for a function of a hundredth in two seconds of processor time to be seen.
const SAMPLES: &str = "997";

/// Bytes of each stack that are kept, from which frames are found.
const STACK: &str = "dwarf,16384";

/// Narrower frames, in hundredths of the whole, are not drawn.
const NARROWEST: f64 = 0.3;

const WARM_UP: u64 = 100_000;
const PRODUCED: u64 = 1_000_000;
const SHIPPED: u64 = 400_000;
const HOT_PASSES: u64 = 20;

/// Functions that are listed, of each kind of work.
const LISTED: usize = 8;

/// What `perf script` marks frames of the kernel with, once they are folded.
const KERNEL: &str = "_[k]";

pub(super) fn run(bench: &Bench) -> Result<String> {
    let mut table = "| | CPU s | in the kernel | functions by themselves |\n|---|---|---|---|\n".to_owned();
    let mut add = |name: &str, picture: &str, folded: &str| {
        table += &row(name, folded);
        if bench.quick { Ok(()) } else { draw(name, picture, folded) }
    };
    println!("profiles: producing");
    let server = runnel::start(bench, &HELD_BACK)?.server;
    load::create_topic(&server, "hot")?;
    load::produce(bench, &server, "hot", bench.amount(WARM_UP), || Ok(()))?;
    let passes = bench.amount(HOT_PASSES);
    let read = || load::consume(&server, "hot", bench.amount(WARM_UP), passes).map(drop);
    let hot = profiled(bench, &server, read)?;
    load::create_topic(&server, "load")?;
    let produce = || load::produce(bench, &server, "load", bench.amount(PRODUCED), || Ok(())).map(drop);
    add("producing, shipping held back", "produce", &profiled(bench, &server, produce)?)?;
    add("reading from memory", "hot", &hot)?;
    drop(server);

    println!("profiles: shipping, and reading from the bucket");
    let runnel = runnel::start(bench, &SHIPPING)?;
    load::create_topic(&runnel.server, "load")?;
    let settled = || runnel.wait_shipped();
    load::produce(bench, &runnel.server, "load", bench.amount(WARM_UP), settled)?;
    let produce = || load::produce(bench, &runnel.server, "load", bench.amount(SHIPPED), settled).map(drop);
    add("producing and shipping", "ship", &profiled(bench, &runnel.server, produce)?)?;
    runnel.server.stop()?;
    load::forget_pages(&runnel::bucket(bench))?;
    let server = runnel::start_again(bench, &SHIPPING)?.server;
    let all = bench.amount(WARM_UP) + bench.amount(SHIPPED);
    let read = || load::consume(&server, "load", all, 1).map(drop);
    add("reading from the bucket", "cold", &profiled(bench, &server, read)?)?;
    server.stop()?;
    Ok(table)
}

/// The stacks of a broker while `work` goes on, one line each: frames from the outermost, and its nanoseconds.
fn profiled(bench: &Bench, server: &Server, work: impl FnOnce() -> Result<()>) -> Result<String> {
    let data = bench.dir.join("perf.data");
    fs::remove_file(&data).ok(); // absent the first time
    let perf = record(server, &data)?;
    work()?;
    end(perf)?;
    let script = bench.dir.join("perf.txt");
    let output = File::create(&script).with_context(|| format!("cannot create {}", script.display()))?;
    // Looking inlined functions up takes minutes.
    let mut command = Command::new("perf");
    command.args(["script", "--no-inline", "-i"]).arg(&data).stdin(Stdio::null()).stdout(output).stderr(Stdio::null());
    let status = command.status().context("cannot start `perf script`")?;
    if !status.success() {
        bail!("`perf script` failed ({status})");
    }
    let mut options = Folding::default();
    options.annotate_kernel = true;
    let mut folded = Vec::new();
    Folder::from(options).collapse(BufReader::new(File::open(&script)?), &mut folded)?;
    Ok(String::from_utf8(folded)?)
}

/// Starts `perf`, and returns when it has begun to write.
fn record(server: &Server, data: &Path) -> Result<Child> {
    let mut command = Command::new("perf");
    let pid = server.pid().to_string();
    command.args(["record", "-q", "-e", CLOCK, "-F", SAMPLES, "--call-graph", STACK, "-p", &pid, "-o"]).arg(data);
    let mut perf = command.stdin(Stdio::null()).spawn().context("cannot start `perf record`")?;
    // `perf` says nothing when it has begun; its file is there when it has nearly done so.
    while fs::metadata(data).map_or(0, |found| found.len()) == 0 {
        if let Some(status) = perf.try_wait()? {
            bail!("`perf record` ended ({status}): may this user look at other processes?");
        }
        thread::sleep(Duration::from_millis(10));
    }
    Ok(perf)
}

fn end(mut perf: Child) -> Result<()> {
    kill_process(Pid::from_child(&perf), Signal::INT).context("cannot stop `perf`")?;
    perf.wait().context("`perf record` was lost")?;
    Ok(())
}

fn draw(name: &str, picture: &str, folded: &str) -> Result<()> {
    let mut options = Drawing::default();
    options.title = format!("runnel: {name}");
    options.min_width = NARROWEST;
    let mut drawn = Vec::new();
    flamegraph::from_lines(&mut options, folded.lines(), &mut drawn)?;
    page::write_picture(&format!("flame-{picture}"), &drawn)
}

/// How much processor time there is, how much of it in the kernel, and in which functions.
fn row(name: &str, folded: &str) -> String {
    let (mut all, mut kernel) = (0, 0);
    let mut own: HashMap<&str, u64> = HashMap::new();
    for (stack, count) in folded.lines().filter_map(|line| line.rsplit_once(' ')) {
        let count: u64 = count.parse().unwrap_or(0);
        let innermost = stack.rsplit(';').next().unwrap_or(stack);
        all += count;
        if innermost.ends_with(KERNEL) {
            kernel += count;
        }
        *own.entry(innermost.trim_end_matches(KERNEL)).or_default() += count;
    }
    let share = |count: u64| count as f64 / all as f64 * 100.0;
    let mut functions: Vec<_> = own.into_iter().collect();
    functions.sort_by_key(|&(name, count)| (std::cmp::Reverse(count), name));
    let listed: Vec<_> = functions
        .iter()
        .take(LISTED)
        .map(|&(name, count)| format!("`{}` {:.0} %", short(name), share(count)))
        .collect();
    let seconds = all as f64 / 1e9;
    format!("| {name} | {seconds:.2} | {:.0} % | {} |\n", share(kernel), listed.join(", "))
}

/// A function without the modules that it is in, and without its types.
fn short(function: &str) -> &str {
    let plain = function.split(['<', '(']).find(|part| !part.is_empty()).unwrap_or(function);
    plain.trim_end_matches("::").rsplit("::").find(|part| !part.starts_with('h') || part.len() != 17).unwrap_or(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_frame_is_what_takes_the_time() {
        let folded = "a;core::b 300000000\na;core::b;copy_[k] 600000000\nc 100000000\n";
        assert_eq!(row("work", folded), "| work | 1.00 | 60 % | `copy` 60 %, `b` 30 %, `c` 10 % |\n");
    }
}
