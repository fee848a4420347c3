//! `runnel cluster status`: who the brokers are, and whether the one that answers is able to work.

use clap::{Args, Subcommand};
use runnel_client::Client;
use runnel_client::proto::cluster::v1::{GetClusterResponse, GetHealthResponse};
use serde_json::{Value, json};

use super::output::{self, Output, Table};
use super::remote::Remote;

#[derive(Debug, Args)]
pub(crate) struct ClusterArgs {
    #[command(subcommand)]
    command: ClusterCommand,
}

#[derive(Debug, Subcommand)]
enum ClusterCommand {
    /// Show the brokers and whether the one that answers is able to work. Exit code 1 if it is not.
    Status {
        /// How to print.
        #[arg(short, long, value_enum, default_value_t = Output::Table)]
        output: Output,
    },
}

pub(crate) fn run(args: &ClusterArgs, remote: &Remote) -> anyhow::Result<()> {
    let ClusterCommand::Status { output } = args.command;
    remote.run(|client| status(client, output))
}

async fn status(client: Client, output: Output) -> anyhow::Result<()> {
    let cluster = client.cluster().await?;
    let health = client.health().await?;
    output::print(output, &as_json(&cluster, &health), || as_table(&cluster, &health))?;
    anyhow::ensure!(health.ready, "the broker is not ready");
    Ok(())
}

fn as_json(cluster: &GetClusterResponse, health: &GetHealthResponse) -> Value {
    let nodes = cluster.nodes.iter().map(|node| json!({"id": node.id, "name": node.name, "zone": node.zone}));
    let checks = health.checks.iter();
    let checks = checks.map(|check| json!({"name": check.name, "passed": check.passed, "message": check.message}));
    json!({
        "cluster_id": cluster.cluster_id, "controller": cluster.controller_id, "answered_by": cluster.node_id,
        "version": cluster.version, "nodes": nodes.collect::<Value>(), "ready": health.ready,
        "checks": checks.collect::<Value>(),
    })
}

fn as_table(cluster: &GetClusterResponse, health: &GetHealthResponse) -> String {
    let mut nodes = Table::new(["NODE", "NAME", "ZONE", "ROLE"]);
    for node in &cluster.nodes {
        let roles = [(cluster.controller_id, "controller"), (cluster.node_id, "answers")];
        let roles: Vec<_> = roles.iter().filter(|(id, _)| *id == node.id).map(|(_, role)| *role).collect();
        nodes.row([node.id.to_string(), node.name.clone(), node.zone.clone().unwrap_or_default(), roles.join(", ")]);
    }
    let mut checks = Table::new(["CHECK", "STATE", "DETAIL"]);
    for check in &health.checks {
        let state = if check.passed { "ok" } else { "FAILED" };
        checks.row([check.name.clone(), state.to_owned(), check.message.clone()]);
    }
    let ready = if health.ready { "ready" } else { "NOT READY" };
    format!("cluster {}, version {}: {ready}\n\n{nodes}\n{checks}", cluster.cluster_id, cluster.version)
}
