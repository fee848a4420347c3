//! Apache Kafka from Maven Central: its command-line tools, and for benchmarks the whole broker. Nothing is compiled.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::{process, workspace};

/// The release that tests and benchmarks run.
pub(crate) const VERSION: &str = "4.3.1";

/// What the tests run. The tools bring Connect's worker along, but no connector.
const TOOLS: [&str; 3] = ["kafka-clients", "kafka-tools", "connect-file"];

/// What the benchmarks run; the broker is named after its Scala version.
const BROKER: [&str; 2] = ["kafka_2.13", "kafka-tools"];

const COPY: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies";

/// The folder of the tools' jars.
pub(crate) fn libs() -> Result<PathBuf> {
    Ok(workspace::cache()?.join("kafka").join("libs"))
}

/// Fetches the tools unless they are there.
pub(crate) fn install() -> Result<()> {
    fetch("kafka", "kafka-tools-for-tests", &TOOLS).map(drop)
}

/// Fetches broker and tools unless they are there; returns the folder of jars.
pub(crate) fn install_broker() -> Result<PathBuf> {
    fetch("kafka-broker", "kafka-broker-for-benchmarks", &BROKER)
}

/// Fetches what the project `name` asks for to `folder` of the cache.
fn fetch(folder: &str, name: &str, artifacts: &[&str]) -> Result<PathBuf> {
    let dir = workspace::cache()?.join(folder);
    let libs = dir.join("libs");
    let recipe = pom(name, artifacts);
    if super::is_stamped(&dir, &recipe) {
        return Ok(libs);
    }
    println!("fetching Apache Kafka with Maven to {}", dir.display());
    super::empty(&dir)?;
    let pom = dir.join("pom.xml");
    fs::write(&pom, &recipe).with_context(|| format!("cannot write {}", pom.display()))?;
    process::run(
        Command::new("mvn")
            .args(["-q", "-B", "-f"])
            .arg(&pom)
            .args([COPY, "-DincludeScope=runtime"])
            .arg(format!("-DoutputDirectory={}", libs.display())),
    )
    .context("cannot fetch Apache Kafka: is Maven Central, or a mirror named in ~/.m2/settings.xml, reachable?")?;
    super::stamp(&dir, &recipe)?;
    Ok(libs)
}

/// A project that only collects the jars of `artifacts`.
fn pom(name: &str, artifacts: &[&str]) -> String {
    let dependency = |group: &str, artifact: &str, version: &str| {
        format!(
            "    <dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId>\
             <version>{version}</version></dependency>\n"
        )
    };
    let mut dependencies: String =
        artifacts.iter().map(|artifact| dependency("org.apache.kafka", artifact, VERSION)).collect();
    dependencies.push_str(&dependency("org.slf4j", "slf4j-simple", "1.7.36"));
    format!(
        r#"<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>runnel</groupId>
  <artifactId>{name}</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <dependencies>
{dependencies}  </dependencies>
</project>
"#
    )
}
