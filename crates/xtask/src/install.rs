//! Installs what the tests and the demo need: system packages, a Python environment, an S3 server, etcd, Kafka's tools, the
//! client libraries under test, what judges the files in `deploy/`, and a build of before this one.
//!
//! Idempotent, and quick where all is there. Everything but system packages goes to the user's cache folder.
//! What a folder was made from is written beside it (a stamp), last, so that an interrupted installation is redone.

mod checkers;
mod clients;
mod etcd;
mod kafka;
mod previous;
mod python;
mod s3;
mod system;
mod tansu;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

pub(crate) use checkers::{helm, kubernetes_check, prometheus_check};
pub(crate) use clients::dir as client_drivers;
pub(crate) use etcd::etcd;
pub(crate) use kafka::{VERSION as KAFKA_VERSION, libs as kafka_libs};
pub(crate) use previous::previous;
pub(crate) use s3::versitygw;
pub(crate) use tansu::tansu;

/// Everything that the tests need.
pub(crate) fn all() -> Result<()> {
    system::install(&system::TESTS)?;
    python::install()?;
    s3::install()?;
    etcd::install()?;
    kafka::install()?;
    checkers::install()?;
    clients::install()?;
    previous::install()
}

/// What the demo needs: a subset, so that a first look does not wait for Kafka's tools.
pub(crate) fn for_demo(with_s3: bool) -> Result<()> {
    system::install(&system::PYTHON)?;
    python::install()?;
    if with_s3 {
        s3::install()?;
    }
    Ok(())
}

/// What a cluster on this machine needs; its script asks for Python alone.
pub(crate) fn for_cluster() -> Result<()> {
    system::install(&system::CLUSTER)?;
    s3::install()?;
    etcd::install()
}

/// What counts instructions.
pub(crate) fn for_instructions() -> Result<()> {
    system::install(&system::INSTRUCTIONS)
}

/// What the benchmarks need; returns the folder of Apache Kafka's jars.
pub(crate) fn for_bench() -> Result<PathBuf> {
    system::install(&system::TESTS)?;
    python::install()?;
    s3::install()?;
    etcd::install()?;
    kafka::install_broker()
}

/// The brokers in Rust that runnel is measured beside.
pub(crate) fn for_peers() -> Result<()> {
    tansu::install()
}

/// What looks at a broker while it works.
pub(crate) fn for_profiles() -> Result<()> {
    system::install(&system::PROFILES)
}

/// Whether `dir` was completely made from `recipe`.
fn is_stamped(dir: &Path, recipe: &str) -> bool {
    fs::read_to_string(dir.join(".runnel-stamp")).is_ok_and(|stamp| stamp == recipe)
}

/// Says that `dir` is complete.
fn stamp(dir: &Path, recipe: &str) -> Result<()> {
    fs::write(dir.join(".runnel-stamp"), recipe).with_context(|| format!("cannot write to {}", dir.display()))
}

/// Makes `dir` an empty folder.
fn empty(dir: &Path) -> Result<()> {
    if dir.exists() {
        fs::remove_dir_all(dir).with_context(|| format!("cannot remove {}", dir.display()))?;
    }
    fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))
}
