//! Group coordinators on a disk that fails: what was acknowledged, and only that, survives.

use std::time::Duration;

use bytes::Bytes;
use runnel_api::groups::{
    CommitOffset, CommitOffsets, DeleteOffsets, FetchOffsets, GroupError, GroupState, Heartbeat, JoinGroup,
    JoinOutcome, Joined, LeaveGroup, Leaving, Membership, SyncGroup,
};
use runnel_api::{Error, ErrorKind, Groups, OffsetSpec};
use runnel_runtime::FailAction;

use crate::support::{Node, World, eventually};

fn world() -> World {
    let mut world = World::new();
    world.options.groups.coordinator.initial_rebalance_delay = Duration::ZERO;
    world.options.groups.offsets_partitions = 3;
    world
}

fn membership(joined: &Joined) -> Membership {
    Membership { generation: joined.generation, member_id: joined.member_id.clone(), instance_id: None }
}

impl Node {
    fn commit(&self, group: &str, offset: i64) -> Result<(), Error> {
        let offset =
            CommitOffset { topic: "t".into(), partition: 0, offset, leader_epoch: -1, metadata: String::new() };
        let commit = CommitOffsets {
            group: group.into(),
            member: Membership { generation: -1, member_id: String::new(), instance_id: None },
            knows_epochs: false,
            retention: None,
            offsets: vec![offset],
        };
        self.run(self.broker().commit_offsets(commit))?.remove(0)
    }

    fn committed(&self, group: &str) -> Result<i64, Error> {
        let topics = Some(vec![("t".to_owned(), vec![0])]);
        let found =
            self.run(self.broker().fetch_offsets(FetchOffsets { group: group.into(), topics, member: None }))?;
        Ok(found[0].offset)
    }

    fn join(&self, group: &str, member_id: &str) -> Joined {
        match self.try_join(group, member_id).unwrap() {
            JoinOutcome::Joined(joined) => joined,
            other @ JoinOutcome::MemberIdRequired(_) => panic!("{other:?}"),
        }
    }

    fn try_join(&self, group: &str, member_id: &str) -> Result<JoinOutcome, Error> {
        let join = JoinGroup {
            group: group.into(),
            member_id: member_id.into(),
            instance_id: None,
            client_id: "c".into(),
            client_host: "/127.0.0.1".into(),
            session_timeout: Duration::from_secs(30),
            rebalance_timeout: Duration::from_secs(30),
            protocol_type: "consumer".into(),
            protocols: vec![("range".into(), Bytes::from_static(b"\0\0\0\0\0\x01\0\x01t"))],
            reason: None,
            needs_member_id: false,
            may_skip_assignment: true,
        };
        self.run(self.broker().join_group(join))
    }

    fn sync(&self, group: &str, joined: &Joined) -> Result<Bytes, Error> {
        let sync = SyncGroup {
            group: group.into(),
            member: membership(joined),
            protocol_type: None,
            protocol: None,
            assignments: vec![(joined.member_id.clone(), Bytes::from_static(b"all"))],
        };
        self.run(self.broker().sync_group(sync)).map(|synced| synced.assignment)
    }

    fn beat(&self, group: &str, joined: &Joined) -> Result<(), Error> {
        let beat = Heartbeat { group: group.into(), member: membership(joined) };
        self.run(self.broker().heartbeat(beat))
    }
}

#[test]
fn acknowledged_commits_survive_power_cuts() {
    let mut world = world();
    let mut node = world.start();
    node.create("t", 1, &[]);
    for turn in 0..12 {
        for group in ["a", "b", "c", "d"] {
            node.commit(group, turn).unwrap();
        }
        world.cut_power(node, u64::try_from(turn).unwrap());
        node = world.start();
        for group in ["a", "b", "c", "d"] {
            assert_eq!(node.committed(group).unwrap(), turn, "{group}");
        }
    }
}

#[test]
fn a_commit_is_not_acknowledged_before_it_is_durable() {
    let mut world = world();
    let node = world.start();
    node.create("t", 1, &[]);
    node.commit("g", 1).unwrap();
    world.disk.fail_sync(0);
    let error = node.commit("g", 2).unwrap_err();
    assert!(matches!(error.kind, ErrorKind::NotLeader | ErrorKind::LeaderNotAvailable), "{error:?}");
    assert!(node.committed("g").is_ok_and(|offset| offset == 1), "nobody may read what is not durable");
    world.cut_power(node, 1);
    let node = world.start();
    assert!(node.committed("g").unwrap() >= 1);
}

#[test]
fn an_assignment_is_not_told_before_it_is_durable() {
    let mut world = world();
    let node = world.start();
    node.create("t", 1, &[]);
    let joined = node.join("g", "");
    world.disk.fail_sync(0);
    assert!(node.sync("g", &joined).is_err());
    world.cut_power(node, 1);
    // Whichever generation came back, nobody was told of the one that was lost.
    let node = world.start();
    let found = node.run(node.broker().describe_group("g"));
    assert!(found.is_ok() || found.is_err_and(|e| e.kind == ErrorKind::Group(GroupError::GroupIdNotFound)));
}

#[test]
fn members_come_back_from_the_log() {
    let mut world = world();
    let node = world.start();
    node.create("t", 1, &[]);
    let joined = node.join("g", "");
    assert_eq!(&node.sync("g", &joined).unwrap()[..], b"all");
    node.commit("idle", 7).unwrap();
    world.kill(node);
    let node = world.start();
    node.beat("g", &joined).unwrap();
    assert_eq!(&node.sync("g", &joined).unwrap()[..], b"all");
    node.stop();
}

#[test]
fn groups_are_read_back_from_the_bucket() {
    let world = world();
    let node = world.start();
    node.create("t", 1, &[]);
    let joined = node.join("g", "");
    node.sync("g", &joined).unwrap();
    node.commit("idle", 7).unwrap();
    assert_eq!(node.stop().unshipped_partitions, 0);
    let node = world.start();
    node.beat("g", &joined).unwrap();
    assert_eq!(node.committed("idle").unwrap(), 7);
    let groups = node.run(node.broker().list_groups()).unwrap();
    let states: Vec<_> = groups.iter().map(|group| (group.group.as_str(), group.state.name())).collect();
    assert_eq!(states, [("g", "Stable"), ("idle", "Empty")]);
    let leaving = Leaving { member_id: joined.member_id, instance_id: None, reason: None };
    let leave = LeaveGroup { group: "g".into(), members: vec![leaving] };
    assert_eq!(node.run(node.broker().leave_group(leave)).unwrap(), [Ok(())]);
    for group in ["g", "idle"] {
        node.run(node.broker().delete_group(group)).unwrap();
    }
    node.stop();
    let node = world.start();
    assert_eq!(node.run(node.broker().list_groups()).unwrap(), []);
    node.stop();
}

#[test]
fn who_joins_while_nothing_can_be_loaded_is_told_so() {
    let world = world();
    let node = world.start();
    node.create("t", 1, &[]);
    node.commit("g", 7).unwrap();
    assert_eq!(node.stop().unshipped_partitions, 0);
    world.faults.outage(true);
    let node = world.start();
    assert_eq!(node.try_join("g", "").unwrap_err().kind, ErrorKind::LeaderNotAvailable);
    world.faults.outage(false);
    // What was given up is not carried out later.
    let found = eventually("the load", || node.run(node.broker().describe_group("g")).ok());
    assert_eq!((found.state, found.members.len()), (GroupState::Empty, 0));
    assert_eq!(node.committed("g").unwrap(), 7);
    node.stop();
}

#[test]
fn nothing_is_made_for_those_who_only_ask() {
    let world = world();
    let node = world.start();
    node.create("t", 1, &[]);
    assert_eq!(node.committed("g").unwrap(), -1);
    assert_eq!(node.run(node.broker().list_groups()).unwrap(), []);
    let absent = node.run(node.broker().describe_group("g")).unwrap_err();
    assert_eq!(absent.kind, ErrorKind::Group(GroupError::GroupIdNotFound));
    assert!(node.topic_id("__consumer_offsets").is_err());
    node.stop();
}

#[test]
fn the_topic_of_offsets_is_the_brokers_own() {
    let world = world();
    let node = world.start();
    node.create("t", 1, &[]);
    node.commit("g", 1).unwrap();
    let refused = node.produce("__consumer_offsets", 0, crate::support::batch(&["x"])).unwrap_err();
    assert_eq!(refused.kind, ErrorKind::InvalidTopicName);
    assert_eq!(node.delete("__consumer_offsets").unwrap_err().kind, ErrorKind::InvalidRequest);
    assert_eq!(
        node.try_create("other", 1, &[("cleanup.policy", "compact")]).unwrap_err().kind,
        ErrorKind::InvalidConfig
    );
    node.stop();
}

const MANY: i32 = 200;

/// Commits `offset` for all partitions of `wide`.
fn commit_wide(node: &Node, group: &str, offset: i64) {
    let one =
        |partition| CommitOffset { topic: "wide".into(), partition, offset, leader_epoch: -1, metadata: String::new() };
    let commit = CommitOffsets {
        group: group.into(),
        member: Membership { generation: -1, member_id: String::new(), instance_id: None },
        knows_epochs: true,
        retention: None,
        offsets: (0..MANY).map(one).collect(),
    };
    let answers = node.run(node.broker().commit_offsets(commit)).unwrap();
    assert!(answers.iter().all(Result::is_ok));
}

fn committed_wide(node: &Node, group: &str) -> Vec<i64> {
    let topics = Some(vec![("wide".to_owned(), (0..MANY).collect())]);
    let found =
        node.run(node.broker().fetch_offsets(FetchOffsets { group: group.into(), topics, member: None })).unwrap();
    found.into_iter().map(|found| found.offset).collect()
}

/// Start and end of all coordinators' partitions together.
fn coordinators_log(node: &Node) -> (i64, i64) {
    let ends = |spec| (0..3).map(|p| node.list("__consumer_offsets", p, spec).unwrap().unwrap().offset.0).sum();
    (ends(OffsetSpec::Earliest), ends(OffsetSpec::Latest))
}

#[test]
fn what_a_start_has_to_read_is_bounded_by_what_counts() {
    for cut_power in [false, true] {
        let mut world = world();
        let mut node = world.start();
        node.create("t", 1, &[]);
        node.create("wide", MANY, &[]);
        node.commit("old", 7).unwrap();
        let joined = node.join("members", "");
        node.sync("members", &joined).unwrap();
        let mut offset = 0;
        for round in 0..3 {
            for _ in 0..60 {
                offset += 1;
                commit_wide(&node, "old", offset);
            }
            // Everything is read once; what counts is written anew, shipped, and the rest is given up.
            if round == 1 {
                if cut_power {
                    world.cut_power(node, 3);
                } else {
                    world.kill(node);
                }
                node = world.start();
            }
            assert_eq!(committed_wide(&node, "old"), vec![offset; MANY as usize], "round {round}");
            commit_wide(&node, "old", offset);
            eventually("the log is cut down", || {
                world.age();
                let (start, end) = coordinators_log(&node);
                (end - start < 4_000).then_some(())
            });
        }
        world.kill(node);
        let node = world.start();
        assert_eq!(committed_wide(&node, "old"), vec![offset; MANY as usize]);
        assert_eq!(node.committed("old").unwrap(), 7, "a key of long ago");
        let found = node.run(node.broker().describe_group("members")).unwrap();
        assert_eq!(found.members.len(), 1);
        node.stop();
    }
}

#[test]
fn a_topic_made_anew_inherits_no_offsets_though_its_deletion_was_cut_off() {
    let mut world = world();
    let mut node = world.start();
    node.create("t", 1, &[]);
    node.commit("g", 5).unwrap();
    world.fail.arm("topic.tombstoned", FailAction::Error);
    node.delete("t").unwrap_err();
    world.kill(node);
    node = world.start();
    assert_eq!(node.commit("g", 6).unwrap_err().kind, ErrorKind::UnknownTopic);
    node.create("t", 1, &[]);
    assert_eq!(node.committed("g").unwrap(), -1);
    node.commit("g", 7).unwrap();
    world.kill(node);
    node = world.start();
    assert_eq!(node.committed("g").unwrap(), 7);
    node.stop();
}

#[test]
fn groups_are_counted_over_all_coordinators() {
    let mut world = world();
    world.options.groups.coordinator.max_groups = 2;
    let node = world.start();
    node.create("t", 1, &[]);
    // Each belongs to another coordinator.
    node.commit("a", 1).unwrap();
    node.commit("b", 1).unwrap();
    let too_many = ErrorKind::Group(GroupError::TooManyGroups);
    assert_eq!(node.commit("c", 1).unwrap_err().kind, too_many);
    node.run(node.broker().delete_group("a")).unwrap();
    node.commit("c", 1).unwrap();
    assert_eq!(node.commit("a", 1).unwrap_err().kind, too_many);
    node.stop();
}

#[test]
fn offsets_of_topics_that_do_not_exist_are_not_deleted() {
    let world = world();
    let node = world.start();
    node.create("t", 1, &[]);
    node.commit("g", 1).unwrap();
    let delete = DeleteOffsets { group: "g".into(), partitions: vec![("none".into(), 0), ("t".into(), 0)] };
    let deleted = node.run(node.broker().delete_offsets(delete)).unwrap();
    let kinds: Vec<_> = deleted.into_iter().map(|each| each.map_err(|error| error.kind)).collect();
    assert_eq!(kinds, [Err(ErrorKind::UnknownTopic), Ok(())]);
    node.stop();
}
