//! Idempotent producers: a retry gets the original offset, whatever happened since.

use runnel_api::{ErrorKind, Produce, ProducerIdentity};
use runnel_format::manifest::ProducerState;

use crate::support::{Node, World, batch, eventually, idempotent, tp, values};

/// Every batch of `producer` so far, sent again: same offsets, nothing new.
fn retry_all(node: &Node, producer: ProducerIdentity, batches: i32, when: &str) {
    let end = node.log_end("t", 0);
    for i in 0..batches {
        let values = values(&format!("p{i}"), 2, 100);
        let again = node.produce("t", 0, idempotent(&values, producer, 2 * i));
        assert_eq!(again.unwrap().base_offset.0, 1 + i64::from(2 * i), "batch {i} {when}");
    }
    assert_eq!(node.log_end("t", 0), end, "{when}: a retry was appended");
}

/// A record of someone else, then batches of two records.
fn send(node: &Node, batches: i32) -> ProducerIdentity {
    let producer = node.producer();
    node.append("t", 0, batch(&["someone else's"]));
    for i in 0..batches {
        let values = values(&format!("p{i}"), 2, 100);
        assert_eq!(node.append("t", 0, idempotent(&values, producer, 2 * i)), 1 + i64::from(2 * i));
    }
    producer
}

#[test]
fn a_retry_gets_the_original_offset() {
    let mut world = World::new();
    let node = world.start();
    node.create("t", 1, &[]);
    let producer = send(&node, 4);
    retry_all(&node, producer, 4, "at once");
    world.kill(node);
    let node = world.start();
    retry_all(&node, producer, 4, "after a crash");
    world.age();
    node.wait_shipped("t", 0, 9);
    retry_all(&node, producer, 4, "after the ship");
    world.kill(node);
    let node = world.start();
    retry_all(&node, producer, 4, "after ship and crash");
    node.stop();
    let node = world.start();
    retry_all(&node, producer, 4, "after a clean stop");
    world.kill(node);
    world.faults.outage(true);
    let node = world.start();
    retry_all(&node, producer, 4, "without the bucket");
    assert_eq!(node.append("t", 0, idempotent(&["next"], producer, 8)), 9);
    node.stop();
}

#[test]
fn the_state_is_rebuilt_from_bucket_and_log() {
    // Shipped wholly, partly, not at all.
    for shipped in [0, 2, 4] {
        let mut world = World::new();
        let node = world.start();
        let id = node.create("t", 1, &[]);
        let producer = node.producer();
        node.append("t", 0, batch(&["someone else's"]));
        for i in 0..4 {
            node.append("t", 0, idempotent(&values(&format!("p{i}"), 2, 100), producer, 2 * i));
            if i + 1 == shipped {
                world.age();
                node.wait_shipped("t", 0, 1 + 2 * i64::from(shipped));
            }
        }
        let before = node.read("t", 0);
        world.kill(node);
        world.lose_metadata();
        let node = world.start();
        assert_eq!(node.topic_id("t").unwrap(), id);
        assert_eq!(node.read("t", 0), before, "shipped {shipped}");
        retry_all(&node, producer, 4, "without the metadata store");
        assert_eq!(node.append("t", 0, idempotent(&["next"], producer, 8)), 9);
        assert!(node.producer().id > producer.id, "an id is given twice");
        // What was rebuilt is as durable as what was lost.
        world.kill(node);
        world.faults.outage(true);
        let node = world.start();
        assert_eq!(node.log_end("t", 0), 10, "shipped {shipped}");
        retry_all(&node, producer, 4, "without the metadata store, then without the bucket");
        world.faults.outage(false);
        node.wait_agreed();
        assert_eq!(node.stop().unshipped_partitions, 0);
    }
}

#[test]
fn sequences_and_epochs_are_checked_across_restarts() {
    let mut world = World::new();
    let node = world.start();
    node.create("t", 1, &[]);
    let producer = send(&node, 2);
    let mut node = Some(node);
    for round in 0..3 {
        let running = node.take().unwrap();
        let ask = |sequence, epoch: i16| {
            let producer = ProducerIdentity { epoch, ..producer };
            running.produce("t", 0, idempotent(&["x"], producer, sequence)).map_err(|error| error.kind)
        };
        let epoch = i16::try_from(round).unwrap();
        if round == 0 {
            assert_eq!(ask(6, epoch).unwrap_err(), ErrorKind::OutOfOrderSequence, "a gap");
            assert_eq!(ask(3, epoch).unwrap_err(), ErrorKind::OutOfOrderSequence, "a part of a batch");
        } else {
            assert_eq!(ask(2, epoch).unwrap_err(), ErrorKind::OutOfOrderSequence, "a gap");
            assert_eq!(ask(4, epoch - 1).unwrap_err(), ErrorKind::InvalidProducerEpoch, "a zombie");
        }
        // KIP-360: the producer starts again at the next epoch.
        let next = ProducerIdentity { epoch, ..producer };
        let next = running.run(running.broker().init_producer_id(Some(next))).unwrap();
        assert_eq!((next.id, next.epoch), (producer.id, epoch + 1));
        assert_eq!(ask(1, next.epoch).unwrap_err(), ErrorKind::OutOfOrderSequence, "a new epoch starts at 0");
        let produced = ask(0, next.epoch).unwrap();
        assert_eq!(produced.base_offset.0, 5 + round);
        if round == 1 {
            world.age();
            running.wait_shipped("t", 0, 7);
        }
        world.kill(running);
        let running = world.start();
        let again = running.produce("t", 0, idempotent(&["x"], next, 0)).unwrap();
        assert_eq!(again.base_offset, produced.base_offset, "round {round}");
        node = Some(running);
    }
    node.unwrap().stop();
}

#[test]
fn retries_in_flight_join_the_original() {
    let world = World::new();
    let node = world.start();
    node.create("t", 1, &[]);
    let producer = node.producer();
    let mut tasks = Vec::new();
    for _ in 0..8 {
        let broker = node.broker();
        let records = idempotent(&values("same", 3, 50), producer, 0);
        tasks.push(node.spawn(async move {
            let topic = crate::support::client::name("t");
            crate::support::client::produce(&broker, topic, 0, records, crate::support::PATIENCE).await
        }));
    }
    for task in tasks {
        assert_eq!(node.run(task).unwrap().unwrap().base_offset.0, 0);
    }
    assert_eq!(node.read_values("t", 0), values("same", 3, 50));
    node.stop();
}

#[test]
fn an_old_duplicate_is_not_taken_for_a_new_record() {
    let mut world = World::new();
    let node = world.start();
    node.create("t", 1, &[]);
    let producer = send(&node, 12);
    let check = |node: &Node| {
        // Older than the five that are remembered.
        let again = node.produce("t", 0, idempotent(&values("p0", 2, 100), producer, 0));
        assert_eq!(again.unwrap_err().kind, ErrorKind::DuplicateSequence);
        assert_eq!(node.log_end("t", 0), 25);
    };
    check(&node);
    world.age();
    node.wait_shipped("t", 0, 25);
    check(&node);
    world.kill(node);
    let node = world.start();
    check(&node);
    node.stop();
}

/// So many producers that their state does not fit into the root.
const MANY: usize = 400;

/// Many producers, one record each, all shipped.
fn crowd(node: &Node) -> Vec<ProducerIdentity> {
    let producers: Vec<_> = (0..MANY).map(|_| node.producer()).collect();
    for (i, producer) in (0..).zip(&producers) {
        assert_eq!(node.append("t", 0, idempotent(&["x"], *producer, 0)), i);
    }
    producers
}

fn retry_crowd(node: &Node, producers: &[ProducerIdentity]) {
    for i in [0, 1, MANY / 2, MANY - 1] {
        let again = node.produce("t", 0, idempotent(&["x"], producers[i], 0)).unwrap();
        assert_eq!(again.base_offset.0, i64::try_from(i).unwrap());
    }
    assert_eq!(node.log_end("t", 0), 400);
}

#[test]
fn a_large_state_survives_like_a_small_one() {
    let mut world = World::new();
    let node = world.start();
    let id = node.create("t", 1, &[]);
    let producers = crowd(&node);
    world.age();
    node.wait_shipped("t", 0, 400);
    let (root, _) = world.root(&node, "t", tp(id, 0));
    assert!(matches!(root.producers, ProducerState::Stored { .. }), "the test needs more producers");
    retry_crowd(&node, &producers);
    world.cut_power(node, 2);
    let node = world.start();
    retry_crowd(&node, &producers);
    world.kill(node);
    world.lose_metadata();
    let node = world.start();
    retry_crowd(&node, &producers);
    world.cut_power(node, 2);
    world.faults.outage(true);
    let node = world.start();
    retry_crowd(&node, &producers);
    node.stop();
}

#[test]
fn a_large_state_is_durable_when_the_log_is_trimmed() {
    for seed in 0..6 {
        let mut world = World::new();
        let node = world.start();
        node.create("t", 1, &[]);
        let producers = crowd(&node);
        world.age();
        node.wait_shipped("t", 0, 400);
        world.cut_power(node, seed);
        world.faults.outage(true);
        let node = world.start();
        retry_crowd(&node, &producers);
        node.stop();
    }
}

/// A full disk must not keep the log from being trimmed: that is what makes room.
#[test]
fn a_large_state_ships_from_a_full_disk() {
    let mut world = World::new();
    let node = world.start();
    node.create("t", 1, &[]);
    let producers = crowd(&node);
    world.disk.set_capacity(world.disk.used());
    world.age();
    node.wait_shipped("t", 0, 400);
    eventually("the trim", || (node.unshipped_bytes() == 0).then_some(()));
    world.kill(node);
    let node = world.start();
    retry_crowd(&node, &producers);
    // Kept as soon as there is room.
    world.disk.set_capacity(u64::MAX);
    node.append("t", 0, batch(&["more"]));
    world.age();
    node.wait_shipped("t", 0, 401);
    world.kill(node);
    world.faults.outage(true);
    let node = world.start();
    assert_eq!(node.log_end("t", 0), 401);
    node.stop();
}
