//! Merging: one object in the place of many small ones.
//!
//! [`Snapshot::find_mergeable`] chooses neighbours, a [`Merge`] writes them anew as one object, row group by row
//! group, a [`Readback`] compares it with what its sources gave, and [`Commit::merge`](crate::manifest::Commit::merge)
//! swaps the references. Each does a little at a time, so that the caller can make way for others in between.

mod plan;
mod readback;
mod sources;

use bytes::Bytes;
use runnel_blob::{Key, Upload};
use runnel_format::manifest::{Root, SegmentRef};
use runnel_record::ids::{LeaderEpoch, Offset, TimestampMs};
use runnel_runtime::simulation::random_id;
use runnel_runtime::{Chore, background};

use crate::encode::Encoder;
use crate::manifest::Snapshot;
use crate::manifest::snapshot::Node;
use crate::{EncodeOptions, Error, SourceBatch};
pub use plan::MergePolicy;
use plan::plan;
pub use readback::Readback;
use readback::Sum;
use sources::Sources;

/// Bytes of source objects that become one row group.
const GROUP_BYTES: u64 = 8 << 20;
/// Bytes of batches, uncompressed, that a step has in memory, but for a run that is larger.
const STEP_BYTES: u64 = 32 << 20;

impl Snapshot {
    /// The next neighbours that should become one object, if there are any; none that begins below `from`. Looked for
    /// among the references in the root and in the chunks of the lowest level; those that have gone deeper stay as
    /// they are.
    pub async fn find_mergeable(
        &self,
        policy: &MergePolicy,
        from: Offset,
        now: TimestampMs,
    ) -> Result<Option<Vec<SegmentRef>>, Error> {
        let from = from.max(self.root().log_start);
        let choose = |segments: &[SegmentRef]| {
            let live = &segments[segments.partition_point(|segment| segment.base < from)..];
            plan(live, policy, now).map(|run| live[run].to_vec())
        };
        if let Some(run) = choose(&self.root().segments) {
            return Ok(Some(run));
        }
        for chunk in self.root().chunks.iter().rev().take_while(|chunk| chunk.level == 0) {
            // Without two that are small it is not worth a request.
            if chunk.next <= from || chunk.segment_bytes >= chunk.segments.saturating_mul(policy.small()) {
                continue;
            }
            let segments: Vec<SegmentRef> = (self.below(chunk).await?.into_iter())
                .filter_map(|node| match node {
                    Node::Segment(segment) => Some(segment),
                    Node::Chunk(_) => None,
                })
                .collect();
            if let Some(run) = choose(&segments) {
                return Ok(Some(run));
            }
        }
        Ok(None)
    }
}

/// The chunk objects that `before` refers to itself and its successor `after` does not, when that only merged.
pub fn replaced_chunks(before: &Root, after: &Root) -> Vec<Key> {
    let gone = before.chunks.iter().filter(|chunk| after.chunks.iter().all(|stays| stays.id != chunk.id));
    gone.map(|chunk| Key::Chunk { tp: before.tp, epoch: chunk.epoch, id: chunk.id }).collect()
}

/// A merge under way. After an error: [`Merge::abort`].
pub struct Merge {
    sources: Sources,
    /// Read and not encoded yet.
    batches: Vec<SourceBatch>,
    /// `None` only after an encoder that died.
    encoder: Option<Encoder>,
    upload: Upload,
    /// The merged segment, as far as it is known before it is written.
    into: SegmentRef,
    records: u64,
    sum: Sum,
}

impl Merge {
    /// Begins to merge `sources`, neighbours that [`Snapshot::find_mergeable`] named, into an object of `epoch`, the
    /// leader's own. `None` if there are none. No I/O.
    pub fn new(
        snapshot: &Snapshot,
        sources: Vec<SegmentRef>,
        epoch: LeaderEpoch,
        options: &EncodeOptions,
    ) -> Option<Self> {
        let (first, last) = (sources.first()?, sources.last()?);
        let records = sources.iter().map(|source| u64::from(source.records)).sum();
        let into = SegmentRef { next: last.next, epoch, id: random_id(), ..first.clone() };
        Some(Self {
            batches: Vec::new(),
            encoder: Some(Encoder::new(options)),
            upload: snapshot.bucket().upload(snapshot.key(&into)),
            sources: Sources::new(snapshot, sources),
            into,
            records,
            sum: Sum::default(),
        })
    }

    /// Reads some megabytes of the sources, encodes them off the async threads, and sends them on; `false` once nothing
    /// is left but [`Merge::finish`].
    ///
    /// # Errors
    /// [`Error::Unmergeable`]: whatever their sizes, the sources do not fit into one object, and never will; what
    /// reading them and writing the object can come to.
    pub async fn step(&mut self) -> Result<bool, Error> {
        let (mut stored, mut bytes) = (0, 0);
        while let Some(run) = self.sources.peek().await? {
            if !self.batches.is_empty() && (stored + run.stored > GROUP_BYTES || bytes + run.bytes > STEP_BYTES) {
                break;
            }
            (stored, bytes) = (stored + run.stored, bytes + run.bytes);
            let batches = self.sources.next().await?;
            self.sum.add(&batches);
            self.batches.extend(batches);
        }
        if self.batches.is_empty() {
            return Ok(false);
        }
        let (mut encoder, batches) = (self.encoder.take().ok_or_else(lost)?, std::mem::take(&mut self.batches));
        let encode = background(Chore::Encode, move || {
            let all = encoder.add(&batches)? == batches.len();
            let parts = encoder.take_parts();
            Ok::<_, Error>((encoder, all, parts))
        });
        let (encoder, all, parts) = encode.await.map_err(Error::Interrupted)??;
        self.encoder = Some(encoder);
        if !all {
            return Err(Error::Unmergeable { base: self.into.base, next: self.into.next });
        }
        self.send(parts).await?;
        Ok(true)
    }

    /// Completes the object, which is durable when this returns: its reference, and the check that must come before
    /// the commit. After an error the object may be there; nothing refers to it.
    pub async fn finish(mut self) -> Result<(SegmentRef, Readback), Error> {
        match self.write_end().await {
            Ok(into) => {
                self.upload.finish().await.map_err(Error::Fetch)?;
                Ok((into.clone(), Readback::new(self.sources.snapshot(), into, self.sum)))
            }
            Err(error) => {
                self.abort().await;
                Err(error)
            }
        }
    }

    async fn write_end(&mut self) -> Result<SegmentRef, Error> {
        let encoder = self.encoder.take().ok_or_else(lost)?;
        let encoded = background(Chore::Encode, || encoder.finish()).await.map_err(Error::Interrupted)??;
        let planned = &self.into;
        let into = encoded.reference(planned.epoch, planned.id, planned.day);
        if (into.base, into.next, u64::from(into.records)) != (planned.base, planned.next, self.records) {
            return Err(differs(&into));
        }
        self.send(encoded.bytes).await?;
        Ok(into)
    }

    /// Gives the object up, which nobody has seen.
    pub async fn abort(self) {
        self.upload.abort().await;
    }

    async fn send(&mut self, parts: Vec<Bytes>) -> Result<(), Error> {
        for part in parts {
            self.upload.write(part).await.map_err(Error::Fetch)?;
        }
        Ok(())
    }
}

fn differs(into: &SegmentRef) -> Error {
    Error::Differs { at: into.base, what: "offsets or records of a merged segment" }
}

fn lost() -> Error {
    Error::Unencodable { base: Offset::ZERO, reason: "its encoder ended before".into() }
}

#[cfg(test)]
mod tests;
