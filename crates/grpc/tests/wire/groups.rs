//! GroupService against the real state machine of groups.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use runnel_api::Groups;
use runnel_api::groups::{CommitOffset, CommitOffsets, JoinGroup, JoinOutcome, Membership, SyncGroup};
use runnel_proto::admin::v1::reset_offsets_request::To;
use runnel_proto::admin::v1::reset_offsets_response::ResetOffset;
use runnel_proto::admin::v1::{
    DeleteGroupRequest, DeleteOffsetsRequest, DescribeGroupRequest, GroupState, GroupType, ListGroupOffsetsRequest,
    ListGroupsRequest, ResetOffsetsRequest, TopicPartitions,
};
use runnel_proto::consume::v1::Position;
use runnel_proto::consume::v1::position::{Earliest, Latest, Position as Named};
use runnel_proto::produce::v1::{AppendBatch, ProduceRequest};
use runnel_proto::record::v1::Record;
use runnel_testkit::MemoryBroker;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::support::{NOW, Server, batch, quick, record, start};

fn told(status: &Status) -> (Code, String) {
    (status.code(), status.get_error_details().error_info().unwrap().reason.clone())
}

/// A server of `t` with ten records in partition 0, a second apart until now, and two in partition 1.
async fn filled() -> (Arc<MemoryBroker>, Server) {
    let broker = MemoryBroker::with_topic("t", 3);
    let server = start(&broker, quick()).await;
    for (partition, count) in [(0, 10), (1, 2)] {
        for n in 1..=count {
            let record = Record { timestamp_ms: Some(NOW - 1000 * (count - n)), ..record(None, "v") };
            let batch = AppendBatch { partition: Some(partition), records: vec![record], ..batch(&[]) };
            server.producer().await.produce(ProduceRequest { batch: Some(batch), timeout_ms: None }).await.unwrap();
        }
    }
    (broker, server)
}

async fn commit(broker: &MemoryBroker, group: &str, offsets: &[(i32, i64)]) {
    let offsets = offsets.iter().map(|&(partition, offset)| CommitOffset {
        topic: "t".to_owned(),
        partition,
        offset,
        leader_epoch: -1,
        metadata: "m".to_owned(),
    });
    let member = Membership { generation: -1, member_id: String::new(), instance_id: None };
    let offsets = offsets.collect();
    let commit = CommitOffsets { group: group.to_owned(), member, knows_epochs: true, retention: None, offsets };
    broker.commit_offsets(commit).await.unwrap();
}

/// Makes a consumer a member that is assigned partitions 0 and 2 of `t`; its id.
async fn join(broker: &MemoryBroker, group: &str) -> String {
    let join = JoinGroup {
        group: group.to_owned(),
        member_id: String::new(),
        instance_id: Some("i".to_owned()),
        client_id: "c".to_owned(),
        client_host: "/127.0.0.1".to_owned(),
        session_timeout: Duration::from_secs(10),
        rebalance_timeout: Duration::from_secs(10),
        protocol_type: "consumer".to_owned(),
        protocols: vec![("range".to_owned(), Bytes::from_static(b"\0\0\0\0\0\x01\0\x01t\0\0\0\0"))],
        reason: None,
        needs_member_id: false,
        may_skip_assignment: false,
    };
    let JoinOutcome::Joined(joined) = broker.join_group(join).await.unwrap() else { panic!("it has no id yet") };
    let assignment = Bytes::from_static(b"\0\0\0\0\0\x01\0\x01t\0\0\0\x02\0\0\0\x02\0\0\0\0\0\0\0\0");
    let sync = SyncGroup {
        group: group.to_owned(),
        member: Membership {
            generation: joined.generation,
            member_id: joined.member_id.clone(),
            instance_id: Some("i".to_owned()),
        },
        protocol_type: None,
        protocol: None,
        assignments: vec![(joined.member_id.clone(), assignment)],
    };
    broker.sync_group(sync).await.unwrap();
    joined.member_id
}

fn partitions(partitions: &[i32]) -> Vec<TopicPartitions> {
    vec![TopicPartitions { topic: "t".to_owned(), partitions: partitions.to_vec() }]
}

fn reset(topics: Vec<TopicPartitions>, to: To) -> ResetOffsetsRequest {
    ResetOffsetsRequest { group: "g".to_owned(), topics, to: Some(to), ..ResetOffsetsRequest::default() }
}

fn at(named: Named) -> To {
    To::Position(Position { position: Some(named) })
}

#[tokio::test]
async fn groups_come_by_name_in_pages() {
    let (broker, server) = filled().await;
    for group in ["b", "", "a"] {
        commit(&broker, group, &[(0, 1)]).await;
    }
    join(&broker, "c").await;
    let (mut found, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = ListGroupsRequest { page_size: 1, page_token };
        let page = server.groups().await.list_groups(request).await.unwrap().into_inner();
        assert_eq!(page.groups.len(), 1);
        found.extend(page.groups);
        if page.next_page_token.is_empty() {
            break;
        }
        page_token = page.next_page_token;
    }
    let shown: Vec<_> =
        found.iter().map(|g| (g.group.as_str(), g.state(), g.protocol_type.as_str(), g.members)).collect();
    let empty = |group| (group, GroupState::Empty, "", 0);
    assert_eq!(shown, [empty(""), empty("a"), empty("b"), ("c", GroupState::Stable, "consumer", 1)]);
    assert!(found.iter().all(|group| group.r#type() == GroupType::Classic));
    server.stop().await;
}

#[tokio::test]
async fn a_group_is_described_with_members_offsets_and_lag() {
    let (broker, server) = filled().await;
    commit(&broker, "g", &[(0, 4), (1, 2)]).await;
    let member_id = join(&broker, "g").await;
    let request = DescribeGroupRequest { group: "g".to_owned(), ..DescribeGroupRequest::default() };
    let described = server.groups().await.describe_group(request).await.unwrap().into_inner();
    let group = described.group.unwrap();
    assert_eq!((group.state(), group.members, described.protocol.as_str()), (GroupState::Stable, 1, "range"));
    let [member] = described.members.as_slice() else { panic!("{:?}", described.members) };
    assert_eq!((member.member_id.as_str(), member.client_id.as_str()), (member_id.as_str(), "c"));
    assert_eq!((member.client_host.as_str(), member.instance_id.as_deref()), ("/127.0.0.1", Some("i")));
    assert_eq!(member.assignment, partitions(&[0, 2]));

    for page_size in [0, 1] {
        let (mut offsets, mut page_token) = (Vec::new(), String::new());
        loop {
            let group = "g".to_owned();
            let request = ListGroupOffsetsRequest { group, page_size, page_token, with_lag_ms: true };
            let page = server.groups().await.list_group_offsets(request).await.unwrap().into_inner();
            offsets.extend(page.offsets);
            if page.next_page_token.is_empty() {
                break;
            }
            page_token = page.next_page_token;
        }
        let shown = offsets.iter().map(|o| {
            assert_eq!((o.topic.as_str(), o.log_start, &o.error), ("t", 0, &None));
            (o.partition, o.committed_offset, o.high_watermark, o.lag, o.lag_ms, o.member_id.is_some())
        });
        let expected = [
            (0, Some(4), 10, Some(6), Some(5000), true),
            (1, Some(2), 2, Some(0), Some(0), false),
            (2, None, 0, None, None, true),
        ];
        assert_eq!(shown.collect::<Vec<_>>(), expected);
        assert_eq!(offsets[0].metadata, "m");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_reset_says_old_and_new_and_does_it_unless_it_is_to_check() {
    let (broker, server) = filled().await;
    commit(&broker, "g", &[(0, 4), (1, 2)]).await;
    let done = |partition, old_offset, new_offset, clipped_from| ResetOffset {
        topic: "t".to_owned(),
        partition,
        old_offset,
        new_offset,
        clipped_from,
        error: None,
    };
    // Each begins where the last one ended.
    let cases = [
        (reset(partitions(&[]), To::ShiftBy(-3)), Err("INVALID_REQUEST")),
        (
            reset(partitions(&[0, 1]), To::ShiftBy(-3)),
            Ok(vec![done(0, Some(4), 1, None), done(1, Some(2), 0, Some(-1))]),
        ),
        (
            reset(partitions(&[]), at(Named::Latest(Latest {}))),
            Ok(vec![done(0, Some(1), 10, None), done(1, Some(0), 2, None), done(2, None, 0, None)]),
        ),
        (
            reset(partitions(&[0, 1]), at(Named::Offset(7))),
            Ok(vec![done(0, Some(10), 7, None), done(1, Some(2), 2, Some(7))]),
        ),
        (reset(partitions(&[0, 9]), at(Named::Offset(1))), Err("UNKNOWN_PARTITION")),
        (
            reset(partitions(&[1, 0, 0]), at(Named::TimestampMs(NOW - 1500))),
            Ok(vec![done(0, Some(7), 8, None), done(1, Some(2), 0, None)]),
        ),
        (
            ResetOffsetsRequest { all_topics: true, ..reset(vec![], at(Named::TimestampMs(NOW + 1))) },
            Ok(vec![done(0, Some(8), 10, None), done(1, Some(0), 2, None), done(2, Some(0), 0, None)]),
        ),
        (reset(partitions(&[0]), at(Named::Earliest(Earliest {}))), Ok(vec![done(0, Some(10), 0, None)])),
    ];
    for (request, expected) in cases {
        for validate_only in [true, true, false] {
            let request = ResetOffsetsRequest { validate_only, ..request.clone() };
            let answered = server.groups().await.reset_offsets(request.clone()).await;
            let answered = answered.map(|answer| answer.into_inner().offsets).map_err(|status| told(&status).1);
            assert_eq!(answered, expected.clone().map_err(str::to_owned), "{request:?}");
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn a_group_with_members_is_left_alone() {
    let (broker, server) = filled().await;
    commit(&broker, "g", &[(0, 4)]).await;
    join(&broker, "g").await;
    let mut groups = server.groups().await;
    let latest = at(Named::Latest(Latest {}));
    let non_empty = (Code::FailedPrecondition, "NON_EMPTY_GROUP".to_owned());
    for validate_only in [true, false] {
        let request = ResetOffsetsRequest { validate_only, ..reset(partitions(&[0]), latest) };
        let status = groups.reset_offsets(request).await.unwrap_err();
        assert_eq!(told(&status), non_empty);
        assert!(status.message().contains("`g`") && status.message().contains("stop its consumers"), "{status}");
    }
    let status = groups.delete_group(DeleteGroupRequest { group: "g".to_owned() }).await.unwrap_err();
    assert_eq!(told(&status), non_empty);
    let request = DeleteOffsetsRequest { group: "g".to_owned(), topics: partitions(&[0]) };
    let deleted = groups.delete_offsets(request).await.unwrap().into_inner().offsets;
    assert_eq!(deleted[0].error.as_ref().unwrap().reason, "GROUP_SUBSCRIBED_TO_TOPIC");
    server.stop().await;
}

#[tokio::test]
async fn offsets_and_groups_are_deleted() {
    let (broker, server) = filled().await;
    commit(&broker, "g", &[(0, 4), (1, 1), (2, 0)]).await;
    let mut groups = server.groups().await;
    for (asked, gone) in [(vec![1], vec![1]), (vec![], vec![0, 2]), (vec![], vec![])] {
        let request = DeleteOffsetsRequest { group: "g".to_owned(), topics: partitions(&asked) };
        match groups.delete_offsets(request).await {
            Ok(answer) => {
                let offsets = answer.into_inner().offsets;
                assert_eq!(
                    offsets.iter().map(|o| (o.partition, o.error.clone())).collect::<Vec<_>>(),
                    gone.into_iter().map(|p| (p, None)).collect::<Vec<_>>()
                );
            }
            // With its last offset a group that never had members is gone too.
            Err(status) => assert_eq!((told(&status).1.as_str(), gone.len()), ("GROUP_ID_NOT_FOUND", 0)),
        }
    }
    commit(&broker, "g", &[(0, 4)]).await;
    groups.delete_group(DeleteGroupRequest { group: "g".to_owned() }).await.unwrap();
    let not_found = (Code::NotFound, "GROUP_ID_NOT_FOUND".to_owned());
    let status = groups.delete_group(DeleteGroupRequest { group: "g".to_owned() }).await.unwrap_err();
    assert_eq!((told(&status), status.message()), (not_found.clone(), "there is no group `g`"));
    let request = DescribeGroupRequest { group: "g".to_owned(), ..DescribeGroupRequest::default() };
    assert_eq!(told(&groups.describe_group(request).await.unwrap_err()), not_found);
    let request = ListGroupOffsetsRequest { group: "g".to_owned(), ..ListGroupOffsetsRequest::default() };
    assert_eq!(told(&groups.list_group_offsets(request).await.unwrap_err()), not_found);
    let request = ResetOffsetsRequest { all_topics: true, ..reset(vec![], To::ShiftBy(1)) };
    assert_eq!(told(&groups.reset_offsets(request).await.unwrap_err()), not_found);
    server.stop().await;
}

#[tokio::test]
async fn a_group_is_made_by_its_first_reset_and_nonsense_is_refused() {
    let (_broker, server) = filled().await;
    let mut groups = server.groups().await;
    let latest = at(Named::Latest(Latest {}));
    let nonsense = [
        reset(vec![], latest),
        ResetOffsetsRequest { all_topics: true, ..reset(partitions(&[]), latest) },
        ResetOffsetsRequest { to: None, ..reset(partitions(&[]), latest) },
        reset(partitions(&[]), To::Position(Position { position: None })),
        ResetOffsetsRequest { group: String::new(), ..reset(partitions(&[]), latest) },
    ];
    for request in nonsense {
        let status = groups.reset_offsets(request.clone()).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{request:?}");
    }
    let bad = ListGroupOffsetsRequest { group: "g".to_owned(), page_token: "x".to_owned(), ..Default::default() };
    assert_eq!(told(&groups.list_group_offsets(bad).await.unwrap_err()).1, "INVALID_REQUEST");
    let bad = DeleteOffsetsRequest { group: "g".to_owned(), topics: vec![] };
    assert_eq!(told(&groups.delete_offsets(bad).await.unwrap_err()).1, "INVALID_REQUEST");
    groups.reset_offsets(reset(partitions(&[0]), latest)).await.unwrap();
    let request = ListGroupOffsetsRequest { group: "g".to_owned(), ..ListGroupOffsetsRequest::default() };
    let offsets = groups.list_group_offsets(request).await.unwrap().into_inner().offsets;
    assert_eq!(
        offsets.iter().map(|o| (o.partition, o.committed_offset, o.lag_ms)).collect::<Vec<_>>(),
        [(0, Some(10), None)]
    );
    server.stop().await;
}
