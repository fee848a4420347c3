//! Lanes in the bucket: metadata stores that are lost or set back, damage, and changes of mind.

use std::time::Duration;

use bytes::Bytes;
use runnel_api::{Admin, AlterConfigOp, ConfigChange, ConfigResource, Durability, Error, ErrorKind};
use runnel_blob::Key;
use runnel_blob::testing::{Fault, Op};
use runnel_format::meta::{SessionRecord, SessionState};
use runnel_metastore::{Embedded, MetaStore, Op as MetaOp};
use runnel_runtime::FailAction;

use crate::support::client::{name, produce};
use crate::support::{Node, World, batch, eventually, values};

const OBJECT: [(&str, &str); 1] = [("runnel.durability", "object")];

fn world() -> World {
    let mut world = World::new();
    world.options.wal.object_interval = Duration::from_millis(1);
    world
}

fn alter(node: &Node, topic: &str, durability: &str) -> Result<(), Error> {
    let resource = ConfigResource::Topic(topic.to_owned());
    let set = ConfigChange { name: "runnel.durability".into(), op: AlterConfigOp::Set, value: Some(durability.into()) };
    node.run(node.broker().alter_configs(&resource, &[set], false))
}

fn append(node: &Node, topic: &str, what: &str) {
    node.append(topic, 0, batch(&values(what, 3, 10)));
}

fn expect(node: &Node, topic: &str, parts: &[&str]) {
    let expected: Vec<_> = parts.iter().flat_map(|what| values(what, 3, 10)).collect();
    assert_eq!(node.read_values(topic, 0), expected);
}

/// The slots of lanes that hold records, by name.
fn slots(world: &World, node: &Node) -> Vec<Key> {
    let listed = node.run(world.bucket.list("wal/")).unwrap();
    let large = listed.iter().filter(|object| object.bytes > 112);
    large
        .filter_map(|object| Key::parse_lane_object(&object.path))
        .filter(|key| matches!(key, Key::Slot { .. }))
        .collect()
}

fn acknowledged_as(node: &Node, topic: &str) -> Durability {
    node.produce(topic, 0, batch(&values("ack", 1, 10))).unwrap().durability
}

/// A start that loses its way in the middle of a rebuild is no reason for the next one not to look.
#[test]
fn a_rebuild_that_was_cut_off_is_taken_up_again() {
    for fault in [Op::List, Op::Get] {
        let mut world = world();
        let node = world.start();
        node.create("t", 1, &OBJECT);
        append(&node, "t", "a");
        world.kill(node);
        world.lose_metadata();
        world.faults.always(fault, if fault == Op::List { "wal" } else { "/hdr" }, Fault::FailBefore);
        let node = world.start();
        assert_eq!(node.try_read("t", 0).unwrap_err().kind, ErrorKind::StorageError, "{fault:?}: it cannot know yet");
        world.kill(node);
        world.faults.clear();
        let node = world.start();
        node.wait_agreed();
        expect(&node, "t", &["a"]);
        append(&node, "t", "b");
        // And the record names who wrote there, for a start without the bucket.
        world.kill(node);
        world.faults.outage(true);
        let node = world.start();
        assert_eq!(node.try_read("t", 0).unwrap_err().kind, ErrorKind::StorageError);
        world.faults.clear();
        node.wait_agreed();
        expect(&node, "t", &["a", "b"]);
        node.stop();
    }
}

/// An old image of the disk knows nothing of sessions that came later: their lanes are found all the same.
#[test]
fn a_metadata_store_that_was_set_back_looks_again() {
    let mut world = world();
    // A root that had moved meanwhile would be another reason to stop.
    world.faults.always(Op::Put, "topics/", Fault::FailBefore);
    let node = world.start();
    node.create("t", 1, &OBJECT);
    append(&node, "t", "a");
    world.kill(node);
    let image = std::fs::read(world.metadata()).unwrap();
    let node = world.start();
    append(&node, "t", "b");
    world.kill(node);
    std::fs::write(world.metadata(), image).unwrap();
    let node = world.start();
    node.wait_agreed();
    expect(&node, "t", &["a", "b"]);
    node.stop();
}

/// A store that takes a session for ended, and does not know its lane, ends it anew.
#[test]
fn a_lane_that_is_found_late_is_sealed() {
    let mut world = world();
    let node = world.start();
    node.create("t", 1, &OBJECT);
    append(&node, "t", "a");
    world.kill(node);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let meta = Embedded::open(&world.metadata()).unwrap();
        let (key, stored) = meta.range("s/").await.unwrap().remove(0);
        let record = SessionRecord::decode(&stored.value).unwrap();
        let ended = SessionRecord { state: SessionState::Sealed, lanes: Vec::new(), ..record };
        let forget = vec![MetaOp::Put(key, ended.encode(), None), MetaOp::Delete("lanes-known".to_owned())];
        assert!(meta.txn(Vec::new(), forget).await.unwrap().is_committed());
        meta.close().await;
    });
    let node = world.start();
    node.wait_agreed();
    expect(&node, "t", &["a"]);
    node.stop();
}

/// A slot is damaged: who wrote there is blocked where it was, also after changes and restarts, until it is mended. Nobody
/// else is.
#[test]
fn damage_blocks_whom_it_hit() {
    let mut world = world();
    let node = world.start();
    node.create("t", 1, &OBJECT);
    node.create("local", 1, &[]);
    append(&node, "t", "a");
    let [slot]: [Key; 1] = slots(&world, &node).try_into().unwrap();
    let bytes = node.run(world.bucket.get(&slot)).unwrap().unwrap();
    node.run(world.bucket.put(&slot, vec![Bytes::from(vec![7; bytes.len()])])).unwrap();
    world.kill(node);

    let mut on_disk = Vec::new();
    for (round, next) in ["local", "object", "local"].into_iter().enumerate() {
        let node = world.start();
        node.wait_agreed();
        let refused = node.produce("t", 0, batch(&values("x", 1, 10))).unwrap_err();
        assert_eq!(refused.kind, ErrorKind::Corrupt, "round {round}");
        assert_eq!(node.log_end("t", 0), 0);
        append(&node, "local", "l");
        on_disk.push("l");
        expect(&node, "local", &on_disk);
        let new = format!("new-{round}");
        node.create(&new, 1, &OBJECT);
        append(&node, &new, "n");
        alter(&node, "t", next).unwrap();
        world.kill(node);
    }
    let node = world.start();
    node.run(world.bucket.put(&slot, vec![bytes])).unwrap();
    world.kill(node);
    let node = world.start();
    node.wait_agreed();
    expect(&node, "t", &["a"]);
    append(&node, "t", "b");
    expect(&node, "t", &["a", "b"]);
    node.stop();
}

/// The header of a lane cannot be read: who wrote there is blocked, the others go on.
#[test]
fn one_unreadable_lane_is_no_end_of_the_world() {
    let mut world = world();
    // Nothing is shipped, so that all lanes are needed.
    world.faults.always(Op::Put, "topics/", Fault::FailBefore);
    let node = world.start();
    node.create("t", 1, &OBJECT);
    node.create("u", 1, &OBJECT);
    append(&node, "t", "a");
    let Some(Key::Slot { lane, .. }) = slots(&world, &node).pop() else { panic!("a slot is a slot") };
    let header = Key::LaneHeader { lane };
    world.kill(node);
    let node = world.start();
    append(&node, "u", "b");
    let keep = node.run(world.bucket.get(&header)).unwrap().unwrap();
    node.run(world.bucket.put(&header, vec![Bytes::from_static(b"garbage")])).unwrap();
    world.kill(node);

    let node = world.start();
    node.wait_agreed();
    let refused = node.produce("t", 0, batch(&values("x", 1, 10))).unwrap_err();
    assert_eq!(refused.kind, ErrorKind::Corrupt);
    expect(&node, "u", &["b"]);
    append(&node, "u", "c");
    node.run(world.bucket.put(&header, vec![keep])).unwrap();
    world.kill(node);
    let node = world.start();
    node.wait_agreed();
    expect(&node, "t", &["a"]);
    expect(&node, "u", &["b", "c"]);
    node.stop();
}

/// A change that cannot be finished while the bucket is away can be taken back.
#[test]
fn a_change_is_taken_back() {
    let world = world();
    let node = world.start();
    node.create("t", 1, &[]);
    append(&node, "t", "a");
    world.faults.always(Op::Put, "topics/", Fault::FailBefore);
    alter(&node, "t", "object").unwrap();
    append(&node, "t", "b");
    alter(&node, "t", "local").unwrap();
    append(&node, "t", "c");
    world.faults.clear();
    expect(&node, "t", &["a", "b", "c"]);
    assert_eq!(acknowledged_as(&node, "t"), Durability::Local);
    node.stop();
}

/// What the acknowledgement says is what the topic asks for, also right after a restart.
#[test]
fn acknowledgements_keep_their_word_across_restarts() {
    let mut world = world();
    let node = world.start();
    node.create("t", 1, &[]);
    append(&node, "t", "a");
    assert_eq!(acknowledged_as(&node, "t"), Durability::Local);
    alter(&node, "t", "object").unwrap();
    eventually("the change", || (acknowledged_as(&node, "t") == Durability::Object).then_some(()));
    world.kill(node);
    let node = world.start();
    assert_eq!(acknowledged_as(&node, "t"), Durability::Object);
    world.kill(node);
    let node = world.start();
    assert_eq!(acknowledged_as(&node, "t"), Durability::Object);
    node.stop();
}

/// Lanes of earlier sessions go when everything in them is shipped, and their sessions with them.
#[test]
fn nothing_piles_up() {
    let mut world = world();
    let node = world.start();
    node.create("t", 1, &OBJECT);
    world.kill(node);
    for _ in 0..5 {
        let node = world.start();
        append(&node, "t", "a");
        // A lane that could not be taken away at once is, later.
        world.fail.arm("wal.object.retire.recorded", FailAction::Error);
        world.kill(node);
    }
    let node = world.start();
    eventually("the lanes are empty", || slots(&world, &node).is_empty().then_some(()));
    expect(&node, "t", &["a"; 5]);
    node.stop();
    let meta = Embedded::open(&world.metadata()).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let sessions = runtime.block_on(meta.range("s/")).unwrap();
    assert_eq!(sessions.len(), 1, "{sessions:?}");
}

/// During an outage nothing is acknowledged, and the answer says that the outcome is not known.
#[test]
fn an_outage_holds_acknowledgements_back() {
    let world = world();
    let node = world.start();
    node.create("t", 1, &OBJECT);
    append(&node, "t", "a");
    world.faults.outage(true);
    let broker = node.broker();
    let sent = produce(&broker, name("t"), 0, batch(&values("b", 3, 10)), Duration::from_millis(100));
    assert_eq!(node.run(sent).unwrap_err().kind, ErrorKind::TimedOut);
    drop(broker);
    assert_eq!(node.log_end("t", 0), 3, "nobody sees it");
    world.faults.outage(false);
    eventually("the batch", || (node.log_end("t", 0) == 6).then_some(()));
    expect(&node, "t", &["a", "b"]);
    node.stop();
}
