//! The newest batches of a partition that another broker leads, as they came from there. Pure.

use std::collections::VecDeque;

use runnel_record::{Batch, Offset};

/// Batches without a gap, up to the end of what the stream has brought.
#[derive(Debug)]
pub(super) struct Tail {
    batches: VecDeque<Batch>,
    /// Where the stream goes on.
    end: Offset,
}

impl Tail {
    /// An empty one, whose stream begins at an offset.
    pub(super) const fn at(offset: Offset) -> Self {
        Self { batches: VecDeque::new(), end: offset }
    }

    /// The first offset in it, or the end if there is nothing in it.
    pub(super) fn start(&self) -> Offset {
        self.batches.front().map_or(self.end, Batch::base_offset)
    }

    pub(super) const fn end(&self) -> Offset {
        self.end
    }

    /// Adds what the leader answered to the question for what follows. The first batch of a stream may begin below its
    /// beginning; no other does.
    pub(super) fn extend(&mut self, batches: Vec<Batch>) {
        for batch in batches {
            if !self.batches.is_empty() && batch.base_offset() != self.end {
                // The log start went past the end.
                self.batches.clear();
            }
            self.end = batch.next_offset();
            self.batches.push_back(batch);
        }
    }

    /// Whole batches from the one that holds `from`, up to `upto` and about `max_bytes`; the first one whatever its size.
    pub(super) fn read(&self, from: Offset, upto: Offset, max_bytes: usize) -> Vec<Batch> {
        let first = self.batches.partition_point(|batch| batch.next_offset() <= from);
        let mut found: Vec<Batch> = Vec::new();
        let mut bytes = 0;
        for batch in self.batches.range(first..) {
            bytes += batch.len();
            if batch.next_offset() > upto || (!found.is_empty() && bytes > max_bytes) {
                break;
            }
            found.push(batch.clone());
        }
        found
    }

    /// Bytes of the batches from an offset on.
    pub(super) fn bytes_from(&self, offset: Offset) -> usize {
        let first = self.batches.partition_point(|batch| batch.next_offset() <= offset);
        self.batches.range(first..).map(Batch::len).sum()
    }

    /// Drops the batches up to the one at `base`.
    pub(super) fn evict(&mut self, base: Offset) {
        while self.batches.front().is_some_and(|batch| batch.base_offset() <= base) {
            self.batches.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::batch;
    use super::*;

    fn bases(found: &[Batch]) -> Vec<i64> {
        found.iter().map(|batch| batch.base_offset().0).collect()
    }

    #[test]
    fn holds_what_came_without_a_gap() {
        let mut tail = Tail::at(Offset(12));
        assert_eq!((tail.start(), tail.end()), (Offset(12), Offset(12)));
        tail.extend(vec![batch(10, 10, 39), batch(20, 10, 39)]);
        assert_eq!((tail.start(), tail.end()), (Offset(10), Offset(30)));
        assert_eq!(bases(&tail.read(Offset(25), Offset(30), 1000)), [20]);
        assert_eq!(bases(&tail.read(Offset(12), Offset(30), 1000)), [10, 20]);
        assert_eq!(bases(&tail.read(Offset(12), Offset(20), 1000)), [10], "not past the high watermark");
        assert_eq!(bases(&tail.read(Offset(12), Offset(30), 1)), [10], "the first whatever its size");
        assert!(tail.read(Offset(30), Offset(30), 1000).is_empty());
        assert_eq!((tail.bytes_from(Offset(12)), tail.bytes_from(Offset(20))), (200, 100));
        tail.evict(Offset(10));
        assert_eq!(tail.start(), Offset(20));
        tail.extend(vec![batch(50, 10, 39)]);
        assert_eq!((tail.start(), tail.end()), (Offset(50), Offset(60)), "what is in front of a gap goes");
    }
}
