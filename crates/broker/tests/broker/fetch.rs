//! Reading: order, limits, waiting, and the way from segments through the log to memory.

use std::time::Duration;

use runnel_api::{ErrorKind, Fetch, FetchRequest, OffsetSpec, Produce, TopicKey};
use runnel_blob::testing::{Fault, Op};
use runnel_record::{Batch, LeaderEpoch, TopicId};
use tokio::time::Instant;
use uuid::Uuid;

use crate::support::client::{Record, fetch, name, records};
use crate::support::{FetchFrom, Node, World, batch, eventually, tp, values};

#[test]
fn what_was_produced_is_read_in_order_at_stable_offsets() {
    let world = World::new();
    let node = world.start();
    node.create("t", 2, &[]);
    let mut expected = Vec::new();
    for (i, count) in [1, 3, 2, 10].into_iter().enumerate() {
        let values = values(&format!("batch{i}"), count, 40);
        assert_eq!(node.append("t", 1, batch(&values)), i64::try_from(expected.len()).unwrap());
        expected.extend(values);
    }
    assert_eq!(node.append("t", 0, batch(&["another partition"])), 0);
    for _ in 0..2 {
        let read = node.read("t", 1);
        assert!(read.iter().map(|(offset, _)| *offset).eq(0..16));
        assert_eq!(node.read_values("t", 1), expected);
    }
    assert_eq!(node.read_values("t", 0), ["another partition"]);
    assert_eq!(node.log_end("t", 1), 16);
    node.stop();
}

/// A long poll at the end of a partition, under way when this returns.
fn long_poll(
    node: &Node,
    topic: &str,
    offset: i64,
    min_bytes: usize,
    max_wait: Duration,
) -> tokio::task::JoinHandle<Vec<Vec<Record>>> {
    let mut request = FetchFrom { topic, partition: 0, offset, max_bytes: 1 << 20 }.request();
    (request.min_bytes, request.max_wait) = (min_bytes, max_wait);
    let broker = node.broker();
    node.spawn(async move {
        let answers = broker.fetch(request).await;
        answers.into_iter().map(|answer| records(&answer.outcome.unwrap().batches)).collect()
    })
}

#[test]
fn a_long_poll_wakes_on_an_append() {
    let world = World::new();
    let node = world.start();
    node.create("t", 1, &[]);
    node.append("t", 0, batch(&["a"]));
    let started = Instant::now();
    let waiting = long_poll(&node, "t", 1, 1, Duration::from_secs(60));
    // A poll that began later and ended: the first one waits by now.
    let short = long_poll(&node, "t", 1, 1, Duration::from_millis(20));
    assert_eq!(node.run(short).unwrap(), [vec![]], "nothing there: empty at the deadline");
    assert!(!waiting.is_finished());
    node.append("t", 0, batch(&["b"]));
    assert_eq!(node.run(waiting).unwrap(), [vec![(1, b"b".to_vec())]]);
    assert!(started.elapsed() < Duration::from_secs(30), "it waited for its deadline");
    node.stop();
}

#[test]
fn a_long_poll_returns_at_its_deadline() {
    let world = World::new();
    let node = world.start();
    node.create("t", 1, &[]);
    let started = Instant::now();
    let waiting = long_poll(&node, "t", 0, 1, Duration::from_millis(80));
    assert_eq!(node.run(waiting).unwrap(), [vec![]]);
    assert!(started.elapsed() >= Duration::from_millis(80));
    node.stop();
}

#[test]
fn a_long_poll_waits_for_min_bytes() {
    let world = World::new();
    let node = world.start();
    node.create("t", 1, &[]);
    let waiting = long_poll(&node, "t", 0, 600, Duration::from_secs(60));
    node.append("t", 0, batch(&values("small", 1, 300)));
    let short = long_poll(&node, "t", 0, 600, Duration::from_millis(50));
    assert_eq!(node.run(short).unwrap()[0].len(), 1, "at the deadline what there is comes");
    assert!(!waiting.is_finished(), "300 bytes are not 600");
    node.append("t", 0, batch(&values("small", 1, 300)));
    assert_eq!(node.run(waiting).unwrap()[0].len(), 2);
    node.stop();
}

#[test]
fn a_long_poll_ends_with_the_broker() {
    let world = World::new();
    let node = world.start();
    node.create("t", 1, &[]);
    node.append("t", 0, batch(&["a"]));
    let started = Instant::now();
    let waiting = long_poll(&node, "t", 1, 1, Duration::from_secs(60));
    let short = long_poll(&node, "t", 1, 1, Duration::from_millis(20));
    node.run(short).unwrap();
    node.run(node.broker().stop());
    node.run(waiting).unwrap();
    assert!(started.elapsed() < Duration::from_secs(30));
    node.stop();
}

fn sizes(node: &Node, request: FetchRequest) -> Vec<Vec<usize>> {
    let answers = node.run(node.broker().fetch(request));
    answers.iter().map(|a| a.outcome.as_ref().unwrap().batches.iter().map(Batch::len).collect()).collect()
}

/// KIP-74 on two partitions, wherever their batches are.
fn check_limits(node: &Node) {
    let small = batch(&values("x", 1, 400)).len();
    let ask = |first: (i32, usize), second: (i32, usize), max_bytes: usize| {
        let part = |(partition, max_bytes)| FetchFrom { topic: "t", partition, offset: 0, max_bytes }.partition();
        let one = FetchFrom { topic: "t", partition: 0, offset: 0, max_bytes: 0 }.request();
        sizes(node, FetchRequest { max_bytes, partitions: vec![part(first), part(second)], ..one })
    };
    let all = usize::MAX;
    assert_eq!(ask((0, 1), (1, 1), all), [vec![small], vec![]], "only the first batch may pass a limit");
    assert_eq!(ask((0, all), (1, all), 1), [vec![small], vec![]]);
    assert_eq!(ask((0, 2 * small), (1, all), all), [vec![small; 2], vec![small; 3]]);
    assert_eq!(ask((0, all), (1, all), 5 * small - 1), [vec![small; 3], vec![small]]);
    assert_eq!(ask((0, all), (1, all), 5 * small), [vec![small; 3], vec![small; 2]]);
    assert_eq!(ask((0, 3 * small - 1), (1, 2 * small - 1), all), [vec![small; 2], vec![small]]);
}

#[test]
fn limits_hold_in_memory_in_the_log_and_in_segments() {
    let mut world = World::new();
    let node = world.start();
    node.create("t", 2, &[]);
    for i in 0..6 {
        node.append("t", i % 2, batch(&values("x", 1, 400)));
    }
    check_limits(&node);
    world.kill(node);
    let node = world.start();
    check_limits(&node);
    world.age();
    (0..2).for_each(|partition| node.wait_shipped("t", partition, 3));
    world.kill(node);
    let node = world.start();
    check_limits(&node);
    node.stop();
}

#[test]
fn a_position_inside_a_batch_gives_the_whole_batch() {
    let mut world = World::new();
    let node = world.start();
    node.create("t", 1, &[]);
    node.append("t", 0, batch(&values("first", 5, 20)));
    node.append("t", 0, batch(&values("second", 5, 20)));
    let check = |node: &Node| {
        for at in 0..10 {
            let found = node.fetch_at("t", 0, at).unwrap();
            assert_eq!(found.first().unwrap().0, at / 5 * 5, "at {at}");
            assert_eq!(found.last().unwrap().0, 9, "at {at}");
        }
    };
    check(&node);
    world.kill(node);
    let node = world.start();
    check(&node);
    world.age();
    node.wait_shipped("t", 0, 10);
    world.kill(node);
    let node = world.start();
    check(&node);
    node.stop();
}

#[test]
fn offsets_outside_of_the_log_are_refused() {
    let world = World::new();
    let node = world.start();
    node.create("t", 1, &[]);
    node.append("t", 0, batch(&["a", "b"]));
    assert_eq!(node.fetch_at("t", 0, 2).unwrap(), [], "the end is a position to wait at");
    for outside in [-1, 3, i64::MAX] {
        assert_eq!(node.fetch_at("t", 0, outside).unwrap_err().kind, ErrorKind::OffsetOutOfRange, "{outside}");
    }
    node.stop();
}

#[test]
fn what_does_not_exist_is_named() {
    let world = World::new();
    let node = world.start();
    node.create("t", 1, &[]);
    let nobody = TopicKey::Id(TopicId(Uuid::from_u128(7)));
    let cases = [
        (name("unknown"), 0, ErrorKind::UnknownTopic),
        (name("not/a/name"), 0, ErrorKind::InvalidTopicName),
        (nobody, 0, ErrorKind::UnknownTopicId),
        (name("t"), 1, ErrorKind::UnknownPartition),
        (name("t"), -1, ErrorKind::UnknownPartition),
    ];
    for (topic, partition, expected) in cases {
        let broker = node.broker();
        let wait = Duration::from_secs(1);
        let produced = crate::support::client::produce(&broker, topic.clone(), partition, batch(&["a"]), wait);
        assert_eq!(node.run(produced).unwrap_err().kind, expected, "produce to {topic}-{partition}");
        let mut request = FetchFrom { topic: "t", partition, offset: 0, max_bytes: 1 }.request();
        request.max_wait = Duration::from_secs(60);
        request.partitions[0].topic = topic.clone();
        assert_eq!(node.run(fetch(&broker, request)).unwrap_err().kind, expected, "fetch of {topic}-{partition}");
        let listed = runnel_api::Offsets::list_offset(
            &*broker,
            &topic,
            partition,
            OffsetSpec::Latest,
            runnel_api::Isolation::ReadCommitted,
            None,
        );
        assert_eq!(node.run(listed).unwrap_err().kind, expected, "list of {topic}-{partition}");
    }
    node.stop();
}

#[test]
fn one_bad_partition_does_not_hide_the_others() {
    let world = World::new();
    let node = world.start();
    node.create("t", 1, &[]);
    node.append("t", 0, batch(&["a"]));
    let mut request = FetchFrom { topic: "t", partition: 0, offset: 0, max_bytes: 1 << 20 }.request();
    request.max_wait = Duration::from_secs(60);
    request.partitions.insert(0, FetchFrom { topic: "t", partition: 5, offset: 0, max_bytes: 1 }.partition());
    let answers = node.run(node.broker().fetch(request));
    assert!(answers[0].outcome.is_err());
    assert_eq!(records(&answers[1].outcome.as_ref().unwrap().batches).len(), 1);
    node.stop();
}

#[test]
fn a_reader_passes_from_segments_through_the_log_into_memory() {
    let mut world = World::new();
    // A tail of two batches or so.
    world.options.cache.memory = 4_000;
    let node = world.start();
    let id = node.create("t", 1, &[("runnel.segment.max_bytes", "4096")]);
    let mut expected = Vec::new();
    let mut append = |count: usize| {
        for _ in 0..count {
            let values = values(&format!("v{}", expected.len()), 4, 200);
            node.append("t", 0, batch(&values));
            expected.extend(values);
        }
    };
    append(40);
    // 870 bytes a batch: five make a segment.
    node.wait_shipped("t", 0, 160);
    append(4);
    assert_eq!(node.shipped("t", 0), 160, "four batches are too few for a segment");
    assert!(world.segments(&node, crate::support::tp(id, 0)).len() >= 8);

    assert_eq!(node.read_values("t", 0), expected);
    let read = world.faults.requests().iter().any(|(op, path)| *op == Op::Get && path.starts_with("topics/"));
    assert!(read, "nothing came from a segment");
    for max_bytes in [1, 1_000, 5_000] {
        for from in (0..176).step_by(7) {
            let broker = node.broker();
            let read = node.run(crate::support::client::read_from(&broker, "t", 0, from, max_bytes)).unwrap();
            let values: Vec<_> = read.into_iter().map(|(_, value)| String::from_utf8(value).unwrap()).collect();
            assert_eq!(values, expected[usize::try_from(from).unwrap()..], "from {from} by {max_bytes}");
        }
    }
    node.stop();
}

#[test]
fn an_answer_that_is_full_asks_for_no_other_segment() {
    let world = World::new();
    let node = world.start();
    let id = node.create("t", 1, &[("runnel.segment.max_bytes", "4096")]);
    // 870 bytes a batch: five make a segment.
    for _ in 0..10 {
        node.append("t", 0, batch(&values("v", 4, 200)));
    }
    node.wait_shipped("t", 0, 40);
    node.stop();
    let node = world.start();
    let segments = world.segments(&node, tp(id, 0));
    assert_eq!(segments.len(), 2);
    let (before, second) = (world.faults.requests().len(), segments[1].path());
    let read = |max_bytes| {
        let answer = node.fetch(FetchFrom { topic: "t", partition: 0, offset: 0, max_bytes }.request()).unwrap();
        let asked = world.faults.requests()[before..].iter().any(|(_, path)| *path == second);
        (records(&answer.batches).len(), asked)
    };
    assert_eq!(read(4_500), (20, false), "a sixth batch would not fit");
    assert!(read(8_000).1, "and the next one is in the other segment");
    node.stop();
}

#[test]
fn many_partitions_share_the_tail_budget() {
    let mut world = World::new();
    world.options.cache.memory = 2_000;
    let node = world.start();
    node.create("t", 8, &[]);
    // Appended from several threads at once, so that evictions of one tail are under way in many tasks.
    let broker = node.broker();
    let appends: Vec<_> = (0..8)
        .map(|partition| {
            let broker = broker.clone();
            node.spawn(async move {
                for i in 0..60 {
                    let records = batch(&[format!("{partition}-{i}")]);
                    let partitions = vec![runnel_api::ProducePartition {
                        topic: name("t"),
                        partition,
                        records,
                        expected_offset: None,
                    }];
                    let request = runnel_api::ProduceRequest {
                        acks: runnel_api::Acks::All,
                        timeout: Duration::from_secs(20),
                        partitions,
                    };
                    assert_eq!(broker.produce(request).await[0].outcome.as_ref().unwrap().base_offset.0, i);
                }
            })
        })
        .collect();
    drop(broker);
    appends.into_iter().for_each(|task| node.run(task).unwrap());
    for partition in 0..8 {
        let expected: Vec<_> = (0..60).map(|i| format!("{partition}-{i}")).collect();
        assert_eq!(node.read_values("t", partition), expected);
    }
    node.stop();
}

#[test]
fn leader_epochs_of_clients_are_checked() {
    let mut world = World::new();
    let node = world.start();
    node.create("t", 1, &[]);
    node.append("t", 0, batch(&["a"]));
    world.kill(node);
    let node = world.start();
    let ask = |epoch| {
        let mut request = FetchFrom { topic: "t", partition: 0, offset: 0, max_bytes: 100 }.request();
        request.partitions[0].current_leader_epoch = Some(LeaderEpoch(epoch));
        node.fetch(request).map(|_| ()).map_err(|error| error.kind)
    };
    assert_eq!(ask(1), Ok(()));
    assert_eq!(ask(0), Err(ErrorKind::FencedLeaderEpoch));
    assert_eq!(ask(2), Err(ErrorKind::UnknownLeaderEpoch));
    node.stop();
}

#[test]
fn readers_of_the_bucket_take_turns_for_memory() {
    const READERS: usize = 100;
    let world = World::new();
    let node = world.start();
    node.create("t", 1, &[]);
    node.append("t", 0, batch(&values("v", 10, 1000)));
    node.stop();
    let node = world.start();
    let read = |broker: std::sync::Arc<runnel_broker::Broker>| async move {
        let request = FetchFrom { topic: "t", partition: 0, offset: 0, max_bytes: 1 << 20 }.request();
        broker.fetch(request).await
    };
    let readers: Vec<_> = (0..READERS).map(|_| node.spawn(read(node.broker()))).collect();
    // What a reply holds is not given back before it is counted elsewhere, so that not all of them can be read at once.
    let done = || readers.iter().filter(|reader| reader.is_finished()).count();
    eventually("some reads", || (done() >= 64).then_some(()));
    node.create("u", 1, &[]);
    for i in 0..50 {
        // What is in memory takes no room, so that this does not wait; and it gives the others time to break the rule.
        node.append("u", 0, batch(&[format!("{i}")]));
        assert_eq!(node.read("u", 0).len(), i + 1);
    }
    assert_eq!(done(), 64);
    let other = node.spawn(read(node.broker()));
    let mut records_read = 0;
    // In the order in which they are done: dropping one reply lets the next reader go on.
    let mut left = readers;
    while !left.is_empty() {
        let (answers, _, rest) = node.run(futures::future::select_all(left));
        records_read += records(&answers.unwrap()[0].outcome.as_ref().unwrap().batches).len();
        left = rest;
    }
    assert_eq!(records_read, READERS * 10);
    assert_eq!(records(&node.run(other).unwrap()[0].outcome.as_ref().unwrap().batches).len(), 10);
    node.stop();
}

#[test]
fn what_several_partitions_need_of_the_bucket_is_asked_for_side_by_side() {
    let mut world = World::new();
    let node = world.start();
    let id = node.create("t", 3, &[]);
    for p in 0..3 {
        node.append("t", p, batch(&values("v", 2, 100)));
    }
    world.age();
    for p in 0..3 {
        node.wait_shipped("t", p, 2);
    }
    world.kill(node);
    let node = world.start();
    for p in 0..3 {
        assert_eq!(node.log_end("t", p), 2);
    }
    let paths: Vec<_> = (0..3).map(|p| world.segments(&node, tp(id, p))[0].path()).collect();
    for path in &paths[1..] {
        world.faults.always(Op::Get, path, Fault::HangAfter);
    }
    let before = world.faults.requests().len();
    let asked_for = |path: &str| {
        eventually(path, || world.faults.requests()[before..].iter().any(|(_, asked)| asked == path).then_some(()));
    };
    let from = |partition| FetchFrom { topic: "t", partition, offset: 0, max_bytes: 1 << 10 };
    let request = FetchRequest { partitions: (0..3).map(|p| from(p).partition()).collect(), ..from(0).request() };
    let broker = node.broker();
    let reader = node.spawn(async move { broker.fetch(request).await });
    asked_for(&paths[1]);
    // While it waits for the second it cannot ask for the third, and then it does not.
    reader.abort();
    asked_for(&paths[2]);
    world.kill(node);
}
