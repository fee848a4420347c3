//! runnel: the release binary on an empty data directory, default settings but for what a case names.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::Bench;
use super::probe;
use super::server::{Server, free_port};

/// All must be in the bucket within this time.
const PATIENCE: Duration = Duration::from_secs(120);

/// The broker and where its metrics are.
pub(super) struct Runnel {
    pub(super) server: Server,
    http: String,
}

fn data(bench: &Bench) -> PathBuf {
    bench.dir.join("runnel")
}

/// Where its segments are.
pub(super) fn bucket(bench: &Bench) -> PathBuf {
    data(bench).join("bucket")
}

/// Starts a broker on an empty data directory.
pub(super) fn start(bench: &Bench, settings: &[(&str, &str)]) -> Result<Runnel> {
    fs::remove_dir_all(data(bench)).ok(); // absent the first time
    start_again(bench, settings)
}

/// Where it keeps what it has read from the bucket.
pub(super) fn cache(bench: &Bench) -> PathBuf {
    data(bench).join("cache")
}

/// Starts a broker on the data directory of the one before it, without what that one had cached.
pub(super) fn start_again(bench: &Bench, settings: &[(&str, &str)]) -> Result<Runnel> {
    fs::remove_dir_all(cache(bench)).ok(); // absent the first time
    start_cached(bench, settings)
}

/// The same with what the one before it had cached on the disk.
pub(super) fn start_cached(bench: &Bench, settings: &[(&str, &str)]) -> Result<Runnel> {
    let (kafka, grpc, http) = (free_port()?, free_port()?, free_port()?);
    let at = |port: u16| format!("127.0.0.1:{port}");
    let mut command = Command::new(&bench.binary);
    command.arg("serve");
    let mut set = |key: &str, value: &str| {
        command.args(["--set", &format!("{key}={value}")]);
    };
    set("node.data_dir", &data(bench).display().to_string());
    set("kafka.listen", &at(kafka));
    set("grpc.listen", &at(grpc));
    set("http.listen", &at(http));
    for (key, value) in settings {
        set(key, value);
    }
    let server = Server::start(&mut command, at(kafka), &bench.dir.join("runnel.log"))?;
    Ok(Runnel { server, http: at(http) })
}

impl Runnel {
    /// Returns when all that was written is in the bucket.
    pub(super) fn wait_shipped(&self) -> Result<()> {
        let started = Instant::now();
        // A gauge that nothing has set yet is absent.
        while probe::metric(&self.http, "runnel_wal_unshipped_bytes").context("is it still up?")? > 0.0 {
            if started.elapsed() > PATIENCE {
                bail!("not all was shipped after {PATIENCE:?}");
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }
}
