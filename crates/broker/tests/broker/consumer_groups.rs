//! Groups of the consumer protocol on a disk that fails: a member is told of no epoch that could be lost.

use std::time::Duration;

use runnel_api::groups::{
    ConsumerBeat, ConsumerGroupState, ConsumerHeartbeat, GroupError, JOIN, LEAVE, NamedPartitions, Partitions,
};
use runnel_api::{Admin, AlterConfigOp, ConfigChange, ConfigResource, Error, ErrorKind, Groups};

use crate::support::{Node, World};

fn world() -> World {
    let mut world = World::new();
    world.options.groups.offsets_partitions = 3;
    world
}

/// A member as its client knows it.
#[derive(Debug)]
struct Member {
    id: String,
    epoch: i32,
    owned: Partitions,
}

impl Member {
    fn new(id: &str) -> Self {
        Self { id: id.to_owned(), epoch: JOIN, owned: Partitions::default() }
    }

    fn heartbeat(&self) -> ConsumerHeartbeat {
        ConsumerHeartbeat {
            group: "g".into(),
            member_id: self.id.clone(),
            chooses_id: true,
            epoch: self.epoch,
            instance_id: None,
            rack: None,
            rebalance_timeout: Some(Duration::from_secs(60)),
            topics: Some(vec!["t".into()]),
            pattern: None,
            assignor: None,
            owned: Some(self.owned.clone()),
            client_id: "c".into(),
            client_host: "/127.0.0.1".into(),
        }
    }

    /// Gives a sign of life and does as it is told.
    fn live(&mut self, node: &Node) -> Result<(), Error> {
        let beat = node.beat_as(self.heartbeat())?;
        (self.epoch, self.owned) = (beat.epoch, beat.assignment.unwrap_or_default());
        Ok(())
    }
}

impl Node {
    fn beat_as(&self, beat: ConsumerHeartbeat) -> Result<ConsumerBeat, Error> {
        self.run(self.broker().consumer_heartbeat(beat))
    }
}

fn numbers(topics: &[NamedPartitions]) -> Vec<i32> {
    topics.iter().flat_map(|topic| topic.partitions.clone()).collect()
}

#[test]
fn what_members_were_told_survives_power_cuts() {
    let mut world = world();
    let mut node = world.start();
    node.create("t", 6, &[]);
    let mut members: Vec<Member> = Vec::new();
    for turn in 0..12 {
        match turn % 4 {
            3 => {
                let leaves = members.remove(0);
                node.beat_as(ConsumerHeartbeat { epoch: LEAVE, ..leaves.heartbeat() }).unwrap();
            }
            _ => members.push(Member::new(&format!("m{turn}"))),
        }
        // So that some are in the middle of their way.
        members.iter_mut().for_each(|member| member.live(&node).unwrap());
        let before = node.run(node.broker().describe_consumer_group("g")).unwrap();
        world.cut_power(node, turn);
        node = world.start();
        let after = node.run(node.broker().describe_consumer_group("g")).unwrap();
        assert_eq!(after, before, "turn {turn}");
        for member in &members {
            let known = after.members.iter().find(|known| known.member_id == member.id).unwrap();
            let owned: Vec<i32> = member.owned.iter().map(|(_, partition)| partition).collect();
            assert_eq!((known.epoch, numbers(&known.assignment)), (member.epoch, owned), "turn {turn}");
        }
    }
    for _ in 0..4 {
        members.iter_mut().for_each(|member| member.live(&node).unwrap());
    }
    let group = node.run(node.broker().describe_consumer_group("g")).unwrap();
    assert_eq!(group.state, ConsumerGroupState::Stable);
    assert_eq!(group.members.iter().map(|member| numbers(&member.assignment).len()).sum::<usize>(), 6);
}

#[test]
fn an_epoch_is_not_told_before_it_is_durable() {
    let mut world = world();
    let node = world.start();
    node.create("t", 1, &[]);
    let mut first = Member::new("a");
    first.live(&node).unwrap();
    world.disk.fail_sync(0);
    let error = node.beat_as(Member::new("b").heartbeat()).unwrap_err();
    assert!(matches!(error.kind, ErrorKind::NotLeader | ErrorKind::LeaderNotAvailable), "{error:?}");
    world.cut_power(node, 1);
    let node = world.start();
    // Whether the second is in or not: the first is where it was told to be.
    first.live(&node).unwrap();
    assert!(first.epoch >= 1);
}

#[test]
fn topics_are_seen_as_they_come_grow_and_go() {
    let world = world();
    let node = world.start();
    let mut member = Member::new("a");
    member.live(&node).unwrap();
    assert!(member.owned.is_empty());
    node.create("t", 2, &[]);
    member.live(&node).unwrap();
    assert_eq!((member.epoch, member.owned.len()), (2, 2));
    let refused = node.beat_as(ConsumerHeartbeat { epoch: 7, ..member.heartbeat() }).unwrap_err();
    assert_eq!(refused.kind, ErrorKind::Group(GroupError::FencedMemberEpoch));
    node.stop();
}

#[test]
fn what_is_set_on_a_group_holds_for_its_members() {
    let mut world = world();
    let node = world.start();
    node.create("t", 1, &[]);
    let member = Member::new("a");
    assert_eq!(node.beat_as(member.heartbeat()).unwrap().interval, Duration::from_secs(5));
    let set = |value: &str| {
        let change = ConfigChange {
            name: "consumer.heartbeat.interval.ms".into(),
            op: AlterConfigOp::Set,
            value: Some(value.to_owned()),
        };
        node.run(node.broker().alter_configs(&ConfigResource::Group("g".into()), &[change], false))
    };
    assert_eq!(set("60000").unwrap_err().kind, ErrorKind::InvalidConfig, "its session would be over");
    set("12000").unwrap();
    let interval = |node: &Node| node.beat_as(member.heartbeat()).unwrap().interval;
    assert_eq!(interval(&node), Duration::from_secs(12));
    world.kill(node);
    let node = world.start();
    assert_eq!(interval(&node), Duration::from_secs(12));
    node.stop();
}
