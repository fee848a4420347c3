//! Where the unshipped entries of a lane are, and which slots they pin. In memory, rebuilt by recovery.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use runnel_format::wal::{ROW_LEN, SlotRun};
use runnel_record::{Offset, TopicId, TopicPartition};

use crate::error::Error;

/// Bytes that a run is charged on top of its own: about what it costs to find and fetch it by itself. It also bounds
/// the number of runs in memory by the limit of unshipped bytes.
const RUN_CHARGE: u64 = 4 << 10;

#[derive(Debug, Default)]
struct Partition {
    /// In offset order, which is slot order.
    runs: VecDeque<SlotRun>,
    /// Below this everything is in the bucket.
    shipped: Offset,
}

/// Runs in a slot, and what they are charged.
#[derive(Debug, Default, Clone, Copy)]
struct SlotUse {
    runs: u32,
    bytes: u64,
}

/// The runs of a lane.
#[derive(Debug, Default)]
pub(crate) struct Index {
    partitions: BTreeMap<TopicPartition, Partition>,
    /// What each slot from `first` on holds.
    slots: VecDeque<SlotUse>,
    first: u64,
    /// Topics deleted; entries of theirs may still come.
    forgotten: BTreeSet<TopicId>,
    runs: usize,
    bytes: u64,
}

fn charge(run: &SlotRun) -> u64 {
    RUN_CHARGE + u64::from(run.rows) * ROW_LEN as u64 + run.body_len
}

impl Index {
    /// An index of slots from `first` on.
    pub(crate) fn new(first: u64) -> Self {
        Self { first, ..Self::default() }
    }

    /// Bytes that wait to be shipped.
    pub(crate) const fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) const fn len(&self) -> usize {
        self.runs
    }

    /// Adds a run. Per partition they come in slot order; a later epoch takes the place of what it overlaps.
    pub(crate) fn push(&mut self, run: SlotRun) {
        if run.slot < self.first || self.forgotten.contains(&run.tp.topic) {
            return;
        }
        let partition = self.partitions.entry(run.tp).or_default();
        let mut superseded = Vec::new();
        while let Some(last) = partition.runs.back_mut().filter(|last| last.next > run.base) {
            if last.base < run.base {
                last.next = run.base;
                break;
            }
            superseded.extend(partition.runs.pop_back());
        }
        partition.runs.push_back(run);
        let count = usize::try_from(run.slot - self.first + 1).unwrap_or(usize::MAX);
        if self.slots.len() < count {
            self.slots.resize(count, SlotUse::default());
        }
        self.slots[count - 1].runs += 1;
        self.slots[count - 1].bytes += charge(&run);
        self.runs += 1;
        self.bytes += charge(&run);
        self.release(&superseded);
    }

    fn release(&mut self, gone: &[SlotRun]) {
        for run in gone {
            // A slot in front of the first has no runs, so there is one for this.
            let at = usize::try_from(run.slot - self.first).unwrap_or(usize::MAX);
            self.slots[at].runs -= 1;
            self.slots[at].bytes -= charge(run);
            self.runs -= 1;
            self.bytes -= charge(run);
        }
    }

    /// Everything below `upto` is in the bucket.
    pub(crate) fn shipped(&mut self, tp: TopicPartition, upto: Offset) {
        let Some(partition) = self.partitions.get_mut(&tp) else { return };
        partition.shipped = partition.shipped.max(upto);
        let mut gone = Vec::new();
        while partition.runs.front().is_some_and(|run| run.next <= upto) {
            gone.extend(partition.runs.pop_front());
        }
        self.release(&gone);
    }

    /// The topic is gone, with everything in it.
    pub(crate) fn forget(&mut self, topic: TopicId) {
        self.forgotten.insert(topic);
        let range = TopicPartition { topic, partition: i32::MIN }..=TopicPartition { topic, partition: i32::MAX };
        let gone: Vec<SlotRun> =
            self.partitions.extract_if(range, |_, _| true).flat_map(|(_, partition)| partition.runs).collect();
        self.release(&gone);
    }

    /// The first slot that is needed, if there is one below `limit`, else `limit`. Slots below it are let go.
    pub(crate) fn needed_from(&mut self, limit: u64) -> u64 {
        while self.first < limit && self.slots.front().is_none_or(|used| used.runs == 0) {
            self.slots.pop_front();
            self.first += 1;
        }
        self.first
    }

    /// All runs, for a checkpoint.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &SlotRun> {
        self.partitions.values().flat_map(|partition| &partition.runs)
    }

    /// The runs of a partition.
    pub(crate) fn of(&self, tp: TopicPartition) -> impl Iterator<Item = &SlotRun> {
        self.partitions.get(&tp).into_iter().flat_map(|partition| &partition.runs)
    }

    /// The partitions that have runs.
    pub(crate) fn partitions(&self) -> impl Iterator<Item = TopicPartition> {
        self.partitions.iter().filter(|(_, partition)| !partition.runs.is_empty()).map(|(tp, _)| *tp)
    }

    /// The runs to look at for a read, of slots below `durable`; empty at the end of the lane.
    pub(crate) fn plan(
        &self,
        tp: TopicPartition,
        from: Offset,
        upto: Offset,
        max_bytes: usize,
        durable: u64,
    ) -> Result<Vec<SlotRun>, Error> {
        let absent = Error::Absent { tp, offset: from };
        let Some(partition) = self.partitions.get(&tp).filter(|p| from >= p.shipped) else { return Err(absent) };
        let first = partition.runs.partition_point(|run| run.next <= from);
        let here = partition.runs.range(first..).take_while(|run| run.slot < durable);
        let mut plan: Vec<SlotRun> = Vec::new();
        let mut bytes = 0;
        // Runs are charged for being one, so that a read of many small ones is many short reads.
        for run in here {
            // The first run may start before `from`, so one more.
            if run.base >= upto || (bytes > max_bytes as u64 && plan.len() > 1) {
                break;
            }
            bytes += charge(run);
            plan.push(*run);
        }
        if plan.first().is_some_and(|run| run.base > from) { Err(absent) } else { Ok(plan) }
    }

    /// What pins the oldest slots, below `durable`, that together hold `bytes`: partitions, and the offset that each has
    /// to ship up to.
    pub(crate) fn oldest(&self, bytes: u64, durable: u64) -> Vec<(TopicPartition, Offset)> {
        let mut left = bytes;
        let more = |used: &&SlotUse| {
            let more = left > 0;
            left = left.saturating_sub(used.bytes);
            more
        };
        let end = durable.min(self.first + self.slots.iter().take_while(more).count() as u64);
        let last_of = |partition: &Partition| {
            let count = partition.runs.partition_point(|run| run.slot < end);
            Some(partition.runs.get(count.checked_sub(1)?)?.next)
        };
        self.partitions.iter().filter_map(|(tp, partition)| Some((*tp, last_of(partition)?))).collect()
    }
}
