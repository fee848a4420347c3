//! One batch of a coordinator's records on its way to the log.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use runnel_api::{Error, ErrorKind};
use runnel_partition::Terms;
use runnel_record::build::{BatchBuilder, BatchFields};
use runnel_record::{Batch, Codec, Offset, TimestampMs};
use tokio::time::Instant;

use crate::Broker;
use crate::error::record_error;
use crate::partition::Partition;

/// Bytes of records that go into one batch; a larger record is one by itself.
const BATCH_BYTES: usize = 1 << 20;

/// How long a write that the log refused for the moment waits before it is tried again.
const AGAIN: Duration = Duration::from_millis(100);

/// A write has no deadline of its own: a record that may be stored or not is worse than one that comes late.
const NO_DEADLINE: Duration = Duration::from_secs(24 * 3600);

pub(super) struct Write {
    batch: Result<Batch, Error>,
    records: u64,
    /// Bytes of keys and values.
    pub(super) bytes: usize,
}

impl Write {
    /// Takes the records of one batch off the queue.
    pub(super) fn take(queue: &mut VecDeque<(Bytes, Option<Bytes>)>, now_ms: i64) -> Self {
        let mut builder =
            BatchBuilder::new(BatchFields { base_timestamp: TimestampMs(now_ms), ..BatchFields::default() });
        let (mut bytes, mut failed) = (0, None);
        while let Some((key, value)) = queue.front() {
            let size = key.len() + value.as_ref().map_or(0, Bytes::len);
            if bytes > 0 && bytes + size > BATCH_BYTES {
                break;
            }
            let pushed = builder.push(builder.record_count(), 0, Some(key), value.as_deref(), []);
            failed = failed.or(pushed.err());
            bytes += size;
            queue.pop_front();
        }
        let records = u64::try_from(builder.record_count()).unwrap_or(0);
        let batch = failed.map_or_else(|| builder.build(Codec::None), Err);
        Self { batch: batch.map_err(|error| record_error(&error)), records, bytes }
    }

    /// Resolves once the records are durable. A log that takes nothing for the moment is asked again
    /// for as long as it takes: the coordinator believes them already.
    pub(super) async fn run(self, broker: Arc<Broker>, partition: Arc<Partition>) -> Result<Written, Error> {
        let batch = self.batch?;
        loop {
            match broker.append_own(&partition, batch.clone()).await {
                Ok(base) => return Ok(Written { partition, base, records: self.records }),
                Err(error) if is_passing(error.kind) => {
                    tracing::debug!(partition = partition.label(), %error, "a coordinator waits for its log");
                }
                Err(error) => return Err(error),
            }
            tokio::time::sleep(AGAIN).await;
        }
    }
}

/// Records that are durable.
pub(super) struct Written {
    pub(super) partition: Arc<Partition>,
    /// Offset of the first; the others follow it.
    pub(super) base: Offset,
    pub(super) records: u64,
}

/// Whether the log may take the records later.
fn is_passing(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Throttled | ErrorKind::StorageError | ErrorKind::LeaderNotAvailable | ErrorKind::TimedOut)
}

impl Broker {
    /// Appends a batch of ours to a partition of an internal topic; resolves when it is durable.
    async fn append_own(&self, target: &Partition, batch: Batch) -> Result<Offset, Error> {
        let _admitted = self.admit()?;
        let deadline = Instant::now() + NO_DEADLINE;
        let terms = Terms { log_append_time: false, expected_offset: None };
        let pending = target.enqueue(batch, terms, deadline, target.entrance.arrive()).await?;
        Ok(target.outcome(pending, deadline).await?.base_offset)
    }
}
