//! Reads batches back from the lanes. Every row and body is checked.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use runnel_format::wal::Row;
use runnel_record::{Batch, Offset, TopicPartition};
use runnel_runtime::Reuse;

use crate::Error;
use crate::cursor::{Cursor, Piece};
use crate::entry::StoredBatch;
use crate::file::LaneFile;
use crate::index::Plan;

/// Bytes of others between two bodies that are read along rather than skipped: about what a system call costs, and
/// little enough not to hold much memory that nobody asked for.
const MAX_GAP: u64 = 2 << 10;

/// A batch that was chosen.
struct Chosen {
    row: Row,
    file: Arc<LaneFile>,
    /// Where its body is in the file.
    body: Range<u64>,
    /// The body, where it was read along with the table.
    at_hand: Option<Bytes>,
}

/// The choice of a read: walks through the tables of its plan.
struct Choice {
    tp: TopicPartition,
    upto: Offset,
    max_bytes: usize,
    reuse: Reuse,
    plan: Plan,
    /// The offset due next.
    want: Offset,
    chosen: Vec<Chosen>,
    bytes: usize,
}

/// Why a read goes no further.
enum Stop {
    /// It has what it may have.
    Done,
    /// The offset due next cannot be read; the range that is known to be bad.
    Damaged(Range<Offset>),
    /// The offset due next is not in the lanes.
    Absent,
    Failed(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// The batches of `tp` from the one that contains `from` on, below `upto`, up to `max_bytes` but at least one. What
/// comes before a damaged batch is returned; a read that starts at one fails.
pub(crate) fn read(
    plan: Plan,
    tp: TopicPartition,
    from: Offset,
    upto: Offset,
    max_bytes: usize,
    reuse: Reuse,
) -> Result<Vec<StoredBatch>, Error> {
    let choose =
        |plan: Plan, reuse| Choice { tp, upto, max_bytes, reuse, plan, want: from, chosen: Vec::new(), bytes: 0 };
    if reuse == Reuse::Likely {
        match choose(plan.clone(), reuse).read() {
            // Writes go past the page cache. Whatever it may have missed, the disk has the last word.
            Err(Error::Corrupt { .. }) => {}
            read => return read,
        }
    }
    choose(plan, Reuse::Unlikely).read()
}

impl Choice {
    fn read(mut self) -> Result<Vec<StoredBatch>, Error> {
        let (tp, from) = (self.tp, self.want);
        for (piece, next) in &std::mem::take(&mut self.plan.pieces) {
            match self.piece(piece, *next) {
                Ok(()) => {}
                Err(Stop::Failed(error)) => return Err(error),
                Err(Stop::Done) => break,
                Err(_) if !self.chosen.is_empty() => break,
                Err(Stop::Damaged(range)) => return Err(Error::Corrupt { tp, range }),
                Err(Stop::Absent) => return Err(Error::Absent { tp, offset: from }),
            }
        }
        bodies(tp, self.chosen, self.reuse)
    }

    /// Chooses entries of one stretch, which end at `next`.
    fn piece(&mut self, piece: &Piece, next: Offset) -> Result<(), Stop> {
        let mut cursor = Cursor::new(std::slice::from_ref(piece), 0, self.reuse);
        let mut due = piece.from;
        let mut damaged = false;
        while let Some(header) = cursor.next()? {
            let table = cursor.table(&header, Some(self.tp))?;
            damaged |= header.position != due || table.damaged;
            due = header.end();
            for row in table.rows {
                // Rows from `next` on were superseded by a later epoch.
                if row.base() < next && self.is_due(&row, piece.file.id.generation, damaged)? {
                    let body = header.position + row.body_at..header.position + row.body_at + u64::from(row.body_len);
                    let at_hand = cursor.at_hand(body.start, row.body_len as usize).map(Bytes::copy_from_slice);
                    self.chosen.push(Chosen { row, file: Arc::clone(&piece.file), body, at_hand });
                }
            }
        }
        self.want = self.plan.step_over(self.want, next);
        if self.want < next.min(self.upto) { Err(Stop::Damaged(self.want..next)) } else { Ok(()) }
    }

    /// Whether a row is the one that is due. If so, the next one is.
    fn is_due(&mut self, row: &Row, generation: u64, damaged: bool) -> Result<bool, Stop> {
        let (base, next) = (row.base(), row.next());
        if next <= self.want {
            return Ok(false);
        }
        if base >= self.upto {
            return Err(Stop::Done);
        }
        if self.plan.is_lost(generation, &(base..next)) {
            self.want = self.plan.step_over(self.want, base).max(next);
            return Ok(false);
        }
        self.want = self.plan.step_over(self.want, base);
        if base > self.want {
            return Err(if damaged { Stop::Damaged(self.want..base) } else { Stop::Absent });
        }
        let len = Batch::from_parts(row.header, Bytes::new()).len() + row.body_len as usize;
        if !self.chosen.is_empty() && self.bytes + len > self.max_bytes {
            return Err(Stop::Done);
        }
        self.bytes += len;
        self.want = next;
        Ok(true)
    }
}

/// Reads the bodies of what was chosen, neighbours in one go, and checks them.
fn bodies(tp: TopicPartition, mut chosen: Vec<Chosen>, reuse: Reuse) -> Result<Vec<StoredBatch>, Error> {
    let groups: Vec<&mut [Chosen]> = chosen.chunk_by_mut(are_neighbours).collect();
    if reuse == Reuse::Likely && groups.len() > 1 {
        for group in &groups {
            if let Some((file, range)) = range_of(group) {
                file.io.prefetch(range);
            }
        }
    }
    let mut out = Vec::new();
    for group in groups {
        let read = match range_of(group) {
            Some((file, range)) => Some((range.start, read_range(file, range, reuse)?)),
            None => None,
        };
        for one in group {
            let body = match (one.at_hand.take(), &read) {
                (Some(body), _) => body,
                (None, Some((start, bytes))) => {
                    let at = usize::try_from(one.body.start - start).unwrap_or(usize::MAX);
                    bytes.slice(at..at + one.row.body_len as usize)
                }
                (None, None) => Bytes::new(),
            };
            let Chosen { row, file, .. } = one;
            if !row.matches(&body) {
                if reuse == Reuse::Unlikely {
                    tracing::error!(%tp, offset = %row.base(), file = %file.path.display(), "a batch in the local log is damaged");
                }
                return if out.is_empty() {
                    Err(Error::Corrupt { tp, range: row.base()..row.next() })
                } else {
                    Ok(out)
                };
            }
            out.push(StoredBatch { batch: Batch::from_parts(row.header, body), append_time: row.append_time });
        }
    }
    Ok(out)
}

/// Whether two bodies are read together.
fn are_neighbours(one: &Chosen, next: &Chosen) -> bool {
    let gap = next.body.start.checked_sub(one.body.end);
    Arc::ptr_eq(&one.file, &next.file)
        && one.at_hand.is_some() == next.at_hand.is_some()
        && gap.is_some_and(|gap| gap <= MAX_GAP)
}

/// What is to be read for neighbours; `None` if they are at hand.
fn range_of(group: &[Chosen]) -> Option<(&LaneFile, Range<u64>)> {
    let (first, last) = (group.first()?, group.last()?);
    first.at_hand.is_none().then_some((&*first.file, first.body.start..last.body.end))
}

/// Bytes of a file; the range was checked to lie in it.
pub(crate) fn read_range(file: &LaneFile, range: Range<u64>, reuse: Reuse) -> Result<Bytes, Error> {
    let len = usize::try_from(range.end.saturating_sub(range.start).min(file.len)).unwrap_or(usize::MAX);
    let bytes = file.io.read_exact_at(len, range.start, reuse).map_err(Error::io("reading", &file.path))?;
    Ok(bytes.into())
}
