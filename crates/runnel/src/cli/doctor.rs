//! `runnel doctor`: what would keep a broker with these settings from working, before it starts or while it runs.
//!
//! It changes nothing: what it writes, on the disk and in the bucket, is scratch and removed again. A broker that
//! runs goes on undisturbed.

mod bucket;
mod data;
mod etcd;
mod knock;
mod machine;
mod ports;
mod report;

use clap::Args;
use runnel_broker::{Ports, Tenant, examine_home};
use runnel_runtime::FailPoints;
use runnel_runtime::disk::StdDisk;

use super::Settings;
use super::output::{self, Output};
use crate::config::Config;
use report::Report;

#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    #[command(flatten)]
    settings: Settings,
    /// How to print.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
    /// Only ask the broker with these settings whether it is ready, as `/readyz` does: the health check of a container.
    #[arg(long, conflicts_with = "output")]
    ready: bool,
}

pub(crate) fn run(args: &DoctorArgs) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    if args.ready {
        let config = args.settings.load()?;
        return runtime.block_on(ready(&config));
    }
    let mut report = Report::default();
    match args.settings.load() {
        Ok(config) => runtime.block_on(examine(&config, &mut report)),
        Err(error) => report.fail("settings", format!("{error:#}"), "`runnel config docs` explains every setting"),
    }
    output::print(args.output, &report.value()?, || report.table())?;
    match report.failures() {
        0 => Ok(()),
        1 => anyhow::bail!("a check failed"),
        n => anyhow::bail!("{n} checks failed"),
    }
}

async fn examine(config: &Config, report: &mut Report) {
    report.ok("settings", format!("node {}", config.node.id));
    machine::dangers(config, report);
    machine::descriptors(config, report);
    let ports = Ports::of_machine(FailPoints::default());
    let tenant = match examine_home(&config.node.data_dir, &StdDisk) {
        Ok(tenant) => {
            data::directory(config, &tenant, report);
            tenant
        }
        Err(error) => {
            report.fail(
                "node.data_dir",
                error.to_string(),
                "run doctor as the broker's user, or restore the directory",
            );
            Tenant { running: false, cluster: None }
        }
    };
    data::disk(config, &*ports.clock, report);
    ports::listeners(config, &tenant, report).await;
    ports::advertised(config, &tenant, report).await;
    etcd::answers(config, report).await;
    if bucket::abilities(&config.storage_options(), &*ports.clock, report).await {
        bucket::identity(&config.node.data_dir, &config.storage_options(), &ports, report).await;
    }
    if tenant.running {
        match knock::http_get(knock::dialled(config.http.listen), "/readyz").await {
            Some((200, _)) => report.ok("broker", "ready"),
            Some((_, says)) => report.fail("broker", one_line(&says), "see its log"),
            None => report.warn("broker", "no answer on http.listen", "run doctor with the settings of that broker"),
        }
    }
}

/// Succeeds if the broker with these settings may be sent traffic.
async fn ready(config: &Config) -> anyhow::Result<()> {
    let address = knock::dialled(config.http.listen);
    match knock::http_get(address, "/readyz").await {
        Some((200, _)) => Ok(()),
        Some((_, says)) => anyhow::bail!("{}", one_line(&says)),
        None => anyhow::bail!("no broker answers on {address} (http.listen)"),
    }
}

fn one_line(text: &str) -> String {
    text.lines().collect::<Vec<_>>().join("; ")
}
