//! Joining, syncing, heartbeats, sessions.

use super::*;

#[test]
fn a_first_group_waits_for_more_members_and_then_all_get_their_part() {
    let mut world = World::new(options());
    let first = world.send(join("g", "", "a"));
    world.pass(seconds(2));
    let second = world.send(join("g", "", "b"));
    world.pass(seconds(2));
    assert!(!world.answers.contains_key(&first), "the second member put it off");
    world.pass(seconds(2));
    let (first, second) = (world.joined(first), world.joined(second));
    assert_eq!((first.generation, first.leader.as_str(), first.protocol.as_str()), (1, "a", "range"));
    assert_eq!(first.members.iter().map(|m| m.member_id.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    assert!(second.members.is_empty() && second.leader == "a");

    let follower = world.send(sync("g", 1, "b", &[]));
    assert!(!world.answers.contains_key(&follower), "the leader has not assigned yet");
    let leader = world.send(sync("g", 1, "a", &[("a", b"1"), ("b", b"2")]));
    assert_eq!((&world.synced(leader)[..], &world.synced(follower)[..]), (&b"1"[..], &b"2"[..]));
    assert_eq!(world.state("g"), Some(GroupState::Stable));
    assert_eq!(world.ask(beat("g", 1, "b")), Ok(Reply::Done));
}

#[test]
fn the_assignment_is_written_before_anyone_hears_of_it() {
    let mut world = World::quick();
    let joined = world.send(join("g", "", "a"));
    let generation = world.joined(joined).generation;
    let mut effects = Vec::new();
    world.shard.on(world.now, Token(99), sync("g", generation, "a", &[("a", b"1")]), &mut effects);
    assert!(matches!(&effects[..], [Effect::Write { .. }, Effect::Reply { .. }]), "{effects:?}");
}

#[test]
fn a_member_without_an_id_is_given_one_first() {
    let mut world = World::quick();
    let asks =
        |id: &str, fresh: &str| Request::Join(JoinGroup { needs_member_id: true, ..join_of("g", id) }, fresh.into());
    let given = world.ask(asks("", "client-1"));
    assert_eq!(given, Ok(Reply::Join(JoinOutcome::MemberIdRequired("client-1".into()))));
    let joined = world.send(asks("client-1", "unused"));
    assert_eq!(world.joined(joined).member_id, "client-1");
    assert_eq!(world.ask(asks("client-2", "unused")), Err(Error::UnknownMemberId));
    // One that never comes back holds nobody up for longer than its session.
    world.send(sync("g", 1, "client-1", &[]));
    world.send(asks("", "client-3"));
    let again = world.send(join("g", "client-1", ""));
    assert!(!world.answers.contains_key(&again));
    world.pass(seconds(10));
    assert_eq!(world.joined(again).generation, 2);
}

#[test]
fn a_new_member_makes_the_others_rejoin() {
    let mut world = World::quick();
    world.stable("g", 1);
    let second = world.send(join("g", "", "b"));
    assert_eq!(world.ask(beat("g", 1, "fresh-0")), Err(Error::RebalanceInProgress));
    assert_eq!(world.ask(sync("g", 1, "fresh-0", &[])), Err(Error::RebalanceInProgress));
    // Until it has rejoined it may still commit what it read.
    assert_eq!(world.ask(commit("g", 1, "fresh-0", 5)), Ok(Reply::Each(vec![Ok(())])));
    let first = world.send(join("g", "fresh-0", ""));
    assert_eq!((world.joined(first).generation, world.joined(second).generation), (2, 2));
    assert_eq!(world.ask(commit("g", 2, "fresh-0", 6)), Err(Error::RebalanceInProgress));
    assert_eq!(world.ask(commit("g", 1, "fresh-0", 6)), Err(Error::IllegalGeneration));
    assert_eq!(committed(&mut world, "g"), 5);
}

#[test]
fn a_member_that_does_not_rejoin_in_time_is_left_behind() {
    let mut world = World::quick();
    world.stable("g", 1);
    let second = world.send(join("g", "", "b"));
    for _ in 0..12 {
        world.pass(seconds(5));
        assert!(world.ask(beat("g", 1, "fresh-0")).is_err());
    }
    assert_eq!(world.joined(second).members.len(), 1);
    assert_eq!(world.ask(beat("g", 1, "fresh-0")), Err(Error::UnknownMemberId));
}

#[test]
fn silent_members_are_removed_and_their_part_goes_on() {
    let mut world = World::quick();
    let ids = world.stable("g", 2);
    for _ in 0..3 {
        world.pass(seconds(4));
        drop(world.ask(beat("g", 2, &ids[0])));
    }
    let again = world.send(join("g", &ids[0], ""));
    assert_eq!(world.joined(again).members.len(), 1);
    world.send(sync("g", 3, &ids[0], &[]));
    world.pass(seconds(30));
    assert_eq!(world.state("g"), Some(GroupState::Empty));
}

#[test]
fn a_member_that_never_syncs_is_removed() {
    let mut world = World::quick();
    let first = world.send(join("g", "", "a"));
    let generation = world.joined(first).generation;
    for _ in 0..12 {
        world.pass(seconds(5));
        drop(world.ask(beat("g", generation, "a")));
    }
    assert_eq!(world.ask(beat("g", generation, "a")), Err(Error::UnknownMemberId));
}

#[test]
fn leaving_ends_a_member_at_once() {
    let mut world = World::quick();
    let ids = world.stable("g", 2);
    assert_eq!(world.ask(leave("g", &ids[1])), Ok(Reply::Each(vec![Ok(())])));
    assert_eq!(world.ask(beat("g", 2, &ids[0])), Err(Error::RebalanceInProgress));
    assert_eq!(world.ask(leave("g", "nobody")), Ok(Reply::Each(vec![Err(Error::UnknownMemberId)])));
    assert_eq!(world.ask(leave("none", "a")), Ok(Reply::Each(vec![Err(Error::UnknownMemberId)])));
    assert_eq!(world.ask(leave("g", &ids[0])), Ok(Reply::Each(vec![Ok(())])));
    assert_eq!(world.state("g"), Some(GroupState::Empty));
}

#[test]
fn one_that_is_not_known_leaving_disturbs_nobody() {
    let mut world = World::quick();
    let ids = world.stable("g", 1);
    world.send(leave("g", "nobody"));
    assert_eq!(world.ask(beat("g", 1, &ids[0])), Ok(Reply::Done));
}

#[test]
fn the_protocol_is_voted_for_and_strangers_stay_out() {
    let mut world = World::new(options());
    let with = |names: &[&str], fresh: &str| {
        let protocols = names.iter().map(|name| ((*name).to_owned(), Bytes::new())).collect();
        Request::Join(JoinGroup { protocols, ..join_of("g", "") }, fresh.into())
    };
    let first = world.send(with(&["a", "b", "c"], "1"));
    world.send(with(&["b", "a"], "2"));
    world.send(with(&["b", "a", "c"], "3"));
    assert_eq!(world.ask(with(&["c"], "4")), Err(Error::InconsistentGroupProtocol));
    let other = Request::Join(JoinGroup { protocol_type: "connect".into(), ..join_of("g", "") }, "5".into());
    assert_eq!(world.ask(other), Err(Error::InconsistentGroupProtocol));
    world.pass(seconds(6));
    assert_eq!(world.joined(first).protocol, "b");
    let sync = |protocol: &str| {
        let Request::Sync(sync) = sync("g", 1, "1", &[]) else { panic!() };
        Request::Sync(SyncGroup { protocol: Some(protocol.into()), ..sync })
    };
    assert_eq!(world.ask(sync("a")), Err(Error::InconsistentGroupProtocol));
    assert!(world.ask(sync("b")).is_ok());
}

#[test]
fn limits_are_kept() {
    let limits = Options { max_size: 1, max_groups: 2, max_group_bytes: 100, ..options() };
    let mut world = World::new(limits);
    world.send(join("g", "", "a"));
    assert_eq!(world.ask(join("g", "", "b")), Err(Error::GroupMaxSizeReached));
    assert_eq!(world.ask(join("", "", "b")), Err(Error::InvalidGroupId));
    let short = JoinGroup { session_timeout: seconds(1), ..join_of("g", "") };
    assert_eq!(world.ask(Request::Join(short, "c".into())), Err(Error::InvalidSessionTimeout));
    let none = JoinGroup { protocols: Vec::new(), ..join_of("g", "") };
    assert_eq!(world.ask(Request::Join(none, "c".into())), Err(Error::InconsistentGroupProtocol));
    let large = JoinGroup { protocols: vec![("p".into(), vec![0; 100].into())], ..join_of("h", "") };
    assert_eq!(world.ask(Request::Join(large, "d".into())), Err(Error::GroupTooLarge));
    world.send(join("h", "", "e"));
    assert_eq!(world.ask(join("i", "", "f")), Err(Error::TooManyGroups));
    assert_eq!(world.ask(commit("i", -1, "", 1)), Err(Error::TooManyGroups));
    assert_eq!(world.shard.len(), 2);
}

#[test]
fn a_repeated_join_gives_up_the_older_request() {
    let mut world = World::quick();
    let ids = world.stable("g", 2);
    let first = world.send(join("g", &ids[0], ""));
    let second = world.send(join("g", &ids[0], ""));
    assert_eq!(world.answers[&first], Err(Error::RebalanceInProgress));
    world.send(join("g", &ids[1], ""));
    assert_eq!(world.joined(second).generation, 3);
}
