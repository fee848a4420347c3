//! What to read ahead: a pure decision on the runs that the readers of segments ask for.

mod windows;

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

use runnel_record::{Offset, TopicPartition};
use runnel_segment::Run;

pub(crate) use windows::{Window, Windows};

/// Runs read ahead at most for one partition.
const MOST: usize = 8;

/// Partitions that are followed; the one that was read longest ago goes first.
const MOST_READERS: usize = 1_024;

/// A partition that was not read while every other one was, this many times, is not waited for any longer.
const IDLE_ROUNDS: u64 = 8;

/// Follows the reads of segments. For one partition the window doubles with each run read in sequence and closes on a
/// jump. It is filled again when half of it was read, so that several runs are fetched with the requests of one. What was
/// read ahead for all of them and not asked for yet stays within a budget: a run that the cache drops before its reader
/// comes was fetched and unpacked for nothing.
#[derive(Debug)]
pub(crate) struct Readahead {
    /// Bytes of runs.
    budget: u64,
    taken: u64,
    /// Counts reads.
    clock: u64,
    readers: BTreeMap<TopicPartition, Reader>,
}

#[derive(Debug)]
struct Reader {
    last: Range<Offset>,
    window: usize,
    /// Runs read ahead: where each ends, and its bytes. The first follows `last`.
    ahead: VecDeque<(Offset, u64)>,
    /// The end of a segment that it was told to go on behind.
    crossed: Offset,
    read_at: u64,
}

/// What to load now.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Next {
    /// Runs of the same segment.
    pub(crate) runs: Range<usize>,
    /// All to the end of it is loaded or being loaded: the first run of the next one too.
    pub(crate) crosses: bool,
}

impl Readahead {
    /// Reads ahead `budget` bytes at most.
    pub(crate) const fn new(budget: u64) -> Self {
        Self { budget, taken: 0, clock: 0, readers: BTreeMap::new() }
    }

    /// Whether a run that begins at `base` goes on where a reader of `tp` is, or where what is read ahead for it ends.
    /// There may be no room to unpack more for it; several runs are to be fetched with the requests of one all the same.
    pub(crate) fn expects(&self, tp: TopicPartition, base: Offset) -> bool {
        self.readers.get(&tp).is_some_and(|reader| reader.last.end == base || reader.crossed == base)
    }

    /// A reader of `tp` asks for `runs[index]` of a segment.
    pub(crate) fn read(&mut self, tp: TopicPartition, runs: &[Run], index: usize) -> Next {
        let Some(run) = runs.get(index) else { return Next::default() };
        self.clock += 1;
        let clock = self.clock;
        let reader = self.readers.entry(tp).or_insert_with(|| Reader {
            last: run.base..run.base,
            window: 0,
            ahead: VecDeque::new(),
            crossed: Offset(-1),
            read_at: clock,
        });
        reader.read_at = clock;
        if reader.last == (run.base..run.next) {
            return Next::default();
        }
        let in_sequence = reader.last.end == run.base && reader.last.start < run.base;
        reader.window = if in_sequence { (reader.window * 2).clamp(1, MOST) } else { 0 };
        reader.last = run.base..run.next;
        while reader.ahead.front().is_some_and(|(next, _)| !in_sequence || *next <= run.next) {
            self.taken -= reader.ahead.pop_front().map_or(0, |(_, bytes)| bytes);
        }
        let first = index + 1 + reader.ahead.len();
        let wanted = if reader.ahead.len() * 2 > reader.window { first } else { index + 1 + reader.window };
        let upto = wanted.min(runs.len());
        let mut end = first;
        for run in runs.get(first..upto).unwrap_or_default() {
            if self.taken + run.bytes > self.budget {
                break;
            }
            self.taken += run.bytes;
            reader.ahead.push_back((run.next, run.bytes));
            end += 1;
        }
        let last = runs.last().map_or(run.next, |last| last.next);
        let crosses = in_sequence && end == runs.len() && std::mem::replace(&mut reader.crossed, last) != last;
        if end < upto || self.readers.len() > MOST_READERS {
            self.drop_idle();
        }
        Next { runs: first..end, crosses }
    }

    /// Forgets the reader that has been away longest, if it may be forgotten.
    fn drop_idle(&mut self) {
        let Some((tp, read_at)) = self.readers.iter().map(|(tp, r)| (*tp, r.read_at)).min_by_key(|(_, at)| *at) else {
            return;
        };
        let idle = self.clock - read_at > IDLE_ROUNDS * self.readers.len() as u64;
        if (idle || self.readers.len() > MOST_READERS)
            && let Some(gone) = self.readers.remove(&tp)
        {
            self.taken -= gone.ahead.iter().map(|(_, bytes)| bytes).sum::<u64>();
        }
    }
}

#[cfg(test)]
mod tests;
