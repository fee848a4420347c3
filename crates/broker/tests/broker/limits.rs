//! No room: in the log for what is not shipped, on the disk, and a disk that fails.

use std::time::Duration;

use runnel_api::{Error, ErrorKind, Produced};
use tokio::time::Instant;

use crate::support::client::{name, produce};
use crate::support::{Node, PATIENCE, World, batch, eventually, idempotent, values};

fn append_within(node: &Node, value: &str, wait: Duration) -> Result<Produced, Error> {
    node.run(produce(&node.broker(), name("t"), 0, batch(&[value]), wait))
}

/// Appends kilobytes until one is refused; gives the values that were acknowledged and the refusal.
fn fill(node: &Node, prefix: &str, bytes: usize, wait: Duration) -> (Vec<String>, Error) {
    let mut taken = Vec::new();
    loop {
        let value = format!("{prefix}{}-{}", taken.len(), "x".repeat(bytes));
        match append_within(node, &value, wait) {
            Ok(_) => taken.push(value),
            Err(error) => return (taken, error),
        }
        assert!(taken.len() < 10_000, "nothing is refused");
    }
}

#[test]
fn a_full_log_delays_then_throttles_and_recovers_with_the_bucket() {
    let mut world = World::new();
    world.options.wal.max_unshipped = 64 << 10;
    let node = world.start();
    node.create("t", 1, &[]);
    world.faults.outage(true);
    let started = Instant::now();
    let (mut taken, error) = fill(&node, "a", 1_000, Duration::from_millis(300));
    assert_eq!(error.kind, ErrorKind::Throttled, "{error}");
    assert!(started.elapsed() >= Duration::from_millis(200), "it did not wait for room");
    assert!((8..64).contains(&taken.len()), "{} of 64 KiB", taken.len());
    assert_eq!(node.read_values("t", 0), taken, "reads go on");

    // One that waits long enough gets its room when the bucket is back.
    let broker = node.broker();
    let mut patient = Box::pin(async move { produce(&broker, name("t"), 0, batch(&["patient"]), PATIENCE).await });
    // It has come before the others: who is refused takes along those behind.
    assert!(node.run(async { futures::poll!(&mut patient) }).is_pending());
    let waiting = node.spawn(patient);
    let (none, error) = fill(&node, "b", 1_000, Duration::from_millis(200));
    assert!(none.is_empty() && !waiting.is_finished(), "{error}");
    world.faults.outage(false);
    node.run(waiting).unwrap().unwrap();
    taken.push("patient".to_owned());
    node.append("t", 0, batch(&["and on"]));
    taken.push("and on".to_owned());
    let read = node.read_values("t", 0);
    assert_eq!(read.iter().filter(|value| !value.starts_with('b')).cloned().collect::<Vec<_>>(), taken);
    world.kill(node);
    assert_eq!(world.start().read_values("t", 0), read);
}

#[test]
fn what_follows_a_batch_that_found_no_room_is_refused_with_it() {
    let mut world = World::new();
    world.options.wal.max_unshipped = 64 << 10;
    let node = world.start();
    node.create("t", 1, &[]);
    // Numbers of producers are reserved in the bucket too.
    let (producer, value) = (node.producer(), "x".repeat(2_000));
    world.faults.outage(true);
    fill(&node, "a", 1_000, Duration::from_millis(200));
    let send = |sequence, wait| {
        let broker = node.broker();
        let batch = idempotent(&[&value], producer, sequence);
        async move { produce(&broker, name("t"), 0, batch, wait).await }
    };
    // By the time of the second there is room, and its place in the sequence is not taken.
    let first = async {
        let first = send(0, Duration::from_millis(300)).await;
        world.faults.outage(false);
        first
    };
    let (first, second) = node.run(async { tokio::join!(first, send(1, PATIENCE)) });
    assert_eq!(first.unwrap_err().kind, ErrorKind::Throttled);
    assert_eq!(second.unwrap_err().kind, ErrorKind::Throttled);
    for sequence in 0..2 {
        node.run(send(sequence, PATIENCE)).unwrap();
    }
    node.stop();
}

#[test]
fn lane_pressure_ships_what_is_not_due() {
    let mut world = World::new();
    world.options.wal.max_unshipped = 64 << 10;
    let node = world.start();
    node.create("t", 2, &[]);
    // Far more than fits; neither size nor age makes anything due.
    for i in 0..200 {
        node.append("t", i % 2, batch(&values("a", 1, 1_000)));
    }
    assert!(node.shipped("t", 0) > 0 && node.shipped("t", 1) > 0);
    for partition in 0..2 {
        assert_eq!(node.read_values("t", partition), vec![values("a", 1, 1_000).remove(0); 100]);
    }
    node.stop();
}

#[test]
fn a_batch_larger_than_half_of_the_room_gets_in() {
    let mut world = World::new();
    world.options.wal.max_unshipped = 64 << 10;
    let node = world.start();
    node.create("t", 1, &[]);
    let small = "s".repeat(20_000);
    let large = "l".repeat(60_000);
    append_within(&node, &small, PATIENCE).unwrap();
    // Less than half of the room is taken, and nothing is due: only this append is in need.
    append_within(&node, &large, PATIENCE).unwrap();
    assert_eq!(node.read_values("t", 0), [small, large]);
    node.stop();
}

#[test]
fn a_restart_does_not_forget_what_fills_the_log() {
    let mut world = World::new();
    world.options.wal.max_unshipped = 64 << 10;
    let node = world.start();
    node.create("t", 1, &[]);
    world.faults.outage(true);
    let (taken, _) = fill(&node, "a", 1_000, Duration::from_millis(200));
    world.kill(node);
    let node = world.start();
    let error = append_within(&node, &"x".repeat(2_000), Duration::from_millis(200)).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Throttled);
    assert_eq!(node.read_values("t", 0), taken);
    world.faults.outage(false);
    append_within(&node, "room", PATIENCE).unwrap();
    node.stop();
}

#[test]
fn a_full_disk_refuses_writes_and_nothing_else() {
    let mut world = World::new();
    // Room for the first file of a lane and the reserve, not for the next file.
    world.disk.set_capacity(20 << 20);
    let node = world.start();
    node.create("t", 1, &[]);
    let (mut taken, error) = fill(&node, "a", 200_000, Duration::from_secs(5));
    assert_eq!(error.kind, ErrorKind::StorageError, "{error}");
    assert!(error.message.contains("full"), "{error}");
    assert!(taken.len() >= 10, "{} batches in 4 MiB", taken.len());
    assert_eq!(node.read_values("t", 0), taken);
    world.age();
    node.wait_shipped("t", 0, i64::try_from(taken.len()).unwrap());
    assert_eq!(node.read_values("t", 0), taken, "shipping goes on");

    world.disk.set_capacity(u64::MAX);
    let value = format!("again-{}", "x".repeat(200_000));
    eventually("room", || append_within(&node, &value, PATIENCE).ok());
    taken.push(value);
    assert_eq!(node.read_values("t", 0), taken);
    world.kill(node);
    assert_eq!(world.start().read_values("t", 0), taken);
}

#[test]
fn a_full_disk_ships_what_is_not_due_and_makes_room_by_itself() {
    let world = World::new();
    // Room for two files and the reserve. Neither size nor age makes anything due, and the log is far from its limit.
    world.disk.set_capacity(160 << 20);
    let node = world.start();
    node.create("t", 1, &[]);
    let value = "x".repeat(200_000);
    for i in 0..900 {
        eventually("room", || append_within(&node, &format!("{i}-{value}"), PATIENCE).ok());
    }
    assert!(node.shipped("t", 0) > 0);
    assert_eq!(node.read("t", 0).len(), 900);
    node.stop();
}

#[test]
fn a_start_on_a_full_disk_serves_reads() {
    let mut world = World::new();
    world.disk.set_capacity(20 << 20);
    let node = world.start();
    node.create("t", 1, &[]);
    let (mut taken, _) = fill(&node, "a", 200_000, Duration::from_secs(5));
    world.kill(node);
    // Nothing is left but the reserve.
    world.disk.set_capacity(world.disk.used());
    let node = world.start();
    assert_eq!(node.read_values("t", 0), taken);
    let (more, refused) = fill(&node, "b", 200_000, Duration::from_secs(5));
    assert_eq!(refused.kind, ErrorKind::StorageError, "{refused}");
    taken.extend(more);
    world.age();
    node.wait_shipped("t", 0, i64::try_from(taken.len()).unwrap());
    assert_eq!(node.read_values("t", 0), taken);
    // The old lane is in the bucket: its room is enough to go on a little.
    eventually("room", || append_within(&node, "c", PATIENCE).ok());
    world.kill(node);
    assert_eq!(world.start().read("t", 0).len(), taken.len() + 1);
}

#[test]
fn a_failed_sync_acknowledges_nothing_and_ends_the_broker() {
    for after in 0..3 {
        let mut world = World::new();
        let node = world.start();
        node.create("t", 1, &[]);
        node.append("t", 0, batch(&["before"]));
        world.disk.fail_sync(after);
        let mut taken = vec!["before".to_owned()];
        let mut tried = taken.clone();
        let error = loop {
            let value = format!("v{}", tried.len());
            tried.push(value.clone());
            match append_within(&node, &value, PATIENCE) {
                Ok(_) => taken.push(value),
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind, ErrorKind::NotLeader, "{error}");
        assert!(node.run(node.broker().failed()).to_string().contains("write-ahead log failed"));
        assert!(!node.health("wal").0);
        assert_eq!(node.read_values("t", 0), taken, "after {after}: reads stop at what was durable");
        assert!(append_within(&node, "more", PATIENCE).is_err());
        // Whatever the failed sync left, the power cut takes it.
        world.cut_power(node, after);
        let node = world.start();
        let read = node.read_values("t", 0);
        assert!(read.starts_with(&taken) && tried.starts_with(&read), "after {after}: {read:?}");
        node.append("t", 0, batch(&["on"]));
        node.stop();
    }
}

#[test]
fn a_failed_write_acknowledges_nothing_and_ends_the_broker() {
    let mut world = World::new();
    let node = world.start();
    node.create("t", 1, &[]);
    node.append("t", 0, batch(&["before"]));
    world.disk.fail_write(0);
    let error = append_within(&node, "lost", PATIENCE).unwrap_err();
    assert_eq!(error.kind, ErrorKind::NotLeader, "{error}");
    assert!(matches!(node.run(node.broker().failed()), runnel_broker::Failure::Broken(_)));
    // What is committed is still shipped by the stop that follows.
    let report = node.run(node.broker().stop());
    assert_eq!(report.unshipped_partitions, 0);
    world.kill(node);
    let node = world.start();
    let read = node.read_values("t", 0);
    assert!(["before", "lost"].iter().map(|value| (*value).to_owned()).collect::<Vec<_>>().starts_with(&read));
    assert!(!read.is_empty(), "nobody knows what became of the second record; the first was acknowledged");
    node.stop();
}

#[test]
fn a_batch_that_fits_nowhere_is_refused() {
    let world = World::new();
    let node = world.start();
    node.create("t", 1, &[("max.message.bytes", "1000")]);
    let refused = append_within(&node, &"x".repeat(2_000), PATIENCE).unwrap_err();
    assert_eq!(refused.kind, ErrorKind::MessageTooLarge);
    let mut damaged = batch(&["a"]).to_vec();
    *damaged.last_mut().unwrap() ^= 1;
    assert_eq!(node.produce("t", 0, damaged.into()).unwrap_err().kind, ErrorKind::CorruptMessage);
    assert_eq!(node.log_end("t", 0), 0);
    node.stop();
}
