//! Accepts connections, as many as are allowed, and sorts out those that dialled the wrong port.
//!
//! A connection has to say something soon, and then has to go on: otherwise anyone could take the file descriptors of the
//! broker by opening connections and doing nothing. Where there are too many, the oldest is closed, not the newest: a
//! probe that has just come is answered whoever else is there.

use std::collections::VecDeque;
use std::io::{Error, ErrorKind};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, Sleep, timeout};

use crate::options::{Neighbours, Options};

/// How long to wait after a failed accept (out of file descriptors, mostly).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long a client that is turned away may take to read why.
const FAREWELL: Duration = Duration::from_secs(1);

/// The listener that axum serves from.
pub(crate) struct Listener {
    local: SocketAddr,
    admitted: mpsc::Receiver<(Connection, SocketAddr)>,
    /// Accepts; ends with this.
    _accepting: JoinSet<()>,
}

impl Listener {
    pub(crate) fn new(listener: TcpListener, options: Options) -> std::io::Result<Self> {
        let local = listener.local_addr()?;
        let (admit, admitted) = mpsc::channel(1);
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(listener, options, admit));
        Ok(Self { local, admitted, _accepting: accepting })
    }
}

impl axum::serve::Listener for Listener {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        match self.admitted.recv().await {
            Some(admitted) => admitted,
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        Ok(self.local)
    }
}

async fn accept(listener: TcpListener, options: Options, admit: mpsc::Sender<(Connection, SocketAddr)>) {
    let mut open: VecDeque<oneshot::Sender<()>> = VecDeque::new();
    let mut greeting = JoinSet::new();
    // Said once each time it begins, not for every connection.
    let (mut failing, mut full) = (false, false);
    loop {
        let accepted = listener.accept().await;
        while greeting.try_join_next().is_some() {}
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                if !failing {
                    tracing::warn!(%error, "accepting an HTTP connection failed");
                }
                failing = true;
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        failing = false;
        open.retain(|connection| !connection.is_closed());
        let at_limit = open.len() >= options.max_connections;
        if at_limit {
            if !full {
                tracing::warn!(%peer, limit = options.max_connections, "too many HTTP connections, closing the oldest");
            }
            open.pop_front();
        }
        full = at_limit;
        let (held, leash) = oneshot::channel();
        open.push_back(held);
        greeting.spawn(greet(stream, peer, leash, options, admit.clone()));
    }
}

/// Looks at the first bytes; admits what may be HTTP, and tells the others where to go.
async fn greet(
    mut stream: TcpStream,
    peer: SocketAddr,
    mut leash: oneshot::Receiver<()>,
    options: Options,
    admit: mpsc::Sender<(Connection, SocketAddr)>,
) {
    let mut first = [0; 4];
    let peeked = tokio::select! {
        peeked = timeout(options.first_byte_timeout, stream.peek(&mut first)) => peeked,
        _ = &mut leash => return,
    };
    let Ok(Ok(seen @ 1..)) = peeked else {
        tracing::debug!(%peer, "an HTTP connection said nothing");
        return;
    };
    match wrong_port(&first[..seen], options.neighbours) {
        None => {
            // Fails only when the server has ended.
            admit.send((Connection::new(stream, leash, options.idle_timeout), peer)).await.ok();
        }
        Some(why) => {
            tracing::warn!(%peer, "HTTP connection closed: {why}");
            timeout(FAREWELL, turn_away(&mut stream, &why)).await.ok();
        }
    }
}

/// Why a connection that begins like this is not for us, and where it should have gone.
fn wrong_port(first: &[u8], neighbours: Neighbours) -> Option<String> {
    let served = |name: &str, address: Option<SocketAddr>| match address {
        Some(address) => format!("; {name} is served on {address}"),
        None => String::new(),
    };
    match first {
        [0x16, ..] => Some("the client speaks TLS, this port plain HTTP (use http://)".to_owned()),
        // A request of less than 16 MiB begins with a zero; no text does.
        [0, ..] => Some(format!("the client speaks Kafka, this port HTTP{}", served("Kafka", neighbours.kafka))),
        b"PRI " => Some(format!("the client speaks HTTP/2, this port HTTP/1.1{}", served("gRPC", neighbours.grpc))),
        _ => None,
    }
}

async fn turn_away(stream: &mut TcpStream, why: &str) -> std::io::Result<()> {
    let length = why.len() + 1;
    let head = "HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-type: text/plain; charset=utf-8";
    stream.write_all(format!("{head}\r\ncontent-length: {length}\r\n\r\n{why}\n").as_bytes()).await?;
    stream.shutdown().await?;
    // Closing with unread bytes would take the answer back.
    let mut rest = [0; 1024];
    while stream.read(&mut rest).await? > 0 {}
    Ok(())
}

/// A connection that must not stand still, and counts against the limit until it ends.
pub(crate) struct Connection {
    stream: TcpStream,
    patience: Duration,
    until: Pin<Box<Sleep>>,
    /// Ends when others need the room.
    leash: oneshot::Receiver<()>,
}

impl Connection {
    fn new(stream: TcpStream, leash: oneshot::Receiver<()>, patience: Duration) -> Self {
        Self { stream, patience, until: Box::pin(tokio::time::sleep(patience)), leash }
    }

    /// Passes `progress` on, unless there has been none for too long.
    fn watch<T>(&mut self, cx: &mut Context<'_>, progress: Poll<std::io::Result<T>>) -> Poll<std::io::Result<T>> {
        if progress.is_ready() {
            let until = Instant::now() + self.patience;
            self.until.as_mut().reset(until);
            return progress;
        }
        if Pin::new(&mut self.leash).poll(cx).is_ready() {
            return Poll::Ready(Err(Error::from(ErrorKind::ConnectionAborted)));
        }
        ready!(self.until.as_mut().poll(cx));
        Poll::Ready(Err(Error::from(ErrorKind::TimedOut)))
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        let progress = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.watch(cx, progress)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<std::io::Result<usize>> {
        let progress = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.watch(cx, progress)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
