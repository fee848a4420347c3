//! The bucket does not answer: at start, under load, across restarts.

use std::time::Duration;

use runnel_api::ErrorKind;
use runnel_record::LeaderEpoch;
use runnel_runtime::FailAction;

use crate::support::{Node, World, batch, eventually, fired, idempotent, tp, values};

fn expect(node: &Node, topic: &str, parts: &[(&str, usize)]) {
    let expected: Vec<_> = parts.iter().flat_map(|(name, count)| values(name, *count, 200)).collect();
    assert_eq!(node.read_values(topic, 0), expected);
}

#[test]
fn writes_and_reads_go_on_during_an_outage() {
    let mut world = World::new();
    // A tail of two batches or so: what is not shipped is read from the log.
    world.options.cache.memory = 4 << 20;
    let node = world.start();
    node.create("t", 1, &[]);
    node.append("t", 0, batch(&values("shipped", 5, 200)));
    world.age();
    node.wait_shipped("t", 0, 5);
    world.kill(node);
    let node = world.start();
    // Into the cache.
    expect(&node, "t", &[("shipped", 5)]);

    world.faults.outage(true);
    for i in 0..4 {
        assert_eq!(node.append("t", 0, batch(&values("b", 5, 200))), 5 + 5 * i);
    }
    world.age();
    expect(&node, "t", &[("shipped", 5), ("b", 5), ("b", 5), ("b", 5), ("b", 5)]);
    assert_eq!(node.shipped("t", 0), 5);
    world.faults.outage(false);
    node.wait_shipped("t", 0, 25);
    expect(&node, "t", &[("shipped", 5), ("b", 5), ("b", 5), ("b", 5), ("b", 5)]);
    eventually("the trim", || (node.unshipped_bytes() == 0).then_some(()));
    node.stop();
}

#[test]
fn what_left_memory_is_read_from_the_log_during_an_outage() {
    let mut world = World::new();
    world.options.cache.memory = 2_000;
    let node = world.start();
    node.create("t", 1, &[]);
    world.faults.outage(true);
    // The topic was created while the bucket was there; its first use comes when it is gone.
    for _ in 0..10 {
        node.append("t", 0, batch(&values("a", 5, 200)));
    }
    expect(&node, "t", &[("a", 5); 10]);
    world.kill(node);
    let node = world.start();
    expect(&node, "t", &[("a", 5); 10]);
    node.append("t", 0, batch(&values("b", 5, 200)));
    world.faults.outage(false);
    world.age();
    node.wait_shipped("t", 0, 55);
    node.stop();
}

#[test]
fn an_unknown_segment_is_a_storage_error_during_an_outage_and_nothing_else_is() {
    let mut world = World::new();
    let node = world.start();
    node.create("t", 1, &[]);
    node.append("t", 0, batch(&values("a", 5, 200)));
    world.age();
    node.wait_shipped("t", 0, 5);
    world.kill(node);
    world.faults.outage(true);
    let node = world.start();
    assert_eq!(node.append("t", 0, batch(&values("b", 5, 200))), 5);
    assert_eq!(node.fetch_at("t", 0, 0).unwrap_err().kind, ErrorKind::StorageError);
    assert_eq!(node.fetch_at("t", 0, 5).unwrap().len(), 5);
    world.faults.outage(false);
    expect(&node, "t", &[("a", 5), ("b", 5)]);
    node.stop();
}

#[test]
fn a_start_without_the_bucket_opens_from_the_kept_root() {
    let mut world = World::new();
    let node = world.start();
    let id = node.create("t", 1, &[]);
    node.append("t", 0, batch(&values("a", 5, 200)));
    world.age();
    node.wait_shipped("t", 0, 5);
    node.append("t", 0, batch(&values("b", 5, 200)));
    world.kill(node);

    world.faults.outage(true);
    let mut node = world.start();
    for round in 0..3 {
        let produced = node.produce("t", 0, batch(&values("c", 1, 200))).unwrap();
        assert_eq!(
            (produced.base_offset.0, produced.leader_epoch),
            (10 + round, LeaderEpoch(i32::try_from(round).unwrap() + 1))
        );
        assert!(node.health("bucket").1.contains("does not answer"));
        world.age();
        world.kill(node);
        node = world.start();
    }
    assert_eq!(node.shipped("t", 0), 5);
    world.faults.outage(false);
    node.wait_shipped("t", 0, 13);
    node.wait_agreed();
    expect(&node, "t", &[("a", 5), ("b", 5), ("c", 1), ("c", 1), ("c", 1)]);
    eventually("the sweep", || world.orphans(&node, "t", tp(id, 0)).is_empty().then_some(()));
    node.stop();
}

#[test]
fn the_first_start_needs_the_bucket() {
    let world = World::new();
    world.faults.outage(true);
    let refused = world.try_start().err().unwrap().to_string();
    assert!(refused.contains("the first start needs the bucket"), "{refused}");
    world.faults.outage(false);
    world.start().stop();
}

#[test]
fn a_stop_during_an_outage_says_what_it_leaves() {
    let mut world = World::new();
    world.options.shutdown_timeout = Duration::from_millis(300);
    let node = world.start();
    node.create("t", 2, &[]);
    node.append("t", 1, batch(&values("a", 5, 200)));
    world.faults.outage(true);
    assert_eq!(node.stop().unshipped_partitions, 1);
    // A broker that never saw the bucket, and whose partitions nobody opened, leaves as much.
    let node = world.start();
    assert_eq!(node.stop().unshipped_partitions, 1);
    world.faults.outage(false);
    let node = world.start();
    assert_eq!(node.read_values("t", 1), values("a", 5, 200));
    assert_eq!(node.stop().unshipped_partitions, 0);
}

#[test]
fn a_new_producer_starts_during_an_outage_from_the_spare_block() {
    let world = World::new();
    let node = world.start();
    node.create("t", 1, &[]);
    node.stop();
    // It is put aside in the background: a broker that ends soon after its start may leave none.
    let before = eventually("a spare block of producer ids", || {
        let node = world.start();
        let before = node.producer();
        node.stop();
        world.has_spare_producer_ids().then_some(before)
    });
    world.faults.outage(true);
    let node = world.start();
    let during = node.producer();
    let other = node.producer();
    assert!(during.id != before.id && during.id != other.id);
    assert_eq!(node.append("t", 0, idempotent(&["a"], during, 0)), 0);
    node.stop();
    world.faults.outage(false);
    let node = world.start();
    let after = node.producer();
    assert!(![before.id, during.id, other.id].contains(&after.id));
    node.stop();
}

#[test]
fn topics_are_not_changed_during_an_outage() {
    let world = World::new();
    let node = world.start();
    node.create("t", 1, &[]);
    world.faults.outage(true);
    assert_eq!(node.try_create("u", 1, &[]).unwrap_err().kind, ErrorKind::StorageError);
    assert_eq!(node.delete("t").unwrap_err().kind, ErrorKind::StorageError);
    node.append("t", 0, batch(&["a"]));
    world.faults.outage(false);
    node.create("u", 1, &[]);
    node.append("u", 0, batch(&["a"]));
    assert_eq!(node.read_values("t", 0), ["a"]);
    node.stop();
}

/// An unclean ship before a start without the bucket: the kept root is older than the bucket's, and an object too many
/// is there as well.
#[test]
fn a_root_that_is_ahead_of_its_copy_is_adopted_when_the_bucket_answers() {
    let mut world = World::new();
    let node = world.start();
    let id = node.create("t", 1, &[]);
    node.append("t", 0, batch(&values("a", 5, 200)));
    // An attempt that leaves an orphan, then one that reaches the root only.
    world.fail.arm("ship.put", FailAction::Error);
    world.fail.arm("ship.committed", FailAction::Error);
    world.age();
    fired(&world.fail, "ship.put");
    fired(&world.fail, "ship.committed");
    world.kill(node);
    world.faults.outage(true);
    let node = world.start();
    assert_eq!(node.append("t", 0, batch(&values("b", 5, 200))), 5);
    assert_eq!(node.shipped("t", 0), 0, "this disk does not know of it yet");
    expect(&node, "t", &[("a", 5), ("b", 5)]);
    world.faults.outage(false);
    world.age();
    node.wait_shipped("t", 0, 10);
    expect(&node, "t", &[("a", 5), ("b", 5)]);
    eventually("the sweep", || world.orphans(&node, "t", tp(id, 0)).is_empty().then_some(()));
    eventually("the trim", || (node.unshipped_bytes() == 0).then_some(()));
    node.stop();
}

#[test]
fn the_bucket_flaps_under_load() {
    let mut world = World::new();
    let mut node = world.start();
    node.create("t", 1, &[("runnel.segment.max_bytes", "1024")]);
    let mut parts = Vec::new();
    for round in 0..6 {
        world.faults.outage(round % 2 == 1);
        for _ in 0..4 {
            node.append("t", 0, batch(&values("a", 3, 200)));
            parts.push(("a", 3));
        }
        if round % 3 == 2 {
            world.kill(node);
            node = world.start();
        }
    }
    world.faults.outage(false);
    world.age();
    node.wait_shipped("t", 0, 72);
    expect(&node, "t", &parts);
    node.stop();
}
