//! Opening: durable state in, a serving machine out.

use std::collections::{BTreeMap, VecDeque};

use runnel_format::manifest::EpochStart;
use runnel_format::producer::ProducerSnapshot;
use runnel_guard::{Guard, holds};
use runnel_record::{LeaderEpoch, Offset};

use crate::acks::PendingAcks;
use crate::epochs::Epochs;
use crate::producers::Producers;
use crate::refused::Refused;
use crate::{BatchFacts, Error, Options, Partition, ProducerBatch};

/// What the root (or its cached copy) and the partition record say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    /// The epoch to serve: above every epoch ever handed out.
    pub epoch: LeaderEpoch,
    /// The first offset that the partition still has.
    pub log_start: Offset,
    /// Epochs seen so far, from the root and the partition record, ascending.
    pub epochs: Vec<EpochStart>,
    /// Dedup state at the end of the shipped log; its offset is that end.
    pub producers: ProducerSnapshot,
}

impl Start {
    /// The start of a partition that has never shipped anything.
    pub const fn never_shipped(epoch: LeaderEpoch) -> Self {
        Self { epoch, log_start: Offset::ZERO, epochs: Vec::new(), producers: ProducerSnapshot::empty() }
    }
}

impl Partition {
    /// Opens a partition. `tail` is what the sealed lanes hold of it, in lane order; it counts as committed (an entry
    /// that was never acknowledged becomes committed by this, and dedup answers its retry). The new epoch begins at
    /// the end of the tail: high watermark and log end both stand there. Epochs that only the tail knows of are
    /// learned from it.
    ///
    /// Skipped are entries below the shipped end (the lane was not trimmed yet), entries of an epoch at or above the
    /// start of a later one (never acknowledged, replaced since) and exact repetitions (a lane roll re-appends).
    ///
    /// # Errors
    /// [`Error::StaleEpoch`] if an epoch at or above the new one is known. [`Error::Gap`] if an offset is missing:
    /// never cut here, since a gap is also what a trimmed lane beside an outdated root looks like.
    /// [`Error::Overlap`], [`Error::Corrupt`] and [`Error::Snapshot`] for state that contradicts itself.
    pub fn open(options: Options, start: &Start, tail: impl IntoIterator<Item = BatchFacts>) -> Result<Self, Error> {
        let tail: Vec<BatchFacts> = tail.into_iter().collect();
        let mut epochs = Epochs::restore(&start.epochs)?;
        learn_epochs(&mut epochs, &tail)?;
        let at_shipped = Producers::restore(&start.producers, options.producers)?;
        let mut latest = at_shipped.clone();
        let facts = replay(&tail, &epochs, &mut latest)?;
        let end = latest.offset();
        epochs.begin(start.epoch, end)?;
        if start.log_start < Offset::ZERO || start.log_start > end {
            return Err(Error::Corrupt("the log starts outside of what there is"));
        }
        Ok(Self {
            epoch: start.epoch,
            options,
            log_start: start.log_start,
            high_watermark: end,
            epochs,
            committed_bytes: facts.iter().map(|batch| u64::from(batch.bytes)).sum(),
            facts,
            at_shipped,
            latest,
            acks: PendingAcks::new(end),
            staged: None,
            refused: Refused::default(),
            closed: false,
        })
    }
}

/// Adds the epochs above every recorded one that wrote to the tail: each begins at its lowest batch, since an epoch
/// that shipped anything is recorded in the root.
fn learn_epochs(epochs: &mut Epochs, tail: &[BatchFacts]) -> Result<(), Error> {
    let known = epochs.as_slice().last().map(|last| last.epoch);
    let mut starts: BTreeMap<LeaderEpoch, Offset> = BTreeMap::new();
    for batch in tail.iter().filter(|batch| Some(batch.epoch) > known) {
        let start = starts.entry(batch.epoch).or_insert(batch.base);
        *start = batch.base.min(*start);
    }
    starts.into_iter().try_for_each(|(epoch, start)| epochs.begin(epoch, start))
}

fn replay(tail: &[BatchFacts], epochs: &Epochs, state: &mut Producers) -> Result<VecDeque<BatchFacts>, Error> {
    let shipped_end = state.offset();
    let mut facts: VecDeque<BatchFacts> = VecDeque::with_capacity(tail.len());
    for batch in tail {
        check(batch)?;
        let replaced = epochs.at(batch.base).is_some_and(|current| current > batch.epoch);
        if batch.next <= shipped_end || replaced {
            continue;
        }
        let (expected, found) = (state.offset(), batch.base);
        if found > expected {
            return Err(Error::Gap { expected, found });
        }
        if found < expected {
            let known = facts.binary_search_by_key(&found, |known| known.base).ok().and_then(|at| facts.get(at));
            if known == Some(batch) {
                continue;
            }
            return Err(Error::Overlap { expected, found });
        }
        if batch.append_time < state.last_append_time() {
            return Err(Error::Corrupt("append times fall"));
        }
        state.apply(&BatchFacts { producer: batch.producer.filter(|_| holds(Guard::DedupReplay)), ..*batch });
        facts.push_back(*batch);
    }
    Ok(facts)
}

/// Facts that no append of ours can have.
fn check(batch: &BatchFacts) -> Result<(), Error> {
    if batch.base < Offset::ZERO || batch.next <= batch.base || batch.epoch < LeaderEpoch::ZERO {
        return Err(Error::Corrupt("a batch without offsets or epoch"));
    }
    let fits = |p: ProducerBatch| {
        p.epoch >= 0 && p.first_sequence >= 0 && p.last_sequence >= 0 && p.count() == batch.next.0 - batch.base.0
    };
    if batch.producer.is_none_or(fits) { Ok(()) } else { Err(Error::Corrupt("sequence numbers do not fit the batch")) }
}

#[cfg(test)]
mod tests;
