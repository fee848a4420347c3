//! Reads frames as their bytes come.
//!
//! A frame is a 4-byte length and that many bytes. The announced length reserves nothing: buffer and budget grow to
//! at most four times what has arrived, so announcing 90 MiB costs as much as announcing nothing. A client whose last
//! frame was long gets as much at once, up to 1 MiB: growing step by step would copy half of every produce request.

use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::Instant;

use crate::budget::{Budget, Lease};

/// What is read, and held, before a client has shown more.
const FIRST_READ: usize = 16 << 10;

/// What is read, and held, at once after a frame of this length or more: a produce request of Kafka's own client, which
/// is 1 MiB of batches and a little.
const MAX_FIRST_READ: usize = (1 << 20) + FIRST_READ;

/// Which part of what a client has shown is forgotten with each frame. Requests of one client differ in length, and what
/// a longer one has over the one before it would be copied.
const FORGOTTEN: usize = 16;

/// Smaller frames are copied out of the read buffer. A slice would keep the whole buffer alive for as long as the log
/// keeps the few records in it.
const COPY_BELOW: usize = 4 << 10;

/// How long a frame may go past the shared budget before it has to be complete; everyone else waits for it.
const OVERDRAFT_TIME: Duration = Duration::from_secs(30);

/// A frame without its length, and the budget it holds.
pub(crate) struct Frame {
    /// The bytes; slices of them may outlive the lease, in the log's memory.
    pub(crate) bytes: Bytes,
    /// What the frame holds.
    pub(crate) lease: Lease,
}

/// Why no frame comes any more.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Ended {
    /// The client closed, between two frames.
    #[error("the client closed the connection")]
    Closed,
    /// The client closed, or went away, in the middle of a frame.
    #[error("the connection ended in the middle of a request")]
    Cut,
    /// Nothing came for the idle timeout.
    #[error("nothing was received for {0:?}")]
    Idle(Duration),
    /// The one request that may go past the shared budget took too long.
    #[error("the request was not complete after {0:?} while all other memory for requests was taken")]
    TooSlow(Duration),
    /// A length that no request has.
    #[error("a request of {announced} bytes was announced; the limit is {limit} (kafka.max_frame)")]
    Length {
        /// The length read.
        announced: i32,
        /// The limit.
        limit: usize,
    },
    /// The first bytes are those of another protocol.
    #[error("the client speaks {protocol}, which is not served on this port")]
    Foreign {
        /// Which one.
        protocol: Protocol,
    },
    /// The socket failed.
    #[error("reading failed")]
    Io(#[from] std::io::Error),
}

/// Protocols that are recognised by their first four bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Tls,
    Http1,
    Http2,
}

impl std::fmt::Display for Protocol {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Tls => "TLS",
            Self::Http1 => "HTTP",
            Self::Http2 => "HTTP/2 (gRPC)",
        })
    }
}

fn recognise(first: [u8; 4]) -> Option<Protocol> {
    match &first {
        [0x16, 0x03, 0..=4, _] => Some(Protocol::Tls),
        b"PRI " => Some(Protocol::Http2),
        b"GET " | b"POST" | b"PUT " | b"HEAD" | b"DELE" | b"OPTI" | b"PATC" | b"CONN" => Some(Protocol::Http1),
        _ => None,
    }
}

/// Reads the frames of one connection.
pub(crate) struct Reader<R> {
    socket: R,
    buffer: BytesMut,
    max_frame_bytes: usize,
    idle_timeout: Duration,
    /// How long frames have lately been, within bounds: what the next one gets at once.
    shown: usize,
}

impl<R: AsyncRead + Unpin> Reader<R> {
    pub(crate) fn new(socket: R, max_frame_bytes: usize, idle_timeout: Duration) -> Self {
        Self { socket, buffer: BytesMut::new(), max_frame_bytes, idle_timeout, shown: FIRST_READ }
    }

    /// The next frame. Waits for bytes and for budget; `busy` says whether silence is fine between two frames,
    /// because a reply is still to come.
    pub(crate) async fn next(&mut self, budget: &Budget, busy: impl Fn() -> bool) -> Result<Frame, Ended> {
        let length = self.length(busy).await?;
        let mut lease = budget.lease_for(length);
        loop {
            let have = self.buffer.len().min(length);
            let goal = length.min(self.shown.max(have * 4));
            let more = goal.saturating_sub(lease.bytes());
            if more > 0 {
                budget.grow(&mut lease, more).await;
            }
            if have == length {
                let faded = self.shown - self.shown / FORGOTTEN;
                self.shown = length.max(faded).clamp(FIRST_READ, MAX_FIRST_READ);
                return Ok(Frame { bytes: self.take(length), lease });
            }
            self.buffer.reserve(goal - have);
            self.fill(lease.overdrawn_since()).await?;
        }
    }

    fn take(&mut self, length: usize) -> Bytes {
        if length >= COPY_BELOW {
            return self.buffer.split_to(length).freeze();
        }
        let bytes = Bytes::copy_from_slice(&self.buffer[..length]);
        self.buffer.advance(length);
        bytes
    }

    async fn length(&mut self, busy: impl Fn() -> bool) -> Result<usize, Ended> {
        while self.buffer.len() < 4 {
            self.buffer.reserve(FIRST_READ);
            match self.fill(None).await {
                Err(Ended::Idle(_)) if self.buffer.is_empty() && busy() => {}
                Err(Ended::Cut) if self.buffer.is_empty() => return Err(Ended::Closed),
                other => other?,
            }
        }
        let announced = self.buffer.get_i32();
        match usize::try_from(announced) {
            Ok(length) if length <= self.max_frame_bytes => Ok(length),
            _ => Err(match recognise(announced.to_be_bytes()) {
                Some(protocol) => Ended::Foreign { protocol },
                None => Ended::Length { announced, limit: self.max_frame_bytes },
            }),
        }
    }

    async fn fill(&mut self, overdrawn_since: Option<Instant>) -> Result<(), Ended> {
        let idle = Instant::now() + self.idle_timeout;
        let until = overdrawn_since.map_or(idle, |since| idle.min(since + OVERDRAFT_TIME));
        match tokio::time::timeout_at(until, self.socket.read_buf(&mut self.buffer)).await {
            Ok(Ok(0)) => Err(Ended::Cut),
            Ok(read) => Ok(read.map(|_| ())?),
            Err(_) if overdrawn_since.is_some() => Err(Ended::TooSlow(OVERDRAFT_TIME)),
            Err(_) => Err(Ended::Idle(self.idle_timeout)),
        }
    }
}

#[cfg(test)]
mod tests;
