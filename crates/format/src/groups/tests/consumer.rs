use runnel_record::TopicId;
use uuid::Uuid;

use super::*;

const TOPIC: TopicId = TopicId(Uuid::from_bytes([7; 16]));

fn member() -> ConsumerMemberValue {
    ConsumerMemberValue {
        instance_id: None,
        rack: Some("r".into()),
        client_id: "c".into(),
        client_host: "/h".into(),
        topics: vec!["t".into(), "u".into()],
        pattern: None,
        rebalance_timeout: 300_000,
        assignor: Some("range".into()),
        classic: None,
    }
}

fn classic() -> ConsumerMemberValue {
    let protocols = vec![("range".to_owned(), Bytes::from_static(&[0, 1, 2]))];
    ConsumerMemberValue { classic: Some(ClassicMemberValue { session_timeout: 45_000, protocols }), ..member() }
}

fn held(partitions: &[i32], since: Option<&[i32]>) -> HeldPartitions {
    HeldPartitions { topic: TOPIC, partitions: partitions.to_vec(), since: since.map(<[i32]>::to_vec) }
}

/// What Apache Kafka 4 writes for the same facts.
#[test]
fn the_bytes_are_those_of_kafka() {
    let (group, member_id) = ("g".to_owned(), "m".to_owned());
    assert_eq!(&GroupKey::Epoch { group: group.clone() }.encode()[..], b"\0\x03\0\x01g");
    assert_eq!(&GroupKey::Current { group, member: member_id }.encode()[..], b"\0\x08\0\x01g\0\x01m");
    assert_eq!(&EpochValue(5).encode()[..], b"\0\0\0\0\0\x05\0");
    let head = b"\0\0\0\x02r\x02c\x03/h\x03\x02t\x02u\0\0\x04\x93\xe0\x06range".to_vec();
    assert_eq!(member().encode()[..], [&head[..], b"\0"].concat());
    let tag = b"\x01\0\x12\x01\0\0\xaf\xc8\x02\x06range\x04\0\x01\x02\0\0";
    assert_eq!(classic().encode()[..], [&head[..], tag].concat());
    let current = CurrentAssignmentValue {
        epoch: 2,
        previous_epoch: 1,
        state: 1,
        assigned: vec![held(&[0, 1], None)],
        revoking: Vec::new(),
    };
    let assigned = [&b"\x02"[..], &[7; 16], b"\x03\0\0\0\0\0\0\0\x01\0"].concat();
    let expected = [&b"\0\0\0\0\0\x02\0\0\0\x01\x01"[..], &assigned, b"\x01\0"].concat();
    assert_eq!(current.encode()[..], expected);
    let target = TargetMemberValue(vec![(TOPIC, vec![0, 1])]);
    assert_eq!(target.encode()[..], [&b"\0\0"[..], &assigned, b"\0"].concat());
    let since = CurrentAssignmentValue { assigned: vec![held(&[0, 1], Some(&[2, 1]))], ..current };
    let assigned = [&b"\x02"[..], &[7; 16], b"\x03\0\0\0\0\0\0\0\x01\x01\0\x09\x03\0\0\0\x02\0\0\0\x01"].concat();
    let expected = [&b"\0\0\0\0\0\x02\0\0\0\x01\x01"[..], &assigned, b"\x01\0"].concat();
    assert_eq!(since.encode()[..], expected);
}

#[test]
fn what_is_written_is_read_back() {
    let (group, member_id) = ("g".to_owned(), "m".to_owned());
    for key in [
        GroupKey::Epoch { group: group.clone() },
        GroupKey::Topics { group: group.clone() },
        GroupKey::Member { group: group.clone(), member: member_id.clone() },
        GroupKey::TargetEpoch { group: group.clone() },
        GroupKey::TargetMember { group: group.clone(), member: member_id.clone() },
        GroupKey::Current { group: group.clone(), member: member_id },
        GroupKey::Pattern { group, pattern: "a.*".into() },
    ] {
        assert_eq!(GroupKey::decode(&key.encode()).unwrap().unwrap(), key);
    }
    for value in [member(), classic()] {
        assert_eq!(ConsumerMemberValue::decode(&value.encode()).unwrap(), value);
    }
    let topics = SubscribedTopics(vec![SubscribedTopic { id: TOPIC, name: "t".into(), partitions: 3 }]);
    assert_eq!(SubscribedTopics::decode(&topics.encode()).unwrap(), topics);
    let pattern = PatternValue { topics: vec!["t".into()], version: 8, timestamp: 9 };
    assert_eq!(PatternValue::decode(&pattern.encode()).unwrap(), pattern);
    let current = CurrentAssignmentValue {
        epoch: 2,
        previous_epoch: 1,
        state: 2,
        assigned: vec![held(&[0, 1], Some(&[1, 2]))],
        revoking: vec![held(&[4], None)],
    };
    assert_eq!(CurrentAssignmentValue::decode(&current.encode()).unwrap(), current);
    // Later releases add fields in tags.
    assert_eq!(EpochValue::decode(b"\0\0\0\0\0\x05\x01\0\x08\0\0\0\0\0\0\0\x01").unwrap(), EpochValue(5));
}
