//! What the machine keeps of a batch.

use bytes::Bytes;
use runnel_record::{Batch, HEADER_LEN, LeaderEpoch, Offset, ProducerId, TimestampMs};

use crate::sequence;

/// All that the machine knows of one batch. The same facts come from the batch itself, from a recovered lane entry
/// and from the rows of a segment, so that the state rebuilt from any of them is the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchFacts {
    /// Offset of the first record slot.
    pub base: Offset,
    /// Offset after the last record slot.
    pub next: Offset,
    /// Leader epoch that appended the batch.
    pub epoch: LeaderEpoch,
    /// When the leader appended it.
    pub append_time: TimestampMs,
    /// Largest record timestamp; the append time where the topic says so.
    pub max_timestamp: TimestampMs,
    /// Bytes of the batch, header included.
    pub bytes: u32,
    /// The idempotent producer's part, if the batch has one.
    pub producer: Option<ProducerBatch>,
}

/// The producer's part of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerBatch {
    /// The producer.
    pub id: ProducerId,
    /// Its epoch.
    pub epoch: i16,
    /// Sequence number of the first record.
    pub first_sequence: i32,
    /// Sequence number of the last record, inclusive, wrapped where it has to be.
    pub last_sequence: i32,
}

impl BatchFacts {
    /// The facts of a batch that has its offset and leader epoch.
    pub fn of(batch: &Batch, append_time: TimestampMs) -> Self {
        Self {
            base: batch.base_offset(),
            next: batch.next_offset(),
            epoch: batch.leader_epoch(),
            append_time,
            max_timestamp: batch.max_timestamp(),
            bytes: u32::try_from(batch.len()).unwrap_or(u32::MAX),
            producer: ProducerBatch::of(batch),
        }
    }

    /// The facts of a recovered lane entry, of which only the header was read. `body_len` is the number of bytes
    /// after the header.
    pub fn from_header(header: &[u8; HEADER_LEN], body_len: u32, append_time: TimestampMs) -> Self {
        let header_len = u32::try_from(HEADER_LEN).unwrap_or(u32::MAX);
        let facts = Self::of(&Batch::from_parts(*header, Bytes::new()), append_time);
        Self { bytes: body_len.saturating_add(header_len), ..facts }
    }
}

impl ProducerBatch {
    /// The producer's part of a batch, `None` if it is not idempotent (a negative id, as in Kafka).
    pub fn of(batch: &Batch) -> Option<Self> {
        (batch.producer_id() > ProducerId::NONE).then(|| Self {
            id: batch.producer_id(),
            epoch: batch.producer_epoch(),
            first_sequence: batch.base_sequence(),
            last_sequence: sequence::advance(batch.base_sequence(), i64::from(batch.last_offset_delta())),
        })
    }

    /// Record slots that the sequence numbers cover.
    pub(crate) fn count(&self) -> i64 {
        sequence::distance(self.first_sequence, self.last_sequence) + 1
    }
}
