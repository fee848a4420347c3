//! Replies as pieces of bytes, written without gathering them first.

use std::io::{self, IoSlice};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::protocol::{Encodable, HeaderVersion};
use tokio::io::{AsyncWrite, AsyncWriteExt};

use crate::budget::Lease;

/// What becomes of a request.
pub(crate) enum Reply {
    /// A frame for the client.
    Send(Rope),
    /// No frame (produce with acks 0).
    Nothing,
    /// The connection is closed, for the reason given.
    Close(String),
}

/// A frame as a list of shared pieces.
pub(crate) struct Rope {
    pieces: Vec<Bytes>,
    tail: BytesMut,
    len: usize,
    /// First error code in the reply, for metrics.
    pub(crate) error: i16,
    /// Budget held until the frame is written.
    pub(crate) lease: Option<Lease>,
}

impl Rope {
    /// A frame that answers `correlation_id`, with the header of `header_version`.
    pub(crate) fn new(correlation_id: i32, header_version: i16) -> Self {
        let mut rope = Self { pieces: Vec::new(), tail: BytesMut::with_capacity(256), len: 0, error: 0, lease: None };
        rope.tail.put_i32(correlation_id);
        if header_version >= 1 {
            rope.tail.put_u8(0); // no tagged fields
        }
        rope
    }

    /// Bytes of the frame so far.
    pub(crate) fn len(&self) -> usize {
        self.len + self.tail.len()
    }

    /// Where small fields are written.
    pub(crate) fn buf(&mut self) -> &mut BytesMut {
        &mut self.tail
    }

    /// Appends shared bytes without copying them.
    pub(crate) fn share(&mut self, bytes: Bytes) {
        if bytes.is_empty() {
            return;
        }
        self.flush();
        self.len += bytes.len();
        self.pieces.push(bytes);
    }

    fn flush(&mut self) {
        if !self.tail.is_empty() {
            self.len += self.tail.len();
            self.pieces.push(self.tail.split().freeze());
        }
    }

    /// Writes the frame, length first. Each write must make progress within `patience`.
    pub(crate) async fn write_to(
        mut self,
        out: &mut (impl AsyncWrite + Unpin),
        patience: std::time::Duration,
    ) -> io::Result<()> {
        self.flush();
        let length = i32::try_from(self.len).map_err(|_| io::Error::other("a reply of more than 2 GiB"))?;
        self.pieces.insert(0, Bytes::copy_from_slice(&length.to_be_bytes()));
        let mut left = self.pieces.as_mut_slice();
        while !left.is_empty() {
            let mut slices = [IoSlice::new(&[]); MAX_SLICES];
            let count = left.len().min(MAX_SLICES);
            for (slice, piece) in slices.iter_mut().zip(left.iter()) {
                *slice = IoSlice::new(piece);
            }
            let mut written = tokio::time::timeout(patience, out.write_vectored(&slices[..count])).await??;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            while written > 0 {
                let step = written.min(left[0].len());
                left[0].advance(step);
                written -= step;
                if left[0].is_empty() {
                    left = &mut left[1..];
                }
            }
        }
        Ok(())
    }
}

/// Pieces handed to the kernel at once.
const MAX_SLICES: usize = 64;

/// The first error code of a reply, for metrics.
pub(crate) trait Outcome {
    /// 0 for none.
    fn error_code(&self) -> i16;
}

/// The first code that is not 0.
pub(crate) fn first_error(codes: impl IntoIterator<Item = i16>) -> i16 {
    codes.into_iter().find(|code| *code != 0).unwrap_or(0)
}

/// Encodes a reply with `kafka-protocol`.
pub(crate) fn encode<R: Encodable + HeaderVersion + Outcome>(correlation_id: i32, version: i16, body: &R) -> Reply {
    let mut rope = Rope::new(correlation_id, R::header_version(version));
    rope.error = body.error_code();
    match body.encode(rope.buf(), version) {
        Ok(()) => Reply::Send(rope),
        Err(error) => Reply::Close(format!("a reply could not be encoded for version {version}: {error}")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Duration;

    use tokio::io::AsyncReadExt;

    use super::*;

    #[tokio::test]
    async fn pieces_arrive_in_order_through_a_narrow_pipe() {
        let (mut near, mut far) = tokio::io::duplex(7);
        let mut rope = Rope::new(9, 1);
        let mut expected = vec![0, 0, 0, 9, 0];
        for i in 0..200_u8 {
            let shared = Bytes::from(vec![i; usize::from(i % 5)]);
            expected.extend_from_slice(&shared);
            rope.share(shared);
            rope.buf().put_u8(i);
            expected.push(i);
        }
        let reader = tokio::spawn(async move {
            let len = usize::try_from(far.read_u32().await.unwrap()).unwrap();
            let mut got = vec![0; len];
            far.read_exact(&mut got).await.unwrap();
            got
        });
        rope.write_to(&mut near, Duration::from_secs(5)).await.unwrap();
        assert_eq!(reader.await.unwrap(), expected);
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_takes_nothing_is_given_up() {
        let (mut near, _far) = tokio::io::duplex(4);
        let mut rope = Rope::new(1, 0);
        rope.share(Bytes::from_static(&[0; 100]));
        let error = rope.write_to(&mut near, Duration::from_secs(60)).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
