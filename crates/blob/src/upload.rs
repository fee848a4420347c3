//! Writing an immutable object whose bytes come bit by bit.

use std::collections::VecDeque;

use bytes::Bytes;
use object_store::{MultipartUpload, PutMultipartOptions, PutPayload};

use crate::put::PART_BYTES;
use crate::{Bucket, Error, Key, metrics};

/// An object on its way into the bucket: no reader sees it before [`Upload::finish`]. A small one goes up in one
/// request, a large one in parts, one at a time, so that a part is what it takes of the memory.
#[derive(Debug)]
pub struct Upload {
    bucket: Bucket,
    key: Key,
    waiting: VecDeque<Bytes>,
    waiting_bytes: usize,
    /// Open once the first part is full.
    parts: Option<Box<dyn MultipartUpload>>,
}

impl Bucket {
    /// Begins an object under a name of its own. No I/O.
    pub fn upload(&self, key: Key) -> Upload {
        Upload { bucket: self.clone(), key, waiting: VecDeque::new(), waiting_bytes: 0, parts: None }
    }
}

impl Upload {
    /// Adds `bytes` at the end. After an error: [`Upload::abort`].
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), Error> {
        self.waiting_bytes += bytes.len();
        self.waiting.push_back(bytes);
        while self.waiting_bytes > PART_BYTES {
            let part = self.take(PART_BYTES);
            self.send(part).await?;
        }
        Ok(())
    }

    /// Completes the object; it is durable when this returns. After an error it may be there, whole, but never in
    /// part.
    pub async fn finish(mut self) -> Result<(), Error> {
        if self.parts.is_none() {
            return self.bucket.put(&self.key, self.waiting.into()).await;
        }
        let done = self.complete().await;
        if done.is_err() {
            self.abort().await;
        }
        done
    }

    async fn complete(&mut self) -> Result<(), Error> {
        let last = self.take(PART_BYTES);
        self.send(last).await?;
        let path = self.key.path();
        if let Some(parts) = &mut self.parts {
            self.bucket.request("multipart_complete", &path, parts.complete()).await?;
        }
        Ok(())
    }

    /// Gives the object up. What cannot be removed now costs money and is invisible; a store's rule for unfinished
    /// uploads takes it.
    pub async fn abort(self) {
        let path = self.key.path();
        if let Some(mut parts) = self.parts
            && let Err(error) = self.bucket.request("multipart_abort", &path, parts.abort()).await
        {
            tracing::warn!(path, %error, "an unfinished upload could not be aborted");
        }
    }

    /// The first `bytes` of what waits, or all of it.
    fn take(&mut self, bytes: usize) -> PutPayload {
        let (mut part, mut room) = (Vec::new(), bytes);
        while let Some(mut piece) = self.waiting.pop_front() {
            if piece.len() > room {
                self.waiting.push_front(piece.split_off(room));
            }
            room -= piece.len();
            self.waiting_bytes -= piece.len();
            part.push(piece);
            if room == 0 {
                break;
            }
        }
        PutPayload::from_iter(part)
    }

    async fn send(&mut self, part: PutPayload) -> Result<(), Error> {
        let path = self.key.path();
        let parts = match &mut self.parts {
            Some(parts) => parts,
            None => {
                let location = self.bucket.location(&path)?;
                let begin = self.bucket.store().put_multipart_opts(&location, PutMultipartOptions::default());
                self.parts.insert(self.bucket.request("multipart_begin", &path, begin).await?)
            }
        };
        let bytes = part.content_length();
        self.bucket.request("put_part", &path, parts.put_part(part)).await?;
        metrics::bytes_out("put_part", bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use runnel_record::{LeaderEpoch, TopicId, TopicPartition};
    use runnel_runtime::FailPoints;
    use uuid::Uuid;

    use super::*;
    use crate::Options;
    use crate::testing::{Fault, Faults, Op};

    fn key() -> Key {
        let tp = TopicPartition { topic: TopicId(Uuid::from_u128(1)), partition: 0 };
        Key::Chunk { tp, epoch: LeaderEpoch(1), id: Uuid::from_u128(2) }
    }

    fn world() -> (Bucket, Faults, tempfile::TempDir) {
        let (faults, folder) = (Faults::new(), tempfile::tempdir().unwrap());
        let options = Options::new(format!("file://{}", folder.path().display()));
        (Bucket::open_with_faults(&options, FailPoints::default(), &faults).unwrap(), faults, folder)
    }

    /// Pieces of uneven sizes, `total` bytes together.
    fn pieces(total: usize) -> Vec<Bytes> {
        let whole = Bytes::from((0..total).map(|i| (i / 7) as u8).collect::<Vec<_>>());
        let cuts: Vec<usize> = (0..total).step_by(3_000_001).chain([total]).collect();
        cuts.windows(2).map(|cut| whole.slice(cut[0]..cut[1])).collect()
    }

    #[tokio::test]
    async fn objects_arrive_whole_in_one_request_or_in_parts() {
        for (total, requests) in [(0, 0), (10, 0), (PART_BYTES, 0), (PART_BYTES + 1, 2), (3 * PART_BYTES, 3)] {
            let (bucket, faults, _folder) = world();
            let mut upload = bucket.upload(key());
            for piece in pieces(total) {
                upload.write(piece).await.unwrap();
                assert_eq!(bucket.get(&key()).await.unwrap(), None, "nobody sees a part");
            }
            upload.finish().await.unwrap();
            assert_eq!(bucket.get(&key()).await.unwrap().unwrap(), pieces(total).concat());
            assert_eq!(
                faults.requests().iter().filter(|(op, _)| *op == Op::PutPart).count(),
                requests,
                "{total} bytes"
            );
        }
    }

    #[tokio::test]
    async fn an_upload_that_fails_or_is_given_up_leaves_nothing() {
        for op in [Op::PutPart, Op::Complete] {
            let (bucket, faults, _folder) = world();
            faults.once(op, "", Fault::FailBefore);
            let mut upload = bucket.upload(key());
            let mut failed = false;
            for piece in pieces(2 * PART_BYTES + 5) {
                if upload.write(piece).await.is_err() {
                    failed = true;
                    break;
                }
            }
            if failed {
                upload.abort().await;
            } else {
                assert!(upload.finish().await.is_err());
            }
            assert!(faults.requests().iter().any(|(op, _)| *op == Op::Abort), "{op:?}");
            assert_eq!(bucket.list("").await.unwrap(), []);
        }
    }
}
