//! System packages, through apt where there is apt.

use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::process;

/// A program that must run, and the Debian package that brings it.
pub(crate) struct Need {
    program: &'static str,
    /// Arguments with which it exits with 0 if it is usable.
    probe: &'static [&'static str],
    package: &'static str,
}

const VENV: Need = Need { program: "python3", probe: &["-c", "import ensurepip, venv"], package: "python3-venv" };
const GO: Need = Need { program: "go", probe: &["version"], package: "golang-go" };

const HAPROXY: Need = Need { program: "haproxy", probe: &["-v"], package: "haproxy" };

/// What Python environments need.
pub(crate) const PYTHON: [Need; 1] = [VENV];

/// What a cluster on this machine needs.
pub(crate) const CLUSTER: [Need; 2] = [VENV, HAPROXY];

/// What an S3 server is built with.
pub(crate) const S3: [Need; 1] = [GO];

/// What etcd is built with.
pub(crate) const ETCD: [Need; 1] = [GO];

/// What the programs that judge `deploy/` are built with.
pub(crate) const CHECKERS: [Need; 1] = [GO];

/// What the drivers of Go clients are built with.
pub(crate) const GO_CLIENTS: [Need; 1] = [GO];

/// What the drivers of Node clients are installed and run with.
pub(crate) const NODE_CLIENTS: [Need; 2] = [
    Need { program: "node", probe: &["--version"], package: "nodejs" },
    Need { program: "npm", probe: &["--version"], package: "npm" },
];

/// What librdkafka is built with, beside a C compiler.
pub(crate) const RUST_CLIENTS: [Need; 1] = [Need { program: "make", probe: &["--version"], package: "make" }];

/// What the driver of the Java client is built with.
pub(crate) const JAVA_CLIENTS: [Need; 1] =
    [Need { program: "javac", probe: &["-version"], package: "openjdk-17-jdk-headless" }];

const VALGRIND: Need = Need { program: "valgrind", probe: &["--version"], package: "valgrind" };

/// What counts instructions.
pub(crate) const INSTRUCTIONS: [Need; 1] = [VALGRIND];

/// What profiles are made with.
pub(crate) const PROFILES: [Need; 1] = [Need { program: "perf", probe: &["--version"], package: "linux-perf" }];

/// What the test suites need.
pub(crate) const TESTS: [Need; 7] = [
    VENV,
    Need { program: "kcat", probe: &["-V"], package: "kcat" },
    Need { program: "java", probe: &["-version"], package: "openjdk-17-jdk-headless" },
    Need { program: "mvn", probe: &["-v"], package: "maven" },
    HAPROXY,
    Need { program: "faketime", probe: &["--version"], package: "faketime" },
    VALGRIND,
];

/// Installs the packages of those that do not run.
pub(crate) fn install(needs: &[Need]) -> Result<()> {
    let missing: Vec<&Need> = needs.iter().filter(|need| !works(need)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let packages: Vec<&str> = missing.iter().map(|need| need.package).collect();
    println!("installing {} with apt-get", packages.join(" "));
    let by_hand = format!("run `sudo apt-get install {}`, or install the like yourself", packages.join(" "));
    apt_get(&["update", "-qq"])
        .and_then(|()| apt_get(&[&["install", "-y", "-qq", "--no-install-recommends"], packages.as_slice()].concat()))
        .with_context(|| by_hand.clone())?;
    match missing.iter().find(|need| !works(need)) {
        Some(need) => bail!("`{}` still does not run: {by_hand}", need.program),
        None => Ok(()),
    }
}

/// Looked for on the search path first: a probe costs up to a second (a Java process), a look costs nothing.
fn works(need: &Need) -> bool {
    process::find(need.program).is_some() && process::succeeds(Command::new(need.program).args(need.probe))
}

fn apt_get(args: &[&str]) -> Result<()> {
    if process::find("apt-get").is_none() {
        bail!("there is no apt-get on this machine");
    }
    let is_root = process::output(Command::new("id").arg("-u"))?.trim() == "0";
    let mut command = if is_root {
        Command::new("apt-get")
    } else if process::find("sudo").is_some() {
        let mut sudo = Command::new("sudo");
        sudo.args(["-n", "apt-get"]);
        sudo
    } else {
        bail!("not root, and there is no sudo");
    };
    process::run(command.args(args).env("DEBIAN_FRONTEND", "noninteractive"))
}
