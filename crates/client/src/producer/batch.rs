//! Records that travel together.

use std::sync::Arc;

use runnel_proto::produce::v1::{Appended, ProducerIdentity};
use runnel_proto::record::v1::Record;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::Instant;

use super::Delivered;
use crate::{Error, Result};

/// What a batch costs in the log beside its records.
pub(super) const BATCH_OVERHEAD: usize = 61;
/// What a record costs there at most beside its key, value and headers, and a header beside its own.
const RECORD_OVERHEAD: usize = 36;
const HEADER_OVERHEAD: usize = 10;

/// A record, who waits for it, and the room that it takes in the buffer.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) record: Record,
    pub(super) bytes: usize,
    pub(super) reply: oneshot::Sender<Result<Delivered>>,
    pub(super) room: OwnedSemaphorePermit,
}

/// The sequence number that a batch keeps however often it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sequence {
    pub(super) producer: ProducerIdentity,
    pub(super) base: i32,
}

/// Records of one partition.
#[derive(Debug)]
pub(super) struct Batch {
    /// Rises in the order in which batches were begun.
    pub(super) id: u64,
    pub(super) topic: Arc<str>,
    pub(super) partition: i32,
    pub(super) records: Vec<Record>,
    pub(super) bytes: usize,
    pub(super) begun: Instant,
    /// Set when it is sent for the first time.
    pub(super) sequence: Option<Sequence>,
    /// An attempt may have stored it.
    pub(super) uncertain: bool,
    replies: Vec<oneshot::Sender<Result<Delivered>>>,
    room: Option<OwnedSemaphorePermit>,
}

impl Batch {
    pub(super) fn new(id: u64, topic: Arc<str>, partition: i32, begun: Instant) -> Self {
        let (records, replies) = (Vec::new(), Vec::new());
        Self { id, topic, partition, records, bytes: 0, begun, sequence: None, uncertain: false, replies, room: None }
    }

    pub(super) fn push(&mut self, entry: Entry) {
        self.records.push(entry.record);
        self.replies.push(entry.reply);
        self.bytes += entry.bytes;
        match &mut self.room {
            Some(room) => room.merge(entry.room),
            None => self.room = Some(entry.room),
        }
    }

    /// Tells every record where it is stored.
    pub(super) fn stored(self, at: Option<&Appended>) {
        for (index, reply) in (0..).zip(self.replies) {
            let offset = at.map(|at| at.base_offset + index);
            // Nobody has to wait for a record.
            drop(reply.send(Ok(Delivered { partition: self.partition, offset })));
        }
    }

    /// Tells every record why it is not stored.
    pub(super) fn failed(self, error: &Error) {
        for reply in self.replies {
            drop(reply.send(Err(error.clone())));
        }
    }
}

/// What a record counts against batch sizes, windows and the buffer: never less than what it takes in the log.
pub(super) fn size_of(record: &Record) -> usize {
    let part = |bytes: &Option<_>| bytes.as_ref().map_or(0, bytes::Bytes::len);
    let headers: usize =
        record.headers.iter().map(|header| HEADER_OVERHEAD + header.key.len() + part(&header.value)).sum();
    RECORD_OVERHEAD + part(&record.key) + part(&record.value) + headers
}
