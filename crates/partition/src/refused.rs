//! First batches that the lane refused.
//!
//! Where nothing is known of a producer any sequence number is accepted. So if its very first batch is refused (a
//! full or throttled lane) while the next ones are on their way already, those would be taken instead, and the
//! retry of the first would come too late. Kafka closes the same hole for transactions with
//! `VerificationStateEntry.lowestSequence`; here the lowest refused sequence number does it for every idempotent
//! producer. It is advice about admission, kept in memory only, and no part of the dedup state.

use std::collections::{BTreeMap, VecDeque};

use runnel_record::ProducerId;

use crate::{Error, ProducerBatch};

/// Producers remembered; beyond it the oldest is forgotten and Kafka's rule applies to it again.
const MAX: usize = 1024;

/// Lowest refused sequence numbers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Refused {
    lowest: BTreeMap<ProducerId, (i16, i32)>,
    /// The keys of `lowest`, oldest first.
    order: VecDeque<ProducerId>,
}

impl Refused {
    /// The lane refused the batch of a producer of which nothing is known.
    pub(crate) fn note(&mut self, batch: &ProducerBatch) {
        let refused = (batch.epoch, batch.first_sequence);
        match self.lowest.get_mut(&batch.id) {
            Some(known) if known.0 == refused.0 => known.1 = known.1.min(refused.1),
            Some(known) => *known = refused,
            None => {
                self.lowest.insert(batch.id, refused);
                self.order.push_back(batch.id);
            }
        }
        while self.order.len() > MAX {
            if let Some(oldest) = self.order.pop_front() {
                self.lowest.remove(&oldest);
            }
        }
    }

    /// Refuses what comes after a batch that was refused.
    pub(crate) fn admit(&self, batch: &ProducerBatch) -> Result<(), Error> {
        match self.lowest.get(&batch.id) {
            Some(&(epoch, expected)) if epoch == batch.epoch && batch.first_sequence > expected => {
                Err(Error::OutOfOrderSequence { id: batch.id, expected, found: batch.first_sequence })
            }
            _ => Ok(()),
        }
    }

    /// A batch of the producer was appended: its state is known from here on.
    pub(crate) fn clear(&mut self, id: ProducerId) {
        if self.lowest.remove(&id).is_some() {
            self.order.retain(|other| *other != id);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    fn batch(id: i64, epoch: i16, first: i32) -> ProducerBatch {
        ProducerBatch { id: ProducerId(id), epoch, first_sequence: first, last_sequence: first }
    }

    #[test]
    fn what_follows_a_refused_first_batch_waits_for_it() {
        let mut refused = Refused::default();
        refused.note(&batch(1, 0, 0));
        let gap = Error::OutOfOrderSequence { id: ProducerId(1), expected: 0, found: 5 };
        assert_eq!(refused.admit(&batch(1, 0, 5)), Err(gap));
        assert_eq!(refused.admit(&batch(1, 0, 0)), Ok(()));
        assert_eq!(refused.admit(&batch(1, 1, 5)), Ok(()), "another epoch starts afresh");
        assert_eq!(refused.admit(&batch(2, 0, 5)), Ok(()), "another producer");
        refused.note(&batch(1, 0, 5));
        assert!(refused.admit(&batch(1, 0, 5)).is_err(), "the lowest counts");
        refused.clear(ProducerId(1));
        assert_eq!(refused.admit(&batch(1, 0, 5)), Ok(()));
    }

    #[test]
    fn memory_is_bounded() {
        let mut refused = Refused::default();
        for id in 0..5_000 {
            refused.note(&batch(id, 0, 0));
        }
        assert_eq!((refused.lowest.len(), refused.order.len()), (MAX, MAX));
        assert_eq!(refused.admit(&batch(0, 0, 5)), Ok(()));
        assert!(refused.admit(&batch(4_999, 0, 5)).is_err());
    }
}
