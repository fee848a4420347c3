//! Serving reads: memory tail, then lane, then segments through the cache; never above the high watermark.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use runnel_api::{
    DivergingEpoch, Error, ErrorKind, Fetch, FetchPartition, FetchRequest, Fetched, FetchedPartition, Room, TopicKey,
    check_epoch, diverging,
};
use runnel_record::{Batch, Offset};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::Broker;
use crate::partition::Partition;
use crate::tail::TailRead;

/// How long the reads of one pass may take together. A bucket that hangs must not keep a consumer from what is in memory,
/// and the consumer must hear of it before it gives up (30 s in most clients).
const PATIENCE: Duration = Duration::from_secs(10);

/// What every read gets even if those before it took all of [`PATIENCE`]: enough for one from the log or the cache.
const LEAST: Duration = Duration::from_millis(100);

/// What one pass over the partitions found.
struct Pass {
    results: Vec<FetchedPartition>,
    bytes: usize,
    /// An error, a diverging epoch or somebody else to ask: the client should hear of it at once.
    urgent: bool,
}

#[async_trait]
impl Fetch for Broker {
    #[tracing::instrument(name = "fetch", level = "debug", skip_all, fields(partitions = request.partitions.len()))]
    async fn fetch(&self, request: FetchRequest) -> Vec<FetchedPartition> {
        let deadline = Instant::now() + request.max_wait;
        let pass = self.fetch_pass(&request).await;
        if pass.urgent || pass.bytes >= request.min_bytes || request.max_wait == Duration::ZERO {
            return pass.results;
        }
        // What was read takes up room that others wait for.
        drop(pass);
        let watched = self.watched(&request.partitions);
        let starts: Vec<Offset> = watched.iter().map(|partition| partition.log_start()).collect();
        let notify = Arc::new(Notify::new());
        loop {
            // Registered before the pass, so that a rise during it is not missed.
            let waiting: Vec<_> = watched.iter().map(|p| p.watermark.wait(&notify)).collect();
            let pass = self.fetch_pass(&request).await;
            let expired = Instant::now() >= deadline || self.stopping();
            // Brokers that read for their zones answer on what they were told last.
            let trimmed = watched.iter().zip(&starts).any(|(partition, start)| partition.log_start() > *start);
            if pass.urgent || pass.bytes >= request.min_bytes || trimmed || expired {
                return pass.results;
            }
            tokio::select! {
                biased;
                () = self.stop_signal.triggered() => {}
                () = notify.notified() => {}
                () = tokio::time::sleep_until(deadline) => {}
            }
            drop(waiting);
        }
    }
}

impl Broker {
    fn watched(&self, partitions: &[FetchPartition]) -> Vec<Arc<Partition>> {
        partitions.iter().filter_map(|p| self.topics.partition_if_open(&p.topic, p.partition)).collect()
    }

    async fn fetch_pass(&self, request: &FetchRequest) -> Pass {
        let mut pass = Pass { results: Vec::with_capacity(request.partitions.len()), bytes: 0, urgent: false };
        let patience = Instant::now() + PATIENCE;
        let mut brought = false;
        for (index, wanted) in request.partitions.iter().enumerate() {
            let left = request.max_bytes.saturating_sub(pass.bytes);
            // Only the very first batch of a response may break its limit (KIP-74).
            let limit = if pass.bytes == 0 {
                Some(wanted.max_bytes.min(left))
            } else {
                (left > 0).then_some(wanted.max_bytes.min(left))
            };
            let outcome = self.fetch_one(wanted, limit, pass.bytes == 0, patience).await;
            match &outcome {
                Ok(fetched) => {
                    pass.bytes += fetched.batches.iter().map(Batch::len).sum::<usize>();
                    pass.urgent |= fetched.diverging.is_some() || fetched.reader.is_some();
                    // Who is behind in one partition is so in others, most of the time.
                    if fetched.room.is_taken() && !brought {
                        brought = true;
                        self.bring(&request.partitions[index + 1..], request.max_bytes.saturating_sub(pass.bytes));
                    }
                }
                Err(_) => pass.urgent = true,
            }
            pass.results.push(FetchedPartition { topic: wanted.topic.clone(), partition: wanted.partition, outcome });
        }
        pass
    }

    /// Has the bucket asked for those of `next` that only it holds, as far as they fit into `bytes`.
    fn bring(&self, next: &[FetchPartition], mut bytes: usize) {
        let mut wanted = Vec::new();
        for p in next {
            if bytes == 0 {
                break;
            }
            bytes = bytes.saturating_sub(p.max_bytes);
            wanted.extend(self.topics.partition_if_open(&p.topic, p.partition).map(|partition| (partition, p.offset)));
        }
        wanted.retain(|(p, offset)| (p.log_start()..p.shipped()).contains(offset) && p.tail.is_past(*offset));
        if !wanted.is_empty() {
            self.cold.bring(wanted);
        }
    }

    async fn fetch_one(
        &self,
        wanted: &FetchPartition,
        limit: Option<usize>,
        first: bool,
        patience: Instant,
    ) -> Result<Fetched, Error> {
        let partition = self.open_partition(&wanted.topic, wanted.partition).await?;
        check_epoch(partition.epoch, wanted.current_leader_epoch)?;
        let outcome = self.fetch_from(&partition, wanted, limit, first, patience).await;
        // After the watermark was taken (protocol §10, L1).
        self.check_lease()?;
        let sends_back = |fetched: &Fetched| fetched.diverging.is_some();
        if outcome.as_ref().map_or_else(|error| error.kind == ErrorKind::OffsetOutOfRange, sends_back) {
            self.confirm_session().await?;
        }
        outcome
    }

    async fn fetch_from(
        &self,
        partition: &Arc<Partition>,
        wanted: &FetchPartition,
        limit: Option<usize>,
        first: bool,
        patience: Instant,
    ) -> Result<Fetched, Error> {
        // Taken once: an answer with nothing in it and a watermark above the wanted offset would tell of a hole.
        let high_watermark = partition.watermark.get();
        let fetched = |batches, room| {
            let (last_stable_offset, log_start) = (high_watermark, partition.log_start().min(high_watermark));
            let (diverging, reader) = (None, None);
            Fetched { batches, high_watermark, last_stable_offset, log_start, diverging, reader, room }
        };
        if let Some(diverging) = self.diverging(partition, wanted).await? {
            return Ok(Fetched { diverging: Some(diverging), ..fetched(Vec::new(), Room::default()) });
        }
        check_range(&wanted.topic, wanted.offset, partition.log_start(), high_watermark)?;
        if let Some(reader) = self.reader_in(wanted.zone.as_deref(), partition.tp) {
            return Ok(Fetched { reader: Some(reader), ..fetched(Vec::new(), Room::default()) });
        }
        let (batches, room) = match limit {
            Some(max_bytes) if wanted.offset < high_watermark => {
                // Only with empty hands is room waited for.
                let read = self.read(partition, wanted.offset, high_watermark, max_bytes, first);
                let until = patience.max(Instant::now() + LEAST);
                let read = tokio::time::timeout_at(until, read).await.map_err(|_| too_slow(wanted))?;
                let (mut batches, room) = match read {
                    Ok(read) => read,
                    // What was read may have been deleted meanwhile, with its time over.
                    Err(error) => {
                        check_range(&wanted.topic, wanted.offset, partition.log_start(), high_watermark)?;
                        return Err(error);
                    }
                };
                if !first {
                    truncate_to(&mut batches, max_bytes);
                }
                partition.passed(batches.iter().map(Batch::len).sum());
                (batches, room)
            }
            _ => Default::default(),
        };
        Ok(fetched(batches, room))
    }

    /// Reads whole batches from `from`; the first one is returned whatever its size. Without `wait` there may be none,
    /// for lack of room.
    pub(crate) async fn read(
        &self,
        partition: &Arc<Partition>,
        from: Offset,
        upto: Offset,
        max_bytes: usize,
        wait: bool,
    ) -> Result<(Vec<Batch>, Room), Error> {
        let (batches, room) = match partition.tail.read(from, upto, max_bytes) {
            TailRead::Found(found) => {
                metrics::counter!("runnel_fetch_bytes_total", "source" => "memory")
                    .increment(found.iter().map(|b| b.batch.len() as u64).sum());
                (found.into_iter().map(|b| b.batch).collect(), Room::default())
            }
            TailRead::Older => self.cold.read(partition, from, upto, max_bytes, wait).await?,
        };
        // Invariant 22 at the last gate before the wire.
        debug_assert!(batches.iter().all(|b: &Batch| b.next_offset() <= upto));
        Ok((batches, room))
    }

    /// KIP-595's check: where the client's last epoch ends here, if that is before the client's position.
    async fn diverging(&self, partition: &Partition, wanted: &FetchPartition) -> Result<Option<DivergingEpoch>, Error> {
        let Some(last) = wanted.last_fetched_epoch.filter(|e| e.0 >= 0) else { return Ok(None) };
        let Some(end) = partition.epoch_end(last).await? else { return Ok(None) };
        Ok(diverging(last, end, wanted.offset))
    }
}

fn check_range(topic: &TopicKey, offset: Offset, log_start: Offset, high_watermark: Offset) -> Result<(), Error> {
    if offset < log_start || offset > high_watermark {
        return Err(Error::new(
            ErrorKind::OffsetOutOfRange,
            format!("offset {offset} of {topic} is out of range: the log holds {log_start} to {high_watermark}"),
        ));
    }
    Ok(())
}

fn too_slow(wanted: &FetchPartition) -> Error {
    let (offset, topic, partition) = (wanted.offset, &wanted.topic, wanted.partition);
    Error::new(
        ErrorKind::StorageError,
        format!(
            "offset {offset} of {topic}-{partition} was not read in time: the bucket, or the disk of the log, is slow"
        ),
    )
}

/// Drops what exceeds the limit when an earlier partition already made the response non-empty.
fn truncate_to(batches: &mut Vec<Batch>, max_bytes: usize) {
    let mut bytes = 0;
    batches.retain(|batch| {
        bytes += batch.len();
        bytes <= max_bytes
    });
}
