//! Immutable objects that must be absent: who comes first stays.
//!
//! As with registers, only a plain success is believed. After any other answer the start of the object is read back:
//! ours there means that it happened, something else that someone else was first, and nothing that the *same* bytes
//! are put again under the same condition. The caller makes the start unique, by a nonce in it. A refusal alone says
//! nothing: the client below us repeats requests that came back as a 5xx, and then meets its own success.

use bytes::{Bytes, BytesMut};
use object_store::{PutMode, PutOptions, PutPayload};

use crate::register::{ATTEMPTS, is_final, pause};
use crate::{Bucket, Error, Key, metrics};

/// How the creation of an object ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Created {
    /// The object is there, and is ours.
    Done,
    /// Something else is there; its first bytes.
    Taken(Bytes),
}

impl Bucket {
    /// Writes an immutable object that must be absent, in one request whatever its size. `parts` are written one after
    /// the other, without being copied together; their first `unique` bytes tell this write from every other of the
    /// same name. The object is durable when this says [`Created::Done`].
    ///
    /// # Errors
    /// `Unresolved` after a few attempts, and what asking again does not help. An error says nothing about whether the
    /// write has happened or will; calling this again with the same parts is safe, as often as it takes.
    pub async fn create(&self, key: &Key, parts: &[Bytes], unique: usize) -> Result<Created, Error> {
        let path = key.path();
        let payload: PutPayload = parts.iter().cloned().collect();
        let ours = start(parts, unique);
        let location = self.location(&path)?;
        let mut last = None;
        for attempt in 0..ATTEMPTS {
            pause(attempt).await;
            let put = self.store().put_opts(&location, payload.clone(), PutOptions::from(PutMode::Create));
            match self.request("create", &path, put).await {
                Ok(_) => {
                    metrics::bytes_out("create", payload.content_length());
                    return Ok(Created::Done);
                }
                Err(error) if is_final(&error) => return Err(error),
                Err(error) => last = Some(error),
            }
            match self.get_start(key, unique).await {
                Ok(Some(found)) if found == ours => return Ok(Created::Done),
                Ok(Some(found)) => return Ok(Created::Taken(found)),
                Ok(None) => {}
                Err(error) if is_final(&error) => return Err(error),
                Err(error) => last = Some(error),
            }
            tracing::debug!(path, attempt, ?last, "creation unresolved, trying again");
        }
        let source = last.map(Box::new);
        Err(Error::Unresolved { bucket: self.name().to_owned(), op: "create", key: path, attempts: ATTEMPTS, source })
    }
}

/// The first `len` bytes of a rope.
fn start(parts: &[Bytes], len: usize) -> Bytes {
    let mut start = BytesMut::with_capacity(len);
    for part in parts {
        let room = len - start.len();
        start.extend_from_slice(&part[..room.min(part.len())]);
    }
    start.freeze()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::time::Duration;

    use runnel_runtime::FailPoints;
    use uuid::Uuid;

    use super::*;
    use crate::testing::{Fault, Faults, Op};
    use crate::{ErrorKind, Options};

    const KEY: Key = Key::Slot { lane: Uuid::from_u128(1), slot: 0 };

    fn bucket() -> (Bucket, Faults) {
        let faults = Faults::new();
        (Bucket::open(&Options::new("memory:"), FailPoints::default()).unwrap().behind(&faults), faults)
    }

    fn rope(nonce: &'static [u8]) -> [Bytes; 3] {
        [Bytes::from_static(nonce), Bytes::from_static(b"-"), Bytes::from_static(b"tail")]
    }

    #[tokio::test(start_paused = true)]
    async fn every_unclear_answer_is_resolved() {
        let late = Duration::from_millis(10);
        for (fault, puts) in [
            (Fault::LoseAnswer, 1),
            (Fault::HangAfter, 1),
            (Fault::FailBefore, 2),
            (Fault::Conflict, 2),
            // Absent at the read, there at the second attempt, which is refused: our own success.
            (Fault::ApplyLater(late), 2),
            (Fault::Delay(Duration::from_secs(3600)), 2),
        ] {
            let (bucket, faults) = bucket();
            faults.once(Op::Create, "wal/", fault);
            assert_eq!(bucket.create(&KEY, &rope(b"one"), 4).await.unwrap(), Created::Done, "{fault:?}");
            let made = faults.requests().iter().filter(|(op, _)| *op == Op::Create).count();
            assert_eq!((made, faults.unused()), (puts, 0), "{fault:?}");
            assert_eq!(bucket.get(&KEY).await.unwrap().as_deref(), Some(&b"one-tail"[..]));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_comes_second_sees_who_was_first() {
        for fault in [None, Some(Fault::FailBefore), Some(Fault::Conflict), Some(Fault::LoseAnswer)] {
            let (bucket, faults) = bucket();
            bucket.create(&KEY, &rope(b"one"), 4).await.unwrap();
            if let Some(fault) = fault {
                faults.once(Op::Create, "wal/", fault);
            }
            faults.once(Op::Get, "wal/", Fault::FailBefore);
            let taken = bucket.create(&KEY, &rope(b"two"), 4).await.unwrap();
            assert_eq!(taken, Created::Taken(Bytes::from_static(b"one-")), "{fault:?}");
            assert_eq!(bucket.create(&KEY, &rope(b"one"), 4).await.unwrap(), Created::Done, "saying it again is safe");
            assert_eq!(bucket.get(&KEY).await.unwrap().as_deref(), Some(&b"one-tail"[..]));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_outage_leaves_the_outcome_unknown() {
        let (bucket, faults) = bucket();
        faults.outage(true);
        let error = bucket.create(&KEY, &rope(b"one"), 4).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
        faults.clear();
        assert_eq!(bucket.get_start(&KEY, 4).await.unwrap(), None);
        assert_eq!(bucket.create(&KEY, &rope(b"one"), 4).await.unwrap(), Created::Done);
        assert_eq!(bucket.get_start(&KEY, 3).await.unwrap().as_deref(), Some(&b"one"[..]));
        assert_eq!(bucket.get_start(&KEY, 100).await.unwrap().as_deref(), Some(&b"one-tail"[..]));
    }

    #[test]
    fn the_start_of_a_rope_spans_its_parts() {
        assert_eq!(start(&rope(b"one"), 6), "one-ta");
        assert_eq!(start(&rope(b"one"), 100), "one-tail");
    }
}
