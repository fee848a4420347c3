//! Rotten bytes in the log and in the bucket: reported, never repaired silently, and confined to what they hit.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use runnel_api::{Cluster, Error, ErrorKind};
use runnel_blob::Key;
use runnel_broker::{Loss, accept_loss};
use runnel_record::{Offset, TopicId};
use runnel_runtime::FailAction;
use runnel_runtime::disk::{Disk, SimDisk};

use crate::support::client::name;
use crate::support::{Node, World, batch, eventually, fired, tp, values};

fn kind<T>(outcome: Result<T, Error>) -> Option<ErrorKind> {
    outcome.err().map(|error| error.kind)
}

/// Ten batches of one record each in `t`, and one in `u`; then the process dies and the record of batch `rotten` rots.
fn rotten_log(rotten: usize) -> World {
    let mut world = World::new();
    let node = world.start();
    node.create("t", 1, &[]);
    node.create("u", 1, &[]);
    for i in 0..10 {
        node.append("t", 0, batch(&[format!("marker-{i}-")]));
    }
    node.append("u", 0, batch(&["other"]));
    world.kill(node);
    world.rot(format!("marker-{rotten}-").as_bytes(), 0);
    world
}

#[test]
fn a_rotten_batch_in_the_log_stops_what_lies_behind_it_only() {
    let mut world = rotten_log(4);
    let node = world.start();
    for at in 0..4 {
        assert_eq!(node.fetch_at("t", 0, at).unwrap()[0].1, format!("marker-{at}-").as_bytes());
    }
    assert_eq!(kind(node.fetch_at("t", 0, 4)), Some(ErrorKind::Corrupt));
    assert_eq!(node.read_values("u", 0), ["other"]);
    node.append("u", 0, batch(&["more"]));
    // What is in front of it may be shipped; what is behind it never as if nothing were missing.
    world.age();
    eventually("the refusal of writes", || {
        (kind(node.produce("t", 0, batch(&["x"]))) == Some(ErrorKind::Corrupt)).then_some(())
    });
    node.wait_shipped("u", 0, 2);
    assert!(node.shipped("t", 0) <= 4, "the bucket has what the log cannot give");
    for at in 0..4 {
        assert_eq!(node.fetch_at("t", 0, at).unwrap()[0].1, format!("marker-{at}-").as_bytes());
    }
    world.kill(node);
    let node = world.start();
    assert_eq!(node.fetch_at("t", 0, 3).unwrap()[0].1, b"marker-3-");
    assert_eq!(kind(node.fetch_at("t", 0, 4)), Some(ErrorKind::Corrupt));
    node.stop();
}

/// The header of a row, not its body: recovery sees it at once.
#[test]
fn a_rotten_index_in_the_log_is_found_at_the_start() {
    let mut world = World::new();
    let node = world.start();
    let id = node.create("t", 1, &[]);
    node.create("u", 1, &[]);
    for i in 0..10 {
        node.append("t", 0, batch(&[format!("marker-{i}-")]));
        node.append("u", 0, batch(&[format!("other-{i}-")]));
    }
    world.kill(node);
    // Rows carry the topic id; rot one somewhere in the middle of the log.
    world.rot(id.0.as_bytes(), 8);
    let node = world.start();
    let end = node.log_end("t", 0);
    assert!((1..10).contains(&end), "it opens up to the damage, which is at {end}");
    for at in 0..end {
        assert_eq!(node.fetch_at("t", 0, at).unwrap()[0].1, format!("marker-{at}-").as_bytes());
    }
    assert_eq!(kind(node.produce("t", 0, batch(&["x"]))), Some(ErrorKind::Corrupt));
    let others: Vec<_> = (0..10).map(|i| format!("other-{i}-")).collect();
    let read = node.read_values("u", 0);
    assert!(others.starts_with(&read), "{read:?}");
    if read.len() < 10 {
        assert_eq!(kind(node.produce("u", 0, batch(&["x"]))), Some(ErrorKind::Corrupt), "a loss without a word");
    }
    world.kill(node);
    let node = world.start();
    assert_eq!(node.read("t", 0).len(), usize::try_from(end).unwrap());
    assert_eq!(kind(node.produce("t", 0, batch(&["x"]))), Some(ErrorKind::Corrupt));
    node.stop();
}

/// What is in the bucket needs no log any more, rotten or not.
#[test]
fn rot_below_the_shipped_end_does_not_matter() {
    for header in [false, true] {
        let mut world = World::new();
        let node = world.start();
        let id = node.create("t", 1, &[]);
        for i in 0..5 {
            node.append("t", 0, batch(&[format!("marker-{i}-")]));
        }
        // Shipped, and a crash before the log was trimmed.
        world.fail.arm("ship.root_kept", FailAction::Error);
        world.age();
        fired(&world.fail, "ship.root_kept");
        node.append("t", 0, batch(&["marker-5-"]));
        world.kill(node);
        if header {
            world.rot(id.0.as_bytes(), 3);
        } else {
            world.rot(b"marker-2-", 0);
        }
        assert_eq!(give_up(&world, true), None, "there is nothing to give up");
        let node = world.start();
        let expected: Vec<_> = (0..6).map(|i| format!("marker-{i}-")).collect();
        assert_eq!(node.read_values("t", 0), expected, "header {header}");
        assert_eq!(node.append("t", 0, batch(&["on"])), 6, "header {header}");
        node.stop();
    }
}

/// The disk was restored, as the message asks: what it holds again is there again.
#[test]
fn a_log_that_was_mended_is_whole_again() {
    let mut world = World::new();
    let node = world.start();
    let id = node.create("t", 1, &[]);
    let expected: Vec<_> = (0..10).map(|i| format!("marker-{i}-")).collect();
    for value in &expected {
        node.append("t", 0, batch(&[value]));
    }
    world.kill(node);
    let (path, at) = world.places(id.0.as_bytes()).swap_remove(7);
    world.disk.flip_bit(&path, at, 0).unwrap();
    for _ in 0..2 {
        let node = world.start();
        assert!(node.log_end("t", 0) < 10);
        assert_eq!(kind(node.produce("t", 0, batch(&["x"]))), Some(ErrorKind::Corrupt));
        world.kill(node);
    }
    world.disk.flip_bit(&path, at, 0).unwrap();
    let node = world.start();
    assert_eq!(node.read_values("t", 0), expected);
    assert_eq!(node.append("t", 0, batch(&["on"])), 10);
    node.stop();
}

fn give_up(world: &World, accept: bool) -> Option<Loss> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(accept_loss(&world.options, &world.ports(), "t", 0, accept)).unwrap()
}

/// The operator's way out: what lies behind the damage is given up, and the log goes on in a new epoch.
#[test]
fn an_accepted_loss_lets_the_log_go_on() {
    for header in [false, true] {
        let mut world = World::new();
        let node = world.start();
        let id = node.create("t", 1, &[]);
        for i in 0..10 {
            node.append("t", 0, batch(&[format!("marker-{i}-")]));
        }
        world.kill(node);
        if header {
            world.rot(id.0.as_bytes(), 7);
        } else {
            world.rot(b"marker-4-", 0);
        }
        let node = world.start();
        let epoch = node.run(node.broker().describe_topic(&name("t"), false)).unwrap().partitions[0].leader_epoch;
        world.kill(node);

        let loss = give_up(&world, false).unwrap();
        assert_eq!(loss, Loss { from: Offset(4), known_end: Offset(10) }, "header {header}");
        let node = world.start();
        assert_eq!(node.log_end("t", 0), if header { 4 } else { 10 }, "asking changes nothing");
        world.kill(node);
        assert_eq!(give_up(&world, true), Some(loss));
        assert_eq!(give_up(&world, true), None, "it is settled");

        let mut node = world.start();
        let produced = node.produce("t", 0, batch(&["on"])).unwrap();
        assert_eq!(produced.base_offset, Offset(4));
        assert!(produced.leader_epoch > epoch);
        let expected: Vec<_> = (0..4).map(|i| format!("marker-{i}-")).chain(["on".to_owned()]).collect();
        for _ in 0..2 {
            assert_eq!(node.read_values("t", 0), expected, "header {header}");
            world.kill(node);
            node = world.start();
        }
        world.age();
        node.wait_shipped("t", 0, 5);
        eventually("the trim", || (node.unshipped_bytes() == 0).then_some(()));
        world.kill(node);
        world.lose_metadata();
        let node = world.start();
        assert_eq!(node.read_values("t", 0), expected);
        node.stop();
    }
}

/// Every so many bytes of a log: no start panics, loses an acknowledged record in silence, or shows a wrong one.
#[test]
fn any_rotten_byte_in_the_log_is_found_or_harmless() {
    let mut world = World::new();
    world.options.shutdown_timeout = Duration::from_millis(50);
    let node = world.start();
    node.create("t", 1, &[]);
    let expected: Vec<_> = (0..3).map(|i| format!("marker-{i}-")).collect();
    for value in &expected {
        node.append("t", 0, batch(&[value]));
    }
    // A log that was closed says itself that the last block was durable. Nothing reaches the bucket.
    world.faults.outage(true);
    node.stop();
    let read = |path: &Path| world.disk.read(path, usize::MAX).unwrap();
    let (log, identity) = (world.lane_files().swap_remove(0), world.options.data_dir.join("identity"));
    let (state, metadata) = (log.with_file_name("state"), std::fs::read(world.metadata()).unwrap());
    let files = [&log, &state, &identity].map(|path| (path, read(path)));
    let bytes = &files[0].1;
    let places: Vec<usize> = (0..64 << 10).filter(|at| bytes[*at] != 0).step_by(23).collect();
    assert!(places.len() > 20, "{} places", places.len());
    let (mut harmless, mut found) = (0, 0);
    for at in places {
        // The same disk each time, with another rotten byte.
        let disk = SimDisk::new(1);
        disk.create_dir(log.parent().unwrap()).unwrap();
        files.iter().for_each(|(path, bytes)| disk.write_atomic(path, bytes).unwrap());
        std::fs::write(world.metadata(), &metadata).unwrap();
        disk.flip_bit(&log, at, 1).unwrap();
        let Ok(node) = world.try_start_on(Arc::new(disk)) else { continue };
        let values = (0..3).map_while(|offset| node.fetch_at("t", 0, offset).ok()?.into_iter().next());
        let values: Vec<_> = values.map(|(_, value)| String::from_utf8(value).unwrap()).collect();
        assert!(expected.starts_with(&values), "byte {at}: {values:?}");
        if values.len() == expected.len() {
            harmless += 1;
        } else {
            found += 1;
            let next = i64::try_from(values.len()).unwrap();
            let reported = match kind(node.fetch_at("t", 0, next)) {
                Some(ErrorKind::Corrupt) => true,
                // It opened up to the damage.
                _ => kind(node.produce("t", 0, batch(&["x"]))) == Some(ErrorKind::Corrupt),
            };
            assert!(reported, "byte {at}: offset {next} is lost without a word");
        }
        drop(node);
    }
    assert!(found > 5 && harmless > 0, "{found} found, {harmless} harmless");
}

/// Three segments of five records each, the process gone.
fn shipped() -> (World, TopicId) {
    let mut world = World::new();
    let node = world.start();
    let id = node.create("t", 1, &[]);
    for i in 0..3 {
        node.append("t", 0, batch(&values(&format!("s{i}"), 5, 300)));
        world.age();
        node.wait_shipped("t", 0, 5 * (i + 1));
    }
    node.append("t", 0, batch(&values("log", 5, 300)));
    world.kill(node);
    (world, id)
}

fn segment_at(world: &World, node: &Node, id: TopicId, offset: i64) -> Key {
    let keys = world.segments(node, tp(id, 0));
    keys.into_iter().find(|key| matches!(key, Key::Segment { base, .. } if base.0 == offset)).unwrap()
}

#[test]
fn a_rotten_segment_is_an_error_for_its_own_range_only() {
    let (mut world, id) = shipped();
    let node = world.start();
    let key = segment_at(&world, &node, id, 5);
    let bytes = node.run(world.bucket.get(&key)).unwrap().unwrap();
    let expected: Vec<_> = (0..3).flat_map(|i| values(&format!("s{i}"), 5, 300)).chain(values("log", 5, 300)).collect();
    node.stop();
    for at in (0..bytes.len()).step_by(bytes.len() / 40) {
        let mut rotten = bytes.to_vec();
        rotten[at] ^= 0x10;
        let node = world.start();
        node.run(world.bucket.put(&key, vec![rotten.into()])).unwrap();
        for offset in [0, 4, 10, 14, 15, 19] {
            let found = node.fetch_at("t", 0, offset).unwrap();
            let at = usize::try_from(offset).unwrap();
            let record = found.iter().find(|(found, _)| *found == offset).unwrap();
            assert_eq!(record.1, expected[at].as_bytes());
        }
        match node.fetch_at("t", 0, 5) {
            Ok(found) => {
                let values: Vec<_> =
                    found.iter().take(5).map(|(_, value)| String::from_utf8(value.clone()).unwrap()).collect();
                assert_eq!(values, expected[5..10], "byte {at} changes what is read");
            }
            Err(error) => assert_eq!(error.kind, ErrorKind::Corrupt, "byte {at}: {error}"),
        }
        node.append("t", 0, batch(&["on"]));
        world.kill(node);
    }
    let node = world.start();
    node.run(world.bucket.put(&key, vec![bytes])).unwrap();
    assert_eq!(node.read_values("t", 0)[..20], expected);
    node.stop();
}

#[test]
fn a_missing_or_short_segment_is_an_error_for_its_own_range_only() {
    let (world, id) = shipped();
    let node = world.start();
    let key = segment_at(&world, &node, id, 5);
    let bytes = node.run(world.bucket.get(&key)).unwrap().unwrap();
    node.run(world.bucket.delete(&key)).unwrap();
    assert!(node.fetch_at("t", 0, 5).is_err(), "missing");
    node.run(world.bucket.put(&key, vec![bytes.slice(..bytes.len() / 2)])).unwrap();
    assert_eq!(kind(node.fetch_at("t", 0, 5)), Some(ErrorKind::Corrupt), "short");
    assert!(node.fetch_at("t", 0, 0).is_ok() && node.fetch_at("t", 0, 10).is_ok());
    node.run(world.bucket.put(&key, vec![bytes])).unwrap();
    assert_eq!(node.fetch_at("t", 0, 5).unwrap()[0].0, 5, "back again");
    node.stop();
}

#[test]
fn a_lost_root_is_not_taken_for_an_empty_partition() {
    let (world, id) = shipped();
    let node = world.start();
    let root = Key::Root(tp(id, 0));
    node.stop();
    let node = world.start();
    node.run(world.bucket.delete(&root)).unwrap();
    node.stop();
    let node = world.start();
    assert_eq!(kind(node.fetch_at("t", 0, 0)), Some(ErrorKind::Corrupt));
    assert_eq!(kind(node.produce("t", 0, batch(&["x"]))), Some(ErrorKind::Corrupt));
    node.stop();
}
