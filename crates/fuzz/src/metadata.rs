//! Values of the metadata store, of registers and of the data directory, and the state of producers.

use std::collections::BTreeMap;

use bytes::Bytes;
use runnel_format::Levels;
use runnel_format::manifest::EpochStart;
use runnel_format::meta::{
    BrokerRecord, BrokerSession, BuildRecord, ClusterRecord, ClusterSettings, ControllerRecord, Durability, HostPort,
    Identity, Leadership, NameClaim, PartitionRecord, ProducerBlocks, SessionLane, SessionRecord, SessionState,
    TailSession, Tombstone, TopicRecord,
};
use runnel_format::producer::{ProducerEntry, ProducerSnapshot, RememberedBatch};
use runnel_record::{LeaderEpoch, Offset, ProducerId, TimestampMs, TopicId};
use uuid::Uuid;

use crate::sealed::{check, payload};

/// The first byte picks the kind.
pub(crate) fn run(input: &[u8]) {
    let Some((kind, input)) = input.split_first() else { return };
    let samples = samples();
    let envelope = &samples[usize::from(*kind) % samples.len()];
    match usize::from(*kind) % samples.len() {
        0 => check(envelope, input, Identity::decode, Identity::encode),
        1 => check(envelope, input, ClusterRecord::decode, ClusterRecord::encode),
        2 => check(envelope, input, ProducerBlocks::decode, ProducerBlocks::encode),
        3 => check(envelope, input, TopicRecord::decode, TopicRecord::encode),
        4 => check(envelope, input, NameClaim::decode, NameClaim::encode),
        5 => check(envelope, input, Tombstone::decode, Tombstone::encode),
        6 => check(envelope, input, PartitionRecord::decode, PartitionRecord::encode),
        7 => check(envelope, input, ProducerSnapshot::decode, ProducerSnapshot::encode),
        8 => check(envelope, input, ClusterSettings::decode, ClusterSettings::encode),
        9 => check(envelope, input, SessionRecord::decode, SessionRecord::encode),
        10 => check(envelope, input, BrokerRecord::decode, BrokerRecord::encode),
        11 => check(envelope, input, ControllerRecord::decode, ControllerRecord::encode),
        _ => check(envelope, input, BuildRecord::decode, BuildRecord::encode),
    }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    (0u8..).zip(samples()).map(|(kind, value)| [&[kind][..], &payload(&value)].concat()).collect()
}

/// One of each kind.
fn samples() -> [Bytes; 13] {
    let (id, name) = (TopicId(Uuid::from_u128(0xab)), || "orders".to_owned());
    let session = BrokerSession { session: 9, disk_id: Uuid::from_u128(2), node_name: "node-1".into(), started_ms: 5 };
    [
        Identity {
            cluster_id: Uuid::from_u128(1),
            node_name: "node-1".into(),
            disk_id: Uuid::from_u128(2),
            storage_url: "s3://lake/prefix".into(),
        }
        .encode(),
        ClusterRecord { cluster_id: Uuid::from_u128(1), era: 0, level: 1, session: Some(session) }.encode(),
        ProducerBlocks { next: 3000 }.encode(),
        TopicRecord {
            name: name(),
            id,
            partitions: 12,
            replication_factor: 1,
            configs: BTreeMap::from([("retention.ms".into(), "1".into()), ("segment.ms".into(), "2".into())]),
            created_ms: 5,
        }
        .encode(),
        NameClaim { id }.encode(),
        Tombstone { name: name(), id, deleted_ms: 6 }.encode(),
        PartitionRecord {
            epoch: LeaderEpoch(4),
            leader: Some(Leadership { session: 9, is_open: false, move_to: None }),
            never_shipped: false,
            starts: vec![EpochStart { epoch: LeaderEpoch(4), start: Offset(10) }],
            last_root: Some((crate::manifest::root().encode(), "etag".into())),
            tail: vec![TailSession { session: 9, durability: Durability::Object, from: Offset(7), to: None }],
        }
        .encode(),
        producers().encode(),
        ClusterSettings {
            entities: [("broker/".to_owned(), [("log.retention.ms".to_owned(), "7".to_owned())].into())].into(),
        }
        .encode(),
        SessionRecord {
            node_name: name(),
            disk_id: Uuid::from_u128(2),
            state: SessionState::Fencing,
            lanes: vec![SessionLane { id: Uuid::from_u128(3), durability: Durability::Object, end: Some(9) }],
        }
        .encode(),
        BrokerRecord {
            session: 9,
            disk_id: Uuid::from_u128(2),
            name: name(),
            zone: Some("a".into()),
            is_draining: true,
            kafka: HostPort { host: "localhost".into(), port: 9092 },
            grpc: HostPort { host: "localhost".into(), port: 9093 },
        }
        .encode(),
        ControllerRecord { broker: 1, session: 9 }.encode(),
        BuildRecord { session: 9, version: "0.1.0".into(), levels: Levels { lowest: 1, highest: 2 } }.encode(),
    ]
}

pub(crate) fn producers() -> ProducerSnapshot {
    let batch = |first_sequence, last_sequence, base| RememberedBatch {
        first_sequence,
        last_sequence,
        base_offset: Offset(base),
        append_time: TimestampMs(7),
    };
    let entry =
        |id, batches: Vec<RememberedBatch>| ProducerEntry { id: ProducerId(id), epoch: 2, written: 20, batches };
    ProducerSnapshot {
        offset: Offset(100),
        last_append_time: TimestampMs(7),
        producers: vec![entry(5, vec![batch(0, 9, 10), batch(10, 19, 30)]), entry(6, vec![batch(0, 19, 50)])],
    }
}
