//! The memory tail: the newest batches of each partition as the bytes that arrived.
//!
//! A tail is the one structure of a partition that many readers share with its task, so it is a lock held for a few
//! pointer moves and never across an await. All tails of a broker share one budget; the oldest append goes first,
//! whichever partition it belongs to.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};

use runnel_record::Offset;
use runnel_segment::SourceBatch;

/// What a read of the tail found.
#[derive(Debug)]
pub(crate) enum TailRead {
    /// The batches from the one that holds the offset; empty at the end.
    Found(Vec<SourceBatch>),
    /// The offset is older than the tail.
    Older,
}

/// The newest batches of one partition, contiguous up to the log end.
#[derive(Debug)]
pub(crate) struct Tail {
    batches: RwLock<VecDeque<SourceBatch>>,
    budget: Arc<TailBudget>,
}

impl Tail {
    pub(crate) fn new(budget: Arc<TailBudget>) -> Arc<Self> {
        Arc::new(Self { batches: RwLock::default(), budget })
    }

    /// Adds the next batch; its offsets follow the last one's. Evicts the broker's oldest batches past the budget.
    pub(crate) fn push(self: &Arc<Self>, batch: SourceBatch) {
        let bytes = batch.batch.len() as u64;
        let base = batch.batch.base_offset();
        {
            let mut batches = self.batches.write().unwrap_or_else(PoisonError::into_inner);
            debug_assert!(batches.back().is_none_or(|last| last.batch.next_offset() == base));
            batches.push_back(batch);
        }
        self.budget.added(self, base, bytes);
    }

    /// Reads whole batches from the one that holds `from`, up to `upto` and about `max_bytes`; the first batch is
    /// returned whatever its size.
    pub(crate) fn read(&self, from: Offset, upto: Offset, max_bytes: usize) -> TailRead {
        let batches = self.batches.read().unwrap_or_else(PoisonError::into_inner);
        if batches.front().is_none_or(|first| from < first.batch.base_offset()) {
            return TailRead::Older;
        }
        let start = batches.partition_point(|b| b.batch.next_offset() <= from);
        let mut found = Vec::new();
        let mut bytes = 0;
        for stored in batches.range(start..) {
            let len = stored.batch.len();
            if stored.batch.next_offset() > upto || (!found.is_empty() && bytes + len > max_bytes) {
                break;
            }
            bytes += len;
            found.push(stored.clone());
        }
        TailRead::Found(found)
    }

    /// Whether `offset` is older than what it holds.
    pub(crate) fn is_past(&self, offset: Offset) -> bool {
        let batches = self.batches.read().unwrap_or_else(PoisonError::into_inner);
        batches.front().is_none_or(|first| offset < first.batch.base_offset())
    }

    /// Drops the batches up to the one at `base`. Evictions of several tasks may come out of order: the budget has
    /// given up everything below `base` too.
    fn evict(&self, base: Offset) {
        let mut batches = self.batches.write().unwrap_or_else(PoisonError::into_inner);
        while batches.front().is_some_and(|batch| batch.batch.base_offset() <= base) {
            batches.pop_front();
        }
    }
}

/// The memory that all tails of a broker share.
#[derive(Debug)]
pub(crate) struct TailBudget {
    limit: u64,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    bytes: u64,
    /// Every held batch in order of append.
    order: VecDeque<(Weak<Tail>, Offset, u64)>,
}

impl TailBudget {
    pub(crate) fn new(limit: u64) -> Arc<Self> {
        Arc::new(Self { limit, held: Mutex::default() })
    }

    fn added(&self, tail: &Arc<Tail>, base: Offset, bytes: u64) {
        let mut evicted = Vec::new();
        {
            let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
            held.bytes += bytes;
            held.order.push_back((Arc::downgrade(tail), base, bytes));
            // The newest batch stays: it is what the next fetch wants.
            while held.bytes > self.limit && held.order.len() > 1 {
                let Some((tail, base, bytes)) = held.order.pop_front() else { break };
                held.bytes -= bytes;
                evicted.push((tail, base));
            }
        }
        for (tail, base) in evicted {
            if let Some(tail) = tail.upgrade() {
                tail.evict(base);
            }
        }
    }

    #[cfg(test)]
    fn bytes(&self) -> u64 {
        self.held.lock().unwrap().bytes
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::*;
    use bytes::Bytes;
    use runnel_record::{Batch, HEADER_LEN, LeaderEpoch, TimestampMs};

    fn batch(base: i64, records: i32, body: usize) -> SourceBatch {
        let mut header = [0; HEADER_LEN];
        header[23..27].copy_from_slice(&(records - 1).to_be_bytes());
        let mut batch = Batch::from_parts(header, Bytes::from(vec![0; body]));
        batch.assign(Offset(base), LeaderEpoch(1));
        SourceBatch { batch, append_time: TimestampMs(0) }
    }

    fn bases(read: TailRead) -> Vec<i64> {
        match read {
            TailRead::Found(found) => found.iter().map(|b| b.batch.base_offset().0).collect(),
            TailRead::Older => panic!("older than the tail"),
        }
    }

    #[test]
    fn reads_whole_batches_below_the_bound() {
        let tail = Tail::new(TailBudget::new(1 << 20));
        for base in [0, 10, 20] {
            tail.push(batch(base, 10, 39));
        }
        assert_eq!(bases(tail.read(Offset(0), Offset(30), 1000)), [0, 10, 20]);
        assert_eq!(bases(tail.read(Offset(15), Offset(30), 1000)), [10, 20]);
        assert_eq!(bases(tail.read(Offset(0), Offset(20), 1000)), [0, 10], "the bound is the high watermark");
        assert_eq!(bases(tail.read(Offset(0), Offset(30), 150)), [0], "a second batch would pass the limit");
        assert_eq!(bases(tail.read(Offset(0), Offset(30), 1)), [0], "the first batch comes whatever its size");
        assert!(bases(tail.read(Offset(30), Offset(30), 1000)).is_empty());
    }

    #[test]
    fn evicts_the_oldest_append_of_any_partition() {
        let budget = TailBudget::new(250);
        let (a, b) = (Tail::new(Arc::clone(&budget)), Tail::new(Arc::clone(&budget)));
        a.push(batch(0, 1, 39));
        b.push(batch(0, 1, 39));
        a.push(batch(1, 1, 39));
        assert!(matches!(a.read(Offset(0), Offset(9), 1000), TailRead::Older));
        assert!(a.is_past(Offset(0)) && !a.is_past(Offset(1)) && !b.is_past(Offset(0)));
        assert_eq!(bases(a.read(Offset(1), Offset(9), 1000)), [1]);
        assert_eq!(bases(b.read(Offset(0), Offset(9), 1000)), [0]);
        assert_eq!(budget.bytes(), 200);
    }

    #[test]
    fn evictions_out_of_order_leave_nothing_behind() {
        let tail = Tail::new(TailBudget::new(1 << 20));
        for base in 0..4 {
            tail.push(batch(base, 1, 39));
        }
        tail.evict(Offset(1));
        tail.evict(Offset(0));
        assert!(matches!(tail.read(Offset(1), Offset(4), 1000), TailRead::Older));
        assert_eq!(bases(tail.read(Offset(2), Offset(4), 1000)), [2, 3]);
        tail.evict(Offset(3));
        assert!(matches!(tail.read(Offset(3), Offset(4), 1000), TailRead::Older), "the tail shrinks no more");
    }

    #[test]
    fn a_batch_larger_than_the_budget_is_served_until_the_next_one() {
        let tail = Tail::new(TailBudget::new(10));
        tail.push(batch(0, 1, 1000));
        assert_eq!(bases(tail.read(Offset(0), Offset(1), 1)), [0]);
        tail.push(batch(1, 1, 1000));
        assert!(matches!(tail.read(Offset(0), Offset(2), 1), TailRead::Older));
    }
}
