//! Stops, crashes, and crashes between any two durable steps of a ship: nothing lost, nothing twice.

use runnel_record::{LeaderEpoch, TopicId};
use runnel_runtime::FailAction;

use crate::support::{Node, World, batch, eventually, fired, tp, values};

#[test]
fn a_clean_stop_ships_everything() {
    let world = World::new();
    let node = world.start();
    let id = node.create("t", 3, &[]);
    for partition in 0..3 {
        node.append("t", partition, batch(&values("a", 5, 30)));
    }
    assert_eq!(node.stop().unshipped_partitions, 0);
    let node = world.start();
    for partition in 0..3 {
        assert_eq!(node.shipped("t", partition), 5);
        assert_eq!(node.read_values("t", partition), values("a", 5, 30));
        assert_eq!(node.append("t", partition, batch(&["b"])), 5);
        assert!(world.orphans(&node, "t", tp(id, partition)).is_empty());
    }
    assert_eq!(node.topic_id("t").unwrap(), id);
    node.stop();
}

#[test]
fn a_kill_loses_nothing_that_was_acknowledged() {
    let mut world = World::new();
    let mut node = world.start();
    node.create("t", 2, &[]);
    for round in 0..4 {
        for partition in 0..2 {
            assert_eq!(node.append("t", partition, batch(&values(&format!("r{round}"), 3, 50))), 3 * round);
        }
        world.kill(node);
        node = world.start();
    }
    let expected: Vec<_> = (0..4).flat_map(|round| values(&format!("r{round}"), 3, 50)).collect();
    for partition in 0..2 {
        assert_eq!(node.read_values("t", partition), expected);
    }
    world.age();
    node.wait_shipped("t", 0, 12);
    node.wait_shipped("t", 1, 12);
    world.kill(node);
    let node = world.start();
    for partition in 0..2 {
        assert_eq!(node.read_values("t", partition), expected);
    }
    node.stop();
}

#[test]
fn a_power_cut_loses_nothing_that_was_acknowledged() {
    for seed in 0..6 {
        let mut world = World::new();
        let node = world.start();
        node.create("t", 1, &[("runnel.segment.max_bytes", "1024")]);
        let mut expected = Vec::new();
        for i in 0..6 {
            let values = values(&format!("{seed}-{i}"), 2, 150);
            node.append("t", 0, batch(&values));
            expected.extend(values);
        }
        world.cut_power(node, seed);
        let node = world.start();
        assert_eq!(node.read_values("t", 0), expected, "seed {seed}");
        assert_eq!(node.append("t", 0, batch(&["more"])), 12, "seed {seed}");
        node.stop();
    }
}

#[test]
fn the_power_fails_at_any_step_of_the_disk() {
    for step in (1..40).step_by(3) {
        let mut world = World::new();
        let node = world.start();
        node.create("t", 1, &[("runnel.segment.max_bytes", "1024")]);
        world.disk.die_in(step);
        let mut acknowledged = Vec::new();
        let mut tried = Vec::new();
        for i in 0..30 {
            let value = format!("{step}-{i}-{}", "x".repeat(300));
            tried.push(value.clone());
            match node.produce("t", 0, batch(&[&value])) {
                Ok(_) => acknowledged.push(value),
                Err(_) => break,
            }
        }
        world.cut_power(node, step);
        let node = world.start();
        let read = node.read_values("t", 0);
        assert!(
            read.starts_with(&acknowledged),
            "step {step}: {} read, {} acknowledged",
            read.len(),
            acknowledged.len()
        );
        assert!(tried.starts_with(&read), "step {step}: something that nobody sent");
        node.stop();
    }
}

/// The state of `t` after a crash while its first six records were shipped.
fn check_after_ship_crash(world: &mut World, node: Node, id: TopicId, point: &str) {
    assert_eq!(node.read_values("t", 0), values("a", 6, 200), "{point}");
    assert_eq!(node.append("t", 0, batch(&values("b", 2, 200))), 6, "{point}");
    world.age();
    node.wait_shipped("t", 0, 8);
    let expected: Vec<_> = values("a", 6, 200).into_iter().chain(values("b", 2, 200)).collect();
    assert_eq!(node.read_values("t", 0), expected, "{point}");
    eventually("the sweep", || world.orphans(&node, "t", tp(id, 0)).is_empty().then_some(()));
    let (root, _) = world.root(&node, "t", tp(id, 0));
    assert_eq!(root.end.0, 8, "{point}");
    eventually("the trim", || (node.unshipped_bytes() == 0).then_some(()));
    world.kill(node);
    assert_eq!(world.kept_root(tp(id, 0)), Some(root.encode()), "{point}");
    let node = world.start();
    assert_eq!(node.read_values("t", 0), expected, "{point}");
    node.stop();
}

const SHIP_POINTS: [&str; 5] = ["ship.built", "ship.put", "ship.after_root_cas", "ship.committed", "ship.root_kept"];

fn crash_while_shipping(point: &str, cut_power: bool) {
    let mut world = World::new();
    let node = world.start();
    let id = node.create("t", 1, &[]);
    node.append("t", 0, batch(&values("a", 6, 200)));
    world.fail.arm(point, FailAction::Error);
    world.age();
    fired(&world.fail, point);
    if cut_power {
        world.cut_power(node, 3);
    } else {
        world.kill(node);
    }
    let node = world.start();
    check_after_ship_crash(&mut world, node, id, point);
}

#[test]
fn a_kill_at_any_step_of_a_ship() {
    SHIP_POINTS.iter().for_each(|point| crash_while_shipping(point, false));
}

#[test]
fn a_power_cut_at_any_step_of_a_ship() {
    SHIP_POINTS.iter().for_each(|point| crash_while_shipping(point, true));
}

#[test]
fn a_ship_that_fails_at_any_step_is_done_again() {
    for point in SHIP_POINTS {
        let mut world = World::new();
        let node = world.start();
        let id = node.create("t", 1, &[]);
        node.append("t", 0, batch(&values("a", 6, 200)));
        world.fail.arm(point, FailAction::Error);
        world.age();
        fired(&world.fail, point);
        node.wait_shipped("t", 0, 6);
        assert_eq!(node.read_values("t", 0), values("a", 6, 200), "{point}");
        // What the failed attempt left is of this epoch; the next one may remove it.
        world.kill(node);
        let node = world.start();
        check_after_ship_crash(&mut world, node, id, point);
    }
}

/// After a crash behind the root swap everything is in the bucket, so nothing will be shipped that would trim the log.
#[test]
fn what_a_crash_left_in_the_log_is_trimmed_although_nothing_new_comes() {
    for point in ["ship.after_root_cas", "ship.committed", "ship.root_kept"] {
        let mut world = World::new();
        let node = world.start();
        let id = node.create("t", 1, &[]);
        node.append("t", 0, batch(&values("a", 6, 200)));
        world.fail.arm(point, FailAction::Error);
        world.age();
        fired(&world.fail, point);
        world.kill(node);
        let node = world.start();
        assert_eq!(node.read_values("t", 0), values("a", 6, 200));
        eventually("the trim", || (node.unshipped_bytes() == 0).then_some(()));
        // The copy on the disk is as good, before the log gives anything up.
        let (root, _) = world.root(&node, "t", tp(id, 0));
        world.kill(node);
        assert_eq!(world.kept_root(tp(id, 0)), Some(root.encode()), "{point}");
        world.faults.outage(true);
        let node = world.start();
        assert_eq!(node.log_end("t", 0), 6, "{point}");
        node.stop();
    }
}

#[test]
fn a_crash_behind_the_new_epoch() {
    let mut world = World::new();
    let node = world.start();
    node.create("t", 1, &[]);
    node.append("t", 0, batch(&values("a", 3, 20)));
    world.kill(node);
    world.fail.arm("open.recorded", FailAction::ErrorAlways);
    let node = world.start();
    assert!(node.try_read("t", 0).is_err());
    world.kill(node);
    world.fail.disarm("open.recorded");
    let node = world.start();
    assert_eq!(node.read_values("t", 0), values("a", 3, 20));
    let produced = node.produce("t", 0, batch(&["b"])).unwrap();
    assert_eq!(produced.base_offset.0, 3);
    assert!(produced.leader_epoch >= LeaderEpoch(2), "an epoch that was handed out is used again");
    node.stop();
}

#[test]
fn an_open_that_fails_is_tried_again_by_the_next_request() {
    let mut world = World::new();
    let node = world.start();
    node.create("t", 1, &[]);
    node.append("t", 0, batch(&values("a", 3, 20)));
    world.kill(node);
    world.fail.arm("open.recorded", FailAction::Error);
    let node = world.start();
    fired(&world.fail, "open.recorded");
    assert_eq!(node.read_values("t", 0), values("a", 3, 20));
    node.stop();
}

#[test]
fn a_restart_every_time_before_anything_ships() {
    let mut world = World::new();
    let mut node = world.start();
    node.create("t", 1, &[]);
    for round in 0..8 {
        assert_eq!(node.append("t", 0, batch(&[format!("{round}")])), round);
        if round % 2 == 0 {
            world.kill(node);
        } else {
            world.cut_power(node, 5);
        }
        node = world.start();
    }
    assert_eq!(node.read_values("t", 0), ["0", "1", "2", "3", "4", "5", "6", "7"]);
    assert_eq!(node.stop().unshipped_partitions, 0);
    let node = world.start();
    assert_eq!(node.read_values("t", 0).len(), 8);
    node.stop();
}
