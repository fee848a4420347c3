//! The check between a merge and its commit: the object is read back as a reader would.

use runnel_format::manifest::SegmentRef;

use super::differs;
use super::sources::Sources;
use crate::manifest::Snapshot;
use crate::{Error, SourceBatch};

/// What two sequences of batches are compared by. The CRC of a batch covers all of it but what is added here.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sum {
    batches: u64,
    crc32c: u32,
}

impl Sum {
    /// Goes on with `batches`, whose own CRCs are those of what they hold.
    pub(super) fn add(&mut self, batches: &[SourceBatch]) {
        for SourceBatch { batch, append_time } in batches {
            self.batches += 1;
            for bytes in [batch.base_offset().0.to_le_bytes(), append_time.0.to_le_bytes()] {
                self.crc32c = crc32c::crc32c_append(self.crc32c, &bytes);
            }
            for bytes in [batch.leader_epoch().0.to_le_bytes(), batch.crc().to_le_bytes()] {
                self.crc32c = crc32c::crc32c_append(self.crc32c, &bytes);
            }
        }
    }
}

/// A merged object on its way to be compared with its sources.
pub struct Readback {
    into: SegmentRef,
    merged: Sources,
    expected: Sum,
    found: Sum,
}

impl Readback {
    pub(super) fn new(snapshot: &Snapshot, into: SegmentRef, expected: Sum) -> Self {
        let merged = Sources::new(snapshot, vec![into.clone()]);
        Self { into, merged, expected, found: Sum::default() }
    }

    /// Compares the next run; `false` once all of it is good.
    ///
    /// # Errors
    /// [`Error::Differs`] or [`Error::Corrupt`]: the object must not be committed; [`Error::Fetch`].
    pub async fn step(&mut self) -> Result<bool, Error> {
        if self.merged.peek().await?.is_some() {
            self.found.add(&self.merged.next().await?);
            return Ok(true);
        }
        if self.found == self.expected { Ok(false) } else { Err(differs(&self.into)) }
    }
}
