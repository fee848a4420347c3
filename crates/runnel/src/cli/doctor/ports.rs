//! Listeners and the address that clients are told.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use runnel_broker::Tenant;
use tokio::net::{TcpListener, TcpStream};

use super::knock::{self, Holder, Protocol};
use super::report::Report;
use crate::config::Config;

/// How long a connection to the advertised address may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// Each listener: free, or held by the broker that runs here, or by someone else.
pub(super) async fn listeners(config: &Config, tenant: &Tenant, report: &mut Report) {
    for (setting, address) in [
        ("kafka.listen", config.kafka.listen),
        ("grpc.listen", config.grpc.listen),
        ("http.listen", config.http.listen),
    ] {
        listener(setting, address, tenant, report).await;
    }
}

async fn listener(setting: &str, address: SocketAddr, tenant: &Tenant, report: &mut Report) {
    let choose = format!("choose another with --set {setting}=HOST:PORT");
    // Bound and given back at once.
    match TcpListener::bind(address).await {
        Ok(_) if tenant.running => {
            let detail = format!("{address} is free, though a broker runs on this data directory");
            report.warn(setting, detail, "run doctor with the settings of that broker");
        }
        Ok(_) => report.ok(setting, format!("{address} is free")),
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            let protocol = if setting == "kafka.listen" { Protocol::Kafka } else { Protocol::Http };
            let holder = knock::who(address, protocol).await;
            if is_ours(setting, &holder, tenant) {
                report.ok(setting, format!("{address} is held by the broker that runs on this data directory"));
            } else {
                report.fail(setting, format!("{address} is held by {holder}"), format!("stop it, or {choose}"));
            }
        }
        Err(error) => {
            let advice = match error.kind() {
                ErrorKind::AddrNotAvailable => "listen on an address of this machine, or on 0.0.0.0".to_owned(),
                ErrorKind::PermissionDenied => format!("ports below 1024 need a privilege: {choose}"),
                _ => choose,
            };
            report.fail(setting, format!("cannot listen on {address}: {error}"), advice);
        }
    }
}

fn is_ours(setting: &str, holder: &Holder, tenant: &Tenant) -> bool {
    tenant.running
        && match holder {
            Holder::Kafka { cluster } => tenant.cluster.as_ref() == Some(cluster),
            Holder::Runnel { .. } => true,
            // Neither protocol is spoken on the gRPC port.
            Holder::Unknown => setting == "grpc.listen",
            Holder::Nobody => false,
        }
}

/// The addresses that clients are told to use.
pub(super) async fn advertised(config: &Config, tenant: &Tenant, report: &mut Report) {
    let listen = config.kafka.listen;
    match &config.kafka.advertise {
        Some(advertised) => told("kafka.advertise", advertised, listen, tenant, report).await,
        None => not_told("kafka.advertise", listen, report),
    }
    if let Some(advertised) = &config.grpc.advertise {
        told("grpc.advertise", advertised, config.grpc.listen, tenant, report).await;
    }
}

fn not_told(check: &str, listen: SocketAddr, report: &mut Report) {
    match (listen.ip().is_unspecified(), listen.ip().is_loopback()) {
        (true, _) => report.ok(check, "clients are told the address that they dialled"),
        (_, true) => report.ok(check, format!("{listen}: clients on this machine only")),
        _ => report.ok(check, listen.to_string()),
    }
}

async fn told(check: &str, advertised: &str, listen: SocketAddr, tenant: &Tenant, report: &mut Report) {
    let found: Vec<SocketAddr> = match tokio::net::lookup_host(advertised).await {
        Ok(found) => found.collect(),
        Err(error) => {
            let advice = format!("set {check} to a name that clients can resolve, or to an IP address");
            return report.fail(check, format!("{advertised} does not resolve: {error}"), advice);
        }
    };
    let shown: Vec<String> = found.iter().map(|address| address.ip().to_string()).collect();
    let shown = format!("{advertised} resolves to {}", shown.join(", "));
    if found.iter().all(|address| address.ip().is_loopback()) && !listen.ip().is_loopback() {
        let advice = "clients on other machines would dial themselves: advertise an address of this machine";
        return report.warn(check, shown, advice);
    }
    if !tenant.running {
        return report.ok(check, format!("{shown}; whether it leads here shows once the broker runs"));
    }
    match tokio::time::timeout(PATIENCE, TcpStream::connect(advertised)).await {
        Ok(Ok(_)) => report.ok(check, format!("{shown} and takes connections")),
        _ => {
            let advice = format!("clients must reach it: look at port mappings and firewalls, or correct {check}");
            report.warn(check, format!("{shown} and does not take connections from here"), advice);
        }
    }
}
