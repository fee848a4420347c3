//! Fixes the end of a lane that an earlier session left: what makes a local failover.
//!
//! Only block headers are read, but for the last block. That one may have been acknowledged, or be torn, or be in
//! the page cache only while its sync failed. So it is checked in full and, if it is whole, copied to a seal file
//! that is synced; then the end is recorded in the lane's state. A crash before that record leaves the lane as it
//! was, and the next start does it all again.

use std::sync::Arc;

use bytes::BytesMut;
use runnel_format::wal::{BlockHeader, BlockKind, FILE_HEADER_LEN, LaneEnd, PAGE, Span};
use runnel_record::Batch;
use runnel_runtime::{FailPoints, Reuse};

use crate::Error;
use crate::block::{self, Place, Run, Runs};
use crate::cursor::{Cursor, Piece};
use crate::entry::Entry;
use crate::file::{self, LaneFile, Role};
use crate::lanes::{Lane, Lanes};
use crate::read::read_range;

/// The end of a lane as its blocks show it.
struct Tail {
    /// Where what is read in place ends.
    last_file: u64,
    position: u64,
    /// The last block, whole but perhaps not on the platter: to be copied.
    block: Option<Copied>,
    /// The footer's number, and what it says of the block before it.
    footer_seq: u64,
    footer_spans: Option<Vec<Span>>,
    torn_bytes: u64,
}

struct Copied {
    seq: u64,
    entries: Vec<Entry>,
    spans: Option<Vec<Span>>,
}

/// Seals a lane; returns the bytes cut as torn.
pub(crate) fn seal(lanes: &Lanes, fail: &FailPoints, lane: &Lane) -> Result<u64, Error> {
    lanes.sweep(&lane.dir, |_, role| role == Role::Log)?;
    let files = log_files(lanes, lane, u64::MAX)?;
    let highest = files.last().map_or(lane.state.first_file, |(number, _)| *number);
    let unreadable = files.iter().filter(|(_, file)| file.is_none()).map(|(number, _)| *number).next_back();
    let pieces: Vec<Piece> = files.into_iter().filter_map(|(_, file)| Some(Piece::whole(Arc::new(file?)))).collect();
    let mut tail = find_tail(lane, &pieces)?;
    // Only a lane that never got its first file has none.
    let vanished = pieces.is_empty() && lane.state.first_file > 1;
    // Where no block was found, the tail is in the first file.
    if vanished || unreadable.is_some_and(|number| number >= tail.last_file) {
        // It may have held the end of the lane. A number left out makes every reader see that something is missing.
        tail.footer_seq += 1;
        tail.footer_spans = None;
    }
    let seal_file = highest + 1;
    lanes.reserve.with(|| write_seal_file(lanes, lane, seal_file, &tail))?;
    fail.hit("wal.seal.copied")?;
    let Tail { last_file, position, footer_seq, torn_bytes, .. } = tail;
    lanes.update(lane.state.generation, |state| {
        state.end = Some(LaneEnd { last_file, position, seal_file, last_seq: footer_seq });
    })?;
    fail.hit("wal.seal.recorded")?;
    Ok(torn_bytes)
}

/// The log files of a lane from its trim pointer up to number `upto`, with `None` for one whose header is damaged.
pub(crate) fn log_files(lanes: &Lanes, lane: &Lane, upto: u64) -> Result<Vec<(u64, Option<LaneFile>)>, Error> {
    let names = lanes.disk.list(&lane.dir).map_err(Error::io("listing", &lane.dir))?;
    let numbers = names
        .iter()
        .filter_map(|name| file::parse(name))
        .filter(|(number, role)| *role == Role::Log && (lane.state.first_file..=upto).contains(number));
    numbers.map(|(number, _)| Ok((number, open_file(lanes, lane, number, Role::Log)?))).collect()
}

/// Opens a file of a lane; `None` if its header is damaged, which is logged.
pub(crate) fn open_file(lanes: &Lanes, lane: &Lane, number: u64, role: Role) -> Result<Option<LaneFile>, Error> {
    let path = file::path(&lane.dir, number, role);
    match LaneFile::open(lanes.disk.as_ref(), &path, &lane.state, number) {
        Ok(file) => Ok(Some(file)),
        Err(error @ Error::Format { source: runnel_format::Error::Corrupt { .. }, .. }) => {
            tracing::error!(%error, "a file of the local log cannot be read");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn find_tail(lane: &Lane, pieces: &[Piece]) -> Result<Tail, Error> {
    let after = lane.state.first_seq.saturating_sub(1);
    // Numbers rise from file to file, so the end is in the last file that holds a block, and what is in front of the
    // last block in that one or the one before.
    let mut start = pieces.len();
    while start > 0 && Cursor::new(&pieces[start..], after, Reuse::Unlikely).next()?.is_none() {
        start -= 1;
    }
    let mut cursor = Cursor::new(&pieces[start.saturating_sub(1)..], after, Reuse::Unlikely);
    let mut last: Option<(BlockHeader, &Piece)> = None;
    let mut before: Option<(BlockHeader, &Piece)> = None;
    while let Some(header) = cursor.next()? {
        before = last.replace((header, cursor.piece()));
    }
    let Some((header, piece)) = last else {
        return Ok(Tail {
            last_file: lane.state.first_file,
            position: FILE_HEADER_LEN as u64,
            block: None,
            footer_seq: lane.state.first_seq,
            footer_spans: Some(Vec::new()),
            torn_bytes: 0,
        });
    };
    let (last_file, position) = (piece.file.id.number, header.position);
    let mut spans = reload(piece, &header, |cursor, header| cursor.spans(header))?;
    if spans.is_none() {
        // Torn: what it would have said of the block before it can be read there.
        spans = match before.filter(|(before, _)| before.seq + 1 == header.seq) {
            Some((before, piece)) => whole_entries(piece, &before)?.map(|entries| spans_of(&entries)),
            None => None,
        };
    }
    match whole_entries(piece, &header)? {
        Some(entries) if !entries.is_empty() => {
            let footer_spans = Some(spans_of(&entries));
            let block = Some(Copied { seq: header.seq, entries, spans });
            Ok(Tail { last_file, position, block, footer_seq: header.seq + 1, footer_spans, torn_bytes: 0 })
        }
        whole => {
            let torn_bytes = if whole.is_none() { header.total_len } else { 0 };
            Ok(Tail { last_file, position, block: None, footer_seq: header.seq, footer_spans: spans, torn_bytes })
        }
    }
}

fn spans_of(entries: &[Entry]) -> Vec<Span> {
    Runs::of(entries).iter().map(Run::span).collect()
}

/// Looks again at a block that a cursor has passed.
fn reload<T>(
    piece: &Piece,
    header: &BlockHeader,
    look: impl FnOnce(&mut Cursor<'_>, &BlockHeader) -> Result<T, Error>,
) -> Result<T, Error> {
    let again = [Piece { from: header.position, ..piece.clone() }];
    let mut cursor = Cursor::new(&again, header.seq - 1, Reuse::Unlikely);
    cursor.next()?;
    look(&mut cursor, header)
}

/// The entries of a block if all of it is as it was written.
fn whole_entries(piece: &Piece, header: &BlockHeader) -> Result<Option<Vec<Entry>>, Error> {
    let table = reload(piece, header, |cursor, header| cursor.table(header, None))?;
    if table.damaged {
        return Ok(None);
    }
    let mut entries = Vec::with_capacity(table.rows.len());
    for row in table.rows {
        let at = header.position + row.body_at;
        let body = read_range(&piece.file, at..at + u64::from(row.body_len), Reuse::Unlikely)?;
        if !row.matches(&body) {
            return Ok(None);
        }
        entries.push(Entry { tp: row.tp, append_time: row.append_time, batch: Batch::from_parts(row.header, body) });
    }
    Ok(Some(entries))
}

/// Writes the seal file and makes it durable, content and name.
fn write_seal_file(lanes: &Lanes, lane: &Lane, number: u64, tail: &Tail) -> Result<(), Error> {
    let disk = lanes.disk.as_ref();
    let path = file::path(&lane.dir, number, Role::Seal);
    let spans = |spans: &Option<Vec<Span>>| spans.as_ref().map_or(0, Vec::len);
    let copied = tail.block.as_ref().map_or(0, |copied| {
        let data = copied.entries.iter().map(|entry| entry.batch.body().len() as u64).sum();
        BlockHeader::block_len(copied.entries.len(), spans(&copied.spans), data)
    });
    let footer = BlockHeader::block_len(0, spans(&tail.footer_spans), 0);
    match disk.remove(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(Error::io("removing", &path)(error)),
        _ => {}
    }
    let len = FILE_HEADER_LEN as u64 + copied + footer;
    let file = LaneFile::create(disk, &path, &lane.state, number, len)?;
    let mut head = BytesMut::with_capacity(PAGE);
    let mut position = FILE_HEADER_LEN as u64;
    if let Some(Copied { seq, entries, spans }) = &tail.block {
        let durable_upto = seq - 1;
        let place = Place { kind: BlockKind::Data, position, seq: *seq, durable_upto, spans: spans.as_deref() };
        position = block::write(&file, place, entries, &mut head).map_err(Error::io("writing", &path))?.end();
    }
    let (seq, spans) = (tail.footer_seq, tail.footer_spans.as_deref());
    let place = Place { kind: BlockKind::End, position, seq, durable_upto: seq - 1, spans };
    block::write(&file, place, &[], &mut head).map_err(Error::io("writing", &path))?;
    file.io.sync().map_err(Error::io("syncing", &path))?;
    disk.sync_dir(&lane.dir).map_err(Error::io("syncing", &lane.dir))
}

/// Removes what a sealed lane has beyond its end and below its trim pointer. A file that cannot be read may hold more
/// than an unused one would, and stays.
pub(crate) fn sweep(lanes: &Lanes, lane: &Lane, end: &LaneEnd) -> Result<(), Error> {
    lanes.sweep(&lane.dir, |number, role| match role {
        Role::Log if number > end.last_file => matches!(open_file(lanes, lane, number, role), Ok(None)),
        Role::Log => number >= lane.state.first_file,
        Role::Seal => number == end.seal_file,
        Role::Next => false,
    })
}
