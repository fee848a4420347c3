//! Reads batches back from slots by ranges: first the rows of all runs, then the bodies that are wanted. Every row and
//! body is checked; what does not pass is fetched once more before it counts as damaged.

use std::ops::Range;

use bytes::Bytes;
use futures::stream::{self, StreamExt, TryStreamExt};
use runnel_blob::{Bucket, Key};
use runnel_format::wal::{ROW_LEN, Row, SlotHeader, SlotRun};
use runnel_record::{Batch, HEADER_LEN, Offset, TopicPartition};
use uuid::Uuid;

use crate::Error;
use crate::entry::StoredBatch;

/// Requests of one read in flight.
const PARALLEL: usize = 8;

/// A range of a slot; `None` if it is not there, or shorter than it should be.
async fn fetch(bucket: &Bucket, lane: Uuid, slot: u64, range: Range<u64>) -> Result<Option<Bytes>, Error> {
    if range.is_empty() {
        return Ok(Some(Bytes::new()));
    }
    match bucket.get_ranges(&Key::Slot { lane, slot }, std::slice::from_ref(&range)).await {
        Ok(found) => Ok(found.into_iter().next()),
        Err(runnel_blob::Error::NotFound { .. } | runnel_blob::Error::Corrupt { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The rows of a run; `None` if they are damaged.
pub(crate) async fn rows(bucket: &Bucket, lane: Uuid, run: SlotRun) -> Result<Option<Vec<Row>>, Error> {
    let at = SlotHeader::rows_at(&(run.first_row..run.first_row.saturating_add(run.rows)));
    for _ in 0..2 {
        let found = fetch(bucket, lane, run.slot, at.clone()).await?;
        if let Some(rows) = found.and_then(|bytes| decode_rows(&bytes, lane, &run)) {
            return Ok(Some(rows));
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

/// The batches of `tp` that `runs` hold, from the one that contains `range.start` on, those that start below
/// `range.end`, up to `max_bytes` but at least one. What comes before a damaged batch is returned; a read that starts
/// at one fails.
pub(crate) async fn read(
    bucket: &Bucket,
    lane: Uuid,
    tp: TopicPartition,
    runs: &[SlotRun],
    range: Range<Offset>,
    max_bytes: usize,
) -> Result<Vec<StoredBatch>, Error> {
    let tables = stream::iter(runs.iter().copied().map(|run| rows(bucket, lane, run))).buffered(PARALLEL);
    let tables: Vec<_> = tables.try_collect().await?;
    let mut chosen: Vec<(u64, Vec<Row>)> = Vec::new();
    let mut choice = Choice { tp, want: range.start, upto: range.end, left: max_bytes, first: true };
    let mut stop = None;
    for (run, table) in runs.iter().zip(tables) {
        let mut taken = Vec::new();
        stop = choice.of(run, table, &mut taken).err();
        chosen.push((run.slot, taken));
        if stop.is_some() {
            break;
        }
    }
    let bodies = chosen.into_iter().map(|(slot, rows)| bodies(bucket, lane, slot, rows));
    let mut bodies = stream::iter(bodies).buffered(PARALLEL);
    let mut out = Vec::new();
    while let Some((good, damaged)) = bodies.try_next().await? {
        out.extend(good);
        if let Some(range) = damaged {
            stop = Some(Stop::Error(Error::Corrupt { tp, range }));
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
    tp: TopicPartition,
    /// The offset due next.
    want: Offset,
    upto: Offset,
    left: usize,
    first: bool,
}

impl Choice {
    fn of(&mut self, run: &SlotRun, table: Option<Vec<Row>>, taken: &mut Vec<Row>) -> Result<(), Stop> {
        let tp = self.tp;
        let Some(rows) = table else {
            return Err(Stop::Error(Error::Corrupt { tp, range: run.base.max(self.want)..run.next }));
        };
        for row in rows {
            // Rows from the end of the run on were superseded by a later epoch.
            if row.next() <= self.want || row.base() >= run.next {
                continue;
            }
            if row.base() >= self.upto {
                return Err(Stop::Full);
            }
            if row.base() > self.want {
                return Err(Stop::Error(Error::Absent { tp, offset: self.want }));
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

/// The batches of neighbouring rows of one slot up to the first that is damaged, and the offsets of that.
async fn bodies(
    bucket: &Bucket,
    lane: Uuid,
    slot: u64,
    rows: Vec<Row>,
) -> Result<(Vec<StoredBatch>, Option<Range<Offset>>), Error> {
    let (Some(first), Some(last)) = (rows.first(), rows.last()) else { return Ok((Vec::new(), None)) };
    let (start, end) = (first.body_at, last.body_at.saturating_add(u64::from(last.body_len)));
    let found = fetch(bucket, lane, slot, start..end.max(start)).await?;
    let mut out = Vec::with_capacity(rows.len());
    for row in rows {
        let range = row.body_at..row.body_at + u64::from(row.body_len);
        let in_found = range.start.checked_sub(start).and_then(|at| usize::try_from(at).ok()).and_then(|at| {
            let found = found.as_ref()?;
            let end = at.checked_add(row.body_len as usize)?;
            (end <= found.len()).then(|| found.slice(at..end))
        });
        let mut body = in_found.filter(|body| row.matches(body));
        if body.is_none() {
            body = fetch(bucket, lane, slot, range).await?.filter(|body| row.matches(body));
        }
        let Some(body) = body else {
            tracing::error!(%lane, slot, tp = %row.tp, offset = %row.base(), "a batch of an object lane is damaged");
            return Ok((out, Some(row.base()..row.next())));
        };
        out.push(StoredBatch { batch: Batch::from_parts(row.header, body), append_time: row.append_time });
    }
    Ok((out, None))
}
