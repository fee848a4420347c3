//! Apache Kafka: one node that is broker and controller, with the settings and the Java options of its own start
//! script; logs stay in the page cache until the kernel writes them (its default).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::Bench;
use super::server::{Server, free_port};
use crate::process;

/// As `kafka-run-class.sh` and `kafka-server-start.sh` set them.
const JAVA: [&str; 8] = [
    "-Xms1g",
    "-Xmx1g",
    "-XX:+UseG1GC",
    "-XX:MaxGCPauseMillis=20",
    "-XX:InitiatingHeapOccupancyPercent=35",
    "-XX:+ExplicitGCInvokesConcurrent",
    "-Djava.awt.headless=true",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
];

/// A cluster id, any: 16 bytes in base64.
const CLUSTER: &str = "AAAAAAAAAAAAAAAAAAAAAQ";

/// A Java program of Kafka's jars.
pub(super) fn java(bench: &Bench) -> Command {
    let mut command = Command::new("java");
    command.arg("-cp").arg(bench.jars.join("*"));
    command
}

/// Where its partitions are.
pub(super) fn data(bench: &Bench) -> PathBuf {
    dir(bench).join("data")
}

/// Formats an empty data folder and starts the broker, with its defaults but for `settings`.
pub(super) fn start(bench: &Bench, settings: &[(&str, &str)]) -> Result<Server> {
    let dir = dir(bench);
    fs::remove_dir_all(&dir).ok(); // absent the first time
    fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    let file = write_properties(bench, free_port()?, settings)?;
    let format =
        ["-Dorg.slf4j.simpleLogger.defaultLogLevel=error", "kafka.tools.StorageTool", "format", "-t", CLUSTER, "-c"];
    process::output(java(bench).args(format).arg(&file))?;
    start_again(bench, settings)
}

/// Starts a broker on the data folder of the one before it.
pub(super) fn start_again(bench: &Bench, settings: &[(&str, &str)]) -> Result<Server> {
    let port = free_port()?;
    let file = write_properties(bench, port, settings)?;
    let mut command = java(bench);
    command.args(JAVA).arg("kafka.Kafka").arg(&file);
    Server::start(&mut command, format!("127.0.0.1:{port}"), &dir(bench).join("server.out"))
}

fn dir(bench: &Bench) -> PathBuf {
    bench.dir.join("kafka")
}

fn write_properties(bench: &Bench, port: u16, settings: &[(&str, &str)]) -> Result<PathBuf> {
    let file = dir(bench).join("server.properties");
    let mut text = properties(&data(bench), port, free_port()?);
    for (key, value) in settings {
        text += &format!("{key}={value}\n");
    }
    fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
    Ok(file)
}

fn properties(data: &Path, port: u16, controller: u16) -> String {
    format!(
        "process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
log.dirs={}
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
auto.create.topics.enable=false
",
        data.display()
    )
}
