//! Requests to the bucket that are applied although their answer says otherwise, or late, or never.

use std::time::Duration;

use runnel_blob::testing::{Fault, Op};
use runnel_record::TopicId;

use crate::support::{Node, World, batch, eventually, tp, values};

/// Ships six records while `faults` are armed, then two more; then everything must fit together.
fn ship_through(name: &str, arm: impl Fn(&World)) {
    let mut world = World::new();
    let node = world.start();
    let id = node.create("t", 1, &[]);
    node.append("t", 0, batch(&values("a", 6, 200)));
    arm(&world);
    world.age();
    node.wait_shipped("t", 0, 6);
    eventually("the fault", || (world.faults.unused() == 0).then_some(()));
    check(&world, &node, id, 6, name);
    node.append("t", 0, batch(&values("b", 2, 200)));
    world.age();
    node.wait_shipped("t", 0, 8);
    check(&world, &node, id, 8, name);
    world.kill(node);
    let node = world.start();
    eventually("the sweep", || world.orphans(&node, "t", tp(id, 0)).is_empty().then_some(()));
    check(&world, &node, id, 8, name);
    node.stop();
}

fn check(world: &World, node: &Node, id: TopicId, end: usize, name: &str) {
    let expected: Vec<_> = values("a", 6, 200).into_iter().chain(values("b", 2, 200)).take(end).collect();
    assert_eq!(node.read_values("t", 0), expected, "{name}");
    let (root, _) = world.root(node, "t", tp(id, 0));
    let offsets: Vec<_> = root.segments.iter().map(|segment| (segment.base.0, segment.next.0)).collect();
    let mut at = 0;
    for (base, next) in offsets {
        assert_eq!(base, at, "{name}: a gap or an overlap");
        at = next;
    }
    assert_eq!(usize::try_from(at).unwrap(), end, "{name}");
}

#[test]
fn the_answer_to_a_segment_is_lost() {
    ship_through("lost", |world| world.faults.once(Op::Put, "topics/", Fault::LoseAnswer));
    ship_through("none", |world| world.faults.once(Op::Put, "topics/", Fault::HangAfter));
    ship_through("late", |world| {
        world.faults.once(Op::Put, "topics/", Fault::ApplyLater(Duration::from_millis(300)));
    });
}

#[test]
fn the_answer_to_the_first_root_is_lost() {
    ship_through("lost", |world| world.faults.once(Op::Create, "/root", Fault::LoseAnswer));
    ship_through("none", |world| world.faults.once(Op::Create, "/root", Fault::HangAfter));
    ship_through("409", |world| world.faults.once(Op::Create, "/root", Fault::Conflict));
    ship_through("late", |world| {
        world.faults.once(Op::Create, "/root", Fault::ApplyLater(Duration::from_millis(300)));
    });
}

#[test]
fn the_answer_to_the_first_root_and_the_look_at_it_are_lost() {
    ship_through("lost", |world| {
        world.faults.once(Op::Create, "/root", Fault::LoseAnswer);
        (0..6).for_each(|_| world.faults.once(Op::Get, "/root", Fault::FailBefore));
    });
}

#[test]
fn the_answer_to_a_later_root_is_lost() {
    for fault in [Fault::LoseAnswer, Fault::HangAfter, Fault::Conflict, Fault::ApplyLater(Duration::from_millis(300))] {
        let mut world = World::new();
        let node = world.start();
        let id = node.create("t", 1, &[]);
        node.append("t", 0, batch(&values("a", 6, 200)));
        world.age();
        node.wait_shipped("t", 0, 6);
        world.faults.once(Op::Replace, "/root", fault);
        node.append("t", 0, batch(&values("b", 2, 200)));
        world.age();
        node.wait_shipped("t", 0, 8);
        check(&world, &node, id, 8, &format!("{fault:?}"));
        world.kill(node);
        let node = world.start();
        check(&world, &node, id, 8, &format!("{fault:?}"));
        node.stop();
    }
}

#[test]
fn a_crash_while_the_answer_to_the_root_is_awaited() {
    let mut world = World::new();
    let node = world.start();
    let id = node.create("t", 1, &[]);
    node.append("t", 0, batch(&values("a", 6, 200)));
    world.faults.once(Op::Create, "/root", Fault::HangAfter);
    world.age();
    eventually("the request", || (world.faults.unused() == 0).then_some(()));
    world.kill(node);
    let node = world.start();
    node.wait_shipped("t", 0, 6);
    check(&world, &node, id, 6, "crash");
    assert_eq!(node.append("t", 0, batch(&values("b", 2, 200))), 6);
    world.age();
    node.wait_shipped("t", 0, 8);
    check(&world, &node, id, 8, "crash");
    assert!(world.orphans(&node, "t", tp(id, 0)).is_empty());
    node.stop();
}
