//! `runnel serve`: wires the ports, the broker and the front doors together and waits for the signal to stop.

use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use runnel_broker::{BalanceOptions, Broker, ClusterOptions, Failure, HostPort, Ports};
use runnel_metastore::Etcd;
use runnel_peer::{Connections, Forwarding, Peer, Peers, Reading};
use runnel_runtime::{FailPoints, Shutdown, SystemClock};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tracing::{info, warn};

use super::Settings;
use crate::config::{AdvertiseMode, Config, MetadataStore};
use crate::{open_files, telemetry};

/// Pause before a broker that could not go on starts again: what is wrong may last.
const COME_BACK: Duration = Duration::from_secs(1);

pub(crate) fn run(settings: &Settings) -> anyhow::Result<()> {
    let config = settings.load()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let entered = runtime.enter();
    let traces = telemetry::start(&config)?;
    drop(entered);
    open_files::raise_limit();
    let served = runtime.block_on(serve(&config));
    // Last, so that the spans of the stop itself are sent too.
    if let Some(traces) = traces {
        traces.stop();
    }
    let reason = match served? {
        None => return Ok(()),
        Some(Failure::Broken(reason)) if !config.is_alone() => reason,
        Some(failure) => bail!("{failure}"),
    };
    // What was taken for dead can come back as a new session, and nobody need be called for that.
    warn!(reason, "starts again");
    runtime.block_on(async { tokio::time::sleep(COME_BACK).await });
    runtime.shutdown_background();
    let error = Command::new(std::env::current_exe()?).args(std::env::args_os().skip(1)).exec();
    Err(error).context(reason)
}

/// Serves until it is told to stop, or cannot go on for the reason that is returned.
async fn serve(config: &Config) -> anyhow::Result<Option<Failure>> {
    let metrics = telemetry::start_metrics()?;
    // Bound before the broker opens its data: a port in use is the commonest mistake and should cost nothing.
    let kafka_listener = bind("kafka.listen", config.kafka.listen).await?;
    let grpc_listener = bind("grpc.listen", config.grpc.listen).await?;
    let http_listener = bind("http.listen", config.http.listen).await?;
    let (kafka_at, grpc_at) = (kafka_listener.local_addr()?, grpc_listener.local_addr()?);
    let http_at = http_listener.local_addr()?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;

    info!(
        version = env!("CARGO_PKG_VERSION"),
        data_dir = %config.node.data_dir.display(),
        storage = config.storage_url(),
        metadata = config.metadata.url,
        "starting"
    );
    let broker = tokio::select! {
        started = start(config, kafka_at, grpc_at) => started?,
        _ = terminate.recv() => return Ok(None),
        _ = interrupt.recv() => return Ok(None),
    };

    let asked = Asked::of(config, &broker);
    let doors = Shutdown::new();
    tokio::spawn(show_lag(Arc::clone(&broker), Arc::clone(&asked.by_grpc), doors.clone()));
    tokio::spawn(watch_traffic(Arc::clone(&broker), asked.peers, doors.clone()));
    // Sessions are told to drain while the broker still ships.
    let sessions = doors.child();
    let mut kafka_options = config.kafka_options(Some(grpc_at), Some(http_at))?;
    kafka_options.max_connections = open_files::leave_room(kafka_options.max_connections);
    let kafka = tokio::spawn(runnel_kafka::serve(
        kafka_listener,
        asked.by_kafka,
        asked.by_consumers,
        kafka_options,
        doors.clone(),
    ));
    let grpc = tokio::spawn(runnel_grpc::serve(
        grpc_listener,
        asked.by_grpc,
        asked.by_brokers,
        Arc::new(SystemClock),
        config.grpc_options(Some(kafka_at), Some(http_at))?,
        sessions.clone(),
    ));
    let http_options = runnel_http::Options {
        neighbours: runnel_http::Neighbours { kafka: Some(kafka_at), grpc: Some(grpc_at) },
        ..runnel_http::Options::default()
    };
    let http = runnel_http::serve(http_listener, Arc::clone(&broker) as _, metrics, http_options, doors.clone());
    let http = tokio::spawn(http);
    info!(kafka = %kafka_at, grpc = %grpc_at, http = %http_at, "ready: point any Kafka client at {kafka_at}");

    let failed = tokio::select! {
        _ = terminate.recv() => None,
        _ = interrupt.recv() => None,
        reason = broker.failed() => Some(reason),
    };
    info!("stopping: new writes are refused, what is committed is shipped to the bucket");
    if !matches!(failed, Some(Failure::Broken(_))) {
        // While clients are still served, and others reach what it leads through its gRPC listener.
        broker.leave().await;
    }
    sessions.trigger();
    let report = broker.stop().await;
    doors.trigger();
    kafka.await.context("the Kafka front door")??;
    grpc.await.context("the gRPC front door")??;
    http.await.context("the HTTP front door")??;
    if failed.is_none() {
        info!(unshipped_partitions = report.unshipped_partitions, "stopped");
    }
    Ok(failed)
}

/// Whom requests are put to.
struct Asked {
    by_kafka: Arc<dyn runnel_api::Broker>,
    /// Consumers of Kafka that name their zone; nobody if they see one address, or this broker is in no zone.
    by_consumers: Option<Arc<dyn runnel_api::Fetch>>,
    by_grpc: Arc<dyn runnel_api::Broker>,
    /// The broker alone; nobody if it has no others.
    by_brokers: Option<Arc<dyn Peer>>,
    /// Whom the broker asks.
    peers: Arc<dyn Peers>,
}

impl Asked {
    /// Clients of gRPC ask whichever broker they reach. So do those of Kafka where they see one address; else they are told
    /// who leads.
    fn of(config: &Config, broker: &Arc<Broker>) -> Self {
        let peers: Arc<dyn Peers> = Arc::new(Connections::default());
        let zone = config.node.zone.as_deref().filter(|_| !config.is_alone());
        let memory = usize::try_from(broker.memory_for_zone()).unwrap_or(usize::MAX);
        let reading = zone.map(|zone| Reading::new(Arc::clone(broker), Arc::clone(&peers), zone, memory));
        let forwarding = |new: fn(Arc<Broker>, Arc<dyn Peers>) -> Forwarding| {
            let forwarding = new(Arc::clone(broker), Arc::clone(&peers));
            Arc::new(reading.iter().fold(forwarding, |forwarding, reading| forwarding.reading(Arc::clone(reading))))
        };
        let own = || Arc::clone(broker) as Arc<dyn runnel_api::Broker>;
        let (by_kafka, by_consumers) = match config.kafka.advertise_mode {
            AdvertiseMode::Broker => (own(), reading.clone().map(|reading| reading as _)),
            AdvertiseMode::Single => (forwarding(Forwarding::as_one) as _, None),
        };
        if config.is_alone() {
            return Self { by_kafka, by_consumers, by_grpc: own(), by_brokers: None, peers };
        }
        let by_grpc = forwarding(Forwarding::new);
        Self { by_kafka, by_consumers, by_grpc, by_brokers: Some(Arc::clone(broker) as _), peers }
    }
}

/// Publishes how far the groups that this broker coordinates are behind.
async fn show_lag(broker: Arc<Broker>, everybody: Arc<dyn runnel_api::Broker>, until: Shutdown) {
    tokio::select! {
        never = runnel_peer::show_lag(&*broker, &*everybody) => match never {},
        () = until.triggered() => {}
    }
}

/// Hears what goes through all partitions, if this broker is the controller.
async fn watch_traffic(broker: Arc<Broker>, peers: Arc<dyn Peers>, until: Shutdown) {
    tokio::select! {
        never = runnel_peer::watch_traffic(&*broker, &*peers) => match never {},
        () = until.triggered() => {}
    }
}

/// Starts the broker, alone or as one of several.
async fn start(config: &Config, kafka: SocketAddr, grpc: SocketAddr) -> anyhow::Result<Arc<Broker>> {
    let options = config.broker_options()?;
    let MetadataStore::Etcd(etcd) = config.metadata_store()? else {
        return Ok(Broker::start(options, ports()?).await?);
    };
    let told = config.advertised(kafka, grpc)?;
    let address = |at: runnel_kafka::HostPort| HostPort { host: at.host, port: at.port };
    let cluster = ClusterOptions {
        lease_ttl: config.metadata.lease_ttl.0,
        kafka: address(told.kafka),
        grpc: address(told.grpc),
        balance: BalanceOptions::default(),
    };
    Ok(Broker::join(Arc::new(Etcd::connect(&etcd)?), options, cluster, ports()?).await?)
}

async fn bind(setting: &str, address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| {
        format!("cannot listen on {address} ({setting}): is another program using it? Choose another with --set {setting}=HOST:PORT")
    })
}

/// Those that are armed in the environment.
pub(super) fn fail_points() -> anyhow::Result<FailPoints> {
    match std::env::var("RUNNEL_FAIL_POINTS") {
        Ok(spec) => FailPoints::parse(&spec).map_err(|e| anyhow::anyhow!("RUNNEL_FAIL_POINTS: {e}")),
        Err(_) => Ok(FailPoints::default()),
    }
}

pub(super) fn ports() -> anyhow::Result<Ports> {
    Ok(Ports::of_machine(fail_points()?))
}
