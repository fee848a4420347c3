//! What brokers say to each other: from the boundary's types to those of `proto/runnel/peer` and back, for both ends.

pub mod error;
pub mod fetch;
pub mod group;
pub mod offsets;
pub mod produce;
pub mod segments;
pub mod traffic;

use std::time::Duration;

use bytes::Bytes;
use runnel_api::error::Result;
use runnel_api::{Error, ErrorKind, TopicKey};
use runnel_proto::peer::v1::{self as pb, partition::Topic};
use runnel_record::TopicId;
use uuid::Uuid;

/// Largest message: far above what a front door lets in, or a fetch returns.
pub const MAX_MESSAGE: usize = 1 << 30;

pub(crate) fn partition(topic: &TopicKey, partition: i32) -> Option<pb::Partition> {
    let topic = match topic {
        TopicKey::Name(name) => Topic::Name(name.clone()),
        TopicKey::Id(id) => Topic::Id(Bytes::copy_from_slice(id.0.as_bytes())),
    };
    Some(pb::Partition { topic: Some(topic), partition })
}

/// The partition that a request names.
pub fn named(partition: Option<pb::Partition>) -> Result<(TopicKey, i32)> {
    let partition = partition.ok_or_else(|| malformed("no partition"))?;
    let topic = match partition.topic {
        Some(Topic::Name(name)) => TopicKey::Name(name),
        Some(Topic::Id(id)) => TopicKey::Id(topic_id(&id)?),
        None => return Err(malformed("no topic")),
    };
    Ok((topic, partition.partition))
}

fn topic_id(bytes: &[u8]) -> Result<TopicId> {
    Uuid::from_slice(bytes).map(TopicId).map_err(|_| malformed("a topic id that is none"))
}

fn malformed(what: &str) -> Error {
    Error::new(ErrorKind::Internal, format!("a broker sent a message with {what}: are all brokers of one release?"))
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A number of bytes.
fn size(wire: u64) -> usize {
    usize::try_from(wire).unwrap_or(usize::MAX)
}
