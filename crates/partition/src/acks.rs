//! Acknowledgements that wait for durability, in offset order.
//!
//! The ack rule: an entry is committed when it and every earlier offset of the partition since this epoch's start are
//! durable. A lane is durable up to a sequence number, and offsets and sequence numbers rise together here, so what
//! is committed is always a prefix of the queue. The queue refuses to be filled in any other order.

use std::collections::VecDeque;

use runnel_record::{Offset, TimestampMs};

use crate::{Error, RequestId};

/// An append that is on its way.
#[derive(Debug, Clone)]
pub(crate) struct Pending {
    /// Offset of the first record slot.
    pub(crate) base: Offset,
    /// Offset after the last record slot.
    pub(crate) next: Offset,
    /// Place in the lane.
    pub(crate) lane_seq: u64,
    /// When the leader took it.
    pub(crate) append_time: TimestampMs,
    /// Bytes of the batch.
    pub(crate) bytes: u32,
    /// The request that brought it.
    pub(crate) token: RequestId,
    /// Retries that wait for the same outcome, in order of arrival.
    pub(crate) joined: Vec<RequestId>,
}

impl Pending {
    /// Every request that waits for this append.
    pub(crate) fn tokens(&self) -> impl Iterator<Item = RequestId> + '_ {
        std::iter::once(self.token).chain(self.joined.iter().copied())
    }
}

/// The queue.
#[derive(Debug, Clone)]
pub(crate) struct PendingAcks {
    queue: VecDeque<Pending>,
    /// Where the next append must begin.
    next: Offset,
    /// Lane sequence number of the last append.
    last_seq: u64,
    /// The lane is durable up to here, inclusive.
    durable_upto: u64,
}

impl PendingAcks {
    /// An empty queue for a log that ends at `next`.
    pub(crate) const fn new(next: Offset) -> Self {
        Self { queue: VecDeque::new(), next, last_seq: 0, durable_upto: 0 }
    }

    /// Queues an append.
    pub(crate) fn push(&mut self, pending: Pending) -> Result<(), Error> {
        if pending.base != self.next || pending.next <= pending.base {
            return Err(Error::Invariant("appends are queued in offset order, without gaps"));
        }
        if pending.lane_seq <= self.last_seq {
            return Err(Error::Invariant("lane sequence numbers rise with offsets"));
        }
        self.next = pending.next;
        self.last_seq = pending.lane_seq;
        self.queue.push_back(pending);
        Ok(())
    }

    /// Lets `token` wait for the append at `base`; false if nothing there is waiting.
    pub(crate) fn join(&mut self, base: Offset, token: RequestId) -> bool {
        match self.queue.binary_search_by_key(&base, |p| p.base) {
            Ok(at) => {
                self.queue[at].joined.push(token);
                true
            }
            Err(_) => false,
        }
    }

    /// The lane is durable up to `upto`, inclusive. Late and repeated news are harmless.
    pub(crate) fn durable(&mut self, upto: u64) {
        self.durable_upto = self.durable_upto.max(upto);
    }

    /// Takes the first append off the queue if it is durable.
    pub(crate) fn pop_durable(&mut self) -> Option<Pending> {
        self.queue.pop_front_if(|first| first.lane_seq <= self.durable_upto)
    }

    /// From here on appends go to another lane, which counts from its own beginning. False while something waits for
    /// the present one.
    pub(crate) fn change_lane(&mut self) -> bool {
        let idle = self.queue.is_empty();
        if idle {
            (self.last_seq, self.durable_upto) = (0, 0);
        }
        idle
    }

    /// Takes everything off the queue, durable or not.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = Pending> + '_ {
        self.queue.drain(..)
    }

    /// Appends that wait.
    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    fn pending(base: i64, next: i64, lane_seq: u64) -> Pending {
        Pending {
            base: Offset(base),
            next: Offset(next),
            lane_seq,
            append_time: TimestampMs(0),
            bytes: 100,
            token: RequestId(lane_seq),
            joined: Vec::new(),
        }
    }

    fn popped(acks: &mut PendingAcks) -> Vec<u64> {
        std::iter::from_fn(|| acks.pop_durable()).map(|p| p.lane_seq).collect()
    }

    #[test]
    fn only_the_durable_prefix_leaves() {
        let mut acks = PendingAcks::new(Offset(5));
        acks.push(pending(5, 7, 3)).unwrap();
        acks.push(pending(7, 8, 4)).unwrap();
        acks.push(pending(8, 9, 9)).unwrap();
        assert_eq!(popped(&mut acks), []);
        acks.durable(2);
        assert_eq!(popped(&mut acks), []);
        acks.durable(5); // 5 belongs to another partition of the lane
        acks.durable(3); // old news
        assert_eq!(popped(&mut acks), [3, 4]);
        acks.durable(9);
        assert_eq!(popped(&mut acks), [9]);
    }

    #[test]
    fn order_is_asserted() {
        let mut acks = PendingAcks::new(Offset(5));
        assert!(acks.push(pending(6, 7, 3)).is_err(), "a gap");
        assert!(acks.push(pending(5, 5, 3)).is_err(), "no records");
        acks.push(pending(5, 7, 3)).unwrap();
        assert!(acks.push(pending(5, 7, 4)).is_err(), "the same offset again");
        assert!(acks.push(pending(7, 8, 3)).is_err(), "the same place in the lane");
        assert!(acks.push(pending(7, 8, 2)).is_err(), "an earlier place in the lane");
        assert_eq!(acks.len(), 1);
    }

    #[test]
    fn another_lane_counts_anew() {
        let mut acks = PendingAcks::new(Offset(0));
        acks.push(pending(0, 2, 7)).unwrap();
        assert!(!acks.change_lane(), "something waits for the old one");
        acks.durable(7);
        assert_eq!(popped(&mut acks), [7]);
        assert!(acks.change_lane());
        acks.push(pending(2, 3, 1)).unwrap();
        assert_eq!(popped(&mut acks), [], "what the old lane had reached says nothing");
        acks.durable(1);
        assert_eq!(popped(&mut acks), [1]);
    }

    #[test]
    fn retries_join_what_waits() {
        let mut acks = PendingAcks::new(Offset(0));
        acks.push(pending(0, 2, 1)).unwrap();
        assert!(!acks.join(Offset(1), RequestId(8)));
        assert!(acks.join(Offset(0), RequestId(8)));
        assert!(acks.join(Offset(0), RequestId(9)));
        let all: Vec<_> = acks.drain().flat_map(|p| p.tokens().collect::<Vec<_>>()).collect();
        assert_eq!(all, [RequestId(1), RequestId(8), RequestId(9)]);
    }
}
