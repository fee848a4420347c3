//! How far behind a group is in time.

use std::time::Duration;

use runnel_api::{Fetch, FetchPartition, FetchRequest, Isolation, TopicKey};
use runnel_record::{Mark, Offset};

use crate::door::Door;
use crate::position::Bounds;
use crate::records::unpack;

/// What takes longer to read is not known: a table of lag must not wait for a slow bucket.
const PATIENCE: Duration = Duration::from_secs(3);

/// The age of the first record from `offset` on that the log still has.
pub(super) async fn age_ms(door: &Door, topic: &TopicKey, partition: i32, offset: i64, bounds: Bounds) -> Option<i64> {
    if offset >= bounds.high_watermark {
        return Some(0);
    }
    let offset = offset.max(bounds.log_start);
    let time = tokio::time::timeout(PATIENCE, timestamp_ms(door, topic, partition, offset)).await.ok()??;
    // A record without a timestamp has −1.
    (time >= 0).then(|| door.clock.now_ms().saturating_sub(time).max(0))
}

async fn timestamp_ms(door: &Door, topic: &TopicKey, partition: i32, offset: i64) -> Option<i64> {
    let wanted = FetchPartition {
        topic: topic.clone(),
        partition,
        offset: Offset(offset),
        max_bytes: 1,
        current_leader_epoch: None,
        last_fetched_epoch: None,
        zone: None,
    };
    let request = FetchRequest {
        max_wait: Duration::ZERO,
        min_bytes: 1,
        max_bytes: 1,
        isolation: Isolation::ReadUncommitted,
        partitions: vec![wanted],
    };
    let fetched = Fetch::fetch(&*door.broker, request).await.pop()?.outcome.ok()?;
    let batch = unpack(fetched.batches.into_iter().next()?).await.ok()?;
    let (record, _) = batch.next(Mark::default(), offset).ok()??;
    Some(record.timestamp_ms)
}
