//! The consumer protocol, transition by transition.

use super::*;

pub(super) fn join_as(id: &str, topics: &[&str]) -> ConsumerHeartbeat {
    ConsumerHeartbeat {
        group: "g".into(),
        member_id: id.into(),
        chooses_id: true,
        epoch: JOIN,
        instance_id: None,
        rack: None,
        rebalance_timeout: Some(seconds(60)),
        topics: Some(topics.iter().map(|name| (*name).to_owned()).collect()),
        pattern: None,
        assignor: None,
        owned: Some(Partitions::default()),
        client_id: "client".into(),
        client_host: "/127.0.0.1".into(),
    }
}

pub(super) fn alive(id: &str, epoch: i32) -> ConsumerHeartbeat {
    ConsumerHeartbeat { epoch, rebalance_timeout: None, topics: None, owned: None, ..join_as(id, &[]) }
}

pub(super) fn owning(id: &str, epoch: i32, owned: &Partitions) -> ConsumerHeartbeat {
    ConsumerHeartbeat { owned: Some(owned.clone()), ..alive(id, epoch) }
}

pub(super) fn of(topic: &str, partitions: impl IntoIterator<Item = i32>) -> Partitions {
    partitions.into_iter().map(|partition| (topic_id(topic), partition)).collect()
}

impl World {
    pub(super) fn beat(&mut self, beat: ConsumerHeartbeat) -> Result<ConsumerBeat, Error> {
        self.ask(Request::ConsumerHeartbeat(beat, "fresh".into())).map(|reply| match reply {
            Reply::ConsumerBeat(beat) => beat,
            other => panic!("{other:?}"),
        })
    }

    /// Joins; epoch and assignment.
    pub(super) fn joins(&mut self, id: &str, topics: &[&str]) -> (i32, Partitions) {
        let beat = self.beat(join_as(id, topics)).unwrap();
        (beat.epoch, beat.assignment.unwrap())
    }

    pub(super) fn consumer_group(&mut self) -> Option<DescribedConsumerGroup> {
        match self.ask(Request::DescribeConsumer("g".into())) {
            Ok(Reply::DescribedConsumer(group)) => Some(group),
            Err(Error::GroupIdNotFound) => None,
            other => panic!("{other:?}"),
        }
    }

    fn consumer_state(&mut self) -> ConsumerGroupState {
        self.consumer_group().unwrap().state
    }

    pub(super) fn with_topic(partitions: i32) -> Self {
        let mut world = Self::quick();
        world.topics(&[("t", partitions)]);
        world
    }

    /// Two members, `a` and `b`, that share four partitions at epoch 2.
    fn two() -> (Self, Partitions, Partitions) {
        let mut world = Self::with_topic(4);
        let (_, all) = world.joins("a", &["t"]);
        assert_eq!(world.joins("b", &["t"]), (2, Partitions::default()));
        let kept = world.beat(owning("a", 1, &all)).unwrap();
        assert_eq!(kept.epoch, 1, "it has to let go first");
        let kept = kept.assignment.unwrap();
        let a = world.beat(owning("a", 1, &kept)).unwrap();
        assert_eq!((a.epoch, a.assignment), (2, None));
        let b = world.beat(alive("b", 2)).unwrap().assignment.unwrap();
        (world, kept, b)
    }
}

#[test]
fn partitions_go_from_one_to_another_only_once_they_are_let_go() {
    let mut world = World::with_topic(4);
    assert_eq!(world.joins("a", &["t"]), (1, of("t", 0..4)));
    assert_eq!(world.consumer_state(), ConsumerGroupState::Stable);
    assert_eq!(world.joins("b", &["t"]), (2, Partitions::default()));
    assert_eq!(world.consumer_state(), ConsumerGroupState::Reconciling);
    // The first learns what it may keep, and the second gets nothing before the first has let go.
    let kept = world.beat(alive("a", 1)).unwrap();
    let kept = (kept.epoch, kept.assignment.unwrap());
    assert_eq!((kept.0, kept.1.len()), (1, 2));
    assert_eq!(world.beat(alive("b", 2)).unwrap().assignment, None);
    assert_eq!(world.beat(owning("a", 1, &of("t", 0..4))).unwrap().assignment, None, "it holds them still");
    assert_eq!(world.beat(alive("b", 2)).unwrap().assignment, None);
    let moved = world.beat(owning("a", 1, &kept.1)).unwrap();
    assert_eq!((moved.epoch, moved.assignment), (2, None));
    let given = world.beat(alive("b", 2)).unwrap().assignment.unwrap();
    assert!(given.len() == 2 && !given.meets(&kept.1));
    assert_eq!(world.consumer_state(), ConsumerGroupState::Stable);
    // Who leaves gives up everything at once.
    assert_eq!(world.beat(alive("b", LEAVE)).unwrap().epoch, LEAVE);
    assert_eq!(world.consumer_state(), ConsumerGroupState::Assigning);
    let beat = world.beat(alive("a", 2)).unwrap();
    assert_eq!((beat.epoch, beat.assignment), (3, Some(of("t", 0..4))));
    world.beat(alive("a", LEAVE)).unwrap();
    assert_eq!(world.consumer_state(), ConsumerGroupState::Empty);
}

#[test]
fn what_makes_no_sense_is_refused_and_leaves_no_group() {
    let mut world = World::with_topic(1);
    let join = || join_as("a", &["t"]);
    let invalid = [
        ConsumerHeartbeat { group: String::new(), ..join() },
        ConsumerHeartbeat { instance_id: Some(String::new()), ..join() },
        ConsumerHeartbeat { rack: Some(" ".into()), ..join() },
        ConsumerHeartbeat { member_id: String::new(), ..join() },
        ConsumerHeartbeat { member_id: String::new(), chooses_id: false, ..alive("", 4) },
        ConsumerHeartbeat { rebalance_timeout: None, ..join() },
        ConsumerHeartbeat { owned: None, ..join() },
        ConsumerHeartbeat { owned: Some(of("t", 0..1)), ..join() },
        ConsumerHeartbeat { topics: None, ..join() },
        alive("a", LEAVE_FOR_NOW),
        alive("a", -3),
        join_as(&"a".repeat(5000), &["t"]),
    ];
    for beat in invalid {
        assert!(matches!(world.beat(beat.clone()), Err(Error::InvalidHeartbeat(_))), "{beat:?}");
    }
    let unknown = ConsumerHeartbeat { assignor: Some("sticky".into()), ..join() };
    assert_eq!(world.beat(unknown), Err(Error::UnsupportedAssignor));
    let malformed = ConsumerHeartbeat { pattern: Some("[".into()), ..join() };
    assert_eq!(world.beat(malformed), Err(Error::InvalidRegularExpression));
    let large = "t".repeat(3000);
    let large: Vec<_> = (0..3000).map(|n| format!("{large}{n}")).collect();
    assert_eq!(world.beat(ConsumerHeartbeat { topics: Some(large), ..join() }), Err(Error::GroupTooLarge));
    for epoch in [1, LEAVE] {
        assert_eq!(world.beat(alive("a", epoch)), Err(Error::GroupIdNotFound));
    }
    assert!(world.shard.is_empty() && world.log.is_empty());
    // Version 0 is given an id.
    let beat = ConsumerHeartbeat { member_id: String::new(), chooses_id: false, ..join() };
    assert_eq!(world.beat(beat).unwrap().member_id, "fresh");
    assert_eq!(world.beat(alive("a", 1)), Err(Error::UnknownMemberId));
    assert_eq!(world.beat(alive("a", LEAVE)), Err(Error::UnknownMemberId));
}

#[test]
fn a_wrong_epoch_is_fenced_unless_the_last_answer_may_have_been_lost() {
    let (mut world, a, b) = World::two();
    assert_eq!(world.beat(alive("a", 3)), Err(Error::FencedMemberEpoch));
    assert_eq!(world.beat(alive("a", 1)), Err(Error::FencedMemberEpoch), "it does not say what it holds");
    assert_eq!(world.beat(owning("a", 1, &b)), Err(Error::FencedMemberEpoch), "it holds what it has no more");
    let again = world.beat(owning("a", 1, &a)).unwrap();
    assert_eq!((again.epoch, again.assignment), (2, None));
    // One that says everything is told everything.
    let full = ConsumerHeartbeat { epoch: 1, owned: Some(a.clone()), ..join_as("a", &["t"]) };
    assert_eq!(world.beat(full).unwrap().assignment, Some(a));
}

#[test]
fn silence_and_clinging_to_partitions_end_membership() {
    let (mut world, a, _) = World::two();
    world.pass(seconds(40));
    world.beat(alive("a", 2)).unwrap();
    world.pass(seconds(6));
    assert_eq!(world.beat(alive("b", 2)), Err(Error::UnknownMemberId));
    let all = world.beat(owning("a", 2, &a)).unwrap();
    assert_eq!((all.epoch, all.assignment), (3, Some(of("t", 0..4))));
    // It is asked to let go, gives signs of life, and does not.
    world.joins("c", &["t"]);
    for _ in 0..12 {
        world.beat(owning("a", 3, &of("t", 0..4))).unwrap();
        world.beat(alive("c", 4)).unwrap();
        world.pass(seconds(5));
    }
    assert_eq!(world.beat(owning("a", 3, &of("t", 0..4))), Err(Error::UnknownMemberId));
    assert_eq!(world.beat(alive("c", 4)).unwrap().assignment, Some(of("t", 0..4)));
}

#[test]
fn changes_of_topics_are_seen_with_the_next_heartbeat() {
    let mut world = World::quick();
    assert_eq!(world.joins("a", &["t", "u"]), (1, Partitions::default()), "there is no such topic yet");
    world.topics(&[("t", 1)]);
    let beat = world.beat(alive("a", 1)).unwrap();
    assert_eq!((beat.epoch, beat.assignment), (2, Some(of("t", 0..1))));
    world.topics(&[("t", 2), ("other", 1)]);
    assert_eq!(world.beat(alive("a", 2)).unwrap().assignment, Some(of("t", 0..2)));
    world.topics(&[("t", 2)]);
    assert_eq!(world.beat(alive("a", 3)).unwrap().epoch, 3, "that topic is not its business");
    world.topics(&[("u", 1)]);
    let beat = world.beat(alive("a", 3)).unwrap();
    assert_eq!((beat.epoch, beat.assignment), (3, Some(Partitions::default())), "a deleted topic is let go first");
    let beat = world.beat(owning("a", 3, &Partitions::default())).unwrap();
    assert_eq!((beat.epoch, beat.assignment), (4, Some(of("u", 0..1))));
    // So are changes of the subscription.
    let other = ConsumerHeartbeat { topics: Some(vec!["x".into()]), ..owning("a", 4, &Partitions::default()) };
    let beat = world.beat(other).unwrap();
    assert_eq!((beat.epoch, beat.assignment), (5, Some(Partitions::default())));
}

#[test]
fn a_regular_expression_stands_for_the_topics_that_there_are() {
    let mut world = World::with_topic(1);
    let join = ConsumerHeartbeat { topics: None, pattern: Some("t|orders\\..*".into()), ..join_as("a", &[]) };
    assert_eq!(world.beat(join.clone()).unwrap().assignment, Some(of("t", 0..1)));
    // One that says everything is told everything; an expression is a subscription.
    let full = ConsumerHeartbeat { epoch: 1, owned: Some(of("t", 0..1)), ..join };
    assert_eq!(world.beat(full).unwrap().assignment, Some(of("t", 0..1)));
    world.topics(&[("t", 1), ("orders.eu", 2), ("reorders.eu", 1)]);
    let found = world.beat(alive("a", 1)).unwrap();
    assert_eq!((found.epoch, found.assignment.unwrap().len()), (2, 3));
    world.restart(options());
    assert_eq!(world.beat(alive("a", 2)).unwrap().epoch, 2, "nothing changed meanwhile");
    let none = ConsumerHeartbeat { pattern: Some(String::new()), ..owning("a", 2, &Partitions::default()) };
    assert_eq!(world.beat(none).unwrap().assignment, Some(Partitions::default()));
    // Each is compared with every topic, so there may not be many.
    for n in 0..100 {
        let pattern = Some(format!("p{n}.*"));
        world.beat(ConsumerHeartbeat { pattern, ..join_as(&format!("m{n}"), &[]) }).unwrap();
    }
    let one_more = ConsumerHeartbeat { pattern: Some("q.*".into()), ..join_as("more", &[]) };
    assert_eq!(world.beat(one_more), Err(Error::GroupTooLarge));
}

#[test]
fn a_static_member_comes_back_to_its_partitions() {
    let mut world = World::with_topic(4);
    let of_static = |id: &str| ConsumerHeartbeat { instance_id: Some("i".into()), ..join_as(id, &["t"]) };
    let first = world.beat(of_static("a")).unwrap();
    assert_eq!(world.beat(of_static("a")), Ok(first), "the answer may have been lost");
    assert_eq!(world.joins("b", &["t"]).0, 2);
    let kept = world.beat(alive("a", 1)).unwrap().assignment.unwrap();
    world.beat(owning("a", 1, &kept)).unwrap();
    world.beat(alive("b", 2)).unwrap();
    assert_eq!(world.beat(of_static("a2")), Err(Error::UnreleasedInstanceId));
    let claim = |id: &str, epoch| ConsumerHeartbeat { instance_id: Some("i".into()), ..alive(id, epoch) };
    assert_eq!(world.beat(claim("b", 2)), Err(Error::FencedInstanceId));
    assert_eq!(world.beat(claim("b", LEAVE)), Err(Error::FencedInstanceId));
    assert_eq!(world.beat(claim("a", LEAVE_FOR_NOW)).unwrap().epoch, LEAVE_FOR_NOW);
    assert_eq!(world.beat(alive("a", 2)), Err(Error::FencedMemberEpoch), "it left");
    assert_eq!(world.beat(alive("b", 2)).unwrap().assignment, None, "its part waits for it");
    let taken = ConsumerHeartbeat { member_id: "b".into(), ..of_static("b") };
    assert!(matches!(world.beat(taken), Err(Error::InvalidHeartbeat(_))));
    world.restart(options());
    let back = world.beat(of_static("a2")).unwrap();
    assert_eq!((back.epoch, back.assignment), (2, Some(kept)), "and nobody else is disturbed");
    assert_eq!(world.beat(claim("a", 2)), Err(Error::FencedInstanceId));
    // One that does not come back is missed after its session.
    world.beat(claim("a2", LEAVE_FOR_NOW)).unwrap();
    for _ in 0..10 {
        world.pass(seconds(5));
        let epoch = world.consumer_group().unwrap().members.last().unwrap().epoch;
        world.beat(alive("b", epoch)).unwrap();
    }
    assert_eq!(world.consumer_group().unwrap().members.len(), 1);
    assert_eq!(world.beat(claim("a2", 2)), Err(Error::UnknownMemberId));
}

#[test]
fn a_group_may_have_times_of_its_own() {
    let mut world = World::with_topic(1);
    let own = GroupTimes { session: Some(seconds(60)), heartbeat: Some(seconds(15)) };
    let times = BTreeMap::from([("g".to_owned(), own)]);
    world.shard.set_times(times.clone());
    assert_eq!(world.beat(join_as("a", &["t"])).unwrap().interval, seconds(15));
    world.pass(seconds(59));
    assert_eq!(world.beat(alive("a", 1)).unwrap().interval, seconds(15));
    world.shard = Shard::new(options());
    world.shard.set_times(times);
    for (key, value) in &world.log {
        world.shard.load(key, value.as_deref()).unwrap();
    }
    world.shard.loaded(world.now);
    world.pass(seconds(59));
    assert_eq!(world.consumer_group().unwrap().members.len(), 1, "after a restart too");
    world.shard.set_times(BTreeMap::new());
    assert_eq!(world.beat(alive("a", 1)).unwrap().interval, seconds(5));
    world.pass(seconds(46));
    assert_eq!(world.beat(alive("a", 1)), Err(Error::UnknownMemberId));
}

#[test]
fn a_group_has_so_many_members_and_no_more() {
    let mut world = World::new(Options { max_size: 1, ..options() });
    world.topics(&[("t", 1)]);
    world.joins("a", &["t"]);
    assert_eq!(world.beat(join_as("b", &["t"])), Err(Error::GroupMaxSizeReached));
    assert!(world.beat(alive("a", 1)).is_ok());
}

#[test]
fn most_members_choose_the_assignor() {
    let mut world = World::with_topic(4);
    world.joins("a", &["t"]);
    assert_eq!(world.consumer_group().unwrap().assignor, "uniform");
    world.beat(ConsumerHeartbeat { assignor: Some("range".into()), ..join_as("b", &["t"]) }).unwrap();
    let group = world.consumer_group().unwrap();
    assert_eq!(group.assignor, "range");
    let target = |n: usize| group.members[n].target[0].partitions.clone();
    assert_eq!((target(0), target(1)), (vec![0, 1], vec![2, 3]));
}

#[test]
fn what_was_answered_survives_a_crash() {
    let (mut world, a, b) = World::two();
    let before = world.consumer_group();
    world.restart(options());
    assert_eq!(world.consumer_group(), before);
    assert_eq!(world.beat(alive("a", 2)).unwrap().assignment, None);
    let full = ConsumerHeartbeat { epoch: 2, owned: Some(b.clone()), ..join_as("b", &["t"]) };
    assert_eq!(world.beat(full).unwrap().assignment, Some(b));
    // A member has its whole session after that, and no more.
    world.restart(options());
    world.pass(seconds(44));
    assert!(world.beat(owning("a", 2, &a)).is_ok());
    world.pass(seconds(2));
    assert_eq!(world.beat(alive("b", 2)), Err(Error::UnknownMemberId));
}

fn commit_as(id: &str, epoch: i32, knows_epochs: bool) -> Request {
    let Request::Commit(commit) = commit("g", epoch, id, 7) else { panic!("not a commit") };
    Request::Commit(CommitOffsets { knows_epochs, ..commit })
}

fn fetch_as(id: &str, epoch: i32) -> Request {
    let topics = Some(vec![("t".to_owned(), vec![0])]);
    Request::FetchOffsets(FetchOffsets { group: "g".into(), topics, member: Some((id.into(), epoch)) })
}

#[test]
fn members_commit_and_fetch_at_their_epoch() {
    let mut world = World::with_topic(4);
    assert_eq!(world.ask(commit_as("a", 1, true)), Err(Error::GroupIdNotFound));
    assert_eq!(world.ask(commit_as("a", 1, false)), Err(Error::IllegalGeneration));
    world.joins("a", &["t"]);
    world.joins("b", &["t"]);
    assert_eq!(world.ask(commit_as("a", 1, true)), Ok(Reply::Each(vec![Ok(())])));
    assert_eq!(committed(&mut world, "g"), 7);
    assert_eq!(world.ask(commit_as("a", 2, true)), Err(Error::StaleMemberEpoch));
    assert_eq!(world.ask(commit_as("a", 1, false)), Err(Error::CommitTooOld));
    assert_eq!(world.ask(commit_as("x", 1, true)), Err(Error::UnknownMemberId));
    assert_eq!(
        world.ask(commit_as("", -1, true)),
        Err(Error::UnknownMemberId),
        "others may not while there are members"
    );
    assert!(world.ask(fetch_as("a", 1)).is_ok());
    assert_eq!(world.ask(fetch_as("a", 2)), Err(Error::StaleMemberEpoch));
    assert_eq!(world.ask(fetch_as("x", 1)), Err(Error::UnknownMemberId));
    let delete =
        |topic: &str| Request::DeleteOffsets(DeleteOffsets { group: "g".into(), partitions: vec![(topic.into(), 0)] });
    assert_eq!(world.ask(delete("t")), Ok(Reply::Each(vec![Err(Error::GroupSubscribedToTopic)])));
    assert_eq!(world.ask(delete("u")), Ok(Reply::Each(vec![Ok(())])));
    assert_eq!(world.ask(Request::Delete("g".into())), Err(Error::NonEmptyGroup));
    assert_eq!(world.state("g"), None, "it is no classic group");
    for id in ["a", "b"] {
        world.beat(alive(id, LEAVE)).unwrap();
    }
    assert_eq!(world.ask(commit_as("", -1, false)), Ok(Reply::Each(vec![Ok(())])), "a tool, once nobody is there");
    assert_eq!(world.ask(Request::Delete("g".into())), Ok(Reply::Done));
    assert!(world.shard.is_empty());
    world.restart(options());
    assert!(world.shard.is_empty());
}

#[test]
fn who_has_not_heard_of_its_epoch_commits_for_what_it_had_all_the_time() {
    for restarted in [false, true] {
        let (mut world, a, b) = World::two();
        world.topics(&[("t", 5)]);
        let after = world.beat(alive("a", 2)).unwrap();
        assert_eq!(after.epoch, 3);
        world.beat(alive("b", 2)).unwrap();
        if restarted {
            world.restart(options());
        }
        let mut commit_at = |id: &str, partition, epoch| {
            let Request::Commit(commit) = commit_as(id, epoch, true) else { panic!("not a commit") };
            let offset = CommitOffset { partition, ..commit.offsets[0].clone() };
            world.ask(Request::Commit(CommitOffsets { offsets: vec![offset], ..commit }))
        };
        let done = Ok(Reply::Each(vec![Ok(())]));
        let first = |partitions: &Partitions| partitions.iter().next().unwrap().1;
        // It had these since epoch 1, the other its own since epoch 2.
        assert_eq!(commit_at("a", first(&a), 1), done);
        assert_eq!(commit_at("a", first(&a), 2), done);
        assert_eq!(commit_at("a", first(&b), 2), Err(Error::StaleMemberEpoch), "that is not its own");
        assert_eq!(commit_at("b", first(&b), 1), Err(Error::StaleMemberEpoch), "it was not at that time");
        assert_eq!(commit_at("b", first(&b), 2), done);
        assert_eq!(commit_at("b", first(&b), 4), Err(Error::StaleMemberEpoch), "there is no such epoch yet");
    }
}

#[test]
fn offsets_that_nobody_reads_expire_and_the_group_with_them() {
    let mut world = World::with_topic(1);
    world.joins("a", &["t"]);
    world.ask(commit_as("a", 1, true)).unwrap();
    for _ in 0..(8 * 24 * 120) {
        world.pass(seconds(30));
        world.beat(alive("a", 1)).unwrap();
    }
    assert_eq!(committed(&mut world, "g"), 7);
    world.beat(alive("a", LEAVE)).unwrap();
    world.pass(seconds(700));
    assert!(world.shard.is_empty());
    world.restart(options());
    assert!(world.shard.is_empty());
}

#[test]
fn an_empty_group_changes_its_protocol_and_keeps_its_offsets() {
    let mut world = World::with_topic(1);
    let ids = world.stable("g", 1);
    let generation = 1;
    world.ask(commit("g", generation, &ids[0], 5)).unwrap();
    world.ask(leave("g", &ids[0])).unwrap();
    world.joins("a", &["t"]);
    assert_eq!((committed(&mut world, "g"), world.state("g")), (5, None));
    world.restart(options());
    assert_eq!((committed(&mut world, "g"), world.consumer_state()), (5, ConsumerGroupState::Stable));
    world.beat(alive("a", LEAVE)).unwrap();
    world.restart(Options { initial_rebalance_delay: Duration::ZERO, ..options() });
    world.stable("g", 1);
    assert_eq!((committed(&mut world, "g"), world.state("g")), (5, Some(GroupState::Stable)));
    world.restart(options());
    assert_eq!((committed(&mut world, "g"), world.state("g")), (5, Some(GroupState::Stable)));
    assert_eq!(world.consumer_group(), None);
}

#[test]
fn both_kinds_are_listed() {
    let mut world = World::with_topic(1);
    world.joins("a", &["t"]);
    world.stable("h", 1);
    let Ok(Reply::Listed(listed)) = world.ask(Request::List) else { panic!("no list") };
    let shown: Vec<_> = listed.iter().map(|g| (g.group.as_str(), g.state.kind().name(), g.state.name())).collect();
    assert_eq!(shown, [("g", "consumer", "Stable"), ("h", "classic", "Stable")]);
    assert!(listed.iter().all(|group| group.protocol_type == "consumer" && group.members == 1));
}

#[test]
fn a_large_group_that_forms_does_not_make_an_assignment_for_every_member() {
    const MEMBERS: usize = 300;
    let mut world = World::with_topic(600);
    let id = |n: usize| format!("m{n:03}");
    let mut held: BTreeMap<String, (i32, Partitions)> = BTreeMap::new();
    for n in 0..MEMBERS {
        held.insert(id(n), world.joins(&id(n), &["t"]));
    }
    let made = |world: &World| {
        let keys = world.log.iter().filter_map(|(key, _)| runnel_format::groups::GroupKey::decode(key).unwrap());
        keys.filter(|key| matches!(key, runnel_format::groups::GroupKey::TargetEpoch { .. })).count()
    };
    assert_eq!(made(&world), 99, "up to the hundredth member at once, the others later");
    assert_eq!(world.consumer_state(), ConsumerGroupState::Assigning);
    let (epoch, none) = held[&id(MEMBERS - 1)].clone();
    assert_eq!((epoch, none), (99, Partitions::default()), "it is in, and has nothing yet");
    world.pass(Duration::from_millis(150));
    for _ in 0..3 {
        for (id, (epoch, owned)) in &mut held {
            let beat = world.beat(owning(id, *epoch, owned)).unwrap();
            *epoch = beat.epoch;
            *owned = beat.assignment.unwrap_or_else(|| owned.clone());
        }
    }
    assert_eq!(made(&world), 100);
    assert!(held.values().all(|(epoch, owned)| (*epoch, owned.len()) == (300, 2)));
    assert_eq!(world.consumer_state(), ConsumerGroupState::Stable);
}
