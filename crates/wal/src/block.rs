//! Builds a block from entries and writes it without copying their bodies.

use std::collections::BTreeMap;
use std::io::{self, IoSlice};

use bytes::BytesMut;
use runnel_format::wal::{BLOCK_HEADER_LEN, BlockHeader, BlockKind, PAGE, ROW_LEN, Row, SPAN_LEN, Span, seeded_crc};
use runnel_record::{LeaderEpoch, Offset, TopicPartition};

use crate::entry::Entry;
use crate::file::LaneFile;

static PADDING: [u8; PAGE] = [0; PAGE];

/// Consecutive batches of one partition in one block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) tp: TopicPartition,
    pub(crate) base: Offset,
    pub(crate) next: Offset,
    pub(crate) epoch: LeaderEpoch,
    /// Bytes of rows and bodies.
    pub(crate) bytes: u64,
}

impl Run {
    pub(crate) const fn span(&self) -> Span {
        Span { tp: self.tp, base: self.base, next: self.next }
    }
}

/// Collects runs from batches in lane order.
#[derive(Debug, Default)]
pub(crate) struct Runs {
    runs: Vec<Run>,
    latest: BTreeMap<TopicPartition, usize>,
}

impl Runs {
    pub(crate) fn of(entries: &[Entry]) -> Vec<Run> {
        let mut runs = Self::default();
        for Entry { tp, batch, .. } in entries {
            runs.push(Run {
                tp: *tp,
                base: batch.base_offset(),
                next: batch.next_offset(),
                epoch: batch.leader_epoch(),
                bytes: (ROW_LEN + batch.body().len()) as u64,
            });
        }
        runs.runs
    }

    pub(crate) fn push(&mut self, run: Run) {
        let neighbour = self.runs.last().filter(|last| last.tp == run.tp).map(|_| self.runs.len() - 1);
        let at = neighbour.or_else(|| self.latest.get(&run.tp).copied());
        match at.and_then(|at| self.runs.get_mut(at)) {
            Some(last) if (last.next, last.epoch) == (run.base, run.epoch) => {
                last.next = run.next;
                last.bytes += run.bytes;
            }
            _ => {
                self.latest.insert(run.tp, self.runs.len());
                self.runs.push(run);
            }
        }
    }

    pub(crate) fn into_runs(self) -> Vec<Run> {
        self.runs
    }
}

/// Where a block goes and what it says of those before it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) kind: BlockKind,
    pub(crate) position: u64,
    pub(crate) seq: u64,
    pub(crate) durable_upto: u64,
    /// Content of the block before, if known.
    pub(crate) spans: Option<&'a [Span]>,
}

/// Writes a block of `entries` into `file`; `head` is a buffer to reuse. The caller syncs.
pub(crate) fn write(
    file: &LaneFile,
    place: Place<'_>,
    entries: &[Entry],
    head: &mut BytesMut,
) -> io::Result<BlockHeader> {
    let header = encode_head(file, place, entries, head);
    let mut parts = Vec::with_capacity(entries.len() + 2);
    parts.push(IoSlice::new(head));
    parts.extend(entries.iter().map(|entry| IoSlice::new(entry.batch.body())));
    let padding = usize::try_from(header.total_len - header.data_at() - header.data_len).unwrap_or(0);
    parts.push(IoSlice::new(&PADDING[..padding]));
    file.io.write_at(&parts, header.position)?;
    Ok(header)
}

/// Everything in front of the bodies.
fn encode_head(file: &LaneFile, place: Place<'_>, entries: &[Entry], head: &mut BytesMut) -> BlockHeader {
    let spans = place.spans.unwrap_or_default();
    let rows_end = BLOCK_HEADER_LEN + entries.len() * ROW_LEN;
    let data_at = rows_end + spans.len() * SPAN_LEN;
    head.clear();
    head.reserve(data_at);
    head.resize(BLOCK_HEADER_LEN, 0);
    let mut body_at = data_at as u64;
    for Entry { tp, append_time, batch } in entries {
        // Entries are at most as long as a file, and Kafka's lengths are 31 bits.
        let body_len = u32::try_from(batch.body().len()).unwrap_or(u32::MAX);
        let row = Row { tp: *tp, append_time: *append_time, body_at, body_len, header: *batch.header() };
        row.encode(file.seed, head);
        body_at += u64::from(body_len);
    }
    for span in spans {
        span.encode(head);
    }
    let data_len = body_at - data_at as u64;
    let header = BlockHeader {
        kind: place.kind,
        file: file.id.number,
        position: place.position,
        seq: place.seq,
        durable_upto: place.durable_upto,
        total_len: BlockHeader::block_len(entries.len(), spans.len(), data_len),
        data_len,
        rows: u32::try_from(entries.len()).unwrap_or(u32::MAX),
        spans: place.spans.map(|spans| u32::try_from(spans.len()).unwrap_or(u32::MAX)),
        rows_crc: seeded_crc(file.seed, &head[BLOCK_HEADER_LEN..rows_end]),
        spans_crc: seeded_crc(file.seed, &head[rows_end..]),
    };
    head[..BLOCK_HEADER_LEN].copy_from_slice(&header.encode(file.seed));
    header
}
