//! One connection to whichever broker of the list answers.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Mutex;
use tokio::time::{Duration, timeout};
use tonic::transport::{Channel, Endpoint};
use tonic::{Response, Status};

use crate::error::is_transport;
use crate::{Error, ErrorKind, Options, Result, probe};

/// Received at a time before the broker must wait for us: HTTP/2's default of 64 KiB would slow down every stream.
const STREAM_WINDOW: u32 = 4 << 20;
const CONNECTION_WINDOW: u32 = 16 << 20;

/// Bytes of a frame, at most.
const FRAME: u32 = 256 << 10;

/// A client of a cluster; clones share their connection.
///
/// Nothing is dialled before the first call. The connection is kept; once it fails, the next call goes through the
/// list again.
#[derive(Debug, Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    options: Options,
    endpoints: Vec<(String, Endpoint)>,
    connected: Mutex<Option<Connected>>,
    /// A broker has answered before: what fails from now on is not the wrong port.
    spoken: AtomicBool,
}

/// A connection and whom it leads to.
#[derive(Debug, Clone)]
pub(crate) struct Connected {
    pub(crate) address: String,
    pub(crate) channel: Channel,
}

impl Client {
    /// A client of the brokers in `options.bootstrap`. Checks the addresses, dials none.
    pub fn connect(options: Options) -> Result<Self> {
        if options.bootstrap.is_empty() {
            return Err(Error::new(ErrorKind::Invalid, "the list of brokers is empty"));
        }
        let endpoints = options.bootstrap.iter().map(|address| endpoint(address, &options)).collect::<Result<_>>()?;
        let inner = Inner { options, endpoints, connected: Mutex::new(None), spoken: AtomicBool::new(false) };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Its settings.
    pub fn options(&self) -> &Options {
        &self.inner.options
    }

    /// The connection that is there, or a new one to the first broker that answers.
    async fn connected(&self) -> Result<Connected> {
        let mut connected = self.inner.connected.lock().await;
        if let Some(connected) = &*connected {
            return Ok(connected.clone());
        }
        let mut failures = Vec::new();
        for (address, endpoint) in &self.inner.endpoints {
            match endpoint.connect().await {
                Ok(channel) => return Ok(connected.insert(Connected { address: address.clone(), channel }).clone()),
                Err(error) => failures.push(format!("{address}: {}", innermost(&error))),
            }
        }
        Err(Error::new(ErrorKind::Unavailable, format!("no broker answers ({})", failures.join("; "))))
    }

    /// Makes one call, within the default deadline.
    pub(crate) async fn call<T, F, R>(&self, call: F) -> Result<T>
    where
        F: FnOnce(Channel) -> R,
        R: Future<Output = std::result::Result<Response<T>, Status>>,
    {
        self.call_within(self.inner.options.deadline, call).await
    }

    /// Makes one call. A connection that failed is not used again.
    pub(crate) async fn call_within<T, F, R>(&self, deadline: Duration, call: F) -> Result<T>
    where
        F: FnOnce(Channel) -> R,
        R: Future<Output = std::result::Result<Response<T>, Status>>,
    {
        let at = self.connected().await?;
        match timeout(deadline, call(at.channel)).await {
            Ok(Ok(response)) => {
                self.inner.spoken.store(true, Ordering::Relaxed);
                Ok(response.into_inner())
            }
            Ok(Err(status)) if is_transport(&status) => {
                *self.inner.connected.lock().await = None;
                Err(self.explain(&at.address, &status).await)
            }
            Ok(Err(status)) => Err(self.refused(&at.address, &status)),
            Err(_) => {
                let text = format!("the broker at {} did not answer within {deadline:?}", at.address);
                Err(Error::new(ErrorKind::Timeout, text))
            }
        }
    }

    /// Why a session ended. Its connection is not used again if that failed.
    pub(crate) async fn session_error(&self, status: &Status) -> Error {
        if !is_transport(status) {
            return Error::from(status);
        }
        *self.inner.connected.lock().await = None;
        Error::new(ErrorKind::Unavailable, format!("the connection to the broker broke: {}", innermost(status)))
    }

    /// What a status says. Whatever serves HTTP/2 can send one, but only a broker gives a reason.
    fn refused(&self, address: &str, status: &Status) -> Error {
        let error = Error::from(status);
        let odd = error.reason().is_empty() && matches!(error.kind(), ErrorKind::Internal | ErrorKind::Unsupported);
        if odd && !self.inner.spoken.load(Ordering::Relaxed) {
            return Error::new(ErrorKind::Invalid, probe::not_a_broker(address, status.message()));
        }
        self.inner.spoken.store(true, Ordering::Relaxed);
        error
    }

    /// Says what is wrong with the connection: perhaps it leads to another door.
    async fn explain(&self, address: &str, status: &Status) -> Error {
        if !self.inner.spoken.load(Ordering::Relaxed)
            && let Some(found) = probe::probe(address, self.inner.options.connect_timeout).await
        {
            return Error::new(ErrorKind::Invalid, found);
        }
        Error::new(ErrorKind::Unavailable, format!("the connection to {address} broke: {}", innermost(status)))
    }
}

fn endpoint(address: &str, options: &Options) -> Result<(String, Endpoint)> {
    let invalid = || {
        let text = format!("`{address}` is no address of a broker: it looks like 127.0.0.1:9093");
        Error::new(ErrorKind::Invalid, text)
    };
    let bare = address.strip_prefix("http://").unwrap_or(address).trim_end_matches('/');
    let port = bare.rsplit_once(':').and_then(|(host, port)| (!host.is_empty()).then(|| port.parse::<u16>()));
    if !matches!(port, Some(Ok(_))) {
        return Err(invalid());
    }
    let endpoint = Endpoint::from_shared(format!("http://{bare}"))
        .map_err(|_| invalid())?
        .connect_timeout(options.connect_timeout)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(options.keepalive_interval)
        .keep_alive_timeout(options.keepalive_timeout)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME);
    Ok((bare.to_owned(), endpoint))
}

/// The cause at the bottom: what the system said.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn addresses_are_checked_before_anything_is_dialled() {
        for good in ["127.0.0.1:9093", "localhost:1", "[::1]:9093", "http://a.example:9093/"] {
            assert!(Client::connect(Options::new([good])).is_ok(), "{good}");
        }
        for bad in ["", "localhost", ":9093", "a b:1", "localhost:99999", "localhost:kafka"] {
            let error = Client::connect(Options::new([bad])).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid, "{bad}");
        }
        assert!(Client::connect(Options::new([] as [&str; 0])).is_err());
    }
}
