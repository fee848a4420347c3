//! Members that ask for too much, or go away at a bad moment.

use super::consumer::alive;
use super::*;

#[test]
fn absent_static_members_that_wait_for_no_time_do_not_spin() {
    let mut world = World::quick();
    let of_static = |id: &str, instance: &str, rebalance| JoinGroup {
        instance_id: Some(instance.into()),
        session_timeout: seconds(60),
        rebalance_timeout: rebalance,
        ..join_of("g", id)
    };
    let first = world.send(Request::Join(of_static("", "i", Duration::ZERO), "a".into()));
    world.send(sync("g", world.joined(first).generation, "a", &[("a", b"1")]));
    // A second member begins a rebalance and leaves; the first does not come back, and keeps its place.
    let second = world.send(Request::Join(of_static("", "j", Duration::ZERO), "b".into()));
    world.send(leave("g", "b"));
    assert!(matches!(world.answers[&second], Err(Error::UnknownMemberId)));
    world.pass(seconds(59));
    assert_eq!(world.state("g"), Some(GroupState::PreparingRebalance));
    world.pass(seconds(2));
    assert_eq!(world.state("g"), Some(GroupState::Empty), "its session ended");
}

#[test]
fn an_id_that_is_given_and_not_used_disturbs_nobody() {
    let mut world = World::quick();
    let ids = world.stable("g", 2);
    let given = Request::Join(JoinGroup { needs_member_id: true, ..join_of("g", "") }, "never".into());
    assert!(matches!(world.ask(given), Ok(Reply::Join(JoinOutcome::MemberIdRequired(_)))));
    let Ok(Reply::Described(before)) = world.ask(Request::Describe("g".into())) else { panic!() };
    for _ in 0..4 {
        world.pass(seconds(4));
        for id in &ids {
            assert_eq!(world.ask(beat("g", 2, id)), Ok(Reply::Done));
        }
    }
    assert_eq!(world.ask(Request::Describe("g".into())), Ok(Reply::Described(before)));
}

#[test]
fn a_new_member_that_asks_again_is_still_waited_for() {
    let mut world = World::quick();
    world.stable("g", 1);
    // The rebalance waits for the old member, which is slow.
    world.send(join("g", "", "new"));
    let again = world.send(join("g", "new", ""));
    for _ in 0..5 {
        world.pass(seconds(9));
        world.send(beat("g", 1, "fresh-0"));
    }
    assert!(!world.answers.contains_key(&again), "45 s are more than its session, and it cannot give a sign of life");
    world.send(join("g", "fresh-0", ""));
    assert_eq!(world.joined(again).generation, 2);
}

#[test]
fn a_consumer_with_an_instance_and_its_own_partitions_commits() {
    let mut world = World::quick();
    let Request::Commit(outside) = commit("g", -1, "", 5) else { panic!() };
    let named = Membership { instance_id: Some("i".into()), ..member(-1, "") };
    let named = CommitOffsets { member: named, ..outside };
    assert_eq!(world.ask(Request::Commit(named)), Ok(Reply::Each(vec![Ok(())])));
    assert_eq!(committed(&mut world, "g"), 5);
}

#[test]
fn what_a_member_brings_is_limited() {
    let mut world = World::new(Options { max_group_bytes: 100_000, ..options() });
    let many = (0..1_000).map(|n| (format!("p{n}"), Bytes::new())).collect();
    let join = JoinGroup { protocols: many, ..join_of("g", "") };
    assert_eq!(world.ask(Request::Join(join, "a".into())), Err(Error::InconsistentGroupProtocol));
    let fat = JoinGroup { client_id: "c".repeat(200_000), ..join_of("g", "") };
    assert_eq!(world.ask(Request::Join(fat, "a".into())), Err(Error::GroupTooLarge));
    // A member that fills more than half of the room may come back: its own bytes do not count twice.
    let half = |id: &str| JoinGroup { protocols: vec![("p".into(), vec![0; 70_000].into())], ..join_of("g", id) };
    world.send(Request::Join(half(""), "a".into()));
    let again = world.send(Request::Join(half("a"), String::new()));
    world.pass(seconds(3));
    assert_eq!(world.joined(again).generation, 1);
}

#[test]
fn a_lower_limit_removes_nobody() {
    let mut world = World::quick();
    world.topics(&[("t", 1)]);
    world.joins("a", &["t"]);
    world.restart(Options { max_group_bytes: 10, ..options() });
    assert_eq!(world.beat(ConsumerHeartbeat { rack: Some("rack".into()), ..alive("a", 1) }), Err(Error::GroupTooLarge));
    assert!(world.beat(alive("a", 1)).is_ok());
}

#[test]
fn an_endless_member_id_is_nobodys() {
    let mut world = World::quick();
    world.topics(&[("t", 1)]);
    world.joins("a", &["t"]);
    assert_eq!(world.ask(join("g", &"m".repeat(5000), "")), Err(Error::UnknownMemberId));
}

#[test]
fn limits_are_for_all_coordinators_together() {
    let mut world = World::new(Options { max_groups: 2, max_bytes: 100_000, ..World::quick_options() });
    world.topics(&[("t", 2)]);
    world.shard.set_elsewhere(Weight { groups: 1, bytes: 0 });
    let ids = world.stable("g", 1);
    assert_eq!(world.ask(commit("h", -1, "", 1)), Err(Error::TooManyGroups));
    world.shard.set_elsewhere(Weight::default());
    world.ask(commit("h", -1, "", 1)).unwrap();
    let taken = world.shard.weight();
    assert!(taken.groups == 2 && (2_000..10_000).contains(&taken.bytes), "{taken:?}");
    // Without room nobody gets more, and everyone keeps what they have.
    world.shard.set_elsewhere(Weight { groups: 0, bytes: 100_000 });
    world.ask(commit("h", -1, "", 2)).unwrap();
    world.ask(beat("g", 1, &ids[0])).unwrap();
    let Request::Commit(mut other) = commit("h", -1, "", 3) else { panic!() };
    other.offsets[0].partition = 1;
    assert_eq!(world.ask(Request::Commit(other)), Ok(Reply::Each(vec![Err(Error::TooManyGroups)])));
    assert_eq!(world.ask(join("g", "", "new")), Err(Error::TooManyGroups));
    let again = world.send(join("g", &ids[0], ""));
    assert_eq!(world.joined(again).generation, 2);
    world.ask(leave("g", &ids[0])).unwrap();
    assert_eq!(world.beat(consumer::join_as("c", &["t"])), Err(Error::TooManyGroups));
    for group in ["g", "h"] {
        world.ask(Request::Delete(group.into())).unwrap();
    }
    assert_eq!(world.shard.weight(), Weight::default());
}

#[test]
fn what_is_loaded_is_weighed() {
    let mut world = World::quick();
    world.topics(&[("t", 2)]);
    world.joins("a", &["t"]);
    world.stable("h", 2);
    world.ask(commit("i", -1, "", 1)).unwrap();
    let before = world.shard.weight();
    world.restart(options());
    assert_eq!(world.shard.weight(), before);
    world.pass(seconds(46));
    let Weight { groups, bytes } = world.shard.weight();
    assert!(groups == 3 && bytes < before.bytes);
}
