//! What is in the bucket of one partition, as readers see it: of one that is led here, or of one that others lead.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{PoisonError, RwLock};

use runnel_blob::Key;
use runnel_format::manifest::SegmentRef;
use runnel_record::{Offset, TopicPartition};
use runnel_segment::manifest::Snapshot;

/// The manifest, and the two offsets that every reader asks for.
pub(crate) struct Shipped {
    pub(crate) tp: TopicPartition,
    pub(crate) topic_name: String,
    snapshot: RwLock<Snapshot>,
    log_start: AtomicI64,
    end: AtomicI64,
}

impl Shipped {
    /// As a manifest says.
    pub(crate) fn new(tp: TopicPartition, topic_name: String, snapshot: Snapshot) -> Self {
        let (log_start, end) = (AtomicI64::new(snapshot.root().log_start.0), AtomicI64::new(snapshot.root().end.0));
        Self { tp, topic_name, snapshot: RwLock::new(snapshot), log_start, end }
    }

    /// `topic-partition`, for people.
    pub(crate) fn label(&self) -> String {
        format!("{}-{}", self.topic_name, self.tp.partition)
    }

    pub(crate) fn log_start(&self) -> Offset {
        Offset(self.log_start.load(Ordering::Acquire))
    }

    /// End of what is in the bucket.
    pub(crate) fn end(&self) -> Offset {
        Offset(self.end.load(Ordering::Acquire))
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        self.snapshot.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The log starts there, or later already.
    pub(crate) fn start_at(&self, log_start: Offset) {
        self.log_start.fetch_max(log_start.0, Ordering::AcqRel);
    }

    /// Shows readers the manifest after a commit; the end follows it, never the reverse.
    pub(crate) fn publish(&self, snapshot: Snapshot) {
        let end = snapshot.root().end;
        // First: a reader that finds nothing in the new snapshot must learn that the log starts later now.
        self.start_at(snapshot.root().log_start);
        *self.snapshot.write().unwrap_or_else(PoisonError::into_inner) = snapshot;
        self.end.fetch_max(end.0, Ordering::AcqRel);
    }

    pub(crate) fn key(&self, reference: &SegmentRef) -> Key {
        self.snapshot.read().unwrap_or_else(PoisonError::into_inner).key(reference)
    }
}
