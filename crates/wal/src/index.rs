//! Where the durable, unshipped entries are, and which files they pin. In memory, rebuilt by recovery.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use runnel_format::wal::Span;
use runnel_record::{LeaderEpoch, Offset, TopicId, TopicPartition};

use crate::block::Run;
use crate::cursor::Piece;
use crate::entry::CorruptRange;
use crate::error::Error;
use crate::file::{FileId, LaneFile};

/// Bytes of a file that one point covers at first: what a read may have to search.
const FIRST_STRIDE: u64 = 256 << 10;
/// Points past which the stride doubles, until a point covers a partition's part of a whole file.
const MAX_POINTS: usize = 1 << 20;

/// Entries of one partition in a stretch of one file.
#[derive(Debug, Clone, Copy)]
struct Point {
    base: Offset,
    next: Offset,
    epoch: LeaderEpoch,
    file: FileId,
    from: u64,
    upto: u64,
    /// Bytes on disk, overhead of the blocks included.
    bytes: u64,
}

#[derive(Debug, Default)]
struct Partition {
    points: VecDeque<Point>,
    /// Below this everything is in the bucket.
    shipped: Offset,
    holes: Vec<(CorruptRange, FileId)>,
    accepted: Vec<Accepted>,
}

/// A loss that was accepted in the lane of a generation; younger lanes may use the same offsets again.
#[derive(Debug, Clone)]
struct Accepted {
    range: Range<Offset>,
    generation: u64,
}

#[derive(Debug)]
struct FileUse {
    file: Arc<LaneFile>,
    /// Points and holes in it.
    pins: usize,
    /// Nothing is written to it any more.
    closed: bool,
    /// Number of the first block in it, or that would have been.
    first_seq: u64,
}

/// Files of one lane that nothing needs any more.
#[derive(Debug)]
pub(crate) struct Freed {
    pub(crate) generation: u64,
    pub(crate) files: Vec<Arc<LaneFile>>,
    /// The oldest file still needed, and its first block; `None` if the whole lane goes.
    pub(crate) keep_from: Option<(u64, u64)>,
}

/// What a read has to look at.
#[derive(Debug, Default, Clone)]
pub(crate) struct Plan {
    /// Stretches in offset order, each with the offset where the partition's entries in it end.
    pub(crate) pieces: Vec<(Piece, Offset)>,
    accepted: Vec<Accepted>,
}

/// The sparse index of all lanes.
pub(crate) struct Index {
    partitions: BTreeMap<TopicPartition, Partition>,
    files: BTreeMap<FileId, FileUse>,
    /// Files near damage that hides which partitions it hit. They tell of it at every start.
    hiding: Vec<FileId>,
    /// Topics deleted; entries of theirs may still come out of the queue.
    forgotten: BTreeSet<TopicId>,
    points: usize,
    stride: u64,
    live_bytes: u64,
    closed_bytes: u64,
}

impl Index {
    pub(crate) const fn new() -> Self {
        Self {
            partitions: BTreeMap::new(),
            files: BTreeMap::new(),
            hiding: Vec::new(),
            forgotten: BTreeSet::new(),
            points: 0,
            stride: FIRST_STRIDE,
            live_bytes: 0,
            closed_bytes: 0,
        }
    }

    /// Bytes that wait for the bucket: those of unshipped entries, or those of the full files that they pin.
    pub(crate) fn unshipped(&self) -> u64 {
        self.live_bytes.max(self.closed_bytes)
    }

    pub(crate) fn file_count(&self) -> usize {
        self.files.len()
    }

    /// A file that may hold entries; its first block has, or will have, the number `first_seq`.
    pub(crate) fn add_file(&mut self, file: Arc<LaneFile>, first_seq: u64) {
        self.files.insert(file.id, FileUse { file, pins: 0, closed: false, first_seq });
    }

    /// Number of the first block in a file, as recovery found it.
    pub(crate) fn set_first_seq(&mut self, id: FileId, first_seq: u64) {
        if let Some(used) = self.files.get_mut(&id) {
            used.first_seq = first_seq;
        }
    }

    /// A lane that holds nothing is removed.
    pub(crate) fn forget_lane(&mut self, generation: u64) {
        let gone = self.files.extract_if(.., |id, _| id.generation == generation);
        self.closed_bytes -= gone.filter(|(_, used)| used.closed).map(|(_, used)| used.file.len).sum::<u64>();
    }

    /// Nothing more will be written to the file.
    pub(crate) fn close_file(&mut self, id: FileId) {
        if let Some(used) = self.files.get_mut(&id)
            && !used.closed
        {
            used.closed = true;
            self.closed_bytes += used.file.len;
        }
    }

    fn pin(&mut self, id: FileId) {
        if let Some(file) = self.files.get_mut(&id) {
            file.pins += 1;
        }
    }

    fn unpin(&mut self, id: FileId) {
        if let Some(file) = self.files.get_mut(&id) {
            file.pins = file.pins.saturating_sub(1);
        }
    }

    /// Entries became durable in the block `from..upto` of `file`; `overhead` bytes of it are not theirs alone. They
    /// supersede older entries at the same or higher offsets, which an earlier epoch left behind.
    pub(crate) fn push(&mut self, run: &Run, file: FileId, block: Range<u64>, overhead: u64) {
        if self.forgotten.contains(&run.tp.topic) {
            return;
        }
        let bytes = run.bytes + overhead;
        let mut released = Vec::new();
        let partition = self.partitions.entry(run.tp).or_default();
        while let Some(last) = partition.points.back_mut().filter(|last| last.next > run.base) {
            if last.base < run.base {
                last.next = run.base;
                break;
            }
            released.extend(partition.points.pop_back());
        }
        let stride = self.stride;
        match partition.points.back_mut() {
            Some(last)
                if last.file == file
                    && (last.next, last.epoch) == (run.base, run.epoch)
                    && block.end - last.from <= stride =>
            {
                last.next = run.next;
                last.upto = block.end;
                last.bytes += bytes;
            }
            _ => {
                let Run { base, next, epoch, .. } = *run;
                partition.points.push_back(Point {
                    base,
                    next,
                    epoch,
                    file,
                    from: block.start,
                    upto: block.end,
                    bytes,
                });
                self.points += 1;
                self.pin(file);
            }
        }
        self.live_bytes += bytes;
        self.release(&released);
        if self.points as u64 * FIRST_STRIDE > MAX_POINTS as u64 * self.stride {
            self.stride *= 2;
        }
    }

    fn release(&mut self, points: &[Point]) {
        for point in points {
            self.unpin(point.file);
            self.live_bytes = self.live_bytes.saturating_sub(point.bytes);
            self.points -= 1;
        }
    }

    /// A range that cannot be read, in or after `file`.
    pub(crate) fn add_hole(&mut self, hole: CorruptRange, file: FileId) {
        self.partitions.entry(hole.tp).or_default().holes.push((hole, file));
        self.pin(file);
    }

    /// Nothing tells which partitions damage near a file has hit, so nothing that is shipped makes up for it.
    pub(crate) fn keep_hiding(&mut self, file: FileId) {
        self.hiding.push(file);
        self.pin(file);
    }

    /// What such damage hid was given up.
    pub(crate) fn accept_hidden(&mut self) {
        for file in std::mem::take(&mut self.hiding) {
            self.unpin(file);
        }
    }

    /// The loss of a range was accepted in the lane `generation`: reads step over it, holes within it no longer pin
    /// anything.
    pub(crate) fn accept(&mut self, generation: u64, span: &Span) {
        let partition = self.partitions.entry(span.tp).or_default();
        partition.accepted.push(Accepted { range: span.base..span.next, generation });
        let covered = |hole: &CorruptRange| span.base <= hole.from && hole.upto.is_none_or(|upto| upto <= span.next);
        let gone: Vec<FileId> =
            partition.holes.extract_if(.., |(hole, _)| covered(hole)).map(|(_, file)| file).collect();
        for file in gone {
            self.unpin(file);
        }
    }

    /// Generations of the lanes that should hold a damaged range.
    pub(crate) fn lanes_with(&self, tp: TopicPartition, range: &Range<Offset>) -> Vec<u64> {
        let Some(partition) = self.partitions.get(&tp) else { return Vec::new() };
        let in_hole = |hole: &CorruptRange| hole.from < range.end && hole.upto.is_none_or(|upto| upto > range.start);
        let holes = partition.holes.iter().filter(|(hole, _)| in_hole(hole)).map(|(_, file)| file.generation);
        let mut lanes: Vec<u64> = holes.collect();
        if lanes.is_empty() {
            // Damaged in the body only.
            let points = partition.points.iter().filter(|point| point.base < range.end && point.next > range.start);
            lanes.extend(points.map(|point| point.file.generation));
        }
        lanes.sort_unstable();
        lanes.dedup();
        lanes
    }

    /// Entries below `upto` are in the bucket.
    pub(crate) fn shipped(&mut self, tp: TopicPartition, upto: Offset) {
        let Some(partition) = self.partitions.get_mut(&tp) else { return };
        partition.shipped = partition.shipped.max(upto);
        let mut released = Vec::new();
        while partition.points.front().is_some_and(|point| point.next <= upto) {
            released.extend(partition.points.pop_front());
        }
        let done = |hole: &CorruptRange| hole.upto.is_some_and(|end| end <= upto);
        let gone: Vec<FileId> = partition.holes.extract_if(.., |(hole, _)| done(hole)).map(|(_, file)| file).collect();
        self.release(&released);
        for file in gone {
            self.unpin(file);
        }
    }

    /// The topic is gone, with everything in it.
    pub(crate) fn forget(&mut self, topic: TopicId) {
        self.forgotten.insert(topic);
        let range = TopicPartition { topic, partition: i32::MIN }..=TopicPartition { topic, partition: i32::MAX };
        let gone: Vec<TopicPartition> = self.partitions.range(range).map(|(tp, _)| *tp).collect();
        gone.into_iter().for_each(|tp| self.discard(tp));
    }

    /// Nothing of what there is of a partition counts.
    pub(crate) fn discard(&mut self, tp: TopicPartition) {
        let Some(partition) = self.partitions.remove(&tp) else { return };
        self.release(&Vec::from(partition.points));
        for (_, file) in partition.holes {
            self.unpin(file);
        }
    }

    /// Partitions with entries, and where those end.
    pub(crate) fn held(&self) -> Vec<(TopicPartition, Offset)> {
        let end = |partition: &Partition| partition.points.back().map(|point| point.next);
        self.partitions.iter().filter_map(|(tp, partition)| Some((*tp, end(partition)?))).collect()
    }

    /// What pins the oldest file, or the oldest full file: partitions, and the offset that each has to ship up to.
    pub(crate) fn oldest(&self, full_only: bool) -> Vec<(TopicPartition, Offset)> {
        let pinned = self.files.iter().find(|(_, file)| file.pins > 0);
        let Some(oldest) = pinned.filter(|(_, file)| file.closed || !full_only).map(|(id, _)| *id) else {
            return Vec::new();
        };
        let last_in = |partition: &Partition| {
            partition.points.iter().take_while(|point| point.file == oldest).last().map(|point| point.next)
        };
        self.partitions.iter().filter_map(|(tp, partition)| Some((*tp, last_in(partition)?))).collect()
    }

    /// Takes out the files that nothing needs any more, oldest first in each lane; `live` is the lane being written.
    pub(crate) fn take_free(&mut self, live: u64) -> Vec<Freed> {
        let mut freed: Vec<Freed> = Vec::new();
        let mut kept_lane = None;
        for (id, used) in &self.files {
            if kept_lane == Some(id.generation) {
                continue;
            }
            let lane = match freed.last_mut().filter(|lane| lane.generation == id.generation) {
                Some(lane) => lane,
                None => {
                    freed.push(Freed { generation: id.generation, files: Vec::new(), keep_from: None });
                    let last = freed.len() - 1;
                    &mut freed[last]
                }
            };
            if used.closed && used.pins == 0 {
                lane.files.push(Arc::clone(&used.file));
            } else {
                lane.keep_from = Some((id.number, used.first_seq));
                kept_lane = Some(id.generation);
            }
        }
        freed.retain(|lane| !lane.files.is_empty() && (lane.keep_from.is_some() || lane.generation != live));
        for file in freed.iter().flat_map(|lane| &lane.files) {
            self.files.remove(&file.id);
            self.closed_bytes = self.closed_bytes.saturating_sub(file.len);
        }
        freed
    }

    /// Where to look for the batches of `tp` from the one that contains `from` on, below `upto`.
    pub(crate) fn plan(&self, tp: TopicPartition, from: Offset, upto: Offset, max_bytes: usize) -> Result<Plan, Error> {
        let absent = Error::Absent { tp, offset: from };
        let Some(partition) = self.partitions.get(&tp).filter(|p| from >= p.shipped) else { return Err(absent) };
        let mut plan = Plan { pieces: Vec::new(), accepted: partition.accepted.clone() };
        let first = partition.points.partition_point(|point| point.next <= from);
        let start = plan.step_over(from, partition.points.get(first).map_or(Offset(i64::MAX), |point| point.base));
        if partition.points.get(first).is_none_or(|point| point.base > start) {
            let covers = |hole: &CorruptRange| hole.from <= start && hole.upto.is_none_or(|end| end > start);
            if let Some((hole, _)) = partition.holes.iter().find(|(hole, _)| covers(hole)) {
                return Err(Error::Corrupt { tp, range: start..hole.upto.unwrap_or(Offset(i64::MAX)) });
            }
            if partition.points.get(first).is_some() {
                return Err(absent);
            }
        }
        let mut bytes = 0;
        for point in partition.points.range(first..).take_while(|point| point.base < upto) {
            let Some(used) = self.files.get(&point.file) else { continue };
            plan.pieces.push((Piece { file: Arc::clone(&used.file), from: point.from, upto: point.upto }, point.next));
            bytes += point.bytes;
            // The first piece may start before `from`, so one more.
            if bytes > max_bytes as u64 && plan.pieces.len() > 1 {
                break;
            }
        }
        Ok(plan)
    }
}

impl Plan {
    /// `offset`, or the end of the accepted loss that it lies in, but not past `limit`, where something is held.
    pub(crate) fn step_over(&self, mut offset: Offset, limit: Offset) -> Offset {
        while offset < limit
            && let Some(accepted) = self.accepted.iter().find(|accepted| accepted.range.contains(&offset))
        {
            offset = accepted.range.end.min(limit);
        }
        offset
    }

    /// Whether a batch in a lane overlaps a loss accepted there: then it counts as lost too.
    pub(crate) fn is_lost(&self, generation: u64, batch: &Range<Offset>) -> bool {
        let overlaps = |range: &Range<Offset>| range.start < batch.end && batch.start < range.end;
        self.accepted.iter().any(|accepted| accepted.generation == generation && overlaps(&accepted.range))
    }
}
