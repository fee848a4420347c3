//! Reads of what is no longer in the memory tail: from the lane while it is not shipped, then from segments through
//! the cache.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::{StreamExt, stream};
use runnel_api::{Error, ErrorKind, Room};
use runnel_blob::{Bucket, Key};
use runnel_cache::{BlockCache, BlockKey, Class};
use runnel_format::manifest::SegmentRef;
use runnel_record::{Batch, Offset};
use runnel_runtime::simulation::blocking;
use runnel_runtime::{Chore, Reuse, background};
use runnel_segment::{Run, Segment, decode_run};
use uuid::Uuid;

use crate::error::{cache_error, lane_error, segment_error};
use crate::lanes::Lanes;
use crate::partition::Partition;
use crate::readahead::{Readahead, Window, Windows};
use crate::room::{self, Rooms};
use crate::shipped::Shipped;

/// Open segments (parsed footers) that are kept.
const MAX_HANDLES: usize = 1_024;

/// Parsed footers of segments that were read lately, least recently used out first.
#[derive(Debug, Default)]
pub(crate) struct SegmentHandles(Mutex<Handles>);

#[derive(Debug, Default)]
struct Handles {
    clock: u64,
    by_id: BTreeMap<Uuid, (u64, Segment)>,
    /// Segments whose damage was reported in the log; once is enough.
    damaged: BTreeSet<Uuid>,
}

impl SegmentHandles {
    fn get(&self, id: Uuid) -> Option<Segment> {
        let mut handles = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        handles.clock += 1;
        let now = handles.clock;
        let (used, segment) = handles.by_id.get_mut(&id)?;
        *used = now;
        Some(segment.clone())
    }

    /// Reports damage, the first time.
    fn report(&self, id: Uuid, object: &Key, error: &Error) {
        let first = self.0.lock().unwrap_or_else(PoisonError::into_inner).damaged.insert(id);
        if first {
            metrics::counter!("runnel_damage_total", "where" => "segment").increment(1);
            tracing::error!(object = object.path(), %error, "a segment is damaged: restore the object");
        }
    }

    fn put(&self, id: Uuid, segment: &Segment) {
        let mut handles = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        handles.clock += 1;
        let now = handles.clock;
        handles.by_id.insert(id, (now, segment.clone()));
        if handles.by_id.len() > MAX_HANDLES {
            let oldest = handles.by_id.iter().min_by_key(|(_, (used, _))| *used).map(|(id, _)| *id);
            oldest.map(|id| handles.by_id.remove(&id));
        }
    }
}

/// Partitions whose next runs are loaded side by side for one reader.
const BROUGHT_AT_ONCE: usize = 16;

/// A reader among so many runs at the end of the log was with those who read the tail until something moved it or them.
/// Whoever is further behind waits for a processor that nobody else wants.
const AT_THE_END: usize = 8;

/// Reads the log and the segments of any partition.
pub(crate) struct ColdReader {
    pub(crate) bucket: Bucket,
    pub(crate) log: Lanes,
    pub(crate) cache: BlockCache,
    pub(crate) segments: SegmentHandles,
    pub(crate) readahead: Mutex<Readahead>,
    pub(crate) windows: Mutex<Windows>,
    /// Memory for reads of the log, and of the bucket.
    pub(crate) log_room: Rooms,
    pub(crate) bucket_room: Rooms,
}

impl ColdReader {
    /// Reads whole batches from the one that holds `from`, at most about `max_bytes`, at least one. Without `wait`
    /// there may be none, for lack of room.
    pub(crate) async fn read(
        self: &Arc<Self>,
        partition: &Arc<Partition>,
        from: Offset,
        upto: Offset,
        max_bytes: usize,
        wait: bool,
    ) -> Result<(Vec<Batch>, Room), Error> {
        let max_bytes = max_bytes.min(room::MOST);
        if from >= partition.shipped() {
            let Some(room) = self.log_room.take(max_bytes, wait).await else { return Ok(Default::default()) };
            let read = self.log.read(partition.tp, from, upto, max_bytes, Reuse::Likely).await;
            match read {
                Ok(stored) if !stored.is_empty() => {
                    let batches: Vec<Batch> = stored.into_iter().map(|s| s.batch).collect();
                    count_bytes("wal", &batches);
                    return Ok((batches, room));
                }
                // Shipped and trimmed since we looked: it is in a segment now.
                _ if from < partition.shipped() => {}
                Ok(_) => {
                    return Err(Error::new(
                        ErrorKind::Corrupt,
                        format!("offset {from} of {} is neither in memory, in the log, nor shipped", partition.label()),
                    ));
                }
                Err(error) => return Err(lane_error(&error)),
            }
        }
        self.read_shipped(&partition.archive, from, upto, max_bytes, wait).await
    }

    /// The same, of what is shipped; `from` must be.
    pub(crate) async fn read_shipped(
        self: &Arc<Self>,
        archive: &Arc<Shipped>,
        from: Offset,
        upto: Offset,
        max_bytes: usize,
        wait: bool,
    ) -> Result<(Vec<Batch>, Room), Error> {
        let max_bytes = max_bytes.min(room::MOST);
        let Some(room) = self.bucket_room.take(max_bytes, wait).await else { return Ok(Default::default()) };
        let (cold, archive) = (Arc::clone(self), Arc::clone(archive));
        // Goes on when its reader has lost patience: the next attempt finds what it brought in the cache.
        let read = tokio::spawn(async move {
            let batches = cold.read_segments(&archive, from, upto, max_bytes).await?;
            count_bytes("segment", &batches);
            Ok((batches, room))
        });
        read.await.map_err(|e| Error::new(ErrorKind::Internal, format!("a read failed: {e}")))?
    }

    async fn read_segments(
        self: &Arc<Self>,
        archive: &Arc<Shipped>,
        from: Offset,
        upto: Offset,
        max_bytes: usize,
    ) -> Result<Vec<Batch>, Error> {
        let (mut at, mut bytes, mut found) = (from, 0, Vec::new());
        let end = upto.min(archive.end());
        while at < end {
            // Taken to be as large as the last: no run is loaded and waited for to learn that nothing of it fits.
            if found.last().is_some_and(|last: &Batch| bytes + last.len() > max_bytes) {
                return Ok(found);
            }
            let (reference, segment, run, run_batches) = match self.read_run_at(archive, at).await {
                // The reader hears of it when it gets there; what lies in front is good.
                Err(_) if !found.is_empty() => return Ok(found),
                read => read?,
            };
            self.read_ahead(archive, reference, segment, &run);
            // Up to `upto` only: more may have been committed and shipped since the reader looked.
            for batch in run_batches.into_iter().filter(|b| b.next_offset() > at && b.next_offset() <= upto) {
                if !found.is_empty() && bytes + batch.len() > max_bytes {
                    return Ok(found);
                }
                bytes += batch.len();
                found.push(batch);
            }
            at = run.next;
        }
        Ok(found)
    }

    /// The batches of the run that holds `offset`.
    pub(crate) async fn read_run_at(
        &self,
        archive: &Shipped,
        offset: Offset,
    ) -> Result<(SegmentRef, Segment, Run, Vec<Batch>), Error> {
        let mut reference = self.find(archive, offset).await?;
        loop {
            let error = match self.read_run_of(archive, &reference, offset).await {
                Ok((segment, run, batches)) => return Ok((reference, segment, run, batches)),
                Err(error) => error,
            };
            // A merge may have replaced the segment while it was read.
            let now = self.find(archive, offset).await?;
            if now.id == reference.id {
                if error.kind == ErrorKind::Corrupt {
                    self.segments.report(reference.id, &archive.key(&reference), &error);
                }
                return Err(error);
            }
            reference = now;
        }
    }

    /// The segment that holds `offset` now.
    async fn find(&self, archive: &Shipped, offset: Offset) -> Result<SegmentRef, Error> {
        archive.snapshot().find(offset).await.map_err(|e| segment_error(&e))?.ok_or_else(|| {
            let what = format!("no segment of {} holds offset {offset}", archive.label());
            Error::new(ErrorKind::Corrupt, what)
        })
    }

    async fn read_run_of(
        &self,
        archive: &Shipped,
        reference: &SegmentRef,
        offset: Offset,
    ) -> Result<(Segment, Run, Vec<Batch>), Error> {
        let (segment, run, bytes) = self.load_run(archive, reference, offset).await?;
        let batches = decode_run(&bytes).map_err(|e| segment_error(&e))?.into_iter().map(|s| s.batch).collect();
        Ok((segment, run, batches))
    }

    async fn load_run(
        &self,
        archive: &Shipped,
        reference: &SegmentRef,
        offset: Offset,
    ) -> Result<(Segment, Run, Bytes), Error> {
        let segment = self.segment(archive, reference).await?;
        let run = segment.run_for(offset).cloned().ok_or_else(|| {
            Error::new(ErrorKind::Corrupt, format!("segment {} does not hold offset {offset}", reference.id))
        })?;
        let expected = self.readahead.lock().unwrap_or_else(PoisonError::into_inner).expects(archive.tp, run.base);
        let ahead = expected.then_some(run.index + 1);
        let bytes = self.run_bytes(archive, reference, &segment, run.index, ahead).await?;
        Ok((segment, run, bytes))
    }

    /// Begins to load what a reader of several partitions will want next, side by side: it asks for one after the other,
    /// and each may take the bucket two answers.
    pub(crate) fn bring(self: &Arc<Self>, wanted: Vec<(Arc<Partition>, Offset)>) {
        let cold = Arc::clone(self);
        tokio::spawn(stream::iter(wanted).for_each_concurrent(BROUGHT_AT_ONCE, move |(partition, offset)| {
            let cold = Arc::clone(&cold);
            async move { cold.warm(&partition.archive, offset).await }
        }));
    }

    /// Loads the run that holds `offset`, for a reader who is not there yet.
    async fn warm(&self, archive: &Shipped, offset: Offset) {
        // Without room the reader will wait for it, in its turn.
        let Some(_room) = self.bucket_room.take(0, false).await else { return };
        if let Ok(reference) = self.find(archive, offset).await {
            // A failure shows when the reader gets there.
            drop(self.load_run(archive, &reference, offset).await);
        }
    }

    async fn segment(&self, archive: &Shipped, reference: &SegmentRef) -> Result<Segment, Error> {
        if let Some(segment) = self.segments.get(reference.id) {
            return Ok(segment);
        }
        let key = archive.key(reference);
        let segment = Segment::open(&self.bucket, &key, reference.bytes).await.map_err(|e| segment_error(&e))?;
        self.segments.put(reference.id, &segment);
        Ok(segment)
    }

    /// `ahead` ends the runs that are to be read from this one on, and says that their reader goes on behind them.
    async fn run_bytes(
        &self,
        archive: &Shipped,
        reference: &SegmentRef,
        segment: &Segment,
        run: u32,
        ahead: Option<u32>,
    ) -> Result<Bytes, Error> {
        // The newest segment is what a reader that just fell behind the tail wants; everything older is replay, and
        // must not push that out.
        let class = if reference.next == archive.end() { Class::Hot } else { Class::Backfill };
        let urgent = class == Class::Hot && run as usize + AT_THE_END >= segment.runs().len();
        let load = || async move {
            let window = self.window(reference.id, segment, run, ahead);
            let fetched = window.fetched.get_or_try_init(|| segment.fetch(window.runs.clone())).await?.clone();
            let segment = segment.clone();
            let decode = move || segment.decode(run, &fetched);
            let decoded = if urgent { blocking(decode).await } else { background(Chore::Replay, decode).await }?;
            let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
            windows.unpacked(reference.id, run, decoded.is_ok());
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(decoded?)
        };
        let key = BlockKey { segment: reference.id, run };
        self.cache.get_or_load(key, class, load).await.map_err(|e| cache_error(&e))
    }

    /// What is fetched along with a run.
    fn window(&self, id: Uuid, segment: &Segment, run: u32, ahead: Option<u32>) -> Arc<Window> {
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        let stored = |run| {
            let is_here = self.cache.contains(&BlockKey { segment: id, run });
            segment.stored_bytes(run).ok().filter(|_| !is_here)
        };
        match ahead {
            Some(end) => windows.at(id, run..end, stored),
            None => windows.find(id, run).unwrap_or_else(|| Window::new(run..run + 1)),
        }
    }

    /// Loads the runs that a sequential reader will want next, in the background.
    fn read_ahead(self: &Arc<Self>, archive: &Arc<Shipped>, reference: SegmentRef, segment: Segment, run: &Run) {
        let next = {
            let mut readahead = self.readahead.lock().unwrap_or_else(PoisonError::into_inner);
            readahead.read(archive.tp, segment.runs(), run.index as usize)
        };
        if next.runs.is_empty() && !next.crosses {
            return;
        }
        let (reader, archive) = (Arc::clone(self), Arc::clone(archive));
        tokio::spawn(async move {
            let runs = &segment.runs()[next.runs];
            let end = runs.last().map(|last| last.index + 1);
            for index in runs.iter().map(|run| run.index) {
                // A failure shows when the reader gets there; reading ahead only warms the cache.
                if reader.run_bytes(&archive, &reference, &segment, index, end).await.is_err() {
                    return;
                }
            }
            if next.crosses && reference.next < archive.end() {
                reader.warm(&archive, reference.next).await;
            }
        });
    }
}

fn count_bytes(source: &'static str, batches: &[Batch]) {
    let bytes = batches.iter().map(|b| b.len() as u64).sum();
    metrics::counter!("runnel_fetch_bytes_total", "source" => source).increment(bytes);
}
