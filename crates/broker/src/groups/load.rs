//! A coordinator comes back from its partition of `__consumer_offsets`: the last record of each key counts. How much there
//! is to read is bounded by checkpoints ([`super::live`]).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use runnel_api::{Error, ErrorKind};
use runnel_record::Batch;

use super::coordinator::Coordinator;
use crate::error::record_error;
use crate::produce::MAX_INFLATED_BYTES;

/// Bytes read at once.
const READ_BYTES: usize = 4 << 20;

/// Waiting times after a failure: doubled each time, up to the second.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

impl Coordinator {
    /// Reads the whole partition, for as long as it takes. False if it can never be read.
    pub(super) async fn load(&mut self) -> bool {
        let mut pause = BACKOFF.0;
        loop {
            match self.try_load().await {
                Ok(records) => {
                    let (partition, groups) = (self.partition, self.shard.len());
                    tracing::debug!(partition, records, groups, "loaded a group coordinator");
                    return true;
                }
                Err(error) if error.kind == ErrorKind::NotLeader => return false,
                Err(error) => {
                    let partition = self.partition;
                    tracing::warn!(partition, %error, "a group coordinator cannot load yet");
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(BACKOFF.1);
        }
    }

    async fn try_load(&mut self) -> Result<u64, Error> {
        let broker = Arc::clone(&self.broker);
        let _turn = broker.groups.loading.acquire().await;
        let partition = broker.open_in(&self.topic, self.partition).await?;
        if partition.is_blocked() {
            // What can still be read ends before the damage: older offsets would be told as if they were the last.
            let what = format!("{} is damaged: its groups wait until that is repaired or accepted", partition.label());
            return Err(Error::new(ErrorKind::Corrupt, what));
        }
        // What was read before a failure is read again: the records of a key come in the same order.
        let (mut at, end) = (partition.log_start(), partition.watermark.get());
        let mut records = 0;
        while at < end {
            let (batches, _room) = broker.read(&partition, at, end, READ_BYTES, true).await?;
            let Some(last) = batches.last() else {
                let what = format!("offset {at} of {} is not there", partition.label());
                return Err(Error::new(ErrorKind::Corrupt, what));
            };
            at = last.next_offset();
            for batch in &batches {
                records += self.load_batch(batch)?;
            }
        }
        self.home = Some(partition);
        self.look_around();
        self.shard.loaded(self.now());
        self.look_around();
        Ok(records)
    }

    fn load_batch(&mut self, batch: &Batch) -> Result<u64, Error> {
        let body = batch.inflate(MAX_INFLATED_BYTES).map_err(|e| record_error(&e))?;
        let mut records = 0;
        for record in body.records() {
            let record = record.map_err(|e| record_error(&e))?;
            records += 1;
            let Some(key) = record.key else { continue };
            // Going on without it would bring back the value that it replaced.
            self.shard.load(key, record.value).map_err(|error| {
                let offset = batch.base_offset().plus(i64::from(record.offset_delta));
                let what = format!("cannot read the record at offset {offset} of __consumer_offsets: {error}");
                Error::new(ErrorKind::Corrupt, what)
            })?;
            // Copies: a few bytes must not hold on to the whole batch.
            self.live.note(Bytes::copy_from_slice(key), record.value.map(Bytes::copy_from_slice));
        }
        Ok(records)
    }
}
