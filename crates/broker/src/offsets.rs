//! Finding offsets: by name, by timestamp, by epoch.

use async_trait::async_trait;
use runnel_api::{
    EpochEnd, Error, ErrorKind, Isolation, ListedOffset, OffsetSpec, Offsets, Standing, TopicKey, check_epoch,
};
use runnel_record::{Batch, LeaderEpoch, Offset, TimestampMs};

use std::sync::Arc;

use crate::Broker;
use crate::error::{record_error, segment_error};
use crate::partition::Partition;
use crate::produce::MAX_INFLATED_BYTES;

#[async_trait]
impl Offsets for Broker {
    async fn list_offset(
        &self,
        topic: &TopicKey,
        partition: i32,
        spec: OffsetSpec,
        _isolation: Isolation,
        current_leader_epoch: Option<LeaderEpoch>,
    ) -> Result<Option<ListedOffset>, Error> {
        let partition = self.open_partition(topic, partition).await?;
        check_epoch(partition.epoch, current_leader_epoch)?;
        let listed = self.look_up(&partition, spec).await;
        // After what was looked at (protocol §10, L1).
        self.check_lease()?;
        listed
    }

    async fn epoch_end(
        &self,
        topic: &TopicKey,
        partition: i32,
        epoch: LeaderEpoch,
        current_leader_epoch: Option<LeaderEpoch>,
    ) -> Result<Option<EpochEnd>, Error> {
        let partition = self.open_partition(topic, partition).await?;
        check_epoch(partition.epoch, current_leader_epoch)?;
        let end = partition.epoch_end(epoch).await;
        self.check_lease()?;
        end
    }

    async fn standing(&self, topic: &TopicKey, partition: i32, epoch: LeaderEpoch) -> Result<Standing, Error> {
        let partition = self.open_partition(topic, partition).await?;
        check_epoch(partition.epoch, Some(epoch))?;
        let (log_start, shipped) = (partition.log_start(), partition.shipped());
        let high_watermark = partition.watermark.get();
        self.check_lease()?;
        Ok(Standing { log_start, shipped, high_watermark })
    }

    async fn ends(&self, partitions: &[(TopicKey, i32)]) -> Vec<Option<Offset>> {
        let end = |(topic, partition): &(TopicKey, i32)| {
            let end = self.topics.partition_if_open(topic, *partition)?.watermark.get();
            self.check_lease().ok().map(|()| end)
        };
        partitions.iter().map(end).collect()
    }
}

impl Broker {
    async fn look_up(&self, partition: &Arc<Partition>, spec: OffsetSpec) -> Result<Option<ListedOffset>, Error> {
        let named =
            |offset| Some(ListedOffset { offset, timestamp: TimestampMs::NONE, leader_epoch: Some(partition.epoch) });
        match spec {
            OffsetSpec::Earliest => Ok(named(partition.log_start())),
            // Without transactions the last stable offset is the high watermark.
            OffsetSpec::Latest => Ok(named(partition.watermark.get())),
            // KIP-1005: the last offset that is in remote storage, or none.
            OffsetSpec::LatestTiered => match partition.shipped() {
                end if end > partition.log_start() => Ok(named(Offset(end.0 - 1))),
                _ => Ok(None),
            },
            OffsetSpec::MaxTimestamp => self.max_timestamp(partition).await,
            OffsetSpec::Timestamp(wanted) => self.by_timestamp(partition, wanted).await,
        }
    }

    /// The first record, in offset order, whose timestamp is at or after `wanted`.
    async fn by_timestamp(
        &self,
        partition: &Arc<Partition>,
        wanted: TimestampMs,
    ) -> Result<Option<ListedOffset>, Error> {
        // Before the look at the manifest: what is shipped in between shows in both, and not in neither.
        let unshipped = partition.first_unshipped_at_or_after(wanted).await?;
        let shipped = partition.snapshot().find_by_timestamp(wanted).await.map_err(|e| segment_error(&e))?;
        if let Some(reference) = shipped {
            let mut at = reference.base.max(partition.log_start());
            while at < reference.next {
                let (_, _, run, batches) = self.cold.read_run_at(&partition.archive, at).await?;
                if let Some(found) = first_at_or_after(&batches, wanted, partition.log_start())? {
                    return Ok(Some(found));
                }
                at = run.next;
            }
        }
        let Some(base) = unshipped else { return Ok(None) };
        let (batches, _room) = self.read(partition, base, partition.watermark.get(), 1, true).await?;
        first_at_or_after(&batches, wanted, partition.log_start())
    }

    /// The first record with the largest timestamp.
    async fn max_timestamp(&self, partition: &Arc<Partition>) -> Result<Option<ListedOffset>, Error> {
        // In this order for the same reason as above.
        let unshipped = partition.unshipped_max_timestamp().await?;
        let shipped = partition.snapshot().max_timestamp().await.map_err(|e| segment_error(&e))?;
        let shipped = shipped
            .filter(|s| s.max_timestamp_offset >= partition.log_start() && s.max_timestamp > TimestampMs::NONE)
            .map(|s| (s.max_timestamp, s.max_timestamp_offset));
        match (shipped, unshipped) {
            (None, None) => Ok(None),
            (Some((timestamp, offset)), unshipped) if unshipped.is_none_or(|(newer, _)| newer <= timestamp) => {
                Ok(Some(ListedOffset { offset, timestamp, leader_epoch: Some(partition.epoch) }))
            }
            (_, Some((timestamp, base))) => {
                let (batches, _room) = self.read(partition, base, partition.watermark.get(), 1, true).await?;
                first_at_or_after(&batches, timestamp, partition.log_start())
            }
            (Some(_), None) => Ok(None),
        }
    }
}

/// Walks records for the first whose timestamp is at or after `wanted`.
fn first_at_or_after(batches: &[Batch], wanted: TimestampMs, log_start: Offset) -> Result<Option<ListedOffset>, Error> {
    for batch in batches.iter().filter(|b| b.max_timestamp() >= wanted) {
        let found =
            |offset, timestamp| Ok(Some(ListedOffset { offset, timestamp, leader_epoch: Some(batch.leader_epoch()) }));
        let body = batch.inflate(MAX_INFLATED_BYTES).map_err(|e| record_error(&e))?;
        for record in body.records() {
            let record = record.map_err(|e| Error::new(ErrorKind::Corrupt, e.to_string()))?;
            let offset = batch.base_offset().plus(i64::from(record.offset_delta));
            // With log-append time every record has the batch's time, whatever its delta says.
            let timestamp = if batch.is_log_append_time() {
                batch.max_timestamp()
            } else {
                TimestampMs(batch.base_timestamp().0 + record.timestamp_delta)
            };
            if timestamp >= wanted && offset >= log_start {
                return found(offset, timestamp);
            }
        }
    }
    Ok(None)
}
