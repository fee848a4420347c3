//! Merging: readers see one log all the time, each step cut off leaves nothing behind.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use runnel_api::{Admin, AlterConfigOp, ConfigChange, ConfigResource, Segments};
use runnel_blob::Key;
use runnel_blob::testing::{Fault, Op};
use runnel_record::{Offset, TopicId};
use runnel_runtime::FailAction;

use crate::support::client::{name, read_from};
use crate::support::{Node, PATIENCE, World, batch, eventually, fired, tp, values};

const GRACE_MS: i64 = 60_000;
/// Of a record: two are enough for a segment.
const BYTES: usize = 600;
/// The most of what a test merges while its day goes on.
const SEGMENTS: i64 = 8;

/// Merges as soon as there are enough segments.
fn world() -> World {
    let mut world = World::new();
    world.options.segment.merge_bytes = 1 << 20;
    world
}

/// A topic with `count` segments of two records each, every one shipped by itself.
fn filled(node: &Node, count: i64) -> TopicId {
    let id = node.create("t", 1, &[("runnel.segment.max_bytes", "1024")]);
    extend(node, 0, count);
    id
}

fn extend(node: &Node, from: i64, count: i64) {
    for i in from..from + count {
        node.append("t", 0, batch(&values(&format!("s{i}"), 2, BYTES)));
        node.wait_shipped("t", 0, 2 * (i + 1));
    }
}

fn expected(count: i64) -> Vec<String> {
    (0..count).flat_map(|i| values(&format!("s{i}"), 2, BYTES)).collect()
}

fn references(world: &World, node: &Node, id: TopicId) -> usize {
    world.root(node, "t", tp(id, 0)).1.len()
}

fn objects(world: &World, node: &Node, id: TopicId) -> usize {
    world.segments(node, tp(id, 0)).len()
}

/// Waits until a merge is in the root.
fn wait_merged(world: &World, node: &Node, id: TopicId) {
    eventually("the merge", || (references(world, node, id) == 1).then_some(()));
}

#[test]
fn small_segments_become_one_and_go_after_the_grace() {
    let world = world();
    let node = world.start();
    let id = filled(&node, SEGMENTS - 1);
    assert_eq!(references(&world, &node, id), 7);
    extend(&node, SEGMENTS - 1, 1);
    wait_merged(&world, &node, id);
    assert_eq!(node.read_values("t", 0), expected(SEGMENTS));
    assert_eq!(objects(&world, &node, id), 9, "the old ones have their grace");
    // The root is in the bucket a moment before the grace begins.
    eventually("the deletion", || {
        world.clock.advance(GRACE_MS + 1);
        (objects(&world, &node, id) == 1).then_some(())
    });
    assert_eq!(node.read_values("t", 0), expected(SEGMENTS));
    node.stop();
    let node = world.start();
    assert_eq!(node.read_values("t", 0), expected(SEGMENTS));
    assert!(world.orphans(&node, "t", tp(id, 0)).is_empty());
    node.stop();
}

#[test]
fn the_rest_of_a_day_is_merged_when_it_is_over() {
    let world = world();
    let node = world.start();
    let id = filled(&node, 3);
    // Far enough that the day of what was appended at noon is over.
    world.clock.advance(13 * 3_600_000 + 1);
    wait_merged(&world, &node, id);
    assert_eq!(node.read_values("t", 0), expected(3));
    node.stop();
}

#[test]
fn nobody_who_reads_meets_a_gap_or_a_record_twice() {
    let world = world();
    let node = world.start();
    let id = node.create("t", 1, &[("runnel.segment.max_bytes", "1024"), ("file.delete.delay.ms", "0")]);
    let (broker, done) = (node.broker(), Arc::new(AtomicBool::new(false)));
    let ended = Arc::clone(&done);
    // Without any grace: what a reader looks at goes while it looks.
    let reader = node.spawn(async move {
        let mut reads = 0;
        while !ended.load(Ordering::Acquire) {
            let read = read_from(&broker, "t", 0, 0, 300).await.unwrap();
            assert!(read.iter().map(|(offset, _)| *offset).eq(0..read.len() as i64));
            reads += 1;
            tokio::task::yield_now().await;
        }
        reads
    });
    extend(&node, 0, 60);
    eventually("the merges", || (references(&world, &node, id) < 20).then_some(()));
    done.store(true, Ordering::Release);
    assert!(node.run(reader).unwrap() > 0);
    assert_eq!(node.read_values("t", 0), expected(60));
    node.stop();
}

/// What holds in the end, whatever happened to the first merge.
fn check_after(world: &mut World, node: Node, id: TopicId, what: &str) {
    assert_eq!(node.read_values("t", 0), expected(SEGMENTS), "{what}");
    wait_merged(world, &node, id);
    assert_eq!(node.read_values("t", 0), expected(SEGMENTS), "{what}");
    extend(&node, SEGMENTS, 1);
    // What an unclear answer left is found by the sweep of the next epoch, at the latest.
    world.kill(node);
    world.options.segment.merge_bytes = 0;
    let node = world.start();
    eventually("the deletion", || {
        world.clock.advance(GRACE_MS + 1);
        world.orphans(&node, "t", tp(id, 0)).is_empty().then_some(())
    });
    assert_eq!(references(world, &node, id), 2, "{what}");
    assert_eq!(node.read_values("t", 0), expected(SEGMENTS + 1), "{what}");
    node.stop();
}

const POINTS: [&str; 5] = ["merge.put", "ship.after_root_cas", "merge.committed", "ship.root_kept", "merge.root_kept"];

#[test]
fn a_merge_is_cut_off_at_any_step() {
    for point in POINTS {
        for cut_power in [false, true] {
            let mut world = World::new();
            let node = world.start();
            let id = filled(&node, SEGMENTS);
            world.kill(node);
            world.options.segment.merge_bytes = 1 << 20;
            world.fail.arm(point, FailAction::Error);
            let node = world.start();
            assert_eq!(node.log_end("t", 0), 2 * SEGMENTS);
            fired(&world.fail, point);
            if cut_power {
                world.cut_power(node, 5);
            } else {
                world.kill(node);
            }
            let node = world.start();
            check_after(&mut world, node, id, &format!("{point}, power cut: {cut_power}"));
        }
    }
}

#[test]
fn a_merge_that_fails_at_any_step_is_done_again_or_found_done() {
    for point in POINTS {
        let mut world = world();
        let node = world.start();
        let id = filled(&node, SEGMENTS - 1);
        // The ship of the last segment passes the same points: it is there before.
        let merges = point.starts_with("merge");
        if merges {
            world.fail.arm(point, FailAction::Error);
        }
        extend(&node, SEGMENTS - 1, 1);
        if merges {
            fired(&world.fail, point);
        }
        check_after(&mut world, node, id, point);
    }
}

#[test]
fn a_lost_answer_to_the_swap_of_the_references_loses_nothing() {
    for (op, path, fault) in [
        (Op::Put, "topics/", Fault::FailBefore),
        (Op::Put, "topics/", Fault::LoseAnswer),
        (Op::Replace, "/root", Fault::LoseAnswer),
        (Op::Replace, "/root", Fault::FailBefore),
        (Op::Replace, "/root", Fault::HangAfter),
    ] {
        let mut world = World::new();
        let node = world.start();
        let id = filled(&node, SEGMENTS);
        world.kill(node);
        world.options.segment.merge_bytes = 1 << 20;
        let node = world.start();
        assert_eq!(node.log_end("t", 0), 2 * SEGMENTS);
        world.faults.once(op, path, fault);
        check_after(&mut world, node, id, &format!("{op:?} {fault:?}"));
    }
}

#[test]
fn retention_may_be_faster_than_a_merge() {
    let world = world();
    let node = world.start();
    let id = filled(&node, SEGMENTS - 1);
    // The merged object, the second that is put from here on, is on its way for a while.
    world.faults.once_after(1, Op::Put, "topics/", Fault::Delay(Duration::from_millis(300)));
    extend(&node, SEGMENTS - 1, 1);
    eventually("the merge", || (world.faults.unused() == 0).then_some(()));
    node.run(node.broker().delete_records(&name("t"), 0, Some(Offset(4)), PATIENCE)).unwrap();
    let (root, referenced) = world.root(&node, "t", tp(id, 0));
    assert_eq!((root.log_start.0, referenced.len()), (4, 6), "the sources went while the merged object came");
    let read = node.run(read_from(&node.broker(), "t", 0, 4, 1 << 20)).unwrap();
    assert_eq!(read.len(), 12);
    eventually("the deletion", || {
        world.clock.advance(GRACE_MS + 1);
        world.orphans(&node, "t", tp(id, 0)).is_empty().then_some(())
    });
    node.stop();
}

#[test]
fn a_topic_that_is_deleted_while_it_is_merged_leaves_nothing() {
    let world = world();
    let node = world.start();
    let id = filled(&node, SEGMENTS - 1);
    world.faults.always(Op::Put, "topics/", Fault::Delay(Duration::from_millis(300)));
    extend(&node, SEGMENTS - 1, 1);
    node.delete("t").unwrap();
    eventually("the burial", || {
        world.clock.advance(GRACE_MS + 1);
        let listed = node.run(world.bucket.list("")).unwrap();
        let left = listed.into_iter().filter(|object| object.path.contains(&id.to_string()));
        (left.map(|object| object.path).collect::<Vec<_>>() == [Key::Tombstone(id).path()]).then_some(())
    });
    node.stop();
}

#[test]
fn what_expires_is_not_merged_with_what_stays_long() {
    let world = world();
    let node = world.start();
    let id = node.create("t", 1, &[("runnel.segment.max_bytes", "1024"), ("retention.ms", "86400000")]);
    for i in 0..8 {
        node.append("t", 0, batch(&values(&format!("s{i}"), 2, BYTES)));
        node.wait_shipped("t", 0, 2 * (i + 1));
        world.clock.advance(3_600_000);
    }
    let change = ConfigChange { name: "retention.ms".to_owned(), op: AlterConfigOp::Delete, value: None };
    assert_eq!(references(&world, &node, id), 8, "a quarter of a day is the most");
    let resource = ConfigResource::Topic("t".to_owned());
    node.run(node.broker().alter_configs(&resource, &[change], false)).unwrap();
    wait_merged(&world, &node, id);
    node.stop();
}
