#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;
use std::fmt::{Debug, Write};

use proptest::prelude::*;
use runnel_record::{LeaderEpoch, Offset, TopicId};
use uuid::Uuid;

use super::*;
use crate::Levels;
use crate::manifest::EpochStart;

const PARTITION_V1: &str = "726e50520100000034000000ec104fa70900000000020000000700000064000000000000000900000064000000000000000104000000726f6f7406000000226574616722";

const PARTITION_V2: &str = "726e5052020000006400000062ed1a4e0900000000020000000700000064000000000000000900000064000000000000000104000000726f6f7406000000226574616722020000000500000000000000015000000000000000016400000000000000ffffffffffffffff02640000000000000000";

/// Version 1, which partition records do not have any more.
const VERSION: u16 = 1;

fn id() -> TopicId {
    TopicId(Uuid::from_u128(0x0123_4567_89ab_cdef_0011_2233_4455_6677))
}

fn topic() -> TopicRecord {
    let configs = [("retention.ms", "5000"), ("runnel.durability", "local"), ("x", "")];
    TopicRecord {
        name: "flights".to_owned(),
        id: id(),
        partitions: 6,
        replication_factor: 1,
        configs: configs.map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
        created_ms: 1_767_225_600_000,
    }
}

fn partition() -> PartitionRecord {
    let start = |epoch, start| EpochStart { epoch: LeaderEpoch(epoch), start: Offset(start) };
    PartitionRecord {
        epoch: LeaderEpoch(9),
        leader: Some(Leadership { session: 6, is_open: true, move_to: Some(7) }),
        never_shipped: false,
        starts: vec![start(7, 100), start(9, 100)],
        last_root: Some((Bytes::from_static(b"root"), "\"etag\"".to_owned())),
        tail: vec![
            TailSession { session: 5, durability: Durability::Local, from: Offset(80), to: Some(Offset(100)) },
            TailSession { session: u64::MAX, durability: Durability::Object, from: Offset(100), to: None },
        ],
    }
}

fn session() -> SessionRecord {
    let lane = |id, durability, end| SessionLane { id: Uuid::from_u128(id), durability, end };
    SessionRecord {
        node_name: "berlin-1".to_owned(),
        disk_id: Uuid::from_u128(2),
        state: SessionState::Fencing,
        lanes: vec![lane(3, Durability::Local, None), lane(4, Durability::Object, Some(77))],
    }
}

fn broker() -> BrokerRecord {
    let at = |host: &str, port| HostPort { host: host.to_owned(), port };
    BrokerRecord {
        session: 6,
        disk_id: Uuid::from_u128(2),
        name: "berlin-1".to_owned(),
        zone: Some("b".to_owned()),
        is_draining: false,
        kafka: at("kafka.example", 9092),
        grpc: at("10.0.0.1", 9093),
    }
}

fn build() -> BuildRecord {
    BuildRecord { session: 6, version: "0.1.0".to_owned(), levels: Levels { lowest: 1, highest: 2 } }
}

fn cluster() -> ClusterRecord {
    let session = BrokerSession {
        session: 0xfedc_ba98_7654_3210,
        disk_id: Uuid::from_u128(2),
        node_name: "berlin-1".to_owned(),
        started_ms: 1_767_225_600_000,
    };
    ClusterRecord { cluster_id: Uuid::from_u128(1), era: 3, level: 1, session: Some(session) }
}

fn identity() -> Identity {
    Identity {
        cluster_id: Uuid::from_u128(1),
        node_name: "berlin-1".to_owned(),
        disk_id: Uuid::from_u128(2),
        storage_url: "s3://lake/runnel".to_owned(),
    }
}

fn settings() -> ClusterSettings {
    let set = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let broker = ("broker/0".to_owned(), set(&[("log.retention.ms", "5000")]));
    ClusterSettings { entities: [broker, ("group/g".to_owned(), set(&[("a", "1"), ("b", "")]))].into() }
}

/// Every value once, as the golden file has them.
fn samples() -> Vec<(&'static str, Bytes)> {
    vec![
        ("topic", topic().encode()),
        ("name", NameClaim { id: id() }.encode()),
        ("tombstone", Tombstone { name: "flights".to_owned(), id: id(), deleted_ms: -1 }.encode()),
        ("partition", partition().encode()),
        (
            "partition-new",
            PartitionRecord {
                epoch: LeaderEpoch(0),
                leader: None,
                never_shipped: true,
                starts: vec![],
                last_root: None,
                tail: vec![],
            }
            .encode(),
        ),
        ("identity", identity().encode()),
        ("cluster", cluster().encode()),
        ("cluster-free", ClusterRecord { session: None, ..cluster() }.encode()),
        ("cluster-level-2", ClusterRecord { level: 2, ..cluster() }.encode()),
        ("producers", ProducerBlocks { next: 7_000 }.encode()),
        ("settings", settings().encode()),
        ("session", session().encode()),
        ("broker", broker().encode()),
        ("build", build().encode()),
        ("controller", ControllerRecord { broker: 3, session: 6 }.encode()),
    ]
}

#[test]
fn the_bytes_are_those_of_the_golden_file() {
    let mut found = String::new();
    for (name, bytes) in samples() {
        write!(found, "{name} ").unwrap();
        bytes.iter().for_each(|b| write!(found, "{b:02x}").unwrap());
        found.push('\n');
    }
    assert_eq!(found, include_str!("../../golden/meta-v1.hex"));
}

#[test]
fn the_golden_file_is_read() {
    let golden: BTreeMap<&str, Vec<u8>> = include_str!("../../golden/meta-v1.hex")
        .lines()
        .map(|line| {
            let (name, hex) = line.split_once(' ').unwrap();
            (name, (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect())
        })
        .collect();
    assert_eq!(TopicRecord::decode(&golden["topic"]).unwrap(), topic());
    assert_eq!(PartitionRecord::decode(&golden["partition"]).unwrap(), partition());
    assert_eq!(ClusterRecord::decode(&golden["cluster"]).unwrap(), cluster());
    assert_eq!(Identity::decode(&golden["identity"]).unwrap(), identity());
    assert_eq!(NameClaim::decode(&golden["name"]).unwrap().id, id());
    assert_eq!(Tombstone::decode(&golden["tombstone"]).unwrap().deleted_ms, -1);
    assert_eq!(ProducerBlocks::decode(&golden["producers"]).unwrap().next, 7_000);
    assert!(PartitionRecord::decode(&golden["partition-new"]).unwrap().never_shipped);
    assert_eq!(ClusterSettings::decode(&golden["settings"]).unwrap(), settings());
    assert_eq!(ClusterRecord::decode(&golden["cluster-free"]).unwrap().session, None);
    assert_eq!(SessionRecord::decode(&golden["session"]).unwrap(), session());
    assert_eq!(BrokerRecord::decode(&golden["broker"]).unwrap(), broker());
    assert_eq!(BuildRecord::decode(&golden["build"]).unwrap(), build());
    assert_eq!(ClusterRecord::decode(&golden["cluster-level-2"]).unwrap().level, 2);
    assert_eq!(ControllerRecord::decode(&golden["controller"]).unwrap().session, 6);
}

/// As releases wrote it that knew of no tails, and of no leaders.
#[test]
fn older_partition_records_are_read() {
    let read = |hex: &str| {
        let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        PartitionRecord::decode(&(0..hex.len()).step_by(2).map(byte).collect::<Vec<u8>>()).unwrap()
    };
    let without_leader = PartitionRecord { leader: None, ..partition() };
    assert_eq!(read(PARTITION_V2), without_leader);
    assert_eq!(read(PARTITION_V1), PartitionRecord { tail: vec![], ..without_leader });
}

/// Decodes `bytes` as every kind of value and says which ones took it.
fn taken_as(bytes: &[u8]) -> Vec<&'static str> {
    let mut taken = Vec::new();
    let mut note = |name, ok: bool| ok.then(|| taken.push(name));
    note("topic", TopicRecord::decode(bytes).is_ok());
    note("name", NameClaim::decode(bytes).is_ok());
    note("tombstone", Tombstone::decode(bytes).is_ok());
    note("partition", PartitionRecord::decode(bytes).is_ok());
    note("identity", Identity::decode(bytes).is_ok());
    note("cluster", ClusterRecord::decode(bytes).is_ok());
    note("producers", ProducerBlocks::decode(bytes).is_ok());
    note("settings", ClusterSettings::decode(bytes).is_ok());
    note("session", SessionRecord::decode(bytes).is_ok());
    note("broker", BrokerRecord::decode(bytes).is_ok());
    note("build", BuildRecord::decode(bytes).is_ok());
    note("controller", ControllerRecord::decode(bytes).is_ok());
    taken
}

#[test]
fn a_value_is_read_as_its_own_kind_only() {
    for (name, bytes) in samples() {
        assert_eq!(taken_as(&bytes), [name.split('-').next().unwrap()]);
    }
}

#[test]
fn damage_is_found_wherever_it_is() {
    for (name, bytes) in samples() {
        for i in 0..bytes.len() {
            let mut damaged = bytes.to_vec();
            damaged[i] ^= 0x10;
            // Bytes 6 and 7 are reserved: a reader ignores them.
            let ignored = (6..8).contains(&i);
            assert_eq!(taken_as(&damaged).is_empty(), !ignored, "{name}, byte {i}");
            assert_eq!(taken_as(&bytes[..i]), [""; 0], "{name}, cut at {i}");
        }
    }
}

#[test]
fn a_newer_version_is_named() {
    let newer = codec::seal(*b"rnTR", 2, b"whatever a later release writes");
    assert_eq!(TopicRecord::decode(&newer), Err(Error::NewerFormat { what: "a topic record", found: 2, newest: 1 }));
}

/// Seals `write`'s fields as `kind` would and expects the decoder to refuse them for `reason`.
fn refused<T: Debug + PartialEq>(
    magic: &[u8; 4],
    decode: fn(&[u8]) -> Result<T, Error>,
    reason: &str,
    write: impl FnOnce(&mut Writer),
) {
    let mut w = Writer::default();
    write(&mut w);
    match decode(&codec::seal(*magic, VERSION, &w.0)) {
        Err(Error::Corrupt { reason: found, .. }) => assert_eq!(found, reason),
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn fields_that_no_writer_writes_are_refused() {
    refused(b"rnTR", TopicRecord::decode, "a topic without partitions", |w| {
        w.string("t").uuid(id().0).i32(0).i16(1).i64(0).u32(0);
    });
    refused(b"rnTR", TopicRecord::decode, "settings out of order", |w| {
        w.string("t").uuid(id().0).i32(1).i16(1).i64(0).u32(2);
        w.string("b").string("").string("a").string("");
    });
    refused(b"rnTR", TopicRecord::decode, "a count larger than the data", |w| {
        w.string("t").uuid(id().0).i32(1).i16(1).i64(0).u32(u32::MAX);
    });
    refused(b"rnTR", TopicRecord::decode, "not UTF-8", |w| {
        w.bytes(&[0xff]).uuid(id().0).i32(1).i16(1).i64(0).u32(0);
    });
    refused(b"rnPR", PartitionRecord::decode, "a flag that is neither 0 nor 1", |w| {
        w.i32(1).u8(2).u32(0).u8(0);
    });
    refused(b"rnPR", PartitionRecord::decode, "a negative number", |w| {
        w.i32(-1).u8(0).u32(0).u8(0);
    });
    refused(b"rnPR", PartitionRecord::decode, "epochs out of order", |w| {
        w.i32(3).u8(0).u32(2).i32(2).i64(5).i32(2).i64(5).u8(0);
    });
    refused(b"rnPR", PartitionRecord::decode, "a count larger than the data", |w| {
        w.i32(3).u8(0).u32(u32::MAX).u8(0);
    });
    refused(b"rnSE", SessionRecord::decode, "an unknown state", |w| {
        w.string("n").uuid(Uuid::nil()).u8(4).u32(0);
    });
    refused(b"rnSE", SessionRecord::decode, "an unknown durability", |w| {
        w.string("n").uuid(Uuid::nil()).u8(1).u32(1).uuid(Uuid::nil()).u8(3).u8(0);
    });
    refused(b"rnSE", SessionRecord::decode, "a sealed session with an open lane", |w| {
        w.string("n").uuid(Uuid::nil()).u8(3).u32(1).uuid(Uuid::nil()).u8(2).u8(0);
    });
    let reason = "a level that does not belong to its version";
    for level in [0, 2] {
        refused(b"rnCL", ClusterRecord::decode, reason, |w| {
            w.uuid(Uuid::nil()).u32(0).u32(level).u8(0);
        });
    }
    for (lowest, highest) in [(0, 1), (2, 1)] {
        refused(b"rnBU", BuildRecord::decode, "a range of levels that is none", |w| {
            w.u64(1).string("1").u32(lowest).u32(highest);
        });
    }
    refused(b"rnPB", ProducerBlocks::decode, "a negative number", |w| {
        w.i64(-1);
    });
    refused(b"rnPB", ProducerBlocks::decode, "trailing bytes", |w| {
        w.i64(1).u8(0);
    });
}

/// Whatever later releases add, a release of today can tell at which level the cluster is.
#[test]
fn the_level_of_a_newer_cluster_record_is_read() {
    let mut w = Writer::default();
    w.uuid(id().0).u32(3).u32(7).raw(b"what a later release adds");
    let newer = codec::seal(*b"rnCL", 3, &w.0);
    assert_eq!(ClusterRecord::level_of(&newer), Ok(7));
    assert!(matches!(ClusterRecord::decode(&newer), Err(Error::NewerFormat { found: 3, newest: 2, .. })));
    assert_eq!(ClusterRecord::level_of(&cluster().encode()), Ok(1));
    assert!(ClusterRecord::level_of(&topic().encode()).is_err());
}

#[test]
fn a_tail_goes_forwards() {
    let part = TailSession { session: 1, durability: Durability::Local, from: Offset(5), to: Some(Offset(4)) };
    let backwards = PartitionRecord { tail: vec![part], ..partition() }.encode();
    let reason = "a session that ends before it begins";
    assert_eq!(PartitionRecord::decode(&backwards), Err(Error::Corrupt { what: "a partition record", reason }));
}

fn any_starts() -> impl Strategy<Value = Vec<EpochStart>> {
    proptest::collection::btree_map(0..=i32::MAX, 0..=i64::MAX, 0..8).prop_map(|starts| {
        let start = |(epoch, start)| EpochStart { epoch: LeaderEpoch(epoch), start: Offset(start) };
        starts.into_iter().map(start).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn topics_round_trip(
        name in ".{0,40}", uuid: u128, partitions in 1..=i32::MAX, replication_factor: i16, created_ms: i64,
        configs in proptest::collection::btree_map(".{0,12}", ".{0,12}", 0..6),
    ) {
        let id = TopicId(Uuid::from_u128(uuid));
        let topic = TopicRecord { name: name.clone(), id, partitions, replication_factor, configs, created_ms };
        prop_assert_eq!(TopicRecord::decode(&topic.encode()).unwrap(), topic);
        let tombstone = Tombstone { name, id, deleted_ms: created_ms };
        prop_assert_eq!(Tombstone::decode(&tombstone.encode()).unwrap(), tombstone);
        prop_assert_eq!(NameClaim::decode(&NameClaim { id }.encode()).unwrap(), NameClaim { id });
    }

    #[test]
    fn partitions_round_trip(
        epoch in 0..=i32::MAX, never_shipped: bool, starts in any_starts(),
        root in proptest::option::of((proptest::collection::vec(any::<u8>(), 0..200), ".{0,40}")),
        tail in proptest::collection::vec(any::<(u64, bool, u32, Option<u32>)>(), 0..4),
        leader: Option<(u64, bool, Option<u64>)>,
    ) {
        let leader = leader.map(|(session, is_open, move_to)| Leadership { session, is_open, move_to });
        let last_root = root.map(|(bytes, version)| (Bytes::from(bytes), version));
        let tail = tail.into_iter().map(|(session, object, from, len): (u64, bool, u32, Option<u32>)| TailSession {
            session,
            durability: if object { Durability::Object } else { Durability::Local },
            from: Offset(i64::from(from)),
            to: len.map(|len| Offset(i64::from(from) + i64::from(len))),
        });
        let record = PartitionRecord { epoch: LeaderEpoch(epoch), leader, never_shipped, starts, last_root, tail: tail.collect() };
        prop_assert_eq!(PartitionRecord::decode(&record.encode()).unwrap(), record);
    }

    #[test]
    fn the_cluster_round_trips(
        uuids: (u128, u128), name in ".{0,40}", url in ".{0,40}", numbers: (u32, u32, u64, i64), held: bool,
        next in 0..=i64::MAX,
    ) {
        let (cluster_id, disk_id) = (Uuid::from_u128(uuids.0), Uuid::from_u128(uuids.1));
        let (era, level, session, started_ms) = (numbers.0, numbers.1.max(1), numbers.2, numbers.3);
        let identity = Identity { cluster_id, node_name: name.clone(), disk_id, storage_url: url };
        prop_assert_eq!(Identity::decode(&identity.encode()).unwrap(), identity);
        let session = held.then_some(BrokerSession { session, disk_id, node_name: name, started_ms });
        let cluster = ClusterRecord { cluster_id, era, level, session };
        prop_assert_eq!(ClusterRecord::decode(&cluster.encode()).unwrap(), cluster);
        let blocks = ProducerBlocks { next };
        prop_assert_eq!(ProducerBlocks::decode(&blocks.encode()).unwrap(), blocks);
    }

    /// Payloads that pass the CRC but were never written by an encoder: decoded or refused, never a panic; and what is
    /// decoded is encoded to the same bytes, so that one value has one form.
    #[test]
    fn mutated_payloads_never_panic(which in 0..samples().len(), cuts: (u16, u16), fill in proptest::collection::vec(any::<u8>(), 0..24)) {
        let (_, bytes) = samples().swap_remove(which);
        let mut magic = [0; 4];
        magic.copy_from_slice(&bytes[..4]);
        let payload = &bytes[codec::ENVELOPE_LEN..];
        let (a, b) = (usize::from(cuts.0) % (payload.len() + 1), usize::from(cuts.1) % (payload.len() + 1));
        let version = u16::from_le_bytes([bytes[4], bytes[5]]);
        let mutant = codec::seal(magic, version, &[&payload[..a.min(b)], &fill[..], &payload[a.max(b)..]].concat());
        let again = [
            TopicRecord::decode(&mutant).ok().map(|v| v.encode()),
            NameClaim::decode(&mutant).ok().map(|v| v.encode()),
            Tombstone::decode(&mutant).ok().map(|v| v.encode()),
            PartitionRecord::decode(&mutant).ok().map(|v| v.encode()),
            Identity::decode(&mutant).ok().map(|v| v.encode()),
            ClusterRecord::decode(&mutant).ok().map(|v| v.encode()),
            ProducerBlocks::decode(&mutant).ok().map(|v| v.encode()),
            SessionRecord::decode(&mutant).ok().map(|v| v.encode()),
            BrokerRecord::decode(&mutant).ok().map(|v| v.encode()),
            BuildRecord::decode(&mutant).ok().map(|v| v.encode()),
            ControllerRecord::decode(&mutant).ok().map(|v| v.encode()),
        ];
        for encoded in again.into_iter().flatten() {
            prop_assert_eq!(&encoded, &mutant);
        }
    }
}
