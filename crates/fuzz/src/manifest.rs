//! Roots and chunks of partitions, as they come from the bucket.

use runnel_format::manifest::{Chunk, ChunkRef, Entries, EpochStart, PendingDelete, ProducerState, Root, SegmentRef};
use runnel_record::{LeaderEpoch, Offset, TimestampMs, TopicId, TopicPartition};
use uuid::Uuid;

use crate::sealed::{check, payload};

/// The first byte picks root or chunk.
pub(crate) fn run(input: &[u8]) {
    let Some((kind, input)) = input.split_first() else { return };
    if kind % 2 == 0 {
        check(&root().encode(), input, Root::decode, Root::encode);
    } else {
        check(&chunk().encode(), input, Chunk::decode, Chunk::encode);
    }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let upper = Chunk { tp: tp(), entries: Entries::Chunks(vec![chunk_ref(0, 0, 20)]) };
    let with_kind = |kind: u8, payload: Vec<u8>| [vec![kind], payload].concat();
    vec![
        with_kind(0, payload(&root().encode())),
        with_kind(0, payload(&Root::empty(tp()).encode())),
        with_kind(1, payload(&chunk().encode())),
        with_kind(1, payload(&upper.encode())),
    ]
}

fn tp() -> TopicPartition {
    TopicPartition { topic: TopicId(Uuid::from_u128(0xab)), partition: 3 }
}

fn segment(base: i64, next: i64) -> SegmentRef {
    SegmentRef {
        base: Offset(base),
        next: Offset(next),
        epoch: LeaderEpoch(2),
        id: Uuid::from_u128(0xcd),
        day: 20_415,
        bytes: 1000,
        crc32c: 77,
        records: 10,
        min_timestamp: TimestampMs(5),
        max_timestamp: TimestampMs(50),
        max_timestamp_offset: Offset(base),
        first_append_time: TimestampMs(60),
        last_append_time: TimestampMs(60),
    }
}

fn chunk_ref(level: u8, base: i64, next: i64) -> ChunkRef {
    ChunkRef {
        base: Offset(base),
        next: Offset(next),
        epoch: LeaderEpoch(1),
        id: Uuid::from_u128(0xef),
        level,
        bytes: 300,
        crc32c: 78,
        segments: 2,
        segment_bytes: 2000,
        records: 20,
        min_timestamp: TimestampMs(5),
        max_timestamp: TimestampMs(50),
        max_timestamp_offset: Offset(base),
        last_append_time: TimestampMs(60),
    }
}

fn chunk() -> Chunk {
    Chunk { tp: tp(), entries: Entries::Segments(vec![segment(0, 10), segment(10, 20)]) }
}

pub(crate) fn root() -> Root {
    Root {
        epoch: LeaderEpoch(2),
        version: 3,
        commits: vec![Uuid::from_u128(1), Uuid::from_u128(2)],
        end: Offset(100),
        epochs: vec![
            EpochStart { epoch: LeaderEpoch(1), start: Offset(0) },
            EpochStart { epoch: LeaderEpoch(2), start: Offset(20) },
        ],
        producers: ProducerState::Inline(crate::metadata::producers().encode()),
        chunks: vec![chunk_ref(0, 0, 20)],
        segments: vec![segment(20, 30), segment(30, 100)],
        pending_delete: vec![PendingDelete { id: Uuid::from_u128(4), epoch: LeaderEpoch(1) }],
        ..Root::empty(tp())
    }
}
