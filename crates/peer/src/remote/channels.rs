//! Connections to one broker: another one when those that there are have enough to carry.
//!
//! A server lets so many calls of one connection run at once, and long polls of many consumers are many calls.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use runnel_api::Endpoint;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::transport::Channel;

/// Calls that one connection carries; below the default of `grpc.max_streams`.
const CALLS: usize = 100;

const CONNECT: Duration = Duration::from_secs(2);

/// A broker that gives no sign of life is not waited for longer than its lease.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(3));

/// Bytes that may be on their way at a time: of one answer, and of all of a connection.
const STREAM_WINDOW: u32 = 8 << 20;
const CONNECTION_WINDOW: u32 = 32 << 20;

/// Bytes of a frame, at most.
const FRAME: u32 = 256 << 10;

pub(super) struct Channels {
    name: String,
    endpoint: tonic::transport::Endpoint,
    made: Mutex<Vec<(Channel, Arc<Semaphore>)>>,
}

impl Channels {
    pub(super) fn new(at: &Endpoint) -> Self {
        let host = if at.host.contains(':') { format!("[{}]", at.host) } else { at.host.clone() };
        let name = format!("{host}:{}", at.port);
        let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{name}")).unwrap_or_else(|error| {
            tracing::warn!(name, %error, "a broker has told an address that cannot be dialled (grpc.advertise)");
            tonic::transport::Endpoint::from_static("http://unknown.invalid")
        });
        let endpoint = endpoint
            .connect_timeout(CONNECT)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(KEEPALIVE.0)
            .keep_alive_timeout(KEEPALIVE.1)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_frame_size(FRAME);
        Self { name, endpoint, made: Mutex::default() }
    }

    /// The broker's address, for people.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// A connection for one call, which it counts until the permit is dropped. Dialled when it is used.
    pub(super) fn take(&self) -> (Channel, OwnedSemaphorePermit) {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let free = made
                .iter()
                .find_map(|(channel, calls)| Some((channel.clone(), Arc::clone(calls).try_acquire_owned().ok()?)));
            match free {
                Some(free) => return free,
                None => made.push((self.one(), Arc::new(Semaphore::new(CALLS)))),
            }
        }
    }

    /// A connection of one's own.
    pub(super) fn one(&self) -> Channel {
        self.endpoint.connect_lazy()
    }
}
