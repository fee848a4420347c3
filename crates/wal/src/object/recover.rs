//! Reads a sealed lane: its header, the last checkpoint, the headers of the slots behind it, and then of the partitions
//! that are asked for their rows and bodies.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures::stream::{self, StreamExt, TryStreamExt};
use runnel_blob::{Bucket, Key};
use runnel_format::wal::{CHECKPOINT_EVERY, LaneHeader, ROW_LEN, Row, SlotHeader, SlotKind, SlotRun};
use runnel_record::{LeaderEpoch, Offset, TopicPartition};
use uuid::Uuid;

use super::draft::group;
use super::index::Index;
use super::{header, read};
use crate::Error;
use crate::entry::{CorruptRange, StoredBatch, TailEntry};

/// What the first request for a slot reads: header, rows and checkpoint of most.
const HEAD_BYTES: usize = 64 << 10;
/// Requests in flight.
const PARALLEL: usize = 16;

/// A lane that has ended, as its header said when it was opened. Immutable but for slots that are trimmed.
#[derive(Debug)]
pub struct SealedLane {
    bucket: Bucket,
    header: LaneHeader,
    end: u64,
    index: Index,
    /// Slots that cannot be read, and whose content no checkpoint tells.
    damaged: Vec<u64>,
}

/// What a sealed lane holds of some partitions.
#[derive(Debug, Default)]
pub struct Tails {
    /// The batches by partition, in offset order. A tail may start below what is already in the bucket, and has a gap
    /// where a range is corrupt or was held by another broker.
    pub tails: BTreeMap<TopicPartition, Vec<TailEntry>>,
    /// Ranges that cannot be read, or may have been in a slot that cannot. A partition does not open past one that it
    /// has not shipped.
    pub corrupt: Vec<CorruptRange>,
}

impl Tails {
    fn add(&mut self, run: &SlotRun, rows: Option<Vec<Row>>) {
        let Some(rows) = rows else {
            return self.corrupt.push(CorruptRange { tp: run.tp, from: run.base, upto: Some(run.next) });
        };
        let tail = self.tails.entry(run.tp).or_default();
        // Rows from the end of the run on were superseded by a later epoch.
        tail.extend(rows.into_iter().filter(|row| row.base() < run.next).map(|row| {
            let Row { header, append_time, body_len, .. } = row;
            TailEntry { header, append_time, body_len }
        }));
    }
}

/// A slot without its bodies.
struct Head {
    runs: Vec<SlotRun>,
    checkpoint: Option<Vec<SlotRun>>,
}

impl SealedLane {
    /// Opens a lane. Reads the last checkpoint and the headers behind it; without a checkpoint, all headers.
    ///
    /// # Errors
    /// `NotSealed`; `Unavailable` while the bucket does not answer; `Corrupt` or `Unsupported` for the lane's header,
    /// `Unsupported` for a slot. Damaged slots are no error: [`SealedLane::tails`] and [`SealedLane::read`] report them.
    pub async fn open(bucket: &Bucket, lane: Uuid) -> Result<Self, Error> {
        loop {
            let sealed = Self::look(bucket, lane).await?;
            if sealed.damaged.is_empty() {
                return Ok(sealed);
            }
            // What was trimmed while it was looked at is not missing: the pointer had moved before.
            let trim = header::load(bucket, lane).await?.map(|header| header.trim);
            if trim == Some(sealed.header.trim) {
                tracing::error!(%lane, slots = ?sealed.damaged, "slots of an object lane cannot be read");
                return Ok(sealed);
            }
        }
    }

    async fn look(bucket: &Bucket, lane: Uuid) -> Result<Self, Error> {
        let Some(header) = header::load(bucket, lane).await? else { return Err(Error::NotSealed { lane }) };
        let Some(end) = header.end else { return Err(Error::NotSealed { lane }) };
        let (trim, bucket) = (header.trim, bucket.clone());
        let mut sealed = Self { bucket, header, end, index: Index::new(trim), damaged: Vec::new() };
        let from = sealed.last_checkpoint().await?;
        let heads = stream::iter((from..end).map(|slot| head(&sealed.bucket, lane, slot)));
        let mut heads = heads.buffered(PARALLEL).enumerate();
        let (mut runs, mut damaged) = (Vec::new(), Vec::new());
        while let Some((at, found)) = heads.next().await {
            match found? {
                Some(head) => runs.extend(head.runs),
                None => damaged.push(from + at as u64),
            }
        }
        drop(heads);
        runs.into_iter().for_each(|run| sealed.index.push(run));
        sealed.damaged = damaged;
        Ok(sealed)
    }

    /// Takes in the last checkpoint that can be read, and returns the slot that it is in: the first one whose own
    /// content is not known yet.
    async fn last_checkpoint(&mut self) -> Result<u64, Error> {
        let (lane, trim) = (self.header.lane, self.header.trim);
        let mut slot = self.end.saturating_sub(1) / CHECKPOINT_EVERY * CHECKPOINT_EVERY;
        // One in the first slot that is needed speaks of nothing that is.
        while slot > trim {
            if let Some(Head { checkpoint: Some(runs), .. }) = head(&self.bucket, lane, slot).await? {
                runs.into_iter().for_each(|run| self.index.push(run));
                return Ok(slot);
            }
            slot -= CHECKPOINT_EVERY;
        }
        Ok(trim)
    }

    /// The lane.
    pub const fn lane(&self) -> Uuid {
        self.header.lane
    }

    /// The session that wrote it; 0 if it was sealed before it was begun.
    pub const fn session(&self) -> u64 {
        self.header.session
    }

    /// Number of its slots; nothing from there on was acknowledged or is read.
    pub const fn end(&self) -> u64 {
        self.end
    }

    /// The partitions that it holds something of, shipped or not.
    pub fn partitions(&self) -> impl Iterator<Item = TopicPartition> {
        self.index.partitions()
    }

    /// Where its entries of `tp` end; `None` if it has none.
    pub fn end_of(&self, tp: TopicPartition) -> Option<Offset> {
        self.index.of(tp).map(|run| run.next).max()
    }

    /// The last leader epoch of its entries of `tp`; `None` if it has none.
    pub fn epoch_of(&self, tp: TopicPartition) -> Option<LeaderEpoch> {
        self.index.of(tp).map(|run| run.epoch).max()
    }

    /// Slots that cannot be read; any partition may have had entries there.
    pub fn damaged(&self) -> &[u64] {
        &self.damaged
    }

    /// What the lane holds of `wanted`; a request for each slot that has some of it.
    ///
    /// # Errors
    /// `Unavailable` while the bucket does not answer.
    pub async fn tails(&self, wanted: &[TopicPartition]) -> Result<Tails, Error> {
        let mut tails = Tails::default();
        for tp in wanted {
            self.holes(*tp, &mut tails.corrupt);
        }
        let mut slots: BTreeMap<u64, Vec<SlotRun>> = BTreeMap::new();
        for run in wanted.iter().flat_map(|tp| self.index.of(*tp)) {
            slots.entry(run.slot).or_default().push(*run);
        }
        let tables = slots.into_values().map(|runs| read::rows(&self.bucket, self.lane(), runs));
        let mut tables = stream::iter(tables).buffered(PARALLEL);
        while let Some(of_slot) = tables.try_next().await? {
            for (run, rows) in of_slot {
                tails.add(&run, rows);
            }
        }
        Ok(tails)
    }

    /// Reads batches of `tp` from the one that contains `from` on, those that start below `upto`, up to `max_bytes` but
    /// at least one. Empty at the end of the lane.
    ///
    /// # Errors
    /// `Absent` where the lane does not hold `from`, `Corrupt` where it cannot be read (what lies in front of a damaged
    /// batch is returned first), `Unavailable` while the bucket does not answer.
    pub async fn read(
        &self,
        tp: TopicPartition,
        from: Offset,
        upto: Offset,
        max_bytes: usize,
    ) -> Result<Vec<StoredBatch>, Error> {
        let plan = self.index.plan(tp, from, upto, max_bytes, self.end)?;
        read::read(&self.bucket, self.lane(), &plan, from..upto, max_bytes).await
    }

    /// Where entries of `tp` may have been in damaged slots.
    fn holes(&self, tp: TopicPartition, holes: &mut Vec<CorruptRange>) {
        let mut known = (self.header.trim, Offset::ZERO, None);
        for run in self.index.of(tp) {
            let (slot, from, epoch) = known;
            let lost = self.damaged.iter().any(|damaged| (slot..run.slot).contains(damaged));
            // Within an epoch a lane has no gaps, whatever is damaged.
            if from < run.base && (lost || epoch == Some(run.epoch)) {
                holes.push(CorruptRange { tp, from, upto: Some(run.base) });
            }
            known = (run.slot, run.next, Some(run.epoch));
        }
        let (slot, from, _) = known;
        if self.damaged.iter().any(|damaged| *damaged >= slot) {
            holes.push(CorruptRange { tp, from, upto: None });
        }
    }
}

/// The head of a slot; `None` if it is damaged or not there, which is looked at twice.
async fn head(bucket: &Bucket, lane: Uuid, slot: u64) -> Result<Option<Head>, Error> {
    let key = Key::Slot { lane, slot };
    let mut reason = None;
    for _ in 0..2 {
        let Some(start) = bucket.get_start(&key, HEAD_BYTES).await? else { continue };
        match decode_head(bucket, &key, lane, slot, start).await {
            Err(Error::Format { source: source @ runnel_format::Error::Corrupt { .. }, .. }) => reason = Some(source),
            Err(Error::Bucket(error @ runnel_blob::Error::Corrupt { .. })) => {
                tracing::debug!(%error, "a slot is shorter than it says");
            }
            found => return found.map(Some),
        }
    }
    tracing::debug!(%lane, slot, ?reason, "a slot of an object lane cannot be read");
    Ok(None)
}

async fn decode_head(bucket: &Bucket, key: &Key, lane: Uuid, slot: u64, start: Bytes) -> Result<Head, Error> {
    let stored = |source| Error::stored(key, source);
    let header = SlotHeader::decode(&start, lane, slot).map_err(stored)?;
    if header.kind != SlotKind::Data {
        return Err(stored(runnel_format::Error::Corrupt { what: "WAL slot", reason: "a SEAL in front of the end" }));
    }
    let len = usize::try_from(header.data_at()).unwrap_or(usize::MAX);
    let whole = if start.len() < len {
        bucket.get_ranges(key, std::slice::from_ref(&(0..header.data_at()))).await?.into_iter().next().unwrap_or(start)
    } else {
        start
    };
    let (rows, checkpoint) = header.tables(&whole).map_err(stored)?;
    let (seed, bodies) = (SlotHeader::seed(lane, slot), header.data_at()..header.total_len);
    let rows = rows.chunks(ROW_LEN).map(|row| Row::decode_within(row, seed, bodies.clone()));
    let rows = rows.collect::<Result<Vec<Row>, _>>().map_err(stored)?;
    let facts = rows.iter().map(|row| (row.tp, row.epoch(), row.base()..row.next(), u64::from(row.body_len)));
    Ok(Head { runs: group(slot, header.data_at(), facts), checkpoint })
}
