//! Topics: creation and deletion cut off in the middle, a name used again, changed settings.

use std::time::Duration;

use runnel_api::{
    Admin, AlterConfigOp, Cluster, ConfigChange, ConfigResource, CreateTopic, Error, ErrorKind, Fetch, OffsetSpec,
    TopicKey,
};
use runnel_blob::testing::{Fault, Op};
use runnel_runtime::FailAction;

use crate::support::client::produce;
use crate::support::{FetchFrom, Node, PATIENCE, World, batch, eventually, fired, tp, values};

fn alter(node: &Node, topic: &str, name: &str, value: Option<&str>) -> Result<(), Error> {
    let op = if value.is_some() { AlterConfigOp::Set } else { AlterConfigOp::Delete };
    let change = ConfigChange { name: name.to_owned(), op, value: value.map(str::to_owned) };
    node.run(node.broker().alter_configs(&ConfigResource::Topic(topic.to_owned()), &[change], false))
}

fn config(node: &Node, topic: &str, name: &str) -> String {
    let resource = ConfigResource::Topic(topic.to_owned());
    let entries = node.run(node.broker().describe_configs(&resource, Some(&[name.to_owned()]))).unwrap();
    entries[0].value.clone().unwrap()
}

#[test]
fn a_creation_that_was_cut_off_is_finished() {
    for point in ["topic.claimed", "topic.stored"] {
        for restart in [false, true] {
            let mut world = World::new();
            let mut node = world.start();
            world.fail.arm(point, FailAction::Error);
            assert_eq!(node.try_create("t", 3, &[]).unwrap_err().kind, ErrorKind::StorageError);
            if restart {
                world.kill(node);
                node = world.start();
            }
            // A topic that was stored is there; a name that was claimed can be used.
            match node.try_create("t", 2, &[]) {
                Ok(_) => assert_eq!(point, "topic.claimed"),
                Err(error) => assert_eq!((error.kind, point), (ErrorKind::TopicExists, "topic.stored")),
            }
            let partitions = if point == "topic.stored" { 3 } else { 2 };
            let id = node.topic_id("t").unwrap();
            let described = node.run(node.broker().describe_topic(&TopicKey::Id(id), false)).unwrap();
            assert_eq!(described.partitions.len(), partitions, "{point}");
            node.append("t", 1, batch(&["a"]));
            world.kill(node);
            let node = world.start();
            assert_eq!(node.topic_id("t").unwrap(), id);
            assert_eq!(node.read_values("t", 1), ["a"]);
            node.stop();
        }
    }
}

#[test]
fn a_manual_assignment_has_a_limit_too() {
    let world = World::new();
    let node = world.start();
    let wanted = |count| CreateTopic {
        name: "t".to_owned(),
        partitions: None,
        replication_factor: None,
        assignments: (0..count).map(|partition| (partition, vec![0])).collect(),
        configs: Vec::new(),
    };
    let refused = node.run(node.broker().create_topic(wanted(10_001), true));
    assert_eq!(refused.unwrap_err().kind, ErrorKind::InvalidPartitions);
    assert_eq!(node.run(node.broker().create_topic(wanted(3), true)).unwrap().partitions, 3);
    node.stop();
}

/// Tools that make sure of a topic do so with all that they want of it.
#[test]
fn a_topic_that_exists_is_that_first() {
    let world = World::new();
    let node = world.start();
    node.create("t", 1, &[]);
    for (partitions, config) in [(1, ("cleanup.policy", "compact")), (0, ("retention.ms", "-1")), (1, ("no.such", "1"))]
    {
        assert_eq!(node.try_create("t", partitions, &[config]).unwrap_err().kind, ErrorKind::TopicExists, "{config:?}");
        assert_ne!(node.try_create("u", partitions, &[config]).unwrap_err().kind, ErrorKind::TopicExists, "{config:?}");
    }
    node.stop();
}

#[test]
fn a_deletion_that_was_cut_off_is_finished() {
    for restart in [false, true] {
        let mut world = World::new();
        let mut node = world.start();
        let old = node.create("t", 1, &[]);
        node.append("t", 0, batch(&["old"]));
        world.fail.arm("topic.tombstoned", FailAction::Error);
        assert_eq!(node.delete("t").unwrap_err().kind, ErrorKind::StorageError);
        if restart {
            world.kill(node);
            node = world.start();
        } else {
            assert_eq!(node.delete("t").unwrap(), old);
        }
        assert_eq!(node.topic_id("t").unwrap_err().kind, ErrorKind::UnknownTopic);
        assert_ne!(node.create("t", 1, &[]), old);
        assert_eq!(node.log_end("t", 0), 0);
        eventually("the trim", || (node.unshipped_bytes() == 0).then_some(()));
        node.stop();
    }
}

#[test]
fn a_deletion_that_was_cut_off_is_finished_after_an_outage() {
    let mut world = World::new();
    let node = world.start();
    node.create("t", 1, &[]);
    node.append("t", 0, batch(&["old"]));
    world.fail.arm("topic.tombstoned", FailAction::Error);
    node.delete("t").unwrap_err();
    world.kill(node);
    world.faults.outage(true);
    let node = world.start();
    assert_eq!(node.read_values("t", 0), ["old"], "the tombstone is in the bucket");
    world.faults.outage(false);
    node.wait_agreed();
    assert_eq!(node.topic_id("t").unwrap_err().kind, ErrorKind::UnknownTopic);
    eventually("the trim", || (node.unshipped_bytes() == 0).then_some(()));
    node.stop();
}

#[test]
fn the_answers_to_a_creation_and_a_deletion_are_lost() {
    for path in ["meta/names/", "meta/topics/"] {
        let world = World::new();
        let node = world.start();
        world.faults.once(Op::Create, path, Fault::LoseAnswer);
        let id = node.create("t", 1, &[]);
        node.append("t", 0, batch(&["a"]));
        world.faults.once(Op::Create, "meta/tombstones/", Fault::LoseAnswer);
        assert_eq!(node.delete("t").unwrap(), id);
        assert_eq!(world.faults.unused(), 0);
        assert_ne!(node.create("t", 1, &[]), id);
        node.stop();
    }
}

/// Two incarnations share the folder of segments and begin at the same offsets and epochs.
#[test]
fn a_topic_created_again_shows_nothing_of_the_old_one() {
    let mut world = World::new();
    let node = world.start();
    // Its objects stay for a while beside those of its successor.
    let old = node.create("t", 1, &[("file.delete.delay.ms", "86400000")]);
    node.append("t", 0, batch(&values("old", 4, 200)));
    world.age();
    node.wait_shipped("t", 0, 4);
    node.append("t", 0, batch(&values("old", 4, 200)));
    let deleted = node.delete("t").unwrap();
    assert_eq!(deleted, old);
    for error in [
        node.produce("t", 0, batch(&["x"])).unwrap_err(),
        node.fetch_at("t", 0, 0).unwrap_err(),
        node.list("t", 0, OffsetSpec::Latest).unwrap_err(),
    ] {
        assert_eq!(error.kind, ErrorKind::UnknownTopic);
    }
    let broker = node.broker();
    let by_id = node.run(produce(&broker, TopicKey::Id(old), 0, batch(&["x"]), PATIENCE));
    drop(broker);
    assert_eq!(by_id.unwrap_err().kind, ErrorKind::UnknownTopicId);
    eventually("the trim", || (node.unshipped_bytes() == 0).then_some(()));

    let new = node.create("t", 1, &[]);
    assert_ne!(new, old);
    assert_eq!(node.log_end("t", 0), 0);
    assert_eq!(node.append("t", 0, batch(&values("new", 3, 200))), 0);
    // A crash that leaves an orphan of the new one beside the segments of the old one; the sweep tells them apart.
    world.fail.arm("ship.put", FailAction::Error);
    world.age();
    fired(&world.fail, "ship.put");
    world.kill(node);
    let node = world.start();
    assert_eq!(node.read_values("t", 0), values("new", 3, 200));
    node.wait_shipped("t", 0, 3);
    eventually("the sweep", || world.orphans(&node, "t", tp(new, 0)).is_empty().then_some(()));
    assert_eq!(world.segments(&node, tp(old, 0)).len(), 1, "a sweep touched another incarnation");
    world.kill(node);
    world.lose_metadata();
    let node = world.start();
    assert_eq!(node.topic_id("t").unwrap(), new);
    assert_eq!(node.read_values("t", 0), values("new", 3, 200));
    assert_eq!(world.segments(&node, tp(old, 0)).len(), 1);
    node.stop();
}

#[test]
fn a_long_poll_on_a_topic_that_is_deleted_ends() {
    let world = World::new();
    let node = world.start();
    node.create("t", 1, &[]);
    let mut request = FetchFrom { topic: "t", partition: 0, offset: 0, max_bytes: 1 << 20 }.request();
    request.max_wait = Duration::from_secs(60);
    let broker = node.broker();
    let waiting = node.spawn(async move { broker.fetch(request).await.remove(0).outcome.unwrap_err().kind });
    let mut short = FetchFrom { topic: "t", partition: 0, offset: 0, max_bytes: 1 << 20 }.request();
    short.max_wait = Duration::from_millis(20);
    node.fetch(short).unwrap();
    assert!(!waiting.is_finished());
    node.delete("t").unwrap();
    assert_eq!(node.run(waiting).unwrap(), ErrorKind::UnknownTopic);
    node.stop();
}

#[test]
fn appends_and_a_deletion_at_the_same_time() {
    let world = World::new();
    let node = world.start();
    for _ in 0..10 {
        node.create("t", 4, &[]);
        let broker = node.broker();
        let writers: Vec<_> = (0..4)
            .map(|partition| {
                let broker = broker.clone();
                node.spawn(async move {
                    let topic = || TopicKey::Name("t".to_owned());
                    while produce(&broker, topic(), partition, batch(&["x"]), PATIENCE).await.is_ok() {}
                })
            })
            .collect();
        drop(broker);
        eventually("some appends", || (node.log_end("t", 3) > 3).then_some(()));
        node.delete("t").unwrap();
        writers.into_iter().for_each(|writer| node.run(writer).unwrap());
    }
    eventually("the trim", || (node.unshipped_bytes() == 0).then_some(()));
    assert_eq!(node.stop().unshipped_partitions, 0);
}

#[test]
fn changed_settings_apply_to_open_partitions() {
    let mut world = World::new();
    let node = world.start();
    node.create("t", 1, &[]);
    node.append("t", 0, batch(&values("a", 4, 500)));
    assert_eq!(node.shipped("t", 0), 0);
    alter(&node, "t", "runnel.segment.max_bytes", Some("1024")).unwrap();
    node.wait_shipped("t", 0, 4);

    alter(&node, "t", "max.message.bytes", Some("300")).unwrap();
    assert_eq!(node.produce("t", 0, batch(&values("b", 1, 500))).unwrap_err().kind, ErrorKind::MessageTooLarge);
    world.kill(node);
    let node = world.start();
    assert_eq!(node.produce("t", 0, batch(&values("b", 1, 500))).unwrap_err().kind, ErrorKind::MessageTooLarge);
    alter(&node, "t", "max.message.bytes", None).unwrap();
    node.append("t", 0, batch(&values("b", 1, 500)));

    alter(&node, "t", "message.timestamp.type", Some("LogAppendTime")).unwrap();
    let produced = node.produce("t", 0, batch(&["c"])).unwrap();
    assert_eq!(produced.log_append_time.0, crate::support::NOON);
    assert_eq!(alter(&node, "t", "no.such.setting", Some("1")).unwrap_err().kind, ErrorKind::InvalidConfig);
    assert_eq!(alter(&node, "t", "max.message.bytes", Some("many")).unwrap_err().kind, ErrorKind::InvalidConfig);
    assert_eq!(config(&node, "t", "max.message.bytes"), "1048588");
    node.stop();
}

#[test]
fn age_and_size_can_be_changed_while_records_wait() {
    let world = World::new();
    let node = world.start();
    node.create("t", 1, &[("runnel.segment.max_age", "3600000")]);
    node.append("t", 0, batch(&values("a", 4, 500)));
    world.age();
    node.append("t", 0, batch(&values("b", 1, 500)));
    assert_eq!(node.shipped("t", 0), 0, "an hour has not passed");
    alter(&node, "t", "runnel.segment.max_age", Some("1000")).unwrap();
    node.wait_shipped("t", 0, 4);
    node.stop();
}

/// A crash between the change in the bucket, which is the truth, and in the metadata store.
#[test]
fn a_changed_setting_is_what_the_bucket_says() {
    let mut world = World::new();
    let node = world.start();
    node.create("t", 1, &[]);
    world.faults.once(Op::Replace, "meta/topics/", Fault::HangAfter);
    let broker = node.broker();
    let change =
        ConfigChange { name: "max.message.bytes".to_owned(), op: AlterConfigOp::Set, value: Some("300".to_owned()) };
    drop(node.spawn(async move {
        drop(broker.alter_configs(&ConfigResource::Topic("t".to_owned()), &[change], false).await);
    }));
    eventually("the request", || (world.faults.unused() == 0).then_some(()));
    world.kill(node);
    let node = world.start();
    assert_eq!(config(&node, "t", "max.message.bytes"), "300");
    assert_eq!(node.produce("t", 0, batch(&values("b", 1, 500))).unwrap_err().kind, ErrorKind::MessageTooLarge);
    node.stop();
}

#[test]
fn a_segment_never_spans_two_days() {
    let world = World::new();
    let node = world.start();
    let id = node.create("t", 1, &[]);
    node.append("t", 0, batch(&values("today", 3, 100)));
    world.clock.advance(12 * 3_600_000 - 1_000);
    node.append("t", 0, batch(&values("today", 3, 100)));
    world.clock.advance(2_000);
    node.append("t", 0, batch(&values("tomorrow", 3, 100)));
    world.age();
    node.wait_shipped("t", 0, 9);
    let (root, _) = world.root(&node, "t", tp(id, 0));
    let days: std::collections::BTreeSet<_> = root.segments.iter().map(|segment| segment.day).collect();
    assert_eq!(days.len(), 2);
    assert!(root.segments.iter().any(|segment| segment.base.0 == 6), "a segment spans midnight");
    assert_eq!(node.read("t", 0).len(), 9);
    node.stop();
}
