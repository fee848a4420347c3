//! Reads the sealed lanes of a disk: block headers and tables, not bodies.

use std::collections::BTreeMap;
use std::sync::Arc;

use runnel_format::wal::{BlockHeader, LaneEnd, Row, Span};
use runnel_record::{LeaderEpoch, Offset, TopicPartition};
use runnel_runtime::Reuse;

use crate::Error;
use crate::aside::WHOLE;
use crate::block::{Run, Runs};
use crate::cursor::{Cursor, Piece};
use crate::entry::{CorruptRange, Recovered, TailEntry};
use crate::file::{FileId, LaneFile, Role};
use crate::index::Index;
use crate::lanes::{Lane, Lanes};
use crate::seal;

/// Where a partition stands in the walk.
struct Track {
    next: Offset,
    epoch: LeaderEpoch,
    /// Entries after `next` may have been in damage near this file.
    suspect: Option<FileId>,
}

/// A block whose rows could not all be read; the block behind it tells what was in it.
struct Damaged {
    seq: u64,
    good: Vec<Span>,
    file: FileId,
}

/// Gathers what the lanes hold, oldest lane first.
pub(crate) struct Recovery<'a> {
    index: &'a mut Index,
    recovered: &'a mut Recovered,
    tracks: BTreeMap<TopicPartition, Track>,
    /// Ranges that cannot be read, with the file that they pin.
    holes: BTreeMap<TopicPartition, Vec<(CorruptRange, FileId)>>,
    /// Accepted losses, with the generation of the lane that they are in.
    accepted: Vec<(u64, Span)>,
    /// Damage that hides its partitions was met.
    blind: Option<FileId>,
}

impl<'a> Recovery<'a> {
    pub(crate) const fn new(index: &'a mut Index, recovered: &'a mut Recovered) -> Self {
        Self { index, recovered, tracks: BTreeMap::new(), holes: BTreeMap::new(), accepted: Vec::new(), blind: None }
    }

    /// Takes in a sealed lane. `false` if it holds nothing.
    pub(crate) fn lane(&mut self, lanes: &Lanes, lane: &Lane, end: &LaneEnd) -> Result<bool, Error> {
        let mut files: Vec<LaneFile> = Vec::new();
        files.extend(seal::log_files(lanes, lane, end.last_file)?.into_iter().filter_map(|(_, file)| file));
        if lane.state.first_file <= end.seal_file && has(lanes, lane, end.seal_file)? {
            files.extend(seal::open_file(lanes, lane, end.seal_file, Role::Seal)?);
        }
        let generation = lane.state.generation;
        self.accepted.extend(lane.state.accepted.iter().map(|span| (generation, *span)));
        let files: Vec<Arc<LaneFile>> = files.into_iter().map(Arc::new).collect();
        let pieces: Vec<Piece> = files
            .iter()
            .map(|file| {
                let whole = Piece::whole(Arc::clone(file));
                if file.id.number == end.last_file {
                    Piece { upto: end.position.min(whole.upto), ..whole }
                } else {
                    whole
                }
            })
            .collect();
        for file in &files {
            self.index.add_file(Arc::clone(file), 0);
        }
        let found = self.walk(lane, end, &pieces)?;
        for file in &files {
            self.index.close_file(file.id);
        }
        if found {
            self.recovered.lanes += 1;
        }
        Ok(found)
    }

    fn walk(&mut self, lane: &Lane, end: &LaneEnd, pieces: &[Piece]) -> Result<bool, Error> {
        let mut last_seq = lane.state.first_seq.saturating_sub(1);
        let mut cursor = Cursor::new(pieces, last_seq, Reuse::Unlikely);
        let mut damaged: Option<Damaged> = None;
        let mut found = false;
        let mut entered = 0;
        let mut last_file = pieces.first().map(|piece| piece.file.id);
        while let Some(header) = cursor.next()? {
            let file = cursor.piece().file.id;
            let near = last_file.unwrap_or(file);
            let missing = header.seq - last_seq - 1;
            for piece in pieces.iter().take(cursor.piece_index() + 1).skip(entered) {
                self.index.set_first_seq(piece.file.id, header.seq);
            }
            entered = cursor.piece_index() + 1;
            if missing > 0 {
                found = true;
                let gone = Damaged { seq: header.seq - 1, good: Vec::new(), file: near };
                if missing > 1 {
                    self.lose_sight(lane, format!("blocks {} to {}", last_seq + 1, header.seq - 2), near);
                } else if let Some(earlier) = damaged.take() {
                    self.lose_sight(lane, format!("block {}", earlier.seq), earlier.file);
                }
                damaged = Some(gone);
            }
            if let Some(block) = damaged.take() {
                match cursor.spans(&header)? {
                    Some(spans) => self.explain(&block, &spans),
                    None => self.lose_sight(lane, format!("block {}", block.seq), block.file),
                }
            }
            let table = cursor.table(&header, None)?;
            found |= !table.rows.is_empty();
            if table.damaged {
                let good =
                    table.rows.iter().map(|row| Span { tp: row.tp, base: row.base(), next: row.next() }).collect();
                damaged = Some(Damaged { seq: header.seq, good, file });
                found = true;
            }
            self.block(file, &header, table.rows);
            (last_seq, last_file) = (header.seq, Some(file));
        }
        for piece in pieces.iter().skip(entered) {
            self.index.set_first_seq(piece.file.id, last_seq + 1);
        }
        if last_seq < end.last_seq {
            let near = last_file.unwrap_or(FileId { generation: lane.state.generation, number: end.seal_file });
            self.lose_sight(lane, format!("blocks {} to {}", last_seq + 1, end.last_seq), near);
            found = true;
        }
        Ok(found)
    }

    /// Takes in the readable rows of a block.
    fn block(&mut self, file: FileId, header: &BlockHeader, rows: Vec<Row>) {
        let mut runs = Runs::default();
        for row in rows {
            if let Some(run) = self.row(file, row) {
                runs.push(run);
            }
        }
        let runs = runs.into_runs();
        let mut overhead = header.total_len.saturating_sub(runs.iter().map(|run| run.bytes).sum());
        for run in &runs {
            self.index.push(run, file, header.position..header.end(), std::mem::take(&mut overhead));
        }
    }

    fn row(&mut self, file: FileId, row: Row) -> Option<Run> {
        let (tp, base, next, epoch) = (row.tp, row.base(), row.next(), row.epoch());
        let is_lost = |lost: &Span| lost.tp == tp && lost.base < next && base < lost.next;
        if self.accepted.iter().any(|(generation, lost)| *generation == file.generation && is_lost(lost)) {
            return None;
        }
        match self.tracks.get_mut(&tp) {
            None => {
                if let Some(near) = self.blind.filter(|_| base > Offset::ZERO) {
                    self.hole(tp, Offset::ZERO, Some(base), near);
                }
            }
            Some(track) if base > track.next => {
                // In the same epoch a lane has no gaps. Between epochs another broker may have had the partition.
                let from = track.next;
                let near = if epoch == track.epoch { Some(file) } else { None };
                if let Some(near) = track.suspect.take().or(near) {
                    self.hole(tp, from, Some(base), near);
                }
            }
            Some(track) if base < track.next => {
                if epoch <= track.epoch {
                    self.hole(tp, base, Some(next), file);
                    return None;
                }
                let tail = self.recovered.tails.entry(tp).or_default();
                let base_of = |entry: &TailEntry| Row { header: entry.header, ..row.clone() }.base();
                while tail.last().is_some_and(|entry| base_of(entry) >= base) {
                    tail.pop();
                }
            }
            Some(_) => {}
        }
        self.tracks.insert(tp, Track { next, epoch, suspect: None });
        let bytes = (runnel_format::wal::ROW_LEN as u64) + u64::from(row.body_len);
        let Row { header, append_time, body_len, .. } = row;
        self.recovered.tails.entry(tp).or_default().push(TailEntry { header, append_time, body_len });
        Some(Run { tp, base, next, epoch, bytes })
    }

    /// The block behind a damaged one tells what it held: what of that was not read is lost.
    fn explain(&mut self, block: &Damaged, spans: &[Span]) {
        for span in spans {
            let mut from = span.base;
            if let Some(track) = self.tracks.get_mut(&span.tp)
                && let Some(near) = track.suspect.take()
                && track.next < span.base
            {
                let lost_from = track.next;
                self.hole(span.tp, lost_from, Some(span.base), near);
            }
            for good in block.good.iter().filter(|good| good.tp == span.tp && good.base < span.next) {
                if good.base > from {
                    self.hole(span.tp, from, Some(good.base), block.file);
                }
                from = from.max(good.next);
            }
            if from < span.next {
                self.hole(span.tp, from, Some(span.next), block.file);
                match self.tracks.get_mut(&span.tp) {
                    Some(track) if track.next <= span.next => track.next = span.next,
                    Some(_) => {}
                    None => {
                        let track = Track { next: span.next, epoch: LeaderEpoch(-1), suspect: None };
                        self.tracks.insert(span.tp, track);
                    }
                }
            }
        }
    }

    /// Nothing tells what was in a part of a lane: every partition may have been.
    fn lose_sight(&mut self, lane: &Lane, what: String, near: FileId) {
        tracing::error!(lane = %lane.dir.display(), what, "damage in the local log hides which partitions it hit");
        self.recovered.unattributed.push(format!("{}: {what}", lane.dir.display()));
        for track in self.tracks.values_mut() {
            track.suspect.get_or_insert(near);
        }
        self.blind.get_or_insert(near);
        self.index.keep_hiding(near);
    }

    fn hole(&mut self, tp: TopicPartition, from: Offset, upto: Option<Offset>, near: FileId) {
        let holes = self.holes.entry(tp).or_default();
        let end = |upto: Option<Offset>| upto.unwrap_or(Offset(i64::MAX));
        // The same loss shows twice: as a gap, and in the index of the block behind it.
        match holes.iter_mut().find(|(hole, _)| hole.from <= end(upto) && from <= end(hole.upto)) {
            Some((hole, _)) => {
                hole.from = hole.from.min(from);
                hole.upto = upto.zip(hole.upto).map(|(a, b)| a.max(b));
            }
            None => holes.push((CorruptRange { tp, from, upto }, near)),
        }
    }

    /// Reports the holes.
    pub(crate) fn finish(mut self) {
        let suspects: Vec<(TopicPartition, Offset, FileId)> =
            self.tracks.iter().filter_map(|(tp, track)| Some((*tp, track.next, track.suspect?))).collect();
        for (tp, next, near) in suspects {
            self.hole(tp, next, None, near);
        }
        for (hole, file) in self.holes.into_values().flatten() {
            let end = hole.upto.unwrap_or(Offset(i64::MAX));
            let covers = |lost: &Span| lost.tp == hole.tp && lost.base <= hole.from && end <= lost.next;
            if self.accepted.iter().any(|(_, lost)| covers(lost)) {
                self.recovered.accepted.push(hole);
                continue;
            }
            // Whether it matters is the caller's to say: what is in the bucket needs no log.
            tracing::debug!(tp = %hole.tp, from = %hole.from, upto = ?hole.upto, "the log has nothing here");
            self.recovered.corrupt.push(hole);
            self.index.add_hole(hole, file);
        }
        // What was set aside as a whole is not stepped over: whoever has the offsets now has them in another lane.
        let is_part = |span: &Span| (span.base, span.next) != WHOLE;
        for (generation, span) in self.accepted.iter().filter(|(_, span)| is_part(span)) {
            self.index.accept(*generation, span);
        }
    }
}

fn has(lanes: &Lanes, lane: &Lane, number: u64) -> Result<bool, Error> {
    let path = crate::file::path(&lane.dir, number, Role::Seal);
    match lanes.disk.open(&path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Error::io("opening", path)(error)),
    }
}
