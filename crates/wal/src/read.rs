//! Reads batches back from the lanes. Every row and body is checked.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use runnel_format::wal::{BlockHeader, Row};
use runnel_record::{Batch, Offset, TopicPartition};

use crate::Error;
use crate::cursor::{Cursor, Piece};
use crate::entry::StoredBatch;
use crate::file::LaneFile;
use crate::index::Plan;

/// Bytes of others between two bodies that are read along rather than skipped: about what a system call costs, and
/// little enough not to hold much memory that nobody asked for.
const MAX_GAP: u64 = 2 << 10;

/// One read through its plan.
pub(crate) struct Read {
    tp: TopicPartition,
    upto: Offset,
    max_bytes: usize,
    plan: Plan,
    /// The offset due next.
    want: Offset,
    out: Vec<StoredBatch>,
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
) -> Result<Vec<StoredBatch>, Error> {
    let mut read = Read { tp, upto, max_bytes, want: from, plan, out: Vec::new(), bytes: 0 };
    let pieces = std::mem::take(&mut read.plan.pieces);
    for (piece, next) in &pieces {
        match read.piece(piece, *next) {
            Ok(()) => {}
            Err(Stop::Failed(error)) => return Err(error),
            Err(Stop::Done) => break,
            Err(_) if !read.out.is_empty() => break,
            Err(Stop::Damaged(range)) => return Err(Error::Corrupt { tp, range }),
            Err(Stop::Absent) => return Err(Error::Absent { tp, offset: from }),
        }
    }
    Ok(read.out)
}

impl Read {
    /// Reads the entries of one stretch, which end at `next`.
    fn piece(&mut self, piece: &Piece, next: Offset) -> Result<(), Stop> {
        let mut cursor = Cursor::new(std::slice::from_ref(piece), 0);
        let mut due = piece.from;
        let mut damaged = false;
        while let Some(header) = cursor.next()? {
            let table = cursor.table(&header, Some(self.tp))?;
            damaged |= header.position != due || table.damaged;
            due = header.end();
            let mut rows = Vec::new();
            let mut stop = Ok(());
            for row in table.rows {
                // Rows from `next` on were superseded by a later epoch.
                if row.base() < next && stop.is_ok() {
                    stop = self.choose(row, piece.file.id.generation, damaged, &mut rows);
                }
            }
            self.bodies(&piece.file, &header, rows)?;
            stop?;
        }
        self.want = self.plan.step_over(self.want, next);
        if self.want < next.min(self.upto) { Err(Stop::Damaged(self.want..next)) } else { Ok(()) }
    }

    /// Takes a row if it is due.
    fn choose(&mut self, row: Row, generation: u64, damaged: bool, rows: &mut Vec<Row>) -> Result<(), Stop> {
        let (base, next) = (row.base(), row.next());
        if next <= self.want {
            return Ok(());
        }
        if base >= self.upto {
            return Err(Stop::Done);
        }
        if self.plan.is_lost(generation, &(base..next)) {
            self.want = self.plan.step_over(self.want, base).max(next);
            return Ok(());
        }
        self.want = self.plan.step_over(self.want, base);
        if base > self.want {
            return Err(if damaged { Stop::Damaged(self.want..base) } else { Stop::Absent });
        }
        let len = Batch::from_parts(row.header, Bytes::new()).len() + row.body_len as usize;
        let first = self.out.is_empty() && rows.is_empty();
        if !first && self.bytes + len > self.max_bytes {
            return Err(Stop::Done);
        }
        self.bytes += len;
        self.want = next;
        rows.push(row);
        Ok(())
    }

    /// Reads the bodies of rows of one block, neighbours in one go.
    fn bodies(&mut self, file: &LaneFile, block: &BlockHeader, rows: Vec<Row>) -> Result<(), Stop> {
        let mut rows = rows.into_iter().peekable();
        while let Some(first) = rows.next() {
            let start = first.body_at;
            let mut end = start + u64::from(first.body_len);
            let mut group = vec![first];
            while let Some(row) = rows.next_if(|row| row.body_at >= end && row.body_at - end <= MAX_GAP) {
                end = row.body_at + u64::from(row.body_len);
                group.push(row);
            }
            let bytes = read_range(file, block.position + start..block.position + end)?;
            for row in group {
                let at = usize::try_from(row.body_at - start).unwrap_or(usize::MAX);
                let body = bytes.slice(at..at + row.body_len as usize);
                if !row.matches(&body) {
                    tracing::error!(tp = %self.tp, offset = %row.base(), file = %file.path.display(), "a batch in the local log is damaged");
                    return Err(Stop::Damaged(row.base()..row.next()));
                }
                self.out.push(StoredBatch { batch: Batch::from_parts(row.header, body), append_time: row.append_time });
            }
        }
        Ok(())
    }
}

/// Bytes of a file; the range was checked to lie in it.
pub(crate) fn read_range(file: &LaneFile, range: Range<u64>) -> Result<Bytes, Error> {
    let len = usize::try_from(range.end.saturating_sub(range.start).min(file.len)).unwrap_or(usize::MAX);
    let mut bytes = BytesMut::zeroed(len);
    file.io.read_exact_at(&mut bytes, range.start).map_err(Error::io("reading", &file.path))?;
    Ok(bytes.freeze())
}
