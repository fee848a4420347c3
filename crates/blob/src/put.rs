//! Writing immutable objects.

use bytes::Bytes;
use futures::stream::{FuturesUnordered, TryStreamExt};
use object_store::{MultipartUpload, PutMultipartOptions, PutOptions, PutPayload};

use crate::{Bucket, Error, Key, metrics};

/// Larger objects go up in parts of this size.
pub const PART_BYTES: usize = 16 * 1024 * 1024;
/// Parts in flight.
const PARALLEL_PARTS: usize = 4;

impl Bucket {
    /// Writes an immutable object under a name of its own; the object is durable when this returns. `parts` are
    /// written one after the other, without being copied together.
    ///
    /// The write is not conditional: nobody else writes this name, so writing it again after an error is harmless.
    /// After an error the object may be there, whole, but never in part.
    pub async fn put(&self, key: &Key, parts: Vec<Bytes>) -> Result<(), Error> {
        let path = key.path();
        let len: usize = parts.iter().map(Bytes::len).sum();
        if len > PART_BYTES {
            return self.put_in_parts(&path, parts).await;
        }
        let location = self.location(&path)?;
        let put = self.store().put_opts(&location, PutPayload::from_iter(parts), PutOptions::default());
        self.request("put", &path, put).await?;
        metrics::bytes_out("put", len);
        Ok(())
    }

    async fn put_in_parts(&self, path: &str, parts: Vec<Bytes>) -> Result<(), Error> {
        let location = self.location(path)?;
        let begin = self.store().put_multipart_opts(&location, PutMultipartOptions::default());
        let mut upload = self.request("multipart_begin", path, begin).await?;
        let uploaded = self.put_parts(path, upload.as_mut(), parts).await;
        if uploaded.is_err() {
            // What stays behind costs money and is invisible; a store's rule for unfinished uploads takes the rest.
            if let Err(error) = self.request("multipart_abort", path, upload.abort()).await {
                tracing::warn!(path, %error, "an unfinished upload could not be aborted");
            }
        }
        uploaded
    }

    async fn put_parts(&self, path: &str, upload: &mut dyn MultipartUpload, parts: Vec<Bytes>) -> Result<(), Error> {
        let mut in_flight = FuturesUnordered::new();
        for part in regroup(parts) {
            let len = part.content_length();
            let sent = upload.put_part(part);
            in_flight.push(async move {
                self.request("put_part", path, sent).await?;
                metrics::bytes_out("put_part", len);
                Ok::<_, Error>(())
            });
            if in_flight.len() >= PARALLEL_PARTS {
                in_flight.try_next().await?;
            }
        }
        while in_flight.try_next().await?.is_some() {}
        drop(in_flight);
        self.request("multipart_complete", path, upload.complete()).await?;
        Ok(())
    }
}

/// Cuts a rope into parts of [`PART_BYTES`], the last one shorter; shares the bytes.
fn regroup(rope: Vec<Bytes>) -> Vec<PutPayload> {
    let mut parts: Vec<Vec<Bytes>> = Vec::new();
    let mut room = 0;
    for mut bytes in rope {
        while !bytes.is_empty() {
            if room == 0 {
                parts.push(Vec::new());
                room = PART_BYTES;
            }
            let piece = bytes.split_to(room.min(bytes.len()));
            room -= piece.len();
            if let Some(part) = parts.last_mut() {
                part.push(piece);
            }
        }
    }
    parts.into_iter().map(PutPayload::from_iter).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_cut_at_their_size_and_share_the_bytes() {
        let big = Bytes::from(vec![7; 2 * PART_BYTES + 5]);
        let parts = regroup(vec![Bytes::from_static(b"head"), big.clone(), Bytes::new(), Bytes::from_static(b"tail")]);
        let lengths: Vec<_> = parts.iter().map(PutPayload::content_length).collect();
        assert_eq!(lengths, [PART_BYTES, PART_BYTES, 13]);
        assert_eq!(parts[0].iter().nth(1).map(|b| b.as_ptr()), Some(big.as_ptr()));
    }
}
