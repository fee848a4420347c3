//! Apache Kafka's own command-line tools and its Java client, from Maven Central.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::{process, workspace};

/// Collects the jars of the console tools; nothing is compiled.
pub(crate) const POM: &str = r#"<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>runnel</groupId>
  <artifactId>kafka-tools-for-tests</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka-clients</artifactId><version>4.3.1</version></dependency>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka-tools</artifactId><version>4.3.1</version></dependency>
    <dependency><groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>1.7.36</version></dependency>
  </dependencies>
</project>
"#;

const COPY: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies";

/// The folder of the jars.
pub(crate) fn libs() -> Result<PathBuf> {
    Ok(workspace::cache()?.join("kafka/libs"))
}

/// Fetches the jars unless they are there.
pub(crate) fn install() -> Result<()> {
    let dir = workspace::cache()?.join("kafka");
    if super::is_stamped(&dir, POM) {
        return Ok(());
    }
    println!("fetching the tools of Apache Kafka with Maven to {}", dir.display());
    super::empty(&dir)?;
    let pom = dir.join("pom.xml");
    fs::write(&pom, POM).with_context(|| format!("cannot write {}", pom.display()))?;
    process::run(
        Command::new("mvn")
            .args(["-q", "-B", "-f"])
            .arg(&pom)
            .args([COPY, "-DincludeScope=runtime"])
            .arg(format!("-DoutputDirectory={}", dir.join("libs").display())),
    )
    .context("cannot fetch Kafka's tools: is Maven Central, or a mirror named in ~/.m2/settings.xml, reachable?")?;
    super::stamp(&dir, POM)
}
