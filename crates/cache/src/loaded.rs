//! Which runs are worth a place on the disk: those that are loaded again.

use std::collections::{BTreeSet, VecDeque};

use crate::key::BlockKey;

/// Runs that are remembered at most.
const MOST: usize = 1 << 16;

/// The runs that were loaded last.
///
/// Who reads something once, be it all there is, is to write nothing to the disk: that would cost the log its syncs and
/// push out what many read. What is loaded for the second time is, as the ghost queues of 2Q and S3-FIFO have it. It is remembered for as
/// many bytes as the disk holds: whatever comes back later than that would have been gone from there too.
#[derive(Debug)]
pub(crate) struct Loaded {
    limit: u64,
    bytes: u64,
    known: BTreeSet<BlockKey>,
    order: VecDeque<(BlockKey, u64)>,
}

impl Loaded {
    /// Remembers `limit` bytes of runs.
    pub(crate) const fn new(limit: u64) -> Self {
        Self { limit, bytes: 0, known: BTreeSet::new(), order: VecDeque::new() }
    }

    /// A run of so many bytes was loaded. Says whether it had been before.
    pub(crate) fn is_back(&mut self, key: BlockKey, bytes: u64) -> bool {
        if !self.known.insert(key) {
            return true;
        }
        self.order.push_back((key, bytes));
        self.bytes += bytes;
        while self.bytes > self.limit || self.order.len() > MOST {
            let Some((gone, freed)) = self.order.pop_front() else { break };
            self.known.remove(&gone);
            self.bytes -= freed;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const fn key(run: u32) -> BlockKey {
        BlockKey { segment: Uuid::from_u128(7), run }
    }

    #[test]
    fn what_is_loaded_again_in_time_is_back() {
        let mut loaded = Loaded::new(1_000);
        assert!((0..10).all(|run| !loaded.is_back(key(run), 100)));
        assert!((0..10).all(|run| loaded.is_back(key(run), 100)));
        assert!(!loaded.is_back(key(10), 100));
        assert!(!loaded.is_back(key(0), 100), "ten others were loaded since");
        assert!(loaded.is_back(key(10), 100));
    }

    #[test]
    fn memory_is_bounded() {
        let mut loaded = Loaded::new(u64::MAX);
        let most = u32::try_from(MOST).unwrap_or(u32::MAX);
        assert!((0..2 * most).all(|run| !loaded.is_back(key(run), 1)));
        assert_eq!((loaded.order.len(), loaded.known.len(), loaded.bytes), (MOST, MOST, u64::from(most)));
        assert!(!loaded.is_back(key(0), u64::MAX / 2));
        let mut none = Loaded::new(0);
        assert!(!none.is_back(key(1), 5) && !none.is_back(key(1), 5));
        assert_eq!((none.order.len(), none.bytes), (0, 0));
    }
}
