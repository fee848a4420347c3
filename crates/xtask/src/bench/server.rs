//! A broker under measurement: its process, and what the kernel says of it.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use super::probe;

/// A broker may take this long to answer, or to stop: Kafka with 10,000 partitions, on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(600);

/// Ticks of a second in `/proc/PID/stat` (USER_HZ, fixed on Linux).
const TICKS: f64 = 100.0;

/// Where in a `/proc/PID/stat`, behind the name, the ticks of the process are, and those of its children.
const OWN: usize = 11;
const OF_CHILDREN: usize = 13;

/// A running broker. It is killed when this is dropped.
pub(super) struct Server {
    child: Child,
    /// `host:port` of its Kafka listener.
    pub(super) address: String,
    /// From the start of the process to the first answer that lists a broker.
    pub(super) ready_after: Duration,
}

impl Server {
    /// Starts `command` with its output in `log` and waits until it answers on `address`.
    pub(super) fn start(command: &mut Command, address: String, log: &Path) -> Result<Self> {
        let output = File::create(log).with_context(|| format!("cannot create {}", log.display()))?;
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output).process_group(0);
        let started = Instant::now();
        let child = command.spawn().with_context(|| format!("cannot start {:?}", command.get_program()))?;
        let mut server = Self { child, address, ready_after: Duration::ZERO };
        while !probe::lists_a_broker(&server.address) {
            let ended = server.child.try_wait()?;
            if ended.is_some() || started.elapsed() > PATIENCE {
                let said = fs::read_to_string(log).unwrap_or_default();
                bail!("the broker does not answer ({ended:?}):\n{said}");
            }
            thread::sleep(Duration::from_millis(2));
        }
        server.ready_after = started.elapsed();
        Ok(server)
    }

    /// Its process id, for scripts that look at it themselves.
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// User and system time so far, of all its threads, in seconds.
    pub(super) fn cpu(&self) -> Result<f64> {
        cpu(&format!("/proc/{}/stat", self.child.id()), OWN)
    }

    /// Resident memory now, in MiB.
    pub(super) fn rss(&self) -> Result<f64> {
        self.status("VmRSS:")
    }

    /// The most resident memory since [`Server::forget_peak`], in MiB.
    pub(super) fn peak(&self) -> Result<f64> {
        self.status("VmHWM:")
    }

    /// Starts the peak anew.
    pub(super) fn forget_peak(&self) -> Result<()> {
        let path = format!("/proc/{}/clear_refs", self.child.id());
        fs::write(&path, "5").with_context(|| format!("cannot write {path}"))
    }

    fn status(&self, field: &str) -> Result<f64> {
        let path = format!("/proc/{}/status", self.child.id());
        let status = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        mib(&status, field).with_context(|| format!("{path} has no {field}"))
    }

    /// Asks it to stop and waits until it has.
    pub(super) fn stop(mut self) -> Result<()> {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::TERM).context("cannot stop the broker")?;
        let asked = Instant::now();
        while self.child.try_wait()?.is_none() {
            if asked.elapsed() > PATIENCE {
                bail!("the broker did not stop within {PATIENCE:?}");
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Errors mean that it has ended already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// A port that was free a moment ago.
pub(super) fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port")?;
    Ok(listener.local_addr()?.port())
}

/// User and system time so far, in seconds, of the programs that were run to their ends.
pub(super) fn cpu_of_children() -> Result<f64> {
    cpu("/proc/self/stat", OF_CHILDREN)
}

fn cpu(path: &str, field: usize) -> Result<f64> {
    let stat = fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?;
    ticks(&stat, field).map(|ticks| ticks / TICKS).with_context(|| format!("cannot understand {path}"))
}

/// User and system ticks of a `/proc/PID/stat`; the name in brackets may hold anything.
fn ticks(stat: &str, field: usize) -> Option<f64> {
    let after_name = stat.rsplit_once(')')?.1;
    let mut fields = after_name.split_whitespace().skip(field);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

/// A field of a `/proc/PID/status`, from kB.
fn mib(status: &str, field: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    let kb: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kb / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_kernel_writes() {
        let stat = "4242 (odd) name) S 1 4242 4242 0 -1 4194560 100 0 0 0 730 44 5 6 20 0 9 0 100 1 1";
        assert_eq!((ticks(stat, OWN), ticks(stat, OF_CHILDREN)), (Some(774.0), Some(11.0)));
        assert_eq!(ticks("4242 (cut", OWN), None);
        let status = "Name:\trunnel\nVmHWM:\t  204800 kB\nVmRSS:\t  102400 kB\n";
        assert_eq!((mib(status, "VmHWM:"), mib(status, "VmRSS:")), (Some(200.0), Some(100.0)));
        assert_eq!(mib(status, "VmSwap:"), None);
    }
}
