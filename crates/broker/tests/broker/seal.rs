//! Shipping on request, and appends at an expected offset, through the whole broker.

use std::time::Duration;

use runnel_api::{Acks, Error, ErrorKind, Produce, ProducePartition, ProduceRequest, Sealed, Segments};
use runnel_blob::testing::{Fault, Op};
use runnel_record::Offset;

use crate::support::client::name;
use crate::support::{Node, PATIENCE, World, batch, eventually, values};

fn seal(node: &Node, partition: i32, wait: Duration) -> Result<(i64, i64), Error> {
    let broker = node.broker();
    let sealed = node.run(async move { broker.seal(&name("t"), partition, wait).await });
    sealed.map(|Sealed { sealed, shipped }| (sealed.0, shipped.0))
}

#[test]
fn a_clock_that_is_set_back_does_not_put_shipping_off() {
    let mut world = World::new();
    world.options.segment.max_age = Duration::from_millis(100);
    let node = world.start();
    node.create("t", 1, &[]);
    node.append("t", 0, batch(&values("a", 5, 200)));
    world.clock.advance(-3_600_000);
    node.wait_shipped("t", 0, 5);
    node.stop();
}

#[test]
fn a_segment_that_takes_long_to_get_there_holds_up_no_other() {
    let mut world = World::new();
    let node = world.start();
    node.create("t", 2, &[]);
    world.faults.once(Op::Put, "topics/", Fault::Delay(Duration::from_secs(3600)));
    node.append("t", 0, batch(&values("a", 5, 200)));
    world.age();
    eventually("the first one is on its way", || (world.faults.unused() == 0).then_some(()));
    node.append("t", 1, batch(&values("b", 5, 200)));
    world.age();
    node.wait_shipped("t", 1, 5);
    assert_eq!(node.shipped("t", 0), 0);
    world.kill(node);
}

#[test]
fn a_seal_ships_what_is_not_due_and_tells_how_far_it_came() {
    let world = World::new();
    let node = world.start();
    node.create("t", 1, &[]);
    assert_eq!(seal(&node, 0, PATIENCE), Ok((0, 0)), "there is nothing to ship");
    node.append("t", 0, batch(&values("a", 5, 200)));
    world.faults.outage(true);
    assert_eq!(seal(&node, 0, Duration::ZERO), Ok((5, 0)), "it does not wait, and is not forgotten");
    world.faults.outage(false);
    node.wait_shipped("t", 0, 5);
    node.append("t", 0, batch(&values("b", 5, 200)));
    assert_eq!(seal(&node, 0, PATIENCE), Ok((10, 10)));
    node.append("t", 0, batch(&values("c", 5, 200)));
    assert_eq!(node.shipped("t", 0), 10, "what comes later is shipped when it is due");
    assert_eq!(seal(&node, 1, PATIENCE).unwrap_err().kind, ErrorKind::UnknownPartition);
    node.stop();
}

#[test]
fn an_append_at_an_offset_that_is_taken_stores_nothing() {
    let world = World::new();
    let node = world.start();
    node.create("t", 1, &[]);
    node.append("t", 0, batch(&values("a", 5, 200)));
    let append = |expected: i64| {
        let broker = node.broker();
        let (topic, records) = (name("t"), batch(&values("b", 2, 200)));
        let part = ProducePartition { topic, partition: 0, records, expected_offset: Some(Offset(expected)) };
        let request = ProduceRequest { acks: Acks::All, timeout: PATIENCE, partitions: vec![part] };
        let mut produced = node.run(async move { broker.produce(request).await });
        produced.remove(0).outcome.map(|produced| produced.base_offset.0).map_err(|error| error.kind)
    };
    let mismatch = |next| Err(ErrorKind::OffsetMismatch { next_offset: Offset(next) });
    assert_eq!(append(4), mismatch(5));
    assert_eq!(append(5), Ok(5));
    assert_eq!(append(5), mismatch(7));
    assert_eq!(node.log_end("t", 0), 7);
    node.stop();
}
