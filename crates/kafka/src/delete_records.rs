//! DeleteRecords: moves the log start (KIP-107).

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use kafka_protocol::messages::delete_records_request::{DeleteRecordsRequest, DeleteRecordsTopic};
use kafka_protocol::messages::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsResponse, DeleteRecordsTopicResult,
};
use runnel_api::TopicKey;
use runnel_record::Offset;

use crate::context::Context;
use crate::error::code;
use crate::reply::{Outcome, first_error};
use crate::topics;

/// "Everything that is committed", in place of an offset.
const HIGH_WATERMARK: i64 = -1;

/// The least time there is, whatever the client asks for: librdkafka's tests send 0, at which Kafka with one replica is
/// done at once, but the bucket has to take what is deleted first.
const MIN_WAIT: Duration = Duration::from_secs(5);

pub(crate) async fn handle(ctx: Arc<Context>, _version: i16, request: DeleteRecordsRequest) -> DeleteRecordsResponse {
    let wait = Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or(0)).max(MIN_WAIT);
    let topics = join_all(request.topics.into_iter().map(|topic| delete(&ctx, topic, wait))).await;
    DeleteRecordsResponse::default().with_topics(topics)
}

async fn delete(ctx: &Context, topic: DeleteRecordsTopic, wait: Duration) -> DeleteRecordsTopicResult {
    let key = topics::by_name(&topic.name);
    let partitions = topic.partitions.iter().map(|wanted| trim(ctx, &key, wanted.partition_index, wanted.offset, wait));
    DeleteRecordsTopicResult::default().with_name(topic.name.clone()).with_partitions(join_all(partitions).await)
}

async fn trim(
    ctx: &Context,
    topic: &TopicKey,
    partition: i32,
    offset: i64,
    wait: Duration,
) -> DeleteRecordsPartitionResult {
    let result = DeleteRecordsPartitionResult::default().with_partition_index(partition);
    let before = (offset != HIGH_WATERMARK).then_some(Offset(offset));
    match ctx.broker.delete_records(topic, partition, before, wait).await {
        Ok(log_start) => result.with_low_watermark(log_start.0),
        Err(error) => result.with_low_watermark(-1).with_error_code(code(error.kind).code()),
    }
}

impl Outcome for DeleteRecordsResponse {
    fn error_code(&self) -> i16 {
        first_error(self.topics.iter().flat_map(|t| &t.partitions).map(|p| p.error_code))
    }
}
