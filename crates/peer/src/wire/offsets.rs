//! Questions about offsets.

use runnel_api::error::Result;
use runnel_api::{EpochEnd, Isolation, ListedOffset, OffsetSpec, Standing, TopicKey};
use runnel_proto::peer::v1 as pb;
use runnel_proto::peer::v1::list_offset_request::Named;
use runnel_record::{LeaderEpoch, Offset, TimestampMs};

use super::{error, malformed, partition};

/// A request for an offset.
pub fn list(
    topic: &TopicKey,
    number: i32,
    spec: OffsetSpec,
    isolation: Isolation,
    epoch: Option<LeaderEpoch>,
) -> pb::ListOffsetRequest {
    let (named, time) = match spec {
        OffsetSpec::Earliest => (Named::Earliest, 0),
        OffsetSpec::Latest => (Named::Latest, 0),
        OffsetSpec::MaxTimestamp => (Named::MaxTimestamp, 0),
        OffsetSpec::LatestTiered => (Named::LatestTiered, 0),
        OffsetSpec::Timestamp(time) => (Named::Unspecified, time.0),
    };
    pb::ListOffsetRequest {
        partition: partition(topic, number),
        named: named.into(),
        timestamp_ms: time,
        read_committed: isolation == Isolation::ReadCommitted,
        current_leader_epoch: epoch.map(|epoch| epoch.0),
    }
}

/// Which offset a request asks for.
pub fn spec(request: &pb::ListOffsetRequest) -> (OffsetSpec, Isolation) {
    let spec = match request.named() {
        Named::Earliest => OffsetSpec::Earliest,
        Named::Latest => OffsetSpec::Latest,
        Named::MaxTimestamp => OffsetSpec::MaxTimestamp,
        Named::LatestTiered => OffsetSpec::LatestTiered,
        Named::Unspecified => OffsetSpec::Timestamp(TimestampMs(request.timestamp_ms)),
    };
    (spec, super::fetch::isolation(request.read_committed))
}

/// The offset that was found.
pub fn listed(found: Result<Option<ListedOffset>>) -> pb::ListOffsetResponse {
    use pb::list_offset_response::{Found, Outcome};
    let outcome = match found {
        Ok(None) => None,
        Ok(Some(found)) => Some(Outcome::Found(Found {
            offset: found.offset.0,
            timestamp_ms: found.timestamp.0,
            leader_epoch: found.leader_epoch.map(|epoch| epoch.0),
        })),
        Err(failed) => Some(Outcome::Error(error::encode(failed))),
    };
    pb::ListOffsetResponse { outcome }
}

/// The offset that was found, on the other side.
pub fn found(response: pb::ListOffsetResponse) -> Result<Option<ListedOffset>> {
    use pb::list_offset_response::Outcome;
    match response.outcome {
        None => Ok(None),
        Some(Outcome::Found(found)) => Ok(Some(ListedOffset {
            offset: Offset(found.offset),
            timestamp: TimestampMs(found.timestamp_ms),
            leader_epoch: found.leader_epoch.map(LeaderEpoch),
        })),
        Some(Outcome::Error(failed)) => Err(error::decode(failed)),
    }
}

/// A request for the end of an epoch.
pub fn epoch_end(topic: &TopicKey, number: i32, epoch: LeaderEpoch, now: Option<LeaderEpoch>) -> pb::EpochEndRequest {
    pb::EpochEndRequest {
        partition: partition(topic, number),
        epoch: epoch.0,
        current_leader_epoch: now.map(|epoch| epoch.0),
    }
}

/// The end of an epoch.
pub fn ended(found: Result<Option<EpochEnd>>) -> pb::EpochEndResponse {
    use pb::epoch_end_response::{Found, Outcome};
    let outcome = match found {
        Ok(None) => None,
        Ok(Some(end)) => Some(Outcome::Found(Found { epoch: end.epoch.0, end_offset: end.end_offset.0 })),
        Err(failed) => Some(Outcome::Error(error::encode(failed))),
    };
    pb::EpochEndResponse { outcome }
}

/// A request for the ends of partitions.
pub fn ends(partitions: &[(TopicKey, i32)]) -> pb::EndsRequest {
    pb::EndsRequest { partitions: partitions.iter().filter_map(|(topic, number)| partition(topic, *number)).collect() }
}

/// The partitions whose ends are asked for.
///
/// # Errors
/// For a message that does not make sense.
pub fn asked_ends(request: pb::EndsRequest) -> Result<Vec<(TopicKey, i32)>> {
    request.partitions.into_iter().map(|partition| super::named(Some(partition))).collect()
}

/// The ends of partitions.
pub fn told_ends(ends: Vec<Option<Offset>>) -> pb::EndsResponse {
    let end = |end: Option<Offset>| pb::ends_response::End { offset: end.map(|end| end.0) };
    pb::EndsResponse { ends: ends.into_iter().map(end).collect() }
}

/// The ends of so many partitions, on the other side.
pub fn found_ends(response: pb::EndsResponse, count: usize) -> Vec<Option<Offset>> {
    let mut ends: Vec<_> = response.ends.into_iter().map(|end| end.offset.map(Offset)).collect();
    ends.resize(count, None);
    ends
}

/// The end of an epoch, on the other side.
pub fn found_end(response: pb::EpochEndResponse) -> Result<Option<EpochEnd>> {
    use pb::epoch_end_response::Outcome;
    match response.outcome {
        None => Ok(None),
        Some(Outcome::Found(found)) => {
            Ok(Some(EpochEnd { epoch: LeaderEpoch(found.epoch), end_offset: Offset(found.end_offset) }))
        }
        Some(Outcome::Error(failed)) => Err(error::decode(failed)),
    }
}

/// A question for where a partition stands.
pub fn standing(topic: &TopicKey, number: i32, epoch: LeaderEpoch) -> pb::StandingRequest {
    pb::StandingRequest { partition: partition(topic, number), epoch: epoch.0 }
}

/// Where it stands.
pub fn stands(found: Result<Standing>) -> pb::StandingResponse {
    use pb::standing_response::{Found, Outcome};
    let outcome = match found {
        Ok(at) => Outcome::Found(Found {
            log_start: at.log_start.0,
            shipped: at.shipped.0,
            high_watermark: at.high_watermark.0,
        }),
        Err(failed) => Outcome::Error(error::encode(failed)),
    };
    pb::StandingResponse { outcome: Some(outcome) }
}

/// Where it stands, on the other side.
pub fn found_standing(response: pb::StandingResponse) -> Result<Standing> {
    use pb::standing_response::Outcome;
    match response.outcome {
        Some(Outcome::Found(at)) => Ok(Standing {
            log_start: Offset(at.log_start),
            shipped: Offset(at.shipped),
            high_watermark: Offset(at.high_watermark),
        }),
        Some(Outcome::Error(failed)) => Err(error::decode(failed)),
        None => Err(malformed("nothing in it")),
    }
}
