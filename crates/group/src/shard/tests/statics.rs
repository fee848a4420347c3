//! Static members (KIP-345) and leaders that need not assign (KIP-814).

use super::*;

fn instance(group: &str, member_id: &str, instance: &str, fresh: &str, skip: bool) -> Request {
    let join = JoinGroup {
        instance_id: Some(instance.into()),
        may_skip_assignment: skip,
        needs_member_id: true,
        ..join_of(group, member_id)
    };
    Request::Join(join, fresh.into())
}

/// One static member, assigned `1`.
fn world() -> World {
    let mut world = World::quick();
    let joined = world.send(instance("g", "", "i", "a", true));
    assert_eq!(world.joined(joined).generation, 1);
    world.send(sync("g", 1, "a", &[("a", b"1")]));
    world
}

#[test]
fn a_restart_takes_the_same_place_without_a_rebalance() {
    for (skip, leader) in [(true, "b"), (false, "a")] {
        let mut world = world();
        let token = world.send(instance("g", "", "i", "b", skip));
        let joined = world.joined(token);
        assert_eq!((joined.generation, joined.leader.as_str(), joined.skip_assignment), (1, leader, skip));
        assert_eq!(joined.members.len(), usize::from(skip));
        let synced = world.send(sync("g", 1, "b", &[]));
        assert_eq!(&world.synced(synced)[..], b"1");
        // The log knows the new id as well.
        world.restart(options());
        assert_eq!(world.ask(beat("g", 1, "b")), Ok(Reply::Done));
    }
}

#[test]
fn the_old_id_is_fenced() {
    let mut world = world();
    world.send(instance("g", "", "i", "b", true));
    let a = Membership { instance_id: Some("i".into()), ..member(1, "a") };
    let fenced = Heartbeat { group: "g".into(), member: a.clone() };
    assert_eq!(world.ask(Request::Heartbeat(fenced)), Err(Error::FencedInstanceId));
    assert_eq!(world.ask(instance("g", "a", "i", "", true)), Err(Error::FencedInstanceId));
    let Request::Commit(old) = commit("g", 1, "a", 5) else { panic!() };
    let old = CommitOffsets { member: a, ..old };
    assert_eq!(world.ask(Request::Commit(old)), Err(Error::FencedInstanceId));
}

#[test]
fn a_request_of_the_old_id_that_waits_is_fenced() {
    let mut world = world();
    world.send(join("g", "", "other"));
    let waiting = world.send(instance("g", "a", "i", "", true));
    // The rebalance was complete with it; the next one waits again.
    world.joined(waiting);
    let syncing = world.send(sync("g", 2, "other", &[]));
    world.send(instance("g", "", "i", "b", true));
    assert_eq!(world.answers[&syncing], Err(Error::RebalanceInProgress));
}

#[test]
fn a_silent_static_member_keeps_its_place_for_its_session() {
    let mut world = world();
    let other = world.send(join("g", "", "other"));
    world.pass(seconds(5));
    assert!(!world.answers.contains_key(&other));
    world.pass(seconds(6));
    assert_eq!(world.joined(other).members.len(), 1);
}

#[test]
fn an_operator_removes_it_by_its_instance() {
    let mut world = world();
    let leaving = |member_id: &str, instance: &str| Leaving {
        member_id: member_id.into(),
        instance_id: Some(instance.into()),
        reason: None,
    };
    let members = vec![leaving("", "nobody"), leaving("other", "i"), leaving("", "i")];
    let each = world.ask(Request::Leave(LeaveGroup { group: "g".into(), members }));
    assert_eq!(each, Ok(Reply::Each(vec![Err(Error::UnknownMemberId), Err(Error::FencedInstanceId), Ok(())])));
}
