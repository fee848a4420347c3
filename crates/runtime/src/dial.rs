//! Connections to other processes that carry nothing: they end when the process does.

use std::io;

use async_trait::async_trait;
use tokio::io::AsyncRead;
use tokio::net::TcpStream;

/// One side of a connection, for as long as it lasts.
pub type Line = Box<dyn AsyncRead + Send + Unpin>;

/// Where connections come from.
#[async_trait]
pub trait Dial: Send + Sync + 'static {
    /// Connects.
    ///
    /// # Errors
    /// `ConnectionRefused` if nobody listens there; others say nothing about who does.
    async fn dial(&self, host: &str, port: u16) -> io::Result<Line>;
}

/// TCP.
#[derive(Debug, Clone, Copy, Default)]
pub struct TcpDial;

#[async_trait]
impl Dial for TcpDial {
    async fn dial(&self, host: &str, port: u16) -> io::Result<Line> {
        Ok(Box::new(TcpStream::connect((host, port)).await?))
    }
}
