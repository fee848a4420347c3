//! Reads batches back from slots by ranges: first the rows of all runs, with the bodies where these are small, then
//! the bodies that are wanted. Every row and body is checked; what does not pass is fetched once more before it counts
//! as damaged.

use std::ops::Range;

use bytes::Bytes;
use futures::stream::{self, StreamExt, TryStreamExt};
use runnel_blob::{Bucket, Key};
use runnel_format::wal::{ROW_LEN, Row, SlotHeader, SlotRun};
use runnel_record::{Batch, HEADER_LEN, Offset};
use uuid::Uuid;

use super::header;
use crate::Error;
use crate::entry::StoredBatch;

/// Requests of one read in flight.
const PARALLEL: usize = 8;
/// Bodies of a run that are fetched along with its rows.
const SMALL_BYTES: u64 = 64 << 10;

/// The rows of a run, and its bodies if they were fetched along.
struct Table {
    rows: Vec<Row>,
    bodies: Option<Bytes>,
}

/// Ranges of the slot of a run; `None` if the slot is shorter than it should be, or gone and should not.
async fn fetch(bucket: &Bucket, lane: Uuid, run: &SlotRun, ranges: &[Range<u64>]) -> Result<Option<Vec<Bytes>>, Error> {
    match bucket.get_ranges(&Key::Slot { lane, slot: run.slot }, ranges).await {
        Ok(found) => Ok(Some(found)),
        Err(runnel_blob::Error::Corrupt { .. }) => Ok(None),
        Err(runnel_blob::Error::NotFound { .. }) => {
            // Shipped and deleted since the read was planned, or lost: the pointer tells, which moves first.
            let trim = header::load(bucket, lane).await?.map_or(0, |header| header.trim);
            if run.slot < trim { Err(Error::Absent { tp: run.tp, offset: run.base }) } else { Ok(None) }
        }
        Err(error) => Err(error.into()),
    }
}

/// The rows of runs of one slot, at least one, in one request; `None` for those that are damaged.
pub(crate) async fn rows(
    bucket: &Bucket,
    lane: Uuid,
    runs: Vec<SlotRun>,
) -> Result<Vec<(SlotRun, Option<Vec<Row>>)>, Error> {
    let Some(first) = runs.first() else { return Ok(Vec::new()) };
    let ranges: Vec<_> = runs.iter().map(rows_at).collect();
    let found = fetch(bucket, lane, first, &ranges).await?.unwrap_or_default();
    let mut out = Vec::with_capacity(runs.len());
    for (at, run) in runs.into_iter().enumerate() {
        let decoded = found.get(at).and_then(|bytes| decode_rows(bytes, lane, &run));
        let rows = match decoded {
            Some(rows) => Some(rows),
            // Looked at by itself before it counts as damaged.
            None => table(bucket, lane, run, 0).await?.map(|table| table.rows),
        };
        out.push((run, rows));
    }
    Ok(out)
}

/// Where the rows of a run are in its slot.
fn rows_at(run: &SlotRun) -> Range<u64> {
    SlotHeader::rows_at(&(run.first_row..run.first_row.saturating_add(run.rows)))
}

/// The rows of a run, and its bodies if there are some, of no more than `small` bytes.
async fn table(bucket: &Bucket, lane: Uuid, run: SlotRun, small: u64) -> Result<Option<Table>, Error> {
    let mut ranges = vec![rows_at(&run)];
    if (1..=small).contains(&run.body_len) {
        ranges.push(run.body_at..run.body_at.saturating_add(run.body_len));
    }
    for _ in 0..2 {
        let Some(mut found) = fetch(bucket, lane, &run, &ranges).await? else { continue };
        let bodies = found.drain(1..).next();
        if let Some(rows) = found.first().and_then(|bytes| decode_rows(bytes, lane, &run)) {
            return Ok(Some(Table { rows, bodies }));
        }
    }
    tracing::error!(%lane, slot = run.slot, tp = %run.tp, "rows of an object lane are damaged");
    Ok(None)
}

fn decode_rows(bytes: &[u8], lane: Uuid, run: &SlotRun) -> Option<Vec<Row>> {
    let bodies = run.body_at..run.body_at.checked_add(run.body_len)?;
    let seed = SlotHeader::seed(lane, run.slot);
    let rows = bytes.chunks(ROW_LEN).map(|row| Row::decode_within(row, seed, bodies.clone()).ok());
    let rows: Vec<Row> = rows.collect::<Option<_>>()?;
    let first = rows.first()?.base();
    (first == run.base && rows.iter().all(|row| row.tp == run.tp)).then_some(rows)
}

/// Why a read goes no further.
enum Stop {
    Full,
    Error(Error),
}

/// The batches that `runs`, all of one partition, hold: from the one that contains `range.start` on, those that start
/// below `range.end`, up to `max_bytes` but at least one. What comes before a damaged batch is returned; a read that
/// starts at one fails.
pub(crate) async fn read(
    bucket: &Bucket,
    lane: Uuid,
    runs: &[SlotRun],
    range: Range<Offset>,
    max_bytes: usize,
) -> Result<Vec<StoredBatch>, Error> {
    let tables = runs.iter().copied().map(|run| table(bucket, lane, run, SMALL_BYTES));
    let tables: Vec<_> = stream::iter(tables).buffered(PARALLEL).try_collect().await?;
    let mut chosen = Vec::new();
    let mut choice = Choice { want: range.start, upto: range.end, left: max_bytes, first: true };
    let mut stop = None;
    for (run, table) in runs.iter().zip(tables) {
        let Some(table) = table else {
            stop = Some(Stop::Error(Error::Corrupt { tp: run.tp, range: run.base.max(choice.want)..run.next }));
            break;
        };
        let mut rows = Vec::new();
        stop = choice.of(run, table.rows, &mut rows).err();
        chosen.push((*run, Table { rows, bodies: table.bodies }));
        if stop.is_some() {
            break;
        }
    }
    let bodies = chosen.into_iter().map(|(run, table)| bodies(bucket, lane, run, table));
    let mut bodies = stream::iter(bodies).buffered(PARALLEL);
    let mut out = Vec::new();
    while let Some((good, damaged)) = bodies.try_next().await? {
        out.extend(good);
        if let Some(error) = damaged {
            stop = Some(Stop::Error(error));
            break;
        }
    }
    match stop {
        Some(Stop::Error(error)) if out.is_empty() => Err(error),
        _ => Ok(out),
    }
}

/// Which rows a read takes.
struct Choice {
    /// The offset due next.
    want: Offset,
    upto: Offset,
    left: usize,
    first: bool,
}

impl Choice {
    fn of(&mut self, run: &SlotRun, rows: Vec<Row>, taken: &mut Vec<Row>) -> Result<(), Stop> {
        for row in rows {
            // Rows from the end of the run on were superseded by a later epoch.
            if row.next() <= self.want || row.base() >= run.next {
                continue;
            }
            if row.base() >= self.upto {
                return Err(Stop::Full);
            }
            if row.base() > self.want {
                return Err(Stop::Error(Error::Absent { tp: run.tp, offset: self.want }));
            }
            let len = HEADER_LEN + row.body_len as usize;
            if !self.first && len > self.left {
                return Err(Stop::Full);
            }
            self.left = self.left.saturating_sub(len);
            self.first = false;
            self.want = row.next();
            taken.push(row);
        }
        Ok(())
    }
}

/// The batches of neighbouring rows of one run up to the first that is damaged, and what is wrong with that.
async fn bodies(
    bucket: &Bucket,
    lane: Uuid,
    run: SlotRun,
    table: Table,
) -> Result<(Vec<StoredBatch>, Option<Error>), Error> {
    let Table { rows, bodies } = table;
    let (Some(first), Some(last)) = (rows.first(), rows.last()) else { return Ok((Vec::new(), None)) };
    let wanted = first.body_at..last.body_at.saturating_add(u64::from(last.body_len));
    // What was found, and where in the slot that starts.
    let (found, start) = match bodies {
        Some(bodies) => (Some(bodies), run.body_at),
        None => (part(bucket, lane, &run, wanted.clone()).await?, wanted.start),
    };
    let mut out = Vec::with_capacity(rows.len());
    for row in rows {
        let range = row.body_at..row.body_at + u64::from(row.body_len);
        let here = found.as_ref().and_then(|found| slice(found, start, &range));
        let mut body = here.filter(|body| row.matches(body));
        if body.is_none() {
            body = part(bucket, lane, &run, range).await?.filter(|body| row.matches(body));
        }
        let Some(body) = body else {
            tracing::error!(%lane, slot = run.slot, tp = %run.tp, offset = %row.base(), "a batch of an object lane is damaged");
            return Ok((out, Some(Error::Corrupt { tp: run.tp, range: row.base()..row.next() })));
        };
        out.push(StoredBatch { batch: Batch::from_parts(row.header, body), append_time: row.append_time });
    }
    Ok((out, None))
}

/// One range of the slot of a run, which may be empty.
async fn part(bucket: &Bucket, lane: Uuid, run: &SlotRun, range: Range<u64>) -> Result<Option<Bytes>, Error> {
    if range.is_empty() {
        return Ok(Some(Bytes::new()));
    }
    Ok(fetch(bucket, lane, run, std::slice::from_ref(&range)).await?.and_then(|found| found.into_iter().next()))
}

/// What `range` of a slot is in `found`, which starts at `start` there.
fn slice(found: &Bytes, start: u64, range: &Range<u64>) -> Option<Bytes> {
    let from = usize::try_from(range.start.checked_sub(start)?).ok()?;
    let to = usize::try_from(range.end.checked_sub(start)?).ok()?;
    (from <= to && to <= found.len()).then(|| found.slice(from..to))
}
