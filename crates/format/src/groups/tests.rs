#![allow(clippy::unwrap_used)]
use proptest::prelude::*;

use super::*;

mod consumer;

fn offset() -> OffsetCommitValue {
    OffsetCommitValue {
        offset: 42,
        leader_epoch: 7,
        metadata: "m".into(),
        commit_timestamp: 1_700_000_000_000,
        expire_timestamp: None,
        topic_id: None,
    }
}

fn group() -> GroupMetadataValue {
    GroupMetadataValue {
        protocol_type: "consumer".into(),
        generation: 3,
        protocol: Some("range".into()),
        leader: Some("c-1".into()),
        state_timestamp: 5,
        members: vec![MemberMetadata {
            member_id: "c-1".into(),
            instance_id: Some("i".into()),
            client_id: "c".into(),
            client_host: "/127.0.0.1".into(),
            rebalance_timeout: 300_000,
            session_timeout: 45_000,
            subscription: Bytes::from_static(&[0, 1]),
            assignment: Bytes::from_static(&[2]),
        }],
    }
}

/// What Apache Kafka 4 writes for the same facts.
#[test]
fn the_bytes_are_those_of_kafka() {
    let key = GroupKey::Offset { group: "g".into(), topic: "t".into(), partition: 1 };
    assert_eq!(&key.encode()[..], b"\0\x01\0\x01g\0\x01t\0\0\0\x01");
    assert_eq!(&GroupKey::Group { group: "g".into() }.encode()[..], b"\0\x02\0\x01g");
    let value =
        [&[0, 3][..], &42_i64.to_be_bytes(), &7_i32.to_be_bytes(), b"\0\x01m", &1_700_000_000_000_i64.to_be_bytes()];
    assert_eq!(&offset().encode()[..], value.concat());
    let known = OffsetCommitValue { topic_id: Some(TopicId(uuid::Uuid::from_bytes([5; 16]))), ..offset() };
    let value =
        [&[0, 4][..], &42_i64.to_be_bytes(), &7_i32.to_be_bytes(), b"\x02m", &1_700_000_000_000_i64.to_be_bytes()];
    assert_eq!(&known.encode()[..], [&value.concat()[..], &[1, 0, 16], &[5; 16]].concat());
    let member = [
        &b"\0\x03c-1\0\x01i\0\x01c\0\x0a/127.0.0.1"[..],
        &300_000_i32.to_be_bytes(),
        &45_000_i32.to_be_bytes(),
        b"\0\0\0\x02\0\x01\0\0\0\x01\x02",
    ];
    let head = [&b"\0\x03\0\x08consumer\0\0\0\x03\0\x05range\0\x03c-1"[..], &5_i64.to_be_bytes(), &[0, 0, 0, 1]];
    assert_eq!(&group().encode()[..], [head.concat(), member.concat()].concat());
}

#[test]
fn what_is_written_is_read_back() {
    for key in [
        GroupKey::Offset { group: "g".into(), topic: "t".into(), partition: 1 },
        GroupKey::Group { group: String::new() },
    ] {
        assert_eq!(GroupKey::decode(&key.encode()).unwrap().unwrap(), key);
    }
    assert_eq!(GroupMetadataValue::decode(&group().encode()).unwrap(), group());
    assert_eq!(OffsetCommitValue::decode(&offset().encode()).unwrap(), offset());
    // Version 1 knows no epoch.
    let expiring = OffsetCommitValue { expire_timestamp: Some(9), leader_epoch: -1, ..offset() };
    assert_eq!(OffsetCommitValue::decode(&expiring.encode()).unwrap(), expiring);
    let known = OffsetCommitValue { topic_id: Some(TopicId(uuid::Uuid::from_u128(7))), ..offset() };
    assert_eq!(OffsetCommitValue::decode(&known.encode()).unwrap(), known);
}

#[test]
fn flexible_values_of_newer_coordinators_are_read() {
    let value =
        [&[0, 4][..], &42_i64.to_be_bytes(), &7_i32.to_be_bytes(), b"\x02m", &1_700_000_000_000_i64.to_be_bytes()];
    assert_eq!(OffsetCommitValue::decode(&[&value.concat()[..], &[1, 9, 2, 8, 8]].concat()).unwrap(), offset());
    let head = [&b"\0\x04\x09consumer\0\0\0\x03\x06range\x04c-1"[..], &5_i64.to_be_bytes(), &[2]];
    let member = [
        &b"\x04c-1\x02i\x02c\x0b/127.0.0.1"[..],
        &300_000_i32.to_be_bytes(),
        &45_000_i32.to_be_bytes(),
        b"\x03\0\x01\x02\x02\0\0",
    ];
    assert_eq!(GroupMetadataValue::decode(&[head.concat(), member.concat()].concat()).unwrap(), group());
}

#[test]
fn unknown_kinds_are_passed_over_and_newer_values_refused() {
    assert_eq!(GroupKey::decode(&[0, 9, 0, 0]).unwrap(), None);
    assert!(matches!(OffsetCommitValue::decode(&[0, 9]), Err(Error::NewerFormat { found: 9, .. })));
}

proptest! {
    #[test]
    fn noise_is_refused_or_read(bytes in prop::collection::vec(any::<u8>(), 0..80), version in 0_u8..5) {
        let bytes = [&[0, version], &bytes[..]].concat();
        drop(GroupKey::decode(&bytes));
        drop(OffsetCommitValue::decode(&bytes));
        drop(GroupMetadataValue::decode(&bytes));
        drop(SubscribedTopics::decode(&bytes));
        drop(EpochValue::decode(&bytes));
        drop(ConsumerMemberValue::decode(&bytes));
        drop(TargetMemberValue::decode(&bytes));
        drop(CurrentAssignmentValue::decode(&bytes));
        drop(PatternValue::decode(&bytes));
    }
}
