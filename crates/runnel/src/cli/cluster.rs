//! `runnel cluster`: who the brokers are, what they lead, taking one out, and raising the level of formats.

mod restore;
mod upgrade;

use std::io::{IsTerminal, Write};
use std::time::Duration;

use clap::{Args, Subcommand};
use runnel_client::Client;
use runnel_client::proto::cluster::v1::session::State;
use runnel_client::proto::cluster::v1::{GetClusterResponse, GetHealthResponse, Session};
use serde_json::{Value, json};

use super::output::{self, Output, Table};
use super::remote::Remote;

/// Pause after a question that nobody answered.
const AGAIN: Duration = Duration::from_millis(500);

#[derive(Debug, Args)]
pub(crate) struct ClusterArgs {
    #[command(subcommand)]
    command: ClusterCommand,
}

#[derive(Debug, Subcommand)]
#[allow(clippy::large_enum_variant, reason = "there is one")]
enum ClusterCommand {
    /// Show the brokers, what they lead, and whether the one that answers is able to work. Exit code 1 if it is not.
    Status {
        /// Show it again every so many seconds, until it is interrupted.
        #[arg(short, long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "1")]
        watch: Option<u64>,
        /// How to print.
        #[arg(short, long, value_enum, default_value_t = Output::Table)]
        output: Output,
    },
    /// Let a broker lead nothing, and wait until others lead what it led. It stays in the cluster, also over restarts,
    /// until it is told to lead again.
    Drain {
        /// The broker's number, as `cluster status` shows it.
        node: i32,
        /// Let it lead again.
        #[arg(long)]
        undo: bool,
    },
    /// Raise the level of formats to the highest that all brokers support, once all of them run the new release. Says what it
    /// comes to, then asks: releases that do not support the level cannot come back.
    Upgrade(upgrade::UpgradeArgs),
    /// Make the cluster again from its bucket alone, after its etcd has lost what it held. Shows what would be done, then
    /// asks. Whoever still writes to the bucket is kept out from then on.
    Restore(restore::RestoreArgs),
}

pub(crate) fn run(args: &ClusterArgs, remote: &Remote) -> anyhow::Result<()> {
    match &args.command {
        ClusterCommand::Status { watch, output } => remote.run(|client| status(client, *watch, *output)),
        ClusterCommand::Drain { node, undo } => remote.run(|client| drain(client, *node, *undo)),
        ClusterCommand::Upgrade(args) => remote.run(|client| upgrade::run(client, args)),
        ClusterCommand::Restore(args) => restore::run(args),
    }
}

async fn status(client: Client, watch: Option<u64>, output: Output) -> anyhow::Result<()> {
    let mut shown = false;
    loop {
        let answer = async { Ok::<_, anyhow::Error>((client.cluster().await?, client.health().await?)) };
        let (cluster, health) = match answer.await {
            Ok(answer) => answer,
            // Brokers that die are what one watches for. Another of those that were named may answer next.
            Err(error) if shown => {
                eprintln!("no answer now: {error:#}");
                tokio::time::sleep(AGAIN).await;
                continue;
            }
            Err(error) => return Err(error),
        };
        shown = true;
        if watch.is_some() && output == Output::Table && std::io::stdout().is_terminal() {
            // Clears the screen.
            write!(std::io::stdout(), "\x1b[2J\x1b[H")?;
        }
        output::print(output, &as_json(&cluster, &health), || as_table(&cluster, &health))?;
        let Some(seconds) = watch else {
            anyhow::ensure!(health.ready, "the broker is not ready");
            return Ok(());
        };
        tokio::time::sleep(Duration::from_secs(seconds.max(1))).await;
    }
}

async fn drain(client: Client, node: i32, undo: bool) -> anyhow::Result<()> {
    client.drain(node, undo).await?;
    if undo {
        eprintln!("broker {node} may lead again");
        return Ok(());
    }
    let mut shown = None;
    loop {
        let cluster = client.cluster().await?;
        let left = cluster.nodes.iter().find(|one| one.id == node).map_or(0, |one| one.leads);
        if !cluster.nodes.iter().any(|one| one.id == node) {
            eprintln!("no broker {node} runs now; should one start with that number, it leads nothing");
            return Ok(());
        }
        if left == 0 {
            eprintln!(
                "broker {node} leads nothing: it can be stopped. `runnel cluster drain {node} --undo` lets it lead again"
            );
            return Ok(());
        }
        anyhow::ensure!(
            cluster.nodes.iter().any(|one| one.id != node && !one.draining),
            "no other broker may lead: the {left} partitions of broker {node} stay where they are"
        );
        if shown != Some(left) {
            eprintln!("broker {node} leads {left} partitions");
            shown = Some(left);
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

fn as_json(cluster: &GetClusterResponse, health: &GetHealthResponse) -> Value {
    let nodes = cluster.nodes.iter().map(|node| {
        json!({
            "id": node.id, "name": node.name, "zone": node.zone, "leads": node.leads, "draining": node.draining,
            "kafka": node.kafka_address, "grpc": node.grpc_address, "version": node.version,
            "levels": [node.lowest_level, node.highest_level],
        })
    });
    let sessions = cluster.sessions.iter().map(
        |session| json!({"id": session.id, "node": session.node, "state": state(session), "lanes": session.lanes}),
    );
    let checks = health.checks.iter();
    let checks = checks.map(|check| json!({"name": check.name, "passed": check.passed, "message": check.message}));
    json!({
        "cluster_id": cluster.cluster_id, "controller": cluster.controller_id, "answered_by": cluster.node_id,
        "version": cluster.version, "level": cluster.level, "nodes": nodes.collect::<Value>(), "sessions": sessions.collect::<Value>(),
        "leaderless_partitions": cluster.leaderless_partitions, "ready": health.ready,
        "checks": checks.collect::<Value>(),
    })
}

fn as_table(cluster: &GetClusterResponse, health: &GetHealthResponse) -> String {
    let mut nodes = Table::new(["NODE", "NAME", "ZONE", "LEADS", "ROLE", "VERSION", "LEVELS", "KAFKA"]);
    for node in &cluster.nodes {
        let roles = [
            (cluster.controller_id == node.id, "controller"),
            (cluster.node_id == node.id, "answers"),
            (node.draining, "draining"),
        ];
        let roles: Vec<_> = roles.iter().filter(|(has, _)| *has).map(|(_, role)| *role).collect();
        nodes.row([
            node.id.to_string(),
            node.name.clone(),
            node.zone.clone().unwrap_or_default(),
            node.leads.to_string(),
            roles.join(", "),
            node.version.clone().unwrap_or_else(|| "older".to_owned()),
            upgrade::range(node),
            node.kafka_address.clone().unwrap_or_default(),
        ]);
    }
    let mut checks = Table::new(["CHECK", "STATE", "DETAIL"]);
    for check in &health.checks {
        let state = if check.passed { "ok" } else { "FAILED" };
        checks.row([check.name.clone(), state.to_owned(), check.message.clone()]);
    }
    let ready = if health.ready { "ready" } else { "NOT READY" };
    let level = cluster.level.map_or_else(|| "unknown".to_owned(), |level| level.to_string());
    let (id, version) = (&cluster.cluster_id, &cluster.version);
    let mut text = format!("cluster {id}, version {version}, level {level}: {ready}\n\n{nodes}");
    if let Some(to) = upgrade::within_reach(cluster) {
        text += &format!(
            "\nAll brokers support level {to}: `runnel cluster upgrade` raises it, once you will not go back\n"
        );
    }
    if cluster.leaderless_partitions > 0 {
        text += &format!("\n{} partitions have no leader now\n", cluster.leaderless_partitions);
    }
    let over: Vec<&Session> = cluster.sessions.iter().filter(|session| session.state() != State::Active).collect();
    if !over.is_empty() {
        let mut sessions = Table::new(["SESSION", "OF", "STATE", "LANES"]);
        for session in over {
            let lanes = session.lanes.to_string();
            sessions.row([session.id.clone(), session.node.clone(), state(session).to_owned(), lanes]);
        }
        text += &format!("\nSessions that are over and whose records are still being shipped:\n\n{sessions}");
    }
    format!("{text}\n{checks}")
}

fn state(session: &Session) -> &'static str {
    match session.state() {
        State::Unspecified => "unknown",
        State::Active => "active",
        State::Fencing => "fencing",
        State::Sealed => "sealed",
    }
}
