//! SealSegments.

use std::time::Duration;

use futures::{StreamExt, stream};
use runnel_api::{Segments, TopicKey};
use runnel_proto::admin::v1::{SealSegmentsRequest, SealSegmentsResponse, seal_segments_response::SealedPartition};

use crate::door::{Door, duration};
use crate::error::Failure;

/// How long a seal waits for the bucket.
const WAIT: Duration = Duration::from_secs(60);
const MAX_WAIT: Duration = Duration::from_secs(3600);

/// Partitions that wait side by side.
const AT_ONCE: usize = 256;

pub(crate) async fn seal(door: &Door, request: SealSegmentsRequest) -> Result<SealSegmentsResponse, Failure> {
    let partitions = door.partitions(&request.topic, request.partitions).await?;
    let wait = duration(request.timeout_ms, WAIT, Duration::ZERO, MAX_WAIT);
    let wait = if request.wait { wait } else { Duration::ZERO };
    let topic = TopicKey::Name(request.topic);
    let sealed = partitions.into_iter().map(|partition| {
        let topic = &topic;
        async move {
            match Segments::seal(&*door.broker, topic, partition, wait).await {
                Ok(sealed) => SealedPartition {
                    partition,
                    sealed_offset: sealed.sealed.0,
                    shipped_offset: sealed.shipped.0,
                    error: None,
                },
                Err(error) => {
                    let error = Some(Failure::from(error).into_proto());
                    SealedPartition { partition, error, ..SealedPartition::default() }
                }
            }
        }
    });
    let partitions = stream::iter(sealed).buffered(AT_ONCE).collect().await;
    Ok(SealSegmentsResponse { partitions })
}
