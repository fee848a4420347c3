//! Consumer groups in every version of their APIs.

use std::sync::Arc;

use bytes::Bytes;
use kafka_protocol::error::ResponseError as Wire;
use kafka_protocol::messages::*;
use kafka_protocol::protocol::StrBytes;
use runnel_kafka::Options;
use runnel_testkit::MemoryBroker;

use crate::support::{Client, Server, start};

fn text(s: &str) -> StrBytes {
    StrBytes::from_string(s.to_owned())
}

fn group(name: &str) -> GroupId {
    GroupId(text(name))
}

fn join(name: &str, member: &StrBytes) -> JoinGroupRequest {
    let protocol = join_group_request::JoinGroupRequestProtocol::default()
        .with_name(text("range"))
        .with_metadata(Bytes::from_static(b"\0\0\0\0\0\x01\0\x01t"));
    JoinGroupRequest::default()
        .with_group_id(group(name))
        .with_session_timeout_ms(10_000)
        .with_rebalance_timeout_ms(60_000)
        .with_member_id(member.clone())
        .with_protocol_type(text("consumer"))
        .with_protocols(vec![protocol])
}

fn sync(name: &str, joined: &JoinGroupResponse) -> SyncGroupRequest {
    let assignment = sync_group_request::SyncGroupRequestAssignment::default()
        .with_member_id(joined.member_id.clone())
        .with_assignment(Bytes::from_static(b"all"));
    SyncGroupRequest::default()
        .with_group_id(group(name))
        .with_generation_id(joined.generation_id)
        .with_member_id(joined.member_id.clone())
        .with_assignments(vec![assignment])
}

fn commit(name: &str, member: &StrBytes, generation: i32, offset: i64) -> OffsetCommitRequest {
    let partition = offset_commit_request::OffsetCommitRequestPartition::default()
        .with_committed_offset(offset)
        .with_committed_metadata(Some(text("m")));
    let topic = offset_commit_request::OffsetCommitRequestTopic::default()
        .with_name(TopicName(text("t")))
        .with_partitions(vec![partition]);
    OffsetCommitRequest::default()
        .with_group_id(group(name))
        .with_member_id(member.clone())
        .with_generation_id_or_member_epoch(generation)
        .with_topics(vec![topic])
}

/// What is committed for partition 0 of `t`: (error, offset, metadata).
async fn committed(client: &mut Client, name: &str, version: i16, all: bool) -> Option<(i16, i64, String)> {
    if version >= 8 {
        let topic = offset_fetch_request::OffsetFetchRequestTopics::default()
            .with_name(TopicName(text("t")))
            .with_partition_indexes(vec![0]);
        let asked = offset_fetch_request::OffsetFetchRequestGroup::default()
            .with_group_id(group(name))
            .with_topics((!all).then(|| vec![topic]));
        let response = client.call(&OffsetFetchRequest::default().with_groups(vec![asked]), version).await;
        let found = response.groups[0].topics.first()?.partitions[0].clone();
        return Some((response.groups[0].error_code, found.committed_offset, found.metadata.unwrap().to_string()));
    }
    let topic = offset_fetch_request::OffsetFetchRequestTopic::default()
        .with_name(TopicName(text("t")))
        .with_partition_indexes(vec![0]);
    let request = OffsetFetchRequest::default().with_group_id(group(name)).with_topics((!all).then(|| vec![topic]));
    let response = client.call(&request, version).await;
    let found = response.topics.first()?.partitions[0].clone();
    Some((response.error_code, found.committed_offset, found.metadata.unwrap().to_string()))
}

async fn server() -> (Arc<MemoryBroker>, Server) {
    let broker = MemoryBroker::with_topic("t", 1);
    let server = start(&broker, Options::default()).await;
    (broker, server)
}

/// Joins as the only member, with an id that is asked for where the version has that.
async fn joined(client: &mut Client, name: &str, version: i16) -> JoinGroupResponse {
    let first = client.call(&join(name, &StrBytes::new()), version).await;
    if version < 4 {
        return first;
    }
    assert_eq!(first.error_code, Wire::MemberIdRequired.code(), "v{version}");
    assert!(first.member_id.starts_with("test-"), "v{version}: {}", first.member_id);
    client.call(&join(name, &first.member_id), version).await
}

#[tokio::test]
async fn the_coordinator_is_found_in_every_version() {
    let (_broker, server) = server().await;
    let mut client = server.client().await;
    for version in 0..=6 {
        let request = FindCoordinatorRequest::default();
        let code = if version >= 4 {
            client.call(&request.with_coordinator_keys(vec![text("g")]), version).await.coordinators[0].error_code
        } else {
            client.call(&request.with_key(text("g")), version).await.error_code
        };
        assert_eq!(code, 0);
    }
}

#[tokio::test]
async fn a_member_lives_and_leaves_in_every_version() {
    let (_broker, server) = server().await;
    let mut client = server.client().await;
    for version in 2..=9 {
        let name = format!("g{version}");
        let joined = joined(&mut client, &name, version).await;
        assert_eq!((joined.error_code, joined.generation_id, joined.members.len()), (0, 1, 1), "v{version}");
        assert_eq!((&joined.leader, joined.protocol_name.as_deref()), (&joined.member_id, Some("range")));
        let sync_version = (version - 2).min(5);
        let synced = client.call(&sync(&name, &joined), sync_version).await;
        assert_eq!((synced.error_code, &synced.assignment[..]), (0, &b"all"[..]), "v{version}");

        let beat = |generation| {
            HeartbeatRequest::default()
                .with_group_id(group(&name))
                .with_member_id(joined.member_id.clone())
                .with_generation_id(generation)
        };
        let beat_version = (version - 2).min(4);
        assert_eq!(client.call(&beat(1), beat_version).await.error_code, 0);
        assert_eq!(client.call(&beat(2), beat_version).await.error_code, Wire::IllegalGeneration.code());

        let leave = LeaveGroupRequest::default().with_group_id(group(&name));
        let leave_version = (version - 2).min(5);
        let left = if leave_version < 3 {
            client.call(&leave.with_member_id(joined.member_id.clone()), leave_version).await.error_code
        } else {
            let member = leave_group_request::MemberIdentity::default().with_member_id(joined.member_id.clone());
            let left = client.call(&leave.with_members(vec![member]), leave_version).await;
            assert_eq!((left.error_code, left.members.len()), (0, 1));
            left.members[0].error_code
        };
        assert_eq!(left, 0, "v{version}");
        let gone = client.call(&beat(1), beat_version).await.error_code;
        assert_eq!(gone, Wire::UnknownMemberId.code(), "v{version}");
    }
}

#[tokio::test]
async fn refusals_keep_the_shape_of_their_version() {
    let (_broker, server) = server().await;
    let mut client = server.client().await;
    for version in 2..=9 {
        let unknown = client.call(&join("g", &text("nobody")), version).await;
        assert_eq!((unknown.error_code, unknown.generation_id), (Wire::UnknownMemberId.code(), -1));
        assert_eq!(unknown.protocol_name.is_none(), version >= 7, "v{version}");
        let nameless = client.call(&join("", &StrBytes::new()), version).await;
        assert_eq!(nameless.error_code, Wire::InvalidGroupId.code());
        let hasty = client.call(&join("g", &StrBytes::new()).with_session_timeout_ms(1), version).await;
        assert_eq!(hasty.error_code, Wire::InvalidSessionTimeout.code());
    }
}

#[tokio::test]
async fn offsets_are_committed_and_fetched_in_every_version() {
    let (_broker, server) = server().await;
    let mut client = server.client().await;
    for version in 2..=9 {
        let name = format!("g{version}");
        for fetch in 1..=9 {
            assert_eq!(committed(&mut client, &name, fetch, false).await, Some((0, -1, String::new())), "v{fetch}");
        }
        let response = client.call(&commit(&name, &StrBytes::new(), -1, 7), version).await;
        assert_eq!(response.topics[0].partitions[0].error_code, 0, "v{version}");
        let fenced = client.call(&commit(&name, &text("m"), 3, 9), version).await;
        assert_eq!(fenced.topics[0].partitions[0].error_code, Wire::UnknownMemberId.code(), "v{version}");
        for fetch in 1..=9 {
            let found = Some((0, 7, "m".to_owned()));
            assert_eq!(committed(&mut client, &name, fetch, false).await, found, "v{fetch}");
            if fetch >= 2 {
                assert_eq!(committed(&mut client, &name, fetch, true).await, found, "v{fetch}");
            }
        }
    }
}

#[tokio::test]
async fn groups_are_listed_described_and_deleted_in_every_version() {
    let (_broker, server) = server().await;
    let mut client = server.client().await;
    let alive = joined(&mut client, "alive", 9).await;
    client.call(&sync("alive", &alive), 5).await;
    client.call(&commit("idle", &StrBytes::new(), -1, 7), 9).await;

    for version in 0..=5 {
        let listed = client.call(&ListGroupsRequest::default(), version).await;
        let names: Vec<_> = listed.groups.iter().map(|g| (g.group_id.to_string(), g.group_state.to_string())).collect();
        let state = |state: &str| if version >= 4 { state.to_owned() } else { String::new() };
        assert_eq!(names, [("alive".into(), state("Stable")), ("idle".into(), state("Empty"))], "v{version}");
    }
    let some = ListGroupsRequest::default().with_states_filter(vec![text("stable")]);
    assert_eq!(client.call(&some.with_types_filter(vec![text("Classic")]), 5).await.groups.len(), 1);
    let other = ListGroupsRequest::default().with_types_filter(vec![text("consumer")]);
    assert!(client.call(&other, 5).await.groups.is_empty());

    for version in 0..=6 {
        let asked = DescribeGroupsRequest::default().with_groups(vec![group("alive"), group("none"), group("alive")]);
        let described = client.call(&asked, version).await.groups;
        assert_eq!(described.len(), 2, "each once");
        let member = &described[0].members[0];
        assert_eq!((&*described[0].group_state, &*described[0].protocol_data), ("Stable", "range"));
        assert_eq!((&*member.client_id, &*member.client_host), ("test", "/127.0.0.1"));
        assert_eq!(&member.member_assignment[..], b"all");
        let missing = if version >= 6 { Wire::GroupIdNotFound.code() } else { 0 };
        assert_eq!((described[1].error_code, &*described[1].group_state), (missing, "Dead"), "v{version}");
    }

    let partition = offset_delete_request::OffsetDeleteRequestPartition::default();
    let topic = offset_delete_request::OffsetDeleteRequestTopic::default()
        .with_name(TopicName(text("t")))
        .with_partitions(vec![partition]);
    let delete = |name| OffsetDeleteRequest::default().with_group_id(group(name)).with_topics(vec![topic.clone()]);
    let used = client.call(&delete("alive"), 0).await;
    assert_eq!(used.topics[0].partitions[0].error_code, Wire::GroupSubscribedToTopic.code());
    assert_eq!(client.call(&delete("none"), 0).await.error_code, Wire::GroupIdNotFound.code());
    let idle = client.call(&delete("idle"), 0).await;
    assert_eq!((idle.error_code, idle.topics[0].partitions[0].error_code), (0, 0));

    for version in 0..=2 {
        client.call(&commit("idle", &StrBytes::new(), -1, 7), 9).await;
        let names = vec![group("alive"), group("idle"), group("none")];
        let results = client.call(&DeleteGroupsRequest::default().with_groups_names(names), version).await.results;
        let codes: Vec<_> = results.iter().map(|result| result.error_code).collect();
        assert_eq!(codes, [Wire::NonEmptyGroup.code(), 0, Wire::GroupIdNotFound.code()], "v{version}");
    }
}
