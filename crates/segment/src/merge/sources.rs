//! The batches of neighbouring segments, run by run.

use runnel_format::manifest::SegmentRef;

use crate::manifest::Snapshot;
use crate::{Error, Segment, SourceBatch};

/// Where the reading of some segments stands.
pub(super) struct Sources {
    snapshot: Snapshot,
    /// What is left, the next one last.
    left: Vec<SegmentRef>,
    /// The segment that is read, and its next run.
    open: Option<(Segment, u32)>,
}

/// What is known of a run before it is read.
pub(super) struct Ahead {
    /// Bytes in the object.
    pub(super) stored: u64,
    /// Bytes of its batches, uncompressed.
    pub(super) bytes: u64,
}

impl Sources {
    /// In front of the first of `segments`.
    pub(super) fn new(snapshot: &Snapshot, mut segments: Vec<SegmentRef>) -> Self {
        segments.reverse();
        Self { snapshot: snapshot.clone(), left: segments, open: None }
    }

    pub(super) const fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// The next run; `None` at the end.
    pub(super) async fn peek(&mut self) -> Result<Option<Ahead>, Error> {
        loop {
            if let Some((segment, next)) = &self.open
                && let Some(run) = segment.runs().get(*next as usize)
            {
                return Ok(Some(Ahead { stored: segment.stored_bytes(run.index)?, bytes: run.bytes }));
            }
            let Some(reference) = self.left.pop() else { return Ok(None) };
            let key = self.snapshot.key(&reference);
            self.open = Some((Segment::open(self.snapshot.bucket(), &key, reference.bytes).await?, 0));
        }
    }

    /// Reads the run that [`Sources::peek`] showed; nothing at the end.
    pub(super) async fn next(&mut self) -> Result<Vec<SourceBatch>, Error> {
        let Some((segment, next)) = &mut self.open else { return Ok(Vec::new()) };
        let batches = segment.read_run(*next).await?;
        *next += 1;
        Ok(batches)
    }
}
