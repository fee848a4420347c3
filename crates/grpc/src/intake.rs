//! The body of a request, counted as it comes.
//!
//! Knows as much of gRPC as the five bytes before each message: enough to refuse a message that is announced too
//! large before it costs anything, to hold what arrived against the budget, and to give up on a message that does not
//! become complete.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::Sleep;
use tonic::body::Body;
use tonic::{Code, Status};

use crate::budget::Lease;
use crate::error::{Failure, MESSAGE_TOO_LARGE, RECORD_LIST_TOO_LARGE};
use crate::guard::{Guard, Path};

/// Bytes before each message: a flag and a length.
const PREFIX: usize = 5;

/// Batches, records and headers that one message may hold, and the memory that each takes once it is decoded.
const MAX_ELEMENTS: usize = 200_000;
const ELEMENT_BYTES: usize = 128;

/// Memory that a message takes besides: what it makes the broker do.
const MESSAGE_BYTES: usize = 1024;

/// Where in the stream of messages a body stands.
#[derive(Debug)]
struct Framing {
    prefix: [u8; PREFIX],
    /// Bytes of the prefix that have come.
    seen: usize,
    /// Bytes of the message that have not.
    left: usize,
    /// Size of the message.
    message: usize,
    guard: Guard,
}

/// Why a message is refused.
#[derive(Debug, PartialEq, Eq)]
enum Refused {
    /// It was announced with so many bytes.
    Bytes(usize),
    Elements,
}

impl Framing {
    const fn new(path: Path) -> Self {
        Self { prefix: [0; PREFIX], seen: 0, left: 0, message: 0, guard: Guard::new(path) }
    }

    /// Takes in the next bytes; says which messages are complete, with the memory that they take, and returns the
    /// memory that these bytes take.
    fn advance(&mut self, mut bytes: &[u8], max: usize, mut complete: impl FnMut(usize)) -> Result<usize, Refused> {
        let mut takes = bytes.len();
        while !bytes.is_empty() {
            if self.left == 0 {
                let (now, later) = bytes.split_at(bytes.len().min(PREFIX - self.seen));
                self.prefix[self.seen..self.seen + now.len()].copy_from_slice(now);
                self.seen += now.len();
                bytes = later;
                if self.seen == PREFIX {
                    self.begin(max)?;
                    takes += MESSAGE_BYTES;
                    if self.left == 0 {
                        complete(PREFIX + MESSAGE_BYTES);
                    }
                }
            } else {
                let (now, later) = bytes.split_at(bytes.len().min(self.left));
                let before = self.guard.elements();
                self.guard.advance(now);
                if self.guard.elements() > MAX_ELEMENTS {
                    return Err(Refused::Elements);
                }
                takes += (self.guard.elements() - before) * ELEMENT_BYTES;
                self.left -= now.len();
                bytes = later;
                if self.left == 0 {
                    let decoded = MESSAGE_BYTES + self.guard.elements() * ELEMENT_BYTES;
                    complete(PREFIX + self.message + decoded);
                }
            }
        }
        Ok(takes)
    }

    fn begin(&mut self, max: usize) -> Result<(), Refused> {
        let [_, length @ ..] = self.prefix;
        self.message = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if self.message > max {
            return Err(Refused::Bytes(self.message));
        }
        self.left = self.message;
        self.seen = 0;
        self.guard.begin(self.message);
        Ok(())
    }

    const fn is_between_messages(&self) -> bool {
        self.left == 0 && self.seen == 0
    }
}

/// A request body that takes from a lease what it hands on.
pub(crate) struct Intake {
    inner: Body,
    lease: Arc<Lease>,
    framing: Framing,
    max_message: usize,
    patience: Duration,
    /// Runs while a message is incomplete or waits for room.
    overdue: Option<Pin<Box<Sleep>>>,
    /// Bytes that wait for room.
    waiting: Option<(BoxFuture<'static, ()>, Bytes)>,
    /// An error is the end.
    ended: bool,
}

impl Intake {
    /// `path` leads to what is counted in each message.
    pub(crate) fn new(inner: Body, lease: Arc<Lease>, path: Path, max_message: usize, patience: Duration) -> Self {
        let (framing, overdue, waiting) = (Framing::new(path), None, None);
        Self { inner, lease, framing, max_message, patience, overdue, waiting, ended: false }
    }

    fn next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        loop {
            if let Some((room, _)) = &mut self.waiting {
                if room.as_mut().poll(cx).is_pending() {
                    return self.overdue(cx, true);
                }
                if let Some((_, bytes)) = self.waiting.take() {
                    self.overdue = None;
                    return Poll::Ready(Some(Ok(Frame::data(bytes))));
                }
            }
            match Pin::new(&mut self.inner).poll_frame(cx) {
                Poll::Pending if self.framing.is_between_messages() => return Poll::Pending,
                Poll::Pending => return self.overdue(cx, false),
                Poll::Ready(None) => return Poll::Ready(None),
                // The client is gone, or broke the protocol: what is said reaches nobody.
                Poll::Ready(Some(Err(status))) => {
                    return Poll::Ready(Some(Err(Failure::new(status.code(), "CANCELLED", status.message()))));
                }
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(bytes) => self.take(bytes)?,
                    Err(other) => return Poll::Ready(Some(Ok(other))),
                },
            }
        }
    }

    /// Asks for the room that the bytes need.
    fn take(&mut self, bytes: Bytes) -> Result<(), Failure> {
        let max = self.max_message;
        let takes = self.framing.advance(&bytes, max, |message| self.lease.arrived(message));
        let takes = takes.map_err(|refused| match refused {
            Refused::Bytes(announced) => {
                let why = format!("a message of {announced} bytes was announced; this method takes up to {max}");
                Failure::new(Code::InvalidArgument, MESSAGE_TOO_LARGE, why).with("limit", max)
            }
            Refused::Elements => {
                let why = format!("a message holds at most {MAX_ELEMENTS} records and headers: send them in several");
                Failure::new(Code::InvalidArgument, RECORD_LIST_TOO_LARGE, why).with("limit", MAX_ELEMENTS)
            }
        })?;
        let (lease, message) = (Arc::clone(&self.lease), self.framing.message);
        self.waiting = Some((Box::pin(async move { lease.grow(takes, message).await }), bytes));
        Ok(())
    }

    fn overdue(&mut self, cx: &mut Context<'_>, no_room: bool) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        let patience = self.patience;
        let overdue = self.overdue.get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
        if overdue.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        let failure = if no_room {
            let why = "too many requests are in memory (grpc.max_inflight): retry later";
            runnel_api::Error::new(runnel_api::ErrorKind::Throttled, why).into()
        } else {
            let why = format!("nothing came for {patience:?} in the middle of a message");
            Failure::new(Code::DeadlineExceeded, "REQUEST_TOO_SLOW", why)
        };
        Poll::Ready(Some(Err(failure)))
    }
}

impl HttpBody for Intake {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let next = self.next(cx);
        self.ended = matches!(next, Poll::Ready(Some(Err(_))));
        next.map(|frame| frame.map(|frame| frame.map_err(Status::from)))
    }

    fn is_end_stream(&self) -> bool {
        self.waiting.is_none() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::guard;

    #[test]
    fn messages_are_told_apart_however_they_are_cut() {
        let stream = [&[0, 0, 0, 0, 3][..], b"abc", &[0, 0, 0, 0, 0], &[1, 0, 0, 1, 0], &[7; 256]].concat();
        for size in [1, 2, 3, 7, 300] {
            let mut framing = Framing::new(guard::NOTHING);
            let (mut complete, mut takes) = (Vec::new(), 0);
            for piece in stream.chunks(size) {
                takes += framing.advance(piece, 256, |message| complete.push(message - MESSAGE_BYTES)).unwrap();
            }
            assert!(framing.is_between_messages());
            assert_eq!(complete, [8, 5, 261], "in pieces of {size}");
            assert_eq!(takes, stream.len() + 3 * MESSAGE_BYTES);
        }
        let refuse = |stream: &[u8], max| Framing::new(guard::NOTHING).advance(stream, max, |_| ());
        assert_eq!(refuse(&stream, 255), Err(Refused::Bytes(256)));
        assert_eq!(refuse(&[0, 0xff, 0xff, 0xff, 0xff], 1 << 20), Err(Refused::Bytes(0xffff_ffff)));
    }

    #[test]
    fn records_cost_more_than_their_bytes_and_are_limited() {
        let of = |records: usize| {
            let batch = [vec![0x0a, 0, 0, 0], [0x1a, 0].repeat(records)].concat();
            let len = u32::try_from(batch.len()).unwrap_or(u32::MAX).to_be_bytes();
            (len, batch)
        };
        let message = |records: usize| {
            let (len, mut batch) = of(records);
            // The length of the batch as three bytes of a varint.
            let inner = batch.len() - 4;
            for (at, shift) in [(1, 0), (2, 7), (3, 14)] {
                let more = if at < 3 { 0x80 } else { 0 };
                batch[at] = u8::try_from((inner >> shift) & 0x7f).unwrap_or(0) | more;
            }
            [&[0][..], &len, &batch].concat()
        };
        let advance = |message: &[u8]| Framing::new(guard::PRODUCE).advance(message, 1 << 20, |_| ());
        let small = message(1000);
        assert_eq!(advance(&small), Ok(small.len() + MESSAGE_BYTES + 1001 * ELEMENT_BYTES));
        assert_eq!(advance(&message(MAX_ELEMENTS)), Err(Refused::Elements));
    }
}
