//! A connection as the server sees it.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use ::metrics::Gauge;
use bytes::{Buf, Bytes};
use futures::future::BoxFuture;
use runnel_runtime::Shutdown;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::transport::server::Connected;

use crate::metrics;

/// A TCP connection whose first bytes were looked at. It can be cut, and counts as open for as long as it lives.
pub(crate) struct Socket {
    stream: TcpStream,
    /// What was read to recognise the protocol.
    first: Bytes,
    /// Resolves when the connection has to end; `None` once it has.
    cut: Option<BoxFuture<'static, ()>>,
    caller: Caller,
    _permit: OwnedSemaphorePermit,
    _open: Open,
}

impl Socket {
    /// `cut` ends the connection whatever it does; its requests may hold `budget` bytes.
    pub(crate) fn new(
        stream: TcpStream,
        peer: SocketAddr,
        first: Bytes,
        budget: usize,
        cut: &Shutdown,
        permit: OwnedSemaphorePermit,
    ) -> Self {
        let cut = cut.clone();
        let cut: BoxFuture<'static, ()> = Box::pin(async move { cut.triggered().await });
        let caller = Caller { peer, budget: Arc::new(Semaphore::new(budget.min(Semaphore::MAX_PERMITS))) };
        Self { stream, first, cut: Some(cut), caller, _permit: permit, _open: Open::new() }
    }
}

struct Open(Gauge);

impl Open {
    fn new() -> Self {
        let gauge = metrics::connections();
        gauge.increment(1.0);
        Self(gauge)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.first.has_remaining() {
            let count = self.first.len().min(buf.remaining());
            buf.put_slice(&self.first.split_to(count));
            return Poll::Ready(Ok(()));
        }
        if self.cut.as_mut().is_none_or(|cut| cut.as_mut().poll(cx).is_ready()) {
            self.cut = None;
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// The connection of a call.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    /// Where it comes from.
    pub(crate) peer: SocketAddr,
    /// What its requests may hold.
    pub(crate) budget: Arc<Semaphore>,
}

impl Connected for Socket {
    type ConnectInfo = Caller;

    fn connect_info(&self) -> Caller {
        self.caller.clone()
    }
}
