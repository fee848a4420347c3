//! Commits, their fencing, and how long they are kept.

use super::*;

const WEEK: u64 = 7 * 24 * 3600;

#[test]
fn anyone_may_commit_for_a_group_without_members() {
    let mut world = World::quick();
    assert_eq!(committed(&mut world, "g"), -1);
    assert_eq!(world.ask(commit("g", 3, "a", 5)), Err(Error::IllegalGeneration));
    assert_eq!(world.ask(commit("g", -1, "", 5)), Ok(Reply::Each(vec![Ok(())])));
    assert_eq!((committed(&mut world, "g"), world.state("g")), (5, Some(GroupState::Empty)));
    let ids = world.stable("g", 1);
    assert_eq!(world.ask(commit("g", -1, "", 6)), Err(Error::UnknownMemberId));
    assert_eq!(world.ask(commit("g", 1, "stranger", 6)), Err(Error::UnknownMemberId));
    assert_eq!(world.ask(commit("g", 0, &ids[0], 6)), Err(Error::IllegalGeneration));
    assert_eq!(world.ask(commit("g", 1, &ids[0], 7)), Ok(Reply::Each(vec![Ok(())])));
    assert_eq!(committed(&mut world, "g"), 7);
}

#[test]
fn metadata_has_a_limit_and_all_offsets_can_be_asked_for() {
    let mut world = World::quick();
    let Request::Commit(mut wanted) = commit("g", -1, "", 5) else { panic!() };
    let mut large = wanted.offsets[0].clone();
    (large.partition, large.metadata) = (1, "x".repeat(4097));
    wanted.offsets.push(large);
    let each = world.ask(Request::Commit(wanted));
    assert_eq!(each, Ok(Reply::Each(vec![Ok(()), Err(Error::OffsetMetadataTooLarge)])));
    let all = world.ask(Request::FetchOffsets(FetchOffsets { group: "g".into(), topics: None, member: None }));
    let Ok(Reply::Offsets(all)) = all else { panic!() };
    assert_eq!(all.iter().map(|o| (o.partition, o.offset, o.leader_epoch)).collect::<Vec<_>>(), [(0, 5, 2)]);
}

#[test]
fn what_a_group_reads_is_not_deleted_under_it() {
    let mut world = World::quick();
    let delete =
        |topic: &str| Request::DeleteOffsets(DeleteOffsets { group: "g".into(), partitions: vec![(topic.into(), 0)] });
    assert_eq!(world.ask(delete("t")), Err(Error::GroupIdNotFound));
    let ids = world.stable("g", 1);
    world.send(commit("g", 1, &ids[0], 7));
    assert_eq!(world.ask(delete("t")), Ok(Reply::Each(vec![Err(Error::GroupSubscribedToTopic)])));
    assert_eq!(world.ask(delete("u")), Ok(Reply::Each(vec![Ok(())])));
    assert_eq!(world.ask(Request::Delete("g".into())), Err(Error::NonEmptyGroup));
    world.send(leave("g", &ids[0]));
    assert_eq!(world.ask(delete("t")), Ok(Reply::Each(vec![Ok(())])));
    assert_eq!(committed(&mut world, "g"), -1);
}

#[test]
fn a_deleted_group_is_gone_after_a_restart_too() {
    let mut world = World::quick();
    let ids = world.stable("g", 1);
    world.send(commit("g", 1, &ids[0], 7));
    world.send(leave("g", &ids[0]));
    assert_eq!(world.ask(Request::Delete("g".into())), Ok(Reply::Done));
    assert_eq!(world.ask(Request::Delete("g".into())), Err(Error::GroupIdNotFound));
    world.restart(options());
    assert!(world.shard.is_empty());
    assert_eq!(committed(&mut world, "g"), -1);
}

#[test]
fn offsets_of_a_deleted_topic_go() {
    let mut world = World::quick();
    world.send(commit("g", -1, "", 7));
    world.send(Request::ForgetTopic("t".into()));
    assert_eq!(committed(&mut world, "g"), -1);
    world.restart(options());
    assert!(world.shard.is_empty());
}

#[test]
fn a_topic_made_anew_does_not_inherit_offsets() {
    let mut world = World::quick();
    let mut version = 0;
    let mut make = |world: &mut World, names: &[&str]| {
        version += 1;
        // The first letter is the name, and the second tells incarnations apart.
        let topics = names.iter().map(|name| (name[..1].to_owned(), topic_id(name), 1));
        world.shown(Topics::new(version, topics));
    };
    make(&mut world, &["t1"]);
    world.ask(commit("g", -1, "", 7)).unwrap();
    // It is deleted, and the broker dies before the coordinators hear of it.
    make(&mut world, &["u1"]);
    world.restart(options());
    assert_eq!(committed(&mut world, "g"), 7, "that it is not there proves nothing");
    assert_eq!(world.ask(commit("g", -1, "", 8)), Ok(Reply::Each(vec![Err(Error::UnknownTopic)])));
    make(&mut world, &["t2"]);
    assert_eq!(committed(&mut world, "g"), -1);
    let all = world.ask(Request::FetchOffsets(FetchOffsets { group: "g".into(), topics: None, member: None }));
    assert_eq!(all, Ok(Reply::Offsets(Vec::new())));
    world.ask(commit("h", -1, "", 9)).unwrap();
    world.pass(seconds(700));
    assert_eq!((world.shard.len(), committed(&mut world, "h")), (1, 9), "and with time they are dropped");
}

#[test]
fn offsets_outlive_the_group_by_the_retention() {
    let mut world = World::quick();
    let ids = world.stable("g", 1);
    world.send(commit("g", 1, &ids[0], 7));
    // While the group reads the topic, nothing expires.
    for _ in 0..(WEEK + 3600) / 5 {
        world.pass(seconds(5));
        world.ask(beat("g", 1, &ids[0])).unwrap();
    }
    assert_eq!(committed(&mut world, "g"), 7);
    world.send(leave("g", &ids[0]));
    world.pass(seconds(WEEK - 600));
    assert_eq!(committed(&mut world, "g"), 7);
    world.pass(seconds(1800));
    assert_eq!((committed(&mut world, "g"), world.state("g")), (-1, None));
    world.restart(options());
    assert!(world.shard.is_empty());
}

#[test]
fn offsets_of_a_simple_consumer_expire_from_their_commit() {
    let mut world = World::quick();
    world.send(commit("g", -1, "", 7));
    world.pass(seconds(WEEK - 600));
    world.send(commit("h", -1, "", 8));
    world.pass(seconds(1800));
    assert_eq!((committed(&mut world, "g"), committed(&mut world, "h")), (-1, 8));
}

#[test]
fn a_committer_may_say_how_long() {
    let mut world = World::quick();
    let Request::Commit(short) = commit("g", -1, "", 7) else { panic!() };
    world.send(Request::Commit(CommitOffsets { retention: Some(seconds(60)), ..short }));
    world.restart(options());
    assert_eq!(committed(&mut world, "g"), 7);
    world.pass(seconds(1300));
    assert_eq!(committed(&mut world, "g"), -1);
}
