//! `runnel serve`: wires the ports, the broker and the front doors together and waits for the signal to stop.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use runnel_broker::{Broker, Ports};
use runnel_runtime::disk::StdDisk;
use runnel_runtime::{FailPoints, Shutdown, SystemClock};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tracing::info;

use super::Settings;
use crate::config::{Config, MetadataStore};
use crate::{open_files, telemetry};

pub(crate) fn run(settings: &Settings) -> anyhow::Result<()> {
    let config = settings.load()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let entered = runtime.enter();
    let traces = telemetry::start(&config)?;
    drop(entered);
    open_files::raise_limit();
    let served = runtime.block_on(serve(config));
    // Last, so that the spans of the stop itself are sent too.
    if let Some(traces) = traces {
        traces.stop();
    }
    served
}

async fn serve(config: Config) -> anyhow::Result<()> {
    let metrics = telemetry::start_metrics()?;
    // Bound before the broker opens its data: a port in use is the commonest mistake and should cost nothing.
    let kafka_listener = bind("kafka.listen", config.kafka.listen).await?;
    let grpc_listener = bind("grpc.listen", config.grpc.listen).await?;
    let http_listener = bind("http.listen", config.http.listen).await?;
    let (kafka_at, grpc_at) = (kafka_listener.local_addr()?, grpc_listener.local_addr()?);
    let http_at = http_listener.local_addr()?;
    refuse_cluster(&config, kafka_at, grpc_at)?;
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
        started = Broker::start(config.broker_options()?, ports()?) => started?,
        _ = terminate.recv() => return Ok(()),
        _ = interrupt.recv() => return Ok(()),
    };

    let doors = Shutdown::new();
    // Sessions are told to drain while the broker still ships.
    let sessions = doors.child();
    let mut kafka_options = config.kafka_options(Some(grpc_at), Some(http_at))?;
    kafka_options.max_connections = open_files::leave_room(kafka_options.max_connections);
    let kafka = tokio::spawn(runnel_kafka::serve(
        kafka_listener,
        Arc::clone(&broker) as Arc<dyn runnel_api::Broker>,
        kafka_options,
        doors.clone(),
    ));
    let grpc = tokio::spawn(runnel_grpc::serve(
        grpc_listener,
        Arc::clone(&broker) as _,
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
    sessions.trigger();
    let report = broker.stop().await;
    doors.trigger();
    kafka.await.context("the Kafka front door")??;
    grpc.await.context("the gRPC front door")??;
    http.await.context("the HTTP front door")??;
    match failed {
        Some(reason) => anyhow::bail!("{reason}"),
        None => {
            info!(unshipped_partitions = report.unshipped_partitions, "stopped");
            Ok(())
        }
    }
}

/// Brokers that share an etcd can be described by settings, and are not wired yet.
fn refuse_cluster(config: &Config, kafka: SocketAddr, grpc: SocketAddr) -> anyhow::Result<()> {
    let MetadataStore::Etcd(etcd) = config.metadata_store()? else { return Ok(()) };
    let told = config.advertised(kafka, grpc)?;
    anyhow::bail!(
        "metadata.url: clusters are not wired yet (etcd at {}, keys below `{}`, lease of {}; others would be told of \
         {} for Kafka and {} for gRPC): set metadata.url = embedded",
        etcd.endpoints.join(" and "),
        etcd.prefix,
        config.cluster.lease_ttl,
        told.kafka,
        told.grpc,
    )
}

async fn bind(setting: &str, address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| {
        format!("cannot listen on {address} ({setting}): is another program using it? Choose another with --set {setting}=HOST:PORT")
    })
}

fn ports() -> anyhow::Result<Ports> {
    let fail = match std::env::var("RUNNEL_FAIL_POINTS") {
        Ok(spec) => FailPoints::parse(&spec).map_err(|e| anyhow::anyhow!("RUNNEL_FAIL_POINTS: {e}"))?,
        Err(_) => FailPoints::default(),
    };
    Ok(Ports { clock: Arc::new(SystemClock), disk: Arc::new(StdDisk), fail })
}
