//! The log of a group coordinator: keys and values by themselves, and the coordinator that they make.

use std::fmt::Debug;
use std::time::Duration;

use bytes::Bytes;
use runnel_format::Error;
use runnel_format::groups::{
    ClassicMemberValue, ConsumerMemberValue, CurrentAssignmentValue, EpochValue, GroupKey, GroupMetadataValue,
    HeldPartitions, MemberMetadata, OffsetCommitValue, PatternValue, SubscribedTopics, TargetMemberValue,
};
use runnel_group::{Now, Options, Shard};
use runnel_record::TopicId;

/// Longest text that every version of the format can carry.
const LONGEST: usize = 32_767;

/// The input is a row of records: key and value, each behind its length (one byte); a value of length 255 is none.
pub(crate) fn run(input: &[u8]) {
    let mut shard = Shard::new(Options::default());
    let (mut left, mut records) = (input, 0_u32);
    while let Some((key, rest)) = take(left) {
        let none = rest.first() == Some(&u8::MAX);
        let (value, rest) = if none { (&[][..], &rest[1..]) } else { take(rest).unwrap_or_default() };
        left = rest;
        again(value, GroupMetadataValue::decode, GroupMetadataValue::encode);
        again(value, OffsetCommitValue::decode, OffsetCommitValue::encode);
        again(value, EpochValue::decode, |value| value.encode());
        again(value, SubscribedTopics::decode, SubscribedTopics::encode);
        again(value, ConsumerMemberValue::decode, ConsumerMemberValue::encode);
        again(value, TargetMemberValue::decode, TargetMemberValue::encode);
        again(value, CurrentAssignmentValue::decode, CurrentAssignmentValue::encode);
        again(value, PatternValue::decode, PatternValue::encode);
        if let Ok(Some(known)) = GroupKey::decode(key) {
            assert_eq!(GroupKey::decode(&known.encode()), Ok(Some(known)));
        }
        drop(shard.load(key, (!none).then_some(value)));
        records += 1;
    }
    let now = |hours: u64| Now { elapsed: Duration::from_secs(hours * 3600), wall_ms: i64::MAX / 2 };
    shard.loaded(now(0));
    let groups = shard.len();
    assert!(groups <= records as usize);
    let mut effects = Vec::new();
    for hour in 1..4 {
        shard.tick(now(hour), &mut effects);
        assert!(shard.next_tick() > now(hour).elapsed, "a timer that is never done");
    }
}

fn take(input: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = input.split_first()?;
    Some(rest.split_at(usize::from(*length).min(rest.len())))
}

/// What is accepted survives being stored again.
fn again<T: PartialEq + Debug>(bytes: &[u8], decode: fn(&[u8]) -> Result<T, Error>, encode: fn(&T) -> Bytes) {
    if let Ok(value) = decode(bytes)
        && bytes.len() <= LONGEST
    {
        assert_eq!(decode(&encode(&value)), Ok(value));
    }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let offset = |expire| OffsetCommitValue {
        offset: 42,
        leader_epoch: if expire { -1 } else { 3 },
        metadata: "m".into(),
        commit_timestamp: 5,
        expire_timestamp: expire.then_some(9),
        topic_id: None,
    };
    let member = MemberMetadata {
        member_id: "c-1".into(),
        instance_id: Some("i".into()),
        client_id: "c".into(),
        client_host: "/127.0.0.1".into(),
        rebalance_timeout: 300_000,
        session_timeout: 45_000,
        subscription: Bytes::from_static(b"\0\x01\0\0\0\x01\0\x01t\0\0\0\0"),
        assignment: Bytes::from_static(&[2]),
    };
    let group = GroupMetadataValue {
        protocol_type: "consumer".into(),
        generation: 3,
        protocol: Some("range".into()),
        leader: Some("c-1".into()),
        state_timestamp: 5,
        members: vec![member],
    };
    let offset_key = GroupKey::Offset { group: "g".into(), topic: "t".into(), partition: 1 }.encode();
    let group_key = GroupKey::Group { group: "g".into() }.encode();
    let protocols = vec![("range".to_owned(), Bytes::from_static(b"\0\x01\0\0\0\x01\0\x01t\0\0\0\0"))];
    let consumer = ConsumerMemberValue {
        instance_id: Some("i".into()),
        rack: None,
        client_id: "c".into(),
        client_host: "/h".into(),
        topics: vec!["t".into()],
        pattern: Some("t.*".into()),
        rebalance_timeout: 300_000,
        assignor: None,
        classic: Some(ClassicMemberValue { session_timeout: 45_000, protocols }),
    };
    let partitions = vec![HeldPartitions { topic: TopicId::ZERO, partitions: vec![0, 1], since: Some(vec![1, 2]) }];
    let current =
        CurrentAssignmentValue { epoch: 2, previous_epoch: 1, state: 1, assigned: partitions, revoking: Vec::new() };
    let of = |kind| {
        let (group, member) = ("g".to_owned(), "m".to_owned());
        if kind == 5 { GroupKey::Member { group, member } } else { GroupKey::Current { group, member } }.encode()
    };
    let with = |key: &Bytes, value: &[u8]| [&[length(key)][..], key, &[length(value)], value].concat();
    let without = |key: &Bytes| [&[length(key)][..], key, &[u8::MAX]].concat();
    let rows = [
        with(&offset_key, &offset(false).encode()),
        with(&offset_key, &offset(true).encode()),
        with(&group_key, &group.encode()),
        with(&of(5), &consumer.encode()),
        with(&of(8), &current.encode()),
        with(&GroupKey::Epoch { group: "g".into() }.encode(), &EpochValue(2).encode()),
        without(&of(8)),
        without(&offset_key),
        without(&group_key),
    ];
    let whole = rows.concat();
    rows.into_iter().chain([whole]).collect()
}

fn length(bytes: &[u8]) -> u8 {
    u8::try_from(bytes.len()).expect("a short sample")
}
