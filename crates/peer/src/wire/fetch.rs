//! Reads. A batch travels as header and body, so that it is neither put together nor taken apart on the way.

use std::time::Duration;

use runnel_api::error::Result;
use runnel_api::{DivergingEpoch, FetchPartition, FetchRequest, Fetched, FetchedPartition, Isolation, Room, TopicKey};
use runnel_proto::peer::v1 as pb;
use runnel_proto::peer::v1::fetch_response::outcome::Outcome;
use runnel_record::batch::HEADER_LEN;
use runnel_record::{Batch, LeaderEpoch, Offset};

use super::{error, malformed, ms, named, partition, size};

/// A request.
pub fn request(request: &FetchRequest) -> pb::FetchRequest {
    let part = |part: &FetchPartition| pb::fetch_request::Part {
        partition: partition(&part.topic, part.partition),
        offset: part.offset.0,
        max_bytes: part.max_bytes as u64,
        current_leader_epoch: part.current_leader_epoch.map(|epoch| epoch.0),
        last_fetched_epoch: part.last_fetched_epoch.map(|epoch| epoch.0),
    };
    pb::FetchRequest {
        max_wait_ms: ms(request.max_wait),
        min_bytes: request.min_bytes as u64,
        max_bytes: request.max_bytes as u64,
        read_committed: request.isolation == Isolation::ReadCommitted,
        parts: request.partitions.iter().map(part).collect(),
    }
}

/// A request as the leader sees it.
pub fn requested(request: pb::FetchRequest) -> Result<FetchRequest> {
    let part = |part: pb::fetch_request::Part| {
        let (topic, partition) = named(part.partition)?;
        Ok(FetchPartition {
            topic,
            partition,
            offset: Offset(part.offset),
            max_bytes: size(part.max_bytes),
            current_leader_epoch: part.current_leader_epoch.map(LeaderEpoch),
            last_fetched_epoch: part.last_fetched_epoch.map(LeaderEpoch),
            zone: None,
        })
    };
    Ok(FetchRequest {
        max_wait: Duration::from_millis(request.max_wait_ms),
        min_bytes: size(request.min_bytes),
        max_bytes: size(request.max_bytes),
        isolation: isolation(request.read_committed),
        partitions: request.parts.into_iter().map(part).collect::<Result<_>>()?,
    })
}

pub(super) fn isolation(read_committed: bool) -> Isolation {
    if read_committed { Isolation::ReadCommitted } else { Isolation::ReadUncommitted }
}

/// What was read.
pub fn answer(read: Vec<FetchedPartition>) -> pb::FetchResponse {
    let outcome = |outcome: Result<Fetched>| match outcome {
        Ok(fetched) => Outcome::Fetched(pb::fetch_response::Fetched {
            batches: fetched.batches.iter().map(batch).collect(),
            high_watermark: fetched.high_watermark.0,
            last_stable_offset: fetched.last_stable_offset.0,
            log_start: fetched.log_start.0,
            diverging: fetched.diverging.map(|diverging| pb::fetch_response::Diverging {
                epoch: diverging.epoch.0,
                end_offset: diverging.end_offset.0,
            }),
        }),
        Err(failed) => Outcome::Error(error::encode(failed)),
    };
    let outcomes = read.into_iter().map(|one| pb::fetch_response::Outcome { outcome: Some(outcome(one.outcome)) });
    pb::FetchResponse { outcomes: outcomes.collect() }
}

fn batch(batch: &Batch) -> pb::fetch_response::Batch {
    let header = bytes::Bytes::copy_from_slice(batch.header());
    pb::fetch_response::Batch { header, body: batch.body().clone() }
}

/// What was read, by the partitions that were asked.
pub fn answered(response: pb::FetchResponse, parts: Vec<(TopicKey, i32)>) -> Vec<FetchedPartition> {
    let mut outcomes = response.outcomes.into_iter();
    let answered = parts.into_iter().map(|(topic, partition)| {
        let outcome = match outcomes.next().and_then(|one| one.outcome) {
            Some(Outcome::Fetched(read)) => fetched(read),
            Some(Outcome::Error(failed)) => Err(error::decode(failed)),
            None => Err(malformed("an answer missing")),
        };
        FetchedPartition { topic, partition, outcome }
    });
    answered.collect()
}

fn fetched(read: pb::fetch_response::Fetched) -> Result<Fetched> {
    let batch = |batch: pb::fetch_response::Batch| {
        let header: [u8; HEADER_LEN] =
            batch.header.as_ref().try_into().map_err(|_| malformed("a batch without header"))?;
        Ok(Batch::from_parts(header, batch.body))
    };
    Ok(Fetched {
        batches: read.batches.into_iter().map(batch).collect::<Result<_>>()?,
        high_watermark: Offset(read.high_watermark),
        last_stable_offset: Offset(read.last_stable_offset),
        log_start: Offset(read.log_start),
        diverging: read.diverging.map(|diverging| DivergingEpoch {
            epoch: LeaderEpoch(diverging.epoch),
            end_offset: Offset(diverging.end_offset),
        }),
        reader: None,
        room: Room::default(),
    })
}
