//! DeleteGroup and DeleteOffsets.

use std::collections::BTreeSet;

use runnel_api::Groups;
use runnel_api::groups::DeleteOffsets;
use runnel_proto::admin::v1::delete_offsets_response::DeletedOffset;
use runnel_proto::admin::v1::{DeleteGroupResponse, DeleteOffsetsRequest, DeleteOffsetsResponse};

use crate::door::Door;
use crate::error::Failure;

pub(crate) async fn delete(door: &Door, group: &str) -> Result<DeleteGroupResponse, Failure> {
    let deleted = Groups::delete_group(&*door.broker, group).await;
    deleted.map(|()| DeleteGroupResponse {}).map_err(|error| super::refused(group, error))
}

/// Topics may be gone since: what is committed for them counts, not what exists.
pub(crate) async fn delete_offsets(
    door: &Door,
    request: DeleteOffsetsRequest,
) -> Result<DeleteOffsetsResponse, Failure> {
    if request.topics.is_empty() {
        return Err(Failure::invalid("a deletion of offsets names topics"));
    }
    let committed = super::committed(door, &request.group).await?;
    let mut chosen = BTreeSet::new();
    for asked in request.topics {
        if asked.partitions.is_empty() {
            let of_topic = committed.iter().filter(|offset| offset.topic == asked.topic);
            chosen.extend(of_topic.map(|offset| (offset.topic.clone(), offset.partition)));
        } else {
            chosen.extend(asked.partitions.into_iter().map(|partition| (asked.topic.clone(), partition)));
        }
    }
    super::within_limit(&chosen)?;
    let partitions: Vec<_> = chosen.into_iter().collect();
    let delete = DeleteOffsets { group: request.group.clone(), partitions: partitions.clone() };
    let outcomes =
        Groups::delete_offsets(&*door.broker, delete).await.map_err(|e| super::refused(&request.group, e))?;
    let offsets = partitions.into_iter().zip(outcomes).map(|((topic, partition), outcome)| {
        let failure = outcome.err().map(|error| super::refused(&request.group, error).at(&topic, partition));
        DeletedOffset { topic, partition, error: failure.map(Failure::into_proto) }
    });
    Ok(DeleteOffsetsResponse { offsets: offsets.collect() })
}
