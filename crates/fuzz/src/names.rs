//! Names and small texts: keys of a bucket listing, addresses, ids, fail points.

use runnel_blob::{Key, chunk_prefix, producer_prefix};
use runnel_kafka::HostPort;
use runnel_record::{LeaderEpoch, Offset, TopicId, TopicPartition};
use runnel_runtime::FailPoints;
use runnel_segment::ParquetCodec;
use uuid::Uuid;

/// What is read must be what would be written.
pub(crate) fn run(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let keys = [Key::parse_segment(text), Key::parse_partition_object(tp(), text), Key::parse_lane_object(text)];
    for key in keys.into_iter().flatten() {
        assert_eq!(key.path(), text, "two names for one object");
    }
    if let Ok(address) = text.parse::<HostPort>() {
        assert_eq!(address.to_string().parse(), Ok(address));
    }
    if let Ok(id) = text.parse::<TopicId>() {
        assert_eq!(id.to_string().parse().ok(), Some(id));
    }
    if let Ok(codec) = text.parse::<ParquetCodec>() {
        assert_eq!(codec.to_string().parse(), Ok(codec));
    }
    drop(FailPoints::parse(text));
}

fn tp() -> TopicPartition {
    TopicPartition { topic: TopicId(Uuid::from_u128(0xab)), partition: 12 }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let segment = Key::Segment {
        topic_name: "orders".to_owned(),
        tp: tp(),
        day: 20_415,
        base: Offset(1_000),
        last: Offset(1_999),
        epoch: LeaderEpoch(7),
        id: Uuid::from_u128(0xcd),
    };
    let chunk = Key::Chunk { tp: tp(), epoch: LeaderEpoch(7), id: Uuid::from_u128(0xcd) };
    let state = Key::ProducerState { tp: tp(), epoch: LeaderEpoch(7), id: Uuid::from_u128(0xcd) };
    let keys = [segment.path(), chunk.path(), state.path(), chunk_prefix(tp()), producer_prefix(tp())];
    let slot = Key::Slot { lane: Uuid::from_u128(0xcd), slot: 42 }.path();
    let header = Key::LaneHeader { lane: Uuid::from_u128(0xcd) }.path();
    let others = ["broker-1.example:9092", "[::1]:9092", "zstd:19", "wal.block.written=abort;ship.put=fail"];
    let id = tp().topic.to_string();
    let texts = keys.into_iter().chain(others.map(str::to_owned)).chain([id, slot, header]);
    texts.map(String::into_bytes).collect()
}
