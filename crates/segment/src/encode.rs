//! Batches in, a Parquet object out.
//!
//! [`stage`] turns batches into columns, one run at a time; [`group`] writes the pages of a row group, one per call
//! of the column writers, so that pages end with their run; [`mod@file`] puts the object together without copying it.

mod file;
mod group;
mod stage;

use bytes::Bytes;
use runnel_format::manifest::SegmentRef;
use runnel_record::{LeaderEpoch, Offset, TimestampMs};
use uuid::Uuid;

use crate::{EncodeOptions, Error, SourceBatch};

/// A segment ready to be put into the bucket, with the facts its reference needs.
#[derive(Debug, Clone)]
pub struct Encoded {
    /// The object, in pieces.
    pub bytes: Vec<Bytes>,
    /// Length of the object.
    pub len: u64,
    /// CRC-32C of the object.
    pub crc32c: u32,
    /// How many of the given batches the segment holds; the others belong to the next one (their exceptions did not
    /// fit into the footer).
    pub batches: usize,
    /// Records held.
    pub records: u32,
    /// First offset.
    pub base: Offset,
    /// Offset after the last.
    pub next: Offset,
    /// Least record timestamp.
    pub min_timestamp: TimestampMs,
    /// Greatest record timestamp.
    pub max_timestamp: TimestampMs,
    /// Offset of the first record with the greatest timestamp.
    pub max_timestamp_offset: Offset,
    /// Append time of the first batch.
    pub first_append_time: TimestampMs,
    /// Append time of the last batch.
    pub last_append_time: TimestampMs,
}

impl Encoded {
    /// The reference to the object under the name of this epoch, id and day.
    pub const fn reference(&self, epoch: LeaderEpoch, id: Uuid, day: i32) -> SegmentRef {
        SegmentRef {
            base: self.base,
            next: self.next,
            epoch,
            id,
            day,
            bytes: self.len,
            crc32c: self.crc32c,
            records: self.records,
            min_timestamp: self.min_timestamp,
            max_timestamp: self.max_timestamp,
            max_timestamp_offset: self.max_timestamp_offset,
            first_append_time: self.first_append_time,
            last_append_time: self.last_append_time,
        }
    }
}

/// Encodes validated batches with contiguous offsets and the append times of one UTC day. CPU work of seconds per
/// GiB: call it where blocking is allowed.
///
/// It takes as many batches as one segment may hold, at least one: see [`Encoded::batches`].
///
/// # Errors
/// [`Error::Unencodable`] if the batches break the contract above; validated ones never do.
pub fn encode(batches: &[SourceBatch], options: &EncodeOptions) -> Result<Encoded, Error> {
    let mut encoder = Encoder::new(options);
    encoder.add(batches)?;
    encoder.finish()
}

/// A segment that is encoded part by part, so that a large one is never in memory as a whole.
pub(crate) struct Encoder {
    partition: i32,
    file: file::File,
    /// Of what was added so far.
    summary: Option<stage::Summary>,
}

impl Encoder {
    /// A segment without batches.
    pub(crate) fn new(options: &EncodeOptions) -> Self {
        Self { partition: options.partition, file: file::File::new(options), summary: None }
    }

    /// Adds the batches that follow, as row groups of their own. Returns how many it took: fewer than given means that
    /// no more fit into one segment.
    pub(crate) fn add(&mut self, batches: &[SourceBatch]) -> Result<usize, Error> {
        let mut stager = stage::Stager::new(batches, self.partition, self.summary.take())?;
        while let Some(group) = group::encode(&mut stager, self.file.properties())? {
            self.file.add(group)?;
        }
        let (taken, summary) = stager.finish();
        self.summary = Some(summary);
        Ok(taken)
    }

    /// The bytes encoded since the last call, in order; those of [`Encoder::finish`] follow them.
    pub(crate) fn take_parts(&mut self) -> Vec<Bytes> {
        self.file.take_parts()
    }

    /// Writes the end. [`Encoded::bytes`] is what was not taken yet, everything else speaks of the whole.
    pub(crate) fn finish(self) -> Result<Encoded, Error> {
        let summary = self.summary.ok_or_else(stage::nothing)?;
        self.file.finish(summary)
    }
}

#[cfg(test)]
mod tests;
