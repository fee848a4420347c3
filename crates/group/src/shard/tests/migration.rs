//! From the classic protocol to the consumer protocol and back, with members inside.

use super::consumer::{alive, join_as, of, owning};
use super::*;
use crate::embedded;

/// Metadata of a consumer that reads `t`.
fn reads_t() -> Bytes {
    let mut bytes = subscribed(&["t"]).to_vec();
    bytes[1] = 1;
    bytes.extend((-1_i32).to_be_bytes());
    bytes.extend(0_i32.to_be_bytes());
    bytes.into()
}

fn classic(id: &str) -> JoinGroup {
    JoinGroup { protocols: vec![("range".into(), reads_t()), ("sticky".into(), reads_t())], ..join_of("g", id) }
}

fn part(partitions: &[i32]) -> Bytes {
    embedded::assign(1, &vec![("t".to_owned(), partitions.to_vec())])
}

fn parts(bytes: &Bytes) -> Partitions {
    let named = embedded::assignment(bytes).unwrap();
    named.into_iter().map(|(name, partitions)| (topic_id(&name), partitions)).collect()
}

impl World {
    fn join_classic(&mut self, join: JoinGroup) -> Joined {
        let token = self.send(Request::Join(join, "fresh".into()));
        self.joined(token)
    }

    fn sync_classic(&mut self, id: &str, generation: i32) -> Result<Partitions, Error> {
        self.ask(sync("g", generation, id, &[])).map(|reply| match reply {
            Reply::Sync(synced) => parts(&synced.assignment),
            other => panic!("{other:?}"),
        })
    }

    fn alive_classic(&mut self, id: &str, generation: i32) -> Result<Reply, Error> {
        self.ask(beat("g", generation, id))
    }

    /// One classic member, `c`, that has all four partitions at generation 1.
    fn one_classic() -> Self {
        let mut world = Self::with_topic(4);
        let token = world.send(Request::Join(classic(""), "c".into()));
        assert_eq!(world.joined(token).generation, 1);
        world.ask(sync("g", 1, "c", &[("c", &part(&[0, 1, 2, 3]))])).unwrap();
        world
    }

    /// Every member of the consumer protocol does as it is told.
    fn others_live(&mut self) {
        let Some(group) = self.consumer_group() else { return };
        for member in group.members.into_iter().filter(|member| member.kind == GroupType::Consumer) {
            let owned = member.assignment.into_iter().map(|topic| (topic.id, topic.partitions)).collect();
            self.beat(owning(&member.member_id, member.epoch, &owned)).unwrap();
        }
    }

    /// It and `a`, of the consumer protocol, share at epoch 2.
    fn mixed() -> (Self, Partitions, Partitions) {
        let mut world = Self::one_classic();
        assert_eq!(world.joins("a", &["t"]), (2, Partitions::default()));
        let joined = world.join_classic(classic("c"));
        assert_eq!((joined.generation, joined.protocol.as_str(), joined.leader.as_str()), (2, "range", ""));
        let c = world.sync_classic("c", 2).unwrap();
        let a = world.beat(alive("a", 2)).unwrap().assignment.unwrap();
        (world, c, a)
    }
}

#[test]
fn a_classic_group_is_joined_by_one_of_the_consumer_protocol() {
    let mut world = World::one_classic();
    assert_eq!(world.joins("a", &["t"]), (2, Partitions::default()), "the classic member has everything still");
    assert_eq!(world.state("g"), None);
    assert_eq!(world.alive_classic("c", 1), Err(Error::RebalanceInProgress));
    assert_eq!(world.sync_classic("c", 1), Err(Error::RebalanceInProgress));
    assert_eq!(world.beat(alive("a", 2)).unwrap().assignment, None);
    world.restart(options());
    // It lets go when it rejoins, and then the other is given its part.
    let joined = world.join_classic(classic("c"));
    assert_eq!((joined.generation, joined.protocol_type.as_str(), joined.members.len()), (2, "consumer", 0));
    let c = world.sync_classic("c", 2).unwrap();
    let a = world.beat(alive("a", 2)).unwrap().assignment.unwrap();
    assert!(c.len() == 2 && a.len() == 2 && !a.meets(&c));
    assert_eq!(world.alive_classic("c", 2), Ok(Reply::Done));
    let described = world.consumer_group().unwrap();
    assert_eq!(described.state, ConsumerGroupState::Stable);
    let kinds: Vec<_> = described.members.iter().map(|m| (m.member_id.as_str(), m.kind)).collect();
    assert_eq!(kinds, [("a", GroupType::Consumer), ("c", GroupType::Classic)]);
    // It commits at its generation, and is told so in its own words.
    assert_eq!(world.ask(commit("g", 2, "c", 5)), Ok(Reply::Each(vec![Ok(())])));
    assert_eq!(world.ask(commit("g", 1, "c", 5)), Err(Error::IllegalGeneration));
}

#[test]
fn a_member_that_lets_go_step_by_step_is_waited_for() {
    let (mut world, c, _) = World::mixed();
    assert_eq!(world.joins("b", &["t"]).0, 3);
    assert_eq!(world.alive_classic("c", 2), Err(Error::RebalanceInProgress));
    // It rejoins with what it holds, as cooperative members do, and learns what to let go.
    let holds = |partitions: &Partitions| {
        let numbers: Vec<i32> = partitions.iter().map(|(_, partition)| partition).collect();
        let mut bytes = subscribed(&["t"]).to_vec();
        bytes[1] = 1;
        bytes.extend((-1_i32).to_be_bytes());
        bytes.extend(&part(&numbers)[2..]);
        JoinGroup { protocols: vec![("range".into(), bytes.into())], ..join_of("g", "c") }
    };
    let joined = world.join_classic(holds(&c));
    let kept = world.sync_classic("c", joined.generation).unwrap();
    if kept == c {
        return; // the assignor took nothing from it
    }
    assert_eq!(joined.generation, 2, "it has to let go first");
    assert_eq!(world.alive_classic("c", 2), Err(Error::RebalanceInProgress));
    assert_eq!(world.beat(alive("b", 3)).unwrap().assignment, None);
    assert_eq!(world.join_classic(holds(&kept)).generation, 3);
    assert_eq!(world.sync_classic("c", 3), Ok(kept));
    assert_eq!(world.beat(alive("b", 3)).unwrap().assignment.unwrap().len(), 1);
}

#[test]
fn when_the_last_of_the_consumer_protocol_leaves_the_group_is_classic_again() {
    for silent in [false, true] {
        let (mut world, _, a) = World::mixed();
        if silent {
            for _ in 0..10 {
                world.pass(seconds(5));
                drop(world.alive_classic("c", 2));
            }
        } else {
            world.beat(ConsumerHeartbeat { epoch: LEAVE, ..owning("a", 2, &a) }).unwrap();
        }
        assert_eq!(world.consumer_group(), None);
        assert_eq!(world.state("g"), Some(GroupState::PreparingRebalance));
        assert_eq!(world.alive_classic("c", 2), Err(Error::RebalanceInProgress), "its generation is still known");
        world.restart(Options { initial_rebalance_delay: Duration::ZERO, ..options() });
        assert_eq!(world.state("g"), Some(GroupState::Stable), "as a leader would have left it");
        assert_eq!(world.alive_classic("c", 2), Ok(Reply::Done));
        let joined = world.join_classic(JoinGroup { reason: None, ..classic("c") });
        assert_eq!((joined.leader.as_str(), joined.members.len()), ("c", 1));
        world.ask(sync("g", joined.generation, "c", &[("c", &part(&[0, 1, 2, 3]))])).unwrap();
        assert_eq!(world.state("g"), Some(GroupState::Stable));
    }
}

#[test]
fn what_is_no_consumer_is_not_upgraded() {
    let mut world = World::with_topic(1);
    let connect = JoinGroup { protocol_type: "connect".into(), ..classic("") };
    let token = world.send(Request::Join(connect, "w".into()));
    world.joined(token);
    assert_eq!(world.beat(join_as("a", &["t"])), Err(Error::GroupIdNotFound));
    let mut world = World::with_topic(1);
    let noise = JoinGroup { protocols: vec![("range".into(), Bytes::from_static(b"?"))], ..classic("") };
    let token = world.send(Request::Join(noise, "w".into()));
    world.joined(token);
    assert_eq!(world.beat(join_as("a", &["t"])), Err(Error::GroupIdNotFound));
    assert_eq!(world.state("g"), Some(GroupState::CompletingRebalance), "and nothing happened to it");
}

#[test]
fn those_who_wait_for_a_classic_rebalance_are_sent_to_the_new_one() {
    let mut world = World::new(options());
    world.topics(&[("t", 4)]);
    let waiting = world.send(Request::Join(classic(""), "c".into()));
    assert_eq!(world.joins("a", &["t"]).0, 1);
    assert_eq!(world.answers[&waiting], Err(Error::RebalanceInProgress));
    assert_eq!(world.join_classic(classic("c")).generation, 1);
}

#[test]
fn classic_members_are_checked_as_ever() {
    let (mut world, _, _) = World::mixed();
    assert_eq!(world.alive_classic("x", 2), Err(Error::UnknownMemberId));
    assert_eq!(world.alive_classic("a", 2), Err(Error::UnknownMemberId), "it speaks the other protocol");
    assert_eq!(world.alive_classic("c", 1), Err(Error::IllegalGeneration));
    assert_eq!(world.sync_classic("c", 1), Err(Error::IllegalGeneration));
    let Request::Sync(named) = sync("g", 2, "c", &[]) else { panic!("not a sync") };
    let named = Request::Sync(SyncGroup { protocol: Some("other".into()), ..named });
    assert_eq!(world.ask(named), Err(Error::InconsistentGroupProtocol));
    let refused = |world: &mut World, join| world.ask(Request::Join(join, "fresh".into())).unwrap_err();
    let connect = JoinGroup { protocol_type: "connect".into(), ..classic("") };
    assert_eq!(refused(&mut world, connect), Error::InconsistentGroupProtocol);
    let other = JoinGroup { protocols: vec![("roundrobin".into(), reads_t())], ..classic("") };
    assert_eq!(refused(&mut world, other), Error::InconsistentGroupProtocol);
    let noise = JoinGroup { protocols: vec![("range".into(), Bytes::new())], ..classic("") };
    assert_eq!(refused(&mut world, noise), Error::InconsistentGroupProtocol);
    let unknown = JoinGroup { instance_id: Some("i".into()), ..classic("x") };
    assert_eq!(refused(&mut world, unknown), Error::UnknownMemberId);
    let given = JoinGroup { needs_member_id: true, ..classic("") };
    let given = world.ask(Request::Join(given, "given".into())).unwrap();
    assert_eq!(given, Reply::Join(JoinOutcome::MemberIdRequired("given".into())));
    let of = |id: &str, instance: Option<&str>| Leaving {
        member_id: id.into(),
        instance_id: instance.map(str::to_owned),
        reason: None,
    };
    let members = vec![of("a", None), of("c", None), of("c", None), of("", Some("i"))];
    let unknown = Err(Error::UnknownMemberId);
    let each = Reply::Each(vec![unknown, Ok(()), unknown, unknown]);
    assert_eq!(world.ask(Request::Leave(LeaveGroup { group: "g".into(), members })), Ok(each));
    assert_eq!(world.consumer_group().unwrap().members.len(), 1);
}

#[test]
fn a_classic_member_must_rejoin_and_sync_in_time() {
    let (mut world, _, _) = World::mixed();
    world.joins("b", &["t"]);
    // It gives signs of life, is told to rejoin, and does not.
    for _ in 0..13 {
        drop(world.alive_classic("c", 2));
        world.others_live();
        world.pass(seconds(5));
    }
    assert_eq!(world.alive_classic("c", 2), Err(Error::UnknownMemberId));
    let (mut world, _, _) = World::mixed();
    // It rejoins, gives signs of life, and never asks for its part.
    assert_eq!(world.join_classic(classic("c")).generation, 2);
    for _ in 0..13 {
        drop(world.alive_classic("c", 2));
        world.others_live();
        world.pass(seconds(5));
    }
    assert_eq!(world.alive_classic("c", 2), Err(Error::UnknownMemberId));
}

#[test]
fn a_static_member_changes_its_protocol_and_keeps_its_place() {
    let mut world = World::with_topic(4);
    let of_static = |id: &str| ConsumerHeartbeat { instance_id: Some("i".into()), ..join_as(id, &["t"]) };
    let classic_static = || JoinGroup { instance_id: Some("i".into()), ..classic("") };
    let token = world.send(Request::Join(classic_static(), "old".into()));
    world.joined(token);
    let Request::Sync(mine) = sync("g", 1, "old", &[("old", &part(&[0, 1, 2, 3]))]) else { panic!("not a sync") };
    world.ask(Request::Sync(mine)).unwrap();
    let beat = world.beat(of_static("new")).unwrap();
    assert_eq!((beat.epoch, beat.assignment), (2, Some(of("t", 0..4))));
    assert_eq!(world.consumer_group().unwrap().members.len(), 1);
    // With another classic member inside, its return to the classic protocol is that of the group.
    let other = world.join_classic(JoinGroup { client_id: "other".into(), ..classic("other") });
    assert_eq!(other.member_id, "other");
    let back = world.send(Request::Join(classic_static(), "back".into()));
    assert_eq!(world.consumer_group(), None);
    let again = world.send(Request::Join(classic("other"), String::new()));
    let (back, again) = (world.joined(back), world.joined(again));
    assert_eq!((back.member_id.as_str(), back.generation), ("back", again.generation));
}
