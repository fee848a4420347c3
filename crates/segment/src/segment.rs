//! A segment in the bucket.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use runnel_blob::{Bucket, Key};
use runnel_record::Offset;
use runnel_runtime::{Chore, background};

use crate::footer::{Footer, Parsed, Run};
use crate::pieces::Pieces;
use crate::{Error, SourceBatch, decode_run, read};

/// Bytes asked for at first to find the footer: enough for most segments.
const FOOTER_HINT: u64 = 128 << 10;

/// An open segment: where it is, and its parsed footer. Cheap to clone; worth keeping as long as it is read.
#[derive(Clone)]
pub struct Segment(Arc<Inner>);

struct Inner {
    bucket: Bucket,
    key: Key,
    footer: Footer,
}

/// Encoded bytes of runs; all of them stay in memory as long as this does.
#[derive(Debug, Clone)]
pub struct Fetched(Arc<Pieces>);

impl std::fmt::Debug for Segment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let keys = &self.0.footer.keys;
        f.debug_struct("Segment").field("base", &keys.base).field("next", &keys.next).finish_non_exhaustive()
    }
}

impl Segment {
    /// Reads and checks the footer of the object of `bytes` bytes under `key`: one ranged GET, two if the footer is
    /// unusually large.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if the footer is damaged or is not the one that `key` names; [`Error::Fetch`].
    pub async fn open(bucket: &Bucket, key: &Key, bytes: u64) -> Result<Self, Error> {
        if bytes == 0 {
            return Err(Error::corrupt("an empty object"));
        }
        let mut hint = FOOTER_HINT;
        loop {
            let end = bytes.saturating_sub(hint)..bytes;
            let tail = bucket
                .get_ranges(key, std::slice::from_ref(&end))
                .await
                .map_err(Error::Fetch)?
                .pop()
                .unwrap_or_default();
            match Footer::parse(&tail, bytes)? {
                // With room for the page index in front of the footer, whose length is not known yet.
                Parsed::Need(more) if more > hint => hint = more + FOOTER_HINT,
                Parsed::Need(_) => return Err(Error::corrupt("its end is larger than the file")),
                Parsed::Footer(footer) => {
                    check_identity(key, &footer)?;
                    return Ok(Self(Arc::new(Inner { bucket: bucket.clone(), key: key.clone(), footer: *footer })));
                }
            }
        }
    }

    /// The runs in order of their offsets; together they hold every offset of the segment.
    pub fn runs(&self) -> &[Run] {
        self.0.footer.runs()
    }

    /// The run that holds `offset`.
    pub fn run_for(&self, offset: Offset) -> Option<&Run> {
        let runs = self.runs();
        let index = runs.partition_point(|run| run.next <= offset);
        runs.get(index).filter(|run| run.base <= offset)
    }

    /// Bytes that a run takes in the object.
    ///
    /// # Errors
    /// [`Error::NoSuchRun`].
    pub fn stored_bytes(&self, run: u32) -> Result<u64, Error> {
        Ok(self.0.footer.ranges(run)?.iter().map(|range| range.end - range.start).sum())
    }

    /// Fetches the encoded bytes of neighbouring runs, with as few requests as they allow: the pages of a column lie side
    /// by side, so several runs take hardly more requests than one.
    ///
    /// # Errors
    /// [`Error::NoSuchRun`], [`Error::Fetch`].
    pub async fn fetch(&self, runs: Range<u32>) -> Result<Fetched, Error> {
        let mut ranges = Vec::new();
        for run in runs {
            ranges.extend(self.0.footer.ranges(run)?);
        }
        // The bucket joins ranges that lie close together.
        let parts = self.0.bucket.get_ranges(&self.0.key, &ranges).await.map_err(Error::Fetch)?;
        let mut pieces = Pieces::default();
        for (range, part) in ranges.into_iter().zip(parts) {
            pieces.push(range.start, part);
        }
        Ok(Fetched(Arc::new(pieces)))
    }

    /// Checks the CRC of a run that was fetched and rebuilds its batches: uncompressed, with the codec bits cleared (a
    /// batch of more than 8 MiB with its old codec), otherwise as they were appended; in the form that [`decode_run`] reads.
    /// CPU work of milliseconds: call it where blocking is allowed.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for damage, or if the run is not among those fetched; [`Error::NoSuchRun`].
    pub fn decode(&self, run: u32, fetched: &Fetched) -> Result<Bytes, Error> {
        read::read_run(&self.0.footer, run, Arc::clone(&fetched.0))
    }

    /// Fetches one run and rebuilds its batches, for somebody who is in no hurry.
    ///
    /// # Errors
    /// Those of [`Segment::fetch`] and [`Segment::decode`].
    pub async fn read_run(&self, run: u32) -> Result<Vec<SourceBatch>, Error> {
        let fetched = self.fetch(run..run.saturating_add(1)).await?;
        let segment = self.clone();
        let decode = move || decode_run(&segment.decode(run, &fetched)?);
        background(Chore::Replay, decode).await.map_err(Error::Interrupted)?
    }
}

/// An object under another's name is as bad as a damaged one.
fn check_identity(key: &Key, footer: &Footer) -> Result<(), Error> {
    let Key::Segment { tp, base, last, .. } = key else {
        return Err(Error::corrupt(format!("`{}` is not the name of a segment", key.path())));
    };
    let keys = &footer.keys;
    let same = tp.topic == keys.topic && tp.partition == keys.partition && *base == keys.base;
    if same && last.plus(1) == keys.next {
        Ok(())
    } else {
        Err(Error::corrupt(format!("`{}` holds offsets {} to {} of another", key.path(), keys.base, keys.next)))
    }
}

#[cfg(test)]
mod tests;
