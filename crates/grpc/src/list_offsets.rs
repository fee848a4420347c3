//! ListOffsets.

use futures::{StreamExt, stream};
use runnel_api::TopicKey;
use runnel_proto::consume::v1::position::{Latest, Position as Named};
use runnel_proto::consume::v1::{ListOffsetsRequest, ListOffsetsResponse, list_offsets_response::PartitionOffset};

use crate::door::Door;
use crate::error::Failure;
use crate::position::{find, named};

/// Partitions that are asked side by side.
const AT_ONCE: usize = 16;

pub(crate) async fn handle(door: &Door, request: ListOffsetsRequest) -> Result<ListOffsetsResponse, Failure> {
    let wanted = named(request.position, Named::Latest(Latest {}))?;
    let partitions = door.partitions(&request.topic, request.partitions).await?;
    let topic = &TopicKey::Name(request.topic);
    let offsets = partitions.into_iter().map(|partition| async move {
        match find(door, topic, partition, wanted).await {
            Ok(place) => PartitionOffset {
                partition,
                offset: place.offset,
                timestamp_ms: place.timestamp_ms,
                log_start: place.bounds.log_start,
                high_watermark: place.bounds.high_watermark,
                error: None,
            },
            Err(failure) => {
                PartitionOffset { partition, error: Some(failure.into_proto()), ..PartitionOffset::default() }
            }
        }
    });
    Ok(ListOffsetsResponse { offsets: stream::iter(offsets).buffered(AT_ONCE).collect().await })
}
