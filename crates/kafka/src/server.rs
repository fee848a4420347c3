//! Accepts connections.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use runnel_api::{Broker, Fetch};
use runnel_runtime::Shutdown;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::address::HostPort;
use crate::budget::{Budget, Shared};
use crate::connection::{self, End};
use crate::context::Context;
use crate::error::Error;
use crate::fetch::redirects::Redirects;
use crate::fetch::session::Sessions;
use crate::frame::{Ended, Protocol};
use crate::metrics;
use crate::options::{Neighbours, Options};

/// How long to wait after a failed accept (out of file descriptors, mostly).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves the Kafka protocol on `listener` until `shutdown`. Then no new request is read, those that were started
/// are answered within a few seconds, and all connections are closed before this returns. `reading` is asked for the records
/// of consumers that name their zone; without it zones do not count.
///
/// # Errors
/// Settings that cannot work, or a listener that is of no use.
pub async fn serve(
    listener: TcpListener,
    broker: Arc<dyn Broker>,
    reading: Option<Arc<dyn Fetch>>,
    options: Options,
    shutdown: Shutdown,
) -> Result<(), Error> {
    options.check()?;
    let local = listener.local_addr().map_err(Error::Listener)?;
    tracing::info!(%local, "serving the Kafka protocol");
    let server = Server {
        sessions: Arc::new(Sessions::new(options.fetch_sessions)),
        shared: Shared::new(options.max_inflight_bytes),
        options: Arc::new(options),
        broker,
        reading,
        shutdown,
    };
    let mut connections = JoinSet::new();
    // Said once each time it begins, not for every connection.
    let (mut full, mut failing) = (false, false);
    loop {
        let (stream, peer) = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    if !failing {
                        tracing::warn!(%error, "accepting a Kafka connection failed");
                    }
                    failing = true;
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
            Some(ended) = connections.join_next() => {
                report(ended);
                continue;
            }
            () = server.shutdown.triggered() => break,
        };
        failing = false;
        let at_limit = connections.len() >= server.options.max_connections;
        if at_limit {
            if !full {
                let limit = server.options.max_connections;
                tracing::warn!(%peer, limit, "too many Kafka connections, closing new ones (kafka.max_connections)");
            }
        } else {
            connections.spawn(server.connection(stream, peer));
        }
        full = at_limit;
    }
    drop(listener);
    while let Some(ended) = connections.join_next().await {
        report(ended);
    }
    Ok(())
}

/// Serves one connection without a socket, as [`serve`] does each that it accepts: for fuzzing.
pub async fn serve_stream(
    from: impl AsyncRead + Unpin,
    to: impl AsyncWrite + Unpin,
    broker: Arc<dyn Broker>,
    options: Options,
) {
    let ctx = Context {
        broker,
        reading: None,
        redirects: Redirects::default(),
        sessions: Arc::new(Sessions::new(options.fetch_sessions)),
        advertised: HostPort { host: "localhost".to_owned(), port: 9092 },
        peer: "/127.0.0.1".to_owned(),
        budget: Budget::new(options.max_inflight_bytes_per_connection, Shared::new(options.max_inflight_bytes)),
        options: Arc::new(options),
    };
    let end = connection::run(from, to, Arc::new(ctx), Shutdown::new()).await;
    tracing::debug!(reason = %end, "a connection without a socket ended");
}

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a Kafka connection failed: this is a defect");
    }
}

struct Server {
    options: Arc<Options>,
    broker: Arc<dyn Broker>,
    reading: Option<Arc<dyn Fetch>>,
    sessions: Arc<Sessions>,
    shared: Shared,
    shutdown: Shutdown,
}

impl Server {
    fn connection(&self, stream: TcpStream, peer: SocketAddr) -> impl Future<Output = ()> + Send + 'static {
        let options = Arc::clone(&self.options);
        let budget = Budget::new(options.max_inflight_bytes_per_connection, self.shared.clone());
        let (broker, reading) = (Arc::clone(&self.broker), self.reading.clone());
        let (sessions, shutdown) = (Arc::clone(&self.sessions), self.shutdown.clone());
        async move {
            let dialled = match (&options.advertise, stream.local_addr()) {
                (Some(address), _) => address.clone(),
                (None, Ok(local)) => HostPort::from(local),
                (None, Err(error)) => {
                    tracing::debug!(%peer, %error, "a Kafka connection was gone at once");
                    return;
                }
            };
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%peer, %error, "TCP_NODELAY could not be set");
            }
            let open = metrics::connections();
            open.increment(1.0);
            let neighbours = options.neighbours;
            let ctx = Arc::new(Context {
                broker,
                reading,
                redirects: Redirects::default(),
                options,
                sessions,
                advertised: dialled,
                peer: format!("/{}", peer.ip()),
                budget,
            });
            let (from, to) = stream.into_split();
            let end = connection::run(from, to, ctx, shutdown).await;
            open.decrement(1.0);
            log_end(peer, &end, neighbours);
        }
    }
}

fn log_end(peer: SocketAddr, end: &End, neighbours: Neighbours) {
    match end {
        End::Frames(Ended::Closed | Ended::Cut | Ended::Io(_) | Ended::Idle(_)) | End::Write(_) | End::Shutdown => {
            tracing::debug!(%peer, reason = %end, "Kafka connection closed");
        }
        End::Frames(Ended::Foreign { protocol }) => {
            let hint = right_port(*protocol, neighbours);
            tracing::warn!(%peer, reason = %end, "Kafka connection closed: {hint}");
        }
        End::Frames(Ended::Length { .. } | Ended::TooSlow(_)) | End::Request(_) | End::Asked(_) => {
            tracing::warn!(%peer, reason = %end, "Kafka connection closed");
        }
    }
}

/// A sentence that names the port that the client should have dialled.
fn right_port(protocol: Protocol, neighbours: Neighbours) -> String {
    let at = |name, address: Option<SocketAddr>| {
        address.map_or_else(|| format!("this port speaks Kafka, not {name}"), |a| format!("{name} is served on {a}"))
    };
    match protocol {
        Protocol::Tls => "this port speaks Kafka without TLS (security.protocol=PLAINTEXT)".to_owned(),
        Protocol::Http1 => at("HTTP", neighbours.http),
        Protocol::Http2 => at("gRPC", neighbours.grpc),
    }
}
