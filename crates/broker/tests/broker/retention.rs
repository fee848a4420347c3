//! Retention, DeleteRecords and the objects of deleted topics: each step cut off, nothing lost, nothing left behind.

use std::time::Duration;

use bytes::Bytes;
use runnel_api::{
    Admin, AlterConfigOp, ConfigChange, ConfigResource, Error, ErrorKind, Fetch, NewPartitions, OffsetSpec, Segments,
};
use runnel_blob::Key;
use runnel_blob::testing::{Fault, Op};
use runnel_record::{Codec, Offset, TopicId};
use runnel_runtime::{Clock, FailAction};

use crate::support::client::{name, read_from};
use crate::support::{
    Content, FetchFrom, MAX_AGE_MS, Node, PATIENCE, World, batch, batch_of, eventually, fired, tp, values,
};

const HOUR_MS: i64 = 3_600_000;
const GRACE_MS: i64 = 60_000;
const OLD: [(&str, &str); 1] = [("retention.ms", "3600000")];

fn log_start(node: &Node, topic: &str, partition: i32) -> i64 {
    node.list(topic, partition, OffsetSpec::Earliest).unwrap().unwrap().offset.0
}

fn delete_records(node: &Node, before: Option<i64>, wait: Duration) -> Result<i64, Error> {
    let broker = node.broker();
    node.run(broker.delete_records(&name("t"), 0, before.map(Offset), wait)).map(|start| start.0)
}

fn read_values_from(node: &Node, from: i64) -> Vec<String> {
    let read = node.run(read_from(&node.broker(), "t", 0, from, 1 << 20)).unwrap();
    read.into_iter().map(|(_, value)| String::from_utf8(value).unwrap()).collect()
}

/// A batch whose records bear the time of now.
fn batch_now(world: &World, values: &[String]) -> Bytes {
    let now = world.clock.now_ms();
    let records: Vec<(i64, &[u8])> = values.iter().map(|value| (now, value.as_bytes())).collect();
    batch_of(&Content { records: &records, producer: None, codec: Codec::None })
}

/// A topic with `count` segments of two records each.
fn filled(world: &World, node: &Node, configs: &[(&str, &str)], count: i64) -> TopicId {
    let id = node.create("t", 1, configs);
    for i in 0..count {
        node.append("t", 0, batch(&values(&format!("s{i}"), 2, 100)));
        world.age();
        node.wait_shipped("t", 0, 2 * (i + 1));
    }
    id
}

#[test]
fn a_long_poll_tells_that_the_log_start_moved() {
    let world = World::new();
    let node = world.start();
    filled(&world, &node, &[], 2);
    let mut request = FetchFrom { topic: "t", partition: 0, offset: 4, max_bytes: 1 << 20 }.request();
    request.max_wait = 10 * PATIENCE;
    let broker = node.broker();
    let told = node.run(async {
        let mut waiting = broker.fetch(request);
        assert!(futures::poll!(&mut waiting).is_pending());
        let deleted = broker.delete_records(&name("t"), 0, Some(Offset(3)), PATIENCE).await;
        assert_eq!(deleted, Ok(Offset(3)));
        tokio::time::timeout(PATIENCE, waiting).await.unwrap().remove(0).outcome.unwrap()
    });
    assert_eq!((told.log_start, told.batches.len()), (Offset(3), 0));
    drop(broker);
    node.stop();
}

#[test]
fn old_records_go_from_the_log_first_and_from_the_bucket_after_the_grace() {
    let world = World::new();
    let node = world.start();
    let id = filled(&world, &node, &OLD, 3);
    assert_eq!((log_start(&node, "t", 0), world.segments(&node, tp(id, 0)).len()), (0, 3));
    world.clock.advance(HOUR_MS);
    eventually("retention", || (log_start(&node, "t", 0) == 6).then_some(()));
    assert_eq!(node.fetch_at("t", 0, 0).unwrap_err().kind, ErrorKind::OffsetOutOfRange);
    let (root, referenced) = world.root(&node, "t", tp(id, 0));
    assert_eq!((root.log_start.0, root.end.0, referenced.len()), (6, 6, 0));
    // The log goes on, and what is new stays, whatever its grace does to the old.
    assert_eq!(node.append("t", 0, batch_now(&world, &["new".to_owned()])), 6);
    assert_eq!(world.segments(&node, tp(id, 0)).len(), 3);
    world.clock.advance(GRACE_MS + 1);
    eventually("the deletion", || world.segments(&node, tp(id, 0)).iter().all(|key| last_of(key) >= 6).then_some(()));
    assert_eq!(read_values_from(&node, 6), ["new"]);
    node.stop();
}

fn last_of(key: &Key) -> i64 {
    match key {
        Key::Segment { last, .. } => last.0,
        other => panic!("{other:?} is no segment"),
    }
}

#[test]
fn records_without_a_limit_stay() {
    let world = World::new();
    let node = world.start();
    filled(&world, &node, &[("retention.ms", "-1")], 2);
    world.clock.advance(1000 * HOUR_MS);
    // Another topic's records went, so the pass came by.
    node.create("u", 1, &OLD);
    node.append("u", 0, batch(&["a"]));
    world.age();
    eventually("retention", || (log_start(&node, "u", 0) == 1).then_some(()));
    assert_eq!(read_values_from(&node, 0).len(), 4);
    node.stop();
}

#[test]
fn so_many_bytes_stay() {
    let world = World::new();
    let node = world.start();
    let id = filled(&world, &node, &[], 4);
    let (root, _) = world.root(&node, "t", tp(id, 0));
    let keep: u64 = root.segments[2..].iter().map(|segment| segment.bytes).sum();
    let change =
        ConfigChange { name: "retention.bytes".to_owned(), op: AlterConfigOp::Set, value: Some(keep.to_string()) };
    let resource = ConfigResource::Topic("t".to_owned());
    node.run(node.broker().alter_configs(&resource, &[change], false)).unwrap();
    eventually("retention", || (log_start(&node, "t", 0) == 4).then_some(()));
    assert_eq!(read_values_from(&node, 4), [values("s2", 2, 100), values("s3", 2, 100)].concat());
    node.stop();
}

const POINTS: [&str; 3] = ["ship.after_root_cas", "retention.committed", "retention.root_kept"];

/// What holds after a pass over two old segments was cut off: nothing above the start is touched, the start does not go
/// back, the old objects go in the end.
fn check_after_crash(world: &mut World, node: Node, id: TopicId, what: &str) {
    eventually("retention", || (log_start(&node, "t", 0) == 4).then_some(()));
    assert_eq!(read_values_from(&node, 4), values("kept", 3, 50), "{what}");
    assert_eq!(node.append("t", 0, batch(&["more"])), 7, "{what}");
    world.clock.advance(GRACE_MS + 1);
    eventually("the deletion", || world.segments(&node, tp(id, 0)).iter().all(|key| last_of(key) >= 4).then_some(()));
    node.wait_shipped("t", 0, 8);
    let (root, _) = world.root(&node, "t", tp(id, 0));
    assert_eq!((root.log_start.0, root.end.0), (4, 8), "{what}");
    assert!(world.orphans(&node, "t", tp(id, 0)).is_empty(), "{what}");
    world.kill(node);
    assert_eq!(world.kept_root(tp(id, 0)), Some(root.encode()), "{what}");
    let node = world.start();
    assert_eq!(log_start(&node, "t", 0), 4, "{what}");
    assert_eq!(read_values_from(&node, 4).len(), 4, "{what}");
    node.stop();
}

/// Two old segments and an unshipped batch of an hour later.
fn ready(world: &World, node: &Node) -> TopicId {
    let id = filled(world, node, &OLD, 2);
    world.clock.advance(HOUR_MS - 4 * MAX_AGE_MS);
    node.append("t", 0, batch_now(world, &values("kept", 3, 50)));
    world.age();
    node.wait_shipped("t", 0, 7);
    id
}

#[test]
fn a_retention_pass_is_cut_off_at_any_step() {
    for point in POINTS {
        for cut_power in [false, true] {
            let mut world = World::new();
            let node = world.start();
            let id = ready(&world, &node);
            world.fail.arm(point, FailAction::Error);
            world.clock.advance(2 * MAX_AGE_MS);
            fired(&world.fail, point);
            if cut_power {
                world.cut_power(node, 7);
            } else {
                world.kill(node);
            }
            let node = world.start();
            check_after_crash(&mut world, node, id, point);
        }
    }
}

#[test]
fn a_retention_pass_that_fails_at_any_step_is_done_again() {
    for point in POINTS {
        let mut world = World::new();
        let node = world.start();
        let id = ready(&world, &node);
        world.fail.arm(point, FailAction::Error);
        world.clock.advance(2 * MAX_AGE_MS);
        fired(&world.fail, point);
        check_after_crash(&mut world, node, id, point);
    }
}

#[test]
fn a_deletion_of_old_segments_is_cut_off() {
    for restart in [false, true] {
        let mut world = World::new();
        let mut node = world.start();
        let id = ready(&world, &node);
        world.clock.advance(2 * MAX_AGE_MS);
        eventually("retention", || (log_start(&node, "t", 0) == 4).then_some(()));
        world.fail.arm("retention.deleted", FailAction::Error);
        world.clock.advance(GRACE_MS + 1);
        fired(&world.fail, "retention.deleted");
        if restart {
            world.kill(node);
            node = world.start();
            // The grace begins anew, also for what the sweep of the new epoch sees.
            assert_eq!(node.log_end("t", 0), 7);
            assert_eq!(world.segments(&node, tp(id, 0)).len(), 2);
        }
        check_after_crash(&mut world, node, id, "retention.deleted");
    }
}

#[test]
fn retention_waits_for_the_bucket() {
    let world = World::new();
    let node = world.start();
    ready(&world, &node);
    world.faults.outage(true);
    world.clock.advance(2 * MAX_AGE_MS);
    assert_eq!(read_values_from(&node, 4), values("kept", 3, 50));
    assert_eq!(log_start(&node, "t", 0), 0);
    world.faults.outage(false);
    eventually("retention", || (log_start(&node, "t", 0) == 4).then_some(()));
    node.stop();
}

#[test]
fn records_are_deleted_on_request_also_what_is_not_shipped() {
    let mut world = World::new();
    let mut node = world.start();
    let id = node.create("t", 1, &[]);
    node.append("t", 0, batch(&values("a", 5, 50)));
    assert_eq!(delete_records(&node, Some(0), PATIENCE), Ok(0));
    // In the middle of a batch: the record in front of it cannot be asked for any more.
    assert_eq!(delete_records(&node, Some(2), PATIENCE), Ok(2));
    assert_eq!(node.fetch_at("t", 0, 1).unwrap_err().kind, ErrorKind::OffsetOutOfRange);
    assert_eq!(node.shipped("t", 0), 5);
    world.kill(node);
    node = world.start();
    assert_eq!(log_start(&node, "t", 0), 2);
    assert_eq!(delete_records(&node, Some(1), PATIENCE), Ok(2), "the start does not go back");
    for beyond in [6, -2] {
        assert_eq!(delete_records(&node, Some(beyond), PATIENCE).unwrap_err().kind, ErrorKind::OffsetOutOfRange);
    }
    node.append("t", 0, batch(&values("b", 3, 50)));
    assert_eq!(delete_records(&node, None, PATIENCE), Ok(8));
    world.cut_power(node, 3);
    node = world.start();
    assert_eq!((log_start(&node, "t", 0), node.log_end("t", 0)), (8, 8));
    assert_eq!(node.append("t", 0, batch(&["c"])), 8);
    assert_eq!(read_values_from(&node, 8), ["c"]);
    world.clock.advance(GRACE_MS + 1);
    eventually("the deletion", || world.segments(&node, tp(id, 0)).iter().all(|key| last_of(key) >= 8).then_some(()));
    node.stop();
}

#[test]
fn a_request_to_delete_records_is_cut_off_at_any_step() {
    for point in ["ship.put", "ship.after_root_cas", "ship.root_kept", "retention.committed", "retention.root_kept"] {
        let mut world = World::new();
        let node = world.start();
        let id = node.create("t", 1, &[]);
        node.append("t", 0, batch(&values("a", 4, 50)));
        node.append("t", 0, batch(&values("kept", 3, 50)));
        world.fail.arm(point, FailAction::Error);
        // Where the ship fails it is done again and the request goes on.
        let answered = delete_records(&node, Some(4), PATIENCE);
        fired(&world.fail, point);
        world.kill(node);
        let node = world.start();
        let start = log_start(&node, "t", 0);
        assert!(if answered.is_ok() { start == 4 } else { [0, 4].contains(&start) }, "{point}: {answered:?}, {start}");
        assert_eq!(delete_records(&node, Some(4), PATIENCE), Ok(4), "{point}");
        check_after_crash(&mut world, node, id, point);
    }
}

#[test]
fn records_cannot_be_deleted_without_the_bucket() {
    let world = World::new();
    let node = world.start();
    node.create("t", 1, &[]);
    node.append("t", 0, batch(&values("a", 4, 50)));
    world.faults.outage(true);
    let error = delete_records(&node, Some(2), Duration::from_millis(300)).unwrap_err();
    assert_eq!(error.kind, ErrorKind::TimedOut);
    assert_eq!(read_values_from(&node, 0).len(), 4);
    world.faults.outage(false);
    assert_eq!(delete_records(&node, Some(2), PATIENCE), Ok(2));
    node.stop();
}

/// Names of everything in the bucket that bears the topic's id, but for its tombstone.
fn traces(world: &World, node: &Node, id: TopicId) -> Vec<String> {
    let listed = node.run(world.bucket.list("")).unwrap();
    let of_topic = |path: &String| path.contains(&id.to_string()) && !path.starts_with("meta/tombstones/");
    listed.into_iter().map(|object| object.path).filter(of_topic).collect()
}

#[test]
fn a_deleted_topic_leaves_its_tombstone_only_and_its_successor_alone() {
    for point in [None, Some("topic.tombstoned"), Some("topic.object_deleted"), Some("topic.emptied")] {
        for restart in [false, true] {
            let mut world = World::new();
            let mut node = world.start();
            let old = filled(&world, &node, &[("file.delete.delay.ms", "60000")], 2);
            node.append("t", 0, batch(&["unshipped"]));
            if let Some(point) = point {
                world.fail.arm(point, FailAction::Error);
            }
            if node.delete("t").is_err() && !restart {
                node.delete("t").unwrap();
            }
            if restart && point == Some("topic.tombstoned") {
                world.kill(node);
                node = world.start();
            }
            // Its first segment is there, large enough to ship at once, when the old ones go.
            let new = node.create("t", 1, &[("runnel.segment.max_bytes", "1024")]);
            node.append("t", 0, batch(&values("new", 2, 700)));
            node.wait_shipped("t", 0, 2);
            world.clock.advance(GRACE_MS - 1);
            assert!(!traces(&world, &node, old).is_empty(), "{point:?}: before the grace is over");
            world.clock.advance(2);
            if let Some(point) = point {
                fired(&world.fail, point);
            }
            if restart {
                world.kill(node);
                node = world.start();
                // For this process the grace begins anew: it may be the first to know of the deletion.
                let left = traces(&world, &node, old).len();
                world.clock.advance(GRACE_MS - 1);
                assert_eq!(traces(&world, &node, old).len(), left, "{point:?}: before the second grace is over");
                world.clock.advance(2);
            }
            eventually("the burial", || traces(&world, &node, old).is_empty().then_some(()));
            let listed = node.run(world.bucket.list("meta/tombstones/")).unwrap();
            assert_eq!(listed.len(), 1, "{point:?}");
            assert_eq!(node.read_values("t", 0), values("new", 2, 700), "{point:?}");
            assert!(world.orphans(&node, "t", tp(new, 0)).is_empty());
            world.kill(node);
            assert!(world.kept_root(tp(old, 0)).is_none(), "{point:?}: a record of the old partition");
            let node = world.start();
            assert_eq!(node.topic_id("t").unwrap(), new);
            assert_eq!(node.read_values("t", 0), values("new", 2, 700), "{point:?}");
            node.stop();
        }
    }
}

#[test]
fn partitions_are_added_at_any_cost() {
    let wanted = |count| NewPartitions { topic: "t".to_owned(), count, assignments: None };
    for point in [None, Some("topic.noted"), Some("topic.changed")] {
        let mut world = World::new();
        let mut node = world.start();
        node.create("t", 2, &[]);
        node.append("t", 1, batch(&["a"]));
        let add = |node: &Node, count| node.run(node.broker().create_partitions(&wanted(count), false));
        for count in [2, 1, 0, -1, 10_001] {
            assert_eq!(add(&node, count).unwrap_err().kind, ErrorKind::InvalidPartitions);
        }
        node.run(node.broker().create_partitions(&wanted(5), true)).unwrap();
        assert_eq!(node.produce("t", 2, batch(&["x"])).unwrap_err().kind, ErrorKind::UnknownPartition);
        if let Some(point) = point {
            world.fail.arm(point, FailAction::Error);
            add(&node, 4).unwrap_err();
            world.kill(node);
            node = world.start();
        }
        // What reached the bucket is there after a restart; what did not can be asked for again.
        match add(&node, 4) {
            Ok(()) => assert_ne!(point, Some("topic.changed")),
            Err(error) => assert_eq!((error.kind, point), (ErrorKind::InvalidPartitions, Some("topic.changed"))),
        }
        for partition in [1, 2, 3] {
            node.append("t", partition, batch(&["b"]));
        }
        world.age();
        node.wait_shipped("t", 3, 1);
        world.kill(node);
        let node = world.start();
        assert_eq!(node.read_values("t", 1), ["a", "b"]);
        assert_eq!((node.read_values("t", 2), node.read_values("t", 3)), (vec!["b".to_owned()], vec!["b".to_owned()]));
        node.stop();
    }
}

#[test]
fn the_topic_of_the_coordinators_is_not_cut_down() {
    const OFFSETS: &str = "__consumer_offsets";
    let world = World::new();
    let node = world.start();
    node.create(OFFSETS, 2, &[("cleanup.policy", "compact")]);
    let trimmed = node.run(node.broker().delete_records(&name(OFFSETS), 0, None, PATIENCE));
    assert_eq!(trimmed.unwrap_err().kind, ErrorKind::InvalidTopicName);
    let more = NewPartitions { topic: OFFSETS.to_owned(), count: 3, assignments: None };
    let grown = node.run(node.broker().create_partitions(&more, false));
    assert_eq!(grown.unwrap_err().kind, ErrorKind::InvalidRequest);
    node.stop();
}

#[test]
fn a_deletion_whose_answer_was_lost_is_brought_to_its_end() {
    for applied in [false, true] {
        let world = World::new();
        let node = world.start();
        let id = filled(&world, &node, &[], 1);
        let fault = if applied { Fault::LoseAnswer } else { Fault::FailBefore };
        world.faults.always(Op::Create, "tombstones", fault);
        world.faults.always(Op::Get, "tombstones", Fault::FailBefore);
        assert_eq!(node.delete("t").unwrap_err().kind, ErrorKind::StorageError);
        assert!(node.topic_id("t").is_ok(), "not before it is known");
        world.faults.clear();
        if !applied {
            assert_eq!(node.append("t", 0, batch(&["goes on"])), 2);
            node.delete("t").unwrap();
        }
        eventually("the deletion", || node.topic_id("t").is_err().then_some(()));
        eventually("the burial", || {
            world.clock.advance(GRACE_MS + 1);
            traces(&world, &node, id).is_empty().then_some(())
        });
        node.stop();
    }
}
