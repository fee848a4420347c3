//! TrimTopic.

use std::time::Duration;

use futures::{StreamExt, stream};
use runnel_api::{Segments, TopicKey};
use runnel_proto::admin::v1::{TrimTopicRequest, TrimTopicResponse, trim_topic_response::TrimmedPartition};
use runnel_record::Offset;

use crate::door::{Door, duration};
use crate::error::Failure;

/// How long a trim waits for the bucket.
const WAIT: Duration = Duration::from_secs(60);
const MAX_WAIT: Duration = Duration::from_secs(3600);

/// Partitions that are trimmed side by side.
const AT_ONCE: usize = 256;

pub(crate) async fn trim(door: &Door, request: TrimTopicRequest) -> Result<TrimTopicResponse, Failure> {
    let partitions = door.partitions(&request.name, request.partitions).await?;
    let wait = duration(request.timeout_ms, WAIT, Duration::ZERO, MAX_WAIT);
    let (topic, before) = (TopicKey::Name(request.name), request.before_offset.map(Offset));
    let trimmed = partitions.into_iter().map(|partition| {
        let topic = &topic;
        async move {
            match Segments::delete_records(&*door.broker, topic, partition, before, wait).await {
                Ok(log_start) => TrimmedPartition { partition, log_start_offset: log_start.0, error: None },
                Err(error) => {
                    let error = Some(Failure::from(error).into_proto());
                    TrimmedPartition { partition, error, ..TrimmedPartition::default() }
                }
            }
        }
    });
    let partitions = stream::iter(trimmed).buffered(AT_ONCE).collect().await;
    Ok(TrimTopicResponse { partitions })
}
