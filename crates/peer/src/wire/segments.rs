//! What is done with stored records.

use std::time::Duration;

use runnel_api::error::Result;
use runnel_api::{LogDir, Sealed, TopicKey};
use runnel_proto::peer::v1 as pb;
use runnel_proto::peer::v1::log_dirs_response as dirs;
use runnel_record::Offset;

use super::{error, ms, partition};

/// A request to ship.
pub fn seal(topic: &TopicKey, number: i32, wait: Duration) -> pb::SealRequest {
    pb::SealRequest { partition: partition(topic, number), wait_ms: ms(wait) }
}

/// How far it came.
pub fn sealed(outcome: Result<Sealed>) -> pb::SealResponse {
    match outcome {
        Ok(sealed) => pb::SealResponse { sealed: sealed.sealed.0, shipped: sealed.shipped.0, error: None },
        Err(failed) => pb::SealResponse { error: Some(error::encode(failed)), ..pb::SealResponse::default() },
    }
}

/// How far it came, on the other side.
pub fn found_sealed(response: pb::SealResponse) -> Result<Sealed> {
    match response.error {
        None => Ok(Sealed { sealed: Offset(response.sealed), shipped: Offset(response.shipped) }),
        Some(failed) => Err(error::decode(failed)),
    }
}

/// A request to give records up.
pub fn delete(topic: &TopicKey, number: i32, before: Option<Offset>, wait: Duration) -> pb::DeleteRecordsRequest {
    let before = before.map(|offset| offset.0);
    pb::DeleteRecordsRequest { partition: partition(topic, number), before, wait_ms: ms(wait) }
}

/// The first offset that is left.
pub fn deleted(outcome: Result<Offset>) -> pb::DeleteRecordsResponse {
    match outcome {
        Ok(start) => pb::DeleteRecordsResponse { log_start: start.0, error: None },
        Err(failed) => pb::DeleteRecordsResponse { log_start: 0, error: Some(error::encode(failed)) },
    }
}

/// The first offset that is left, on the other side.
pub fn found_start(response: pb::DeleteRecordsResponse) -> Result<Offset> {
    match response.error {
        None => Ok(Offset(response.log_start)),
        Some(failed) => Err(error::decode(failed)),
    }
}

/// A question for places.
pub fn log_dirs(topics: Option<&[String]>) -> pb::LogDirsRequest {
    pb::LogDirsRequest { topics: topics.map(<[String]>::to_vec).unwrap_or_default(), all: topics.is_none() }
}

/// Places.
pub fn found_in(dirs: Vec<LogDir>) -> pb::LogDirsResponse {
    let held = |(topic, partition, bytes)| dirs::Held { topic, partition, bytes };
    let dirs = dirs.into_iter().map(|dir| dirs::LogDir {
        path: dir.path,
        usable_bytes: dir.usable_bytes,
        partitions: dir.partitions.into_iter().map(held).collect(),
    });
    pb::LogDirsResponse { dirs: dirs.collect() }
}

/// Places, on the other side.
pub fn places(response: pb::LogDirsResponse) -> Vec<LogDir> {
    let held = |held: dirs::Held| (held.topic, held.partition, held.bytes);
    let dirs = response.dirs.into_iter().map(|dir| LogDir {
        path: dir.path,
        usable_bytes: dir.usable_bytes,
        partitions: dir.partitions.into_iter().map(held).collect(),
    });
    dirs.collect()
}
