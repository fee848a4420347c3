//! Accepts connections and serves them.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use runnel_api::Broker;
use runnel_peer::Peer;
use runnel_runtime::{Clock, Shutdown};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;

use crate::door::Door;
use crate::error::Error;
use crate::options::{Neighbours, Options};
use crate::recognise::{self, PREFACE, Protocol, Said};
use crate::services;
use crate::socket::Socket;

/// How long to wait after a failed accept (out of file descriptors, mostly).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Time after the grace of a stop in which what is ending may end; then connections are cut.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How long a client that dialled the wrong port may take to read why, and how much it may still send.
const FAREWELL: Duration = Duration::from_secs(1);
const FAREWELL_BYTES: u64 = 64 << 10;

/// Serves the gRPC interface on `listener` until `shutdown`. Then sessions are told to drain, calls under way are
/// answered, and all connections are closed within `drain_grace` and a little before this returns. Raise `shutdown`
/// before a broker stops that is alone: it goes on answering meanwhile.
///
/// `broker` is whom clients ask, `own` who answers other brokers, which must be that broker alone.
///
/// # Errors
/// Settings that cannot work, or a listener that is of no use.
pub async fn serve(
    listener: TcpListener,
    broker: Arc<dyn Broker>,
    own: Option<Arc<dyn Peer>>,
    clock: Arc<dyn Clock>,
    options: Options,
    shutdown: Shutdown,
) -> Result<(), Error> {
    options.check()?;
    let local = listener.local_addr().map_err(Error::Listener)?;
    tracing::info!(%local, "serving gRPC");
    let grace = options.drain_grace + LAST_WORDS;
    let door = Door::new(broker, own, clock, options, shutdown.clone());
    let (accepted, incoming) = mpsc::channel(16);
    let cut = Shutdown::new();
    let router = services::router(&door)?;
    let serving = router.serve_with_incoming_shutdown(ReceiverStream::new(incoming), shutdown.triggered());
    let accepting = Accepting {
        neighbours: door.options.neighbours,
        patience: door.options.patience,
        budget: door.options.max_inflight_bytes_per_connection,
        slots: Arc::new(Semaphore::new(door.options.max_connections.min(Semaphore::MAX_PERMITS))),
        accepted,
        cut: cut.clone(),
    };
    let cutting = async {
        shutdown.triggered().await;
        tokio::time::sleep(grace).await;
        cut.trigger();
        std::future::pending().await
    };
    // The server ends when the last connection has.
    tokio::select! {
        served = serving => served.map_err(Error::Server),
        () = accepting.run(listener, &shutdown) => Ok(()),
        () = cutting => Ok(()),
    }
}

#[derive(Clone)]
struct Accepting {
    neighbours: Neighbours,
    patience: Duration,
    /// What the requests of one connection may hold.
    budget: usize,
    slots: Arc<Semaphore>,
    accepted: mpsc::Sender<io::Result<Socket>>,
    cut: Shutdown,
}

impl Accepting {
    /// Accepts until `shutdown`, and never returns.
    async fn run(self, listener: TcpListener, shutdown: &Shutdown) {
        let mut greeted = JoinSet::new();
        let mut full = false;
        loop {
            let (stream, peer) = tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok(accepted) => accepted,
                    Err(error) => {
                        tracing::warn!(%error, "accepting a gRPC connection failed");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                        continue;
                    }
                },
                Some(ended) = greeted.join_next() => {
                    if let Err(error) = ended {
                        tracing::error!(%error, "a gRPC connection failed: this is a defect");
                    }
                    continue;
                }
                () = shutdown.triggered() => break,
            };
            match Arc::clone(&self.slots).try_acquire_owned() {
                Ok(permit) => {
                    full = false;
                    greeted.spawn(self.clone().greet(stream, peer, permit));
                }
                Err(_) => {
                    // Said once each time the limit is reached, not for every connection that is turned away.
                    if !std::mem::replace(&mut full, true) {
                        tracing::warn!(%peer, "too many gRPC connections, closing new ones (grpc.max_connections)");
                    }
                }
            }
        }
        drop((listener, greeted));
        std::future::pending().await
    }

    /// Hands a connection to the server once it has shown that it speaks HTTP/2.
    async fn greet(self, mut stream: TcpStream, peer: SocketAddr, permit: OwnedSemaphorePermit) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%peer, %error, "TCP_NODELAY could not be set");
        }
        match tokio::time::timeout(self.patience, first_bytes(&mut stream)).await {
            Ok(Ok((Said::Http2, first))) => {
                let socket = Socket::new(stream, peer, first, self.budget, &self.cut, permit);
                // A server that ended takes no more connections.
                drop(self.accepted.send(Ok(socket)).await);
            }
            Ok(Ok((Said::Foreign(protocol), _))) => self.turn_away(stream, peer, protocol).await,
            Ok(Ok((Said::Unclear, _)) | Err(_)) => tracing::debug!(%peer, "a gRPC connection ended before it began"),
            Err(_) => tracing::debug!(%peer, "a gRPC connection said too little, closed it"),
        }
    }

    async fn turn_away(&self, mut stream: TcpStream, peer: SocketAddr, protocol: Protocol) {
        let hint = recognise::right_port(protocol, self.neighbours);
        tracing::warn!(%peer, "gRPC connection closed, the client speaks {protocol}: {hint}");
        if protocol != Protocol::Http1 {
            return;
        }
        let farewell = async {
            stream.write_all(recognise::http1_answer(self.neighbours).as_bytes()).await?;
            stream.shutdown().await?;
            // Closing with unread bytes would reset the connection and take the answer with it.
            tokio::io::copy(&mut stream.take(FAREWELL_BYTES), &mut tokio::io::sink()).await
        };
        // What a client does not want to hear is not repeated.
        drop(tokio::time::timeout(FAREWELL, farewell).await);
    }
}

/// Reads until it is clear what the client speaks.
async fn first_bytes(stream: &mut TcpStream) -> io::Result<(Said, Bytes)> {
    let mut first = BytesMut::with_capacity(PREFACE.len());
    loop {
        let ended = stream.read_buf(&mut first).await? == 0;
        let said = recognise::recognise(&first);
        if said != Said::Unclear || ended {
            return Ok((said, first.freeze()));
        }
    }
}
