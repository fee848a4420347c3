//! Random work, judged: what was acknowledged is there, once, at its offset, whatever happens in between.

use std::time::Duration;

use runnel_api::{Admin, AlterConfigOp, ConfigChange, ConfigResource, ErrorKind, OffsetSpec};
use runnel_blob::testing::{Fault, Op};
use runnel_runtime::FailAction;

use crate::support::chance::Chance;
use crate::support::client::{name, produce, read_from};
use crate::support::clients::{By, Clients, Producer};
use crate::support::{Node, World, batch, idempotent, tp};

const PARTITIONS: i32 = 3;

/// Steps that may be cut off.
const POINTS: [&str; 15] = [
    "ship.built",
    "ship.put",
    "ship.after_root_cas",
    "ship.committed",
    "ship.root_kept",
    "open.recorded",
    "merge.put",
    "merge.committed",
    "merge.root_kept",
    "retention.deleted",
    "session.ended",
    "session.lane.recorded",
    "wal.object.header.created",
    "wal.object.seal.placed",
    "wal.object.retire.recorded",
];

struct Run {
    world: World,
    node: Option<Node>,
    chance: Chance,
    clients: Clients,
    outage: bool,
    /// The bucket may refuse a request at any moment, and so a read of what is only there.
    faulty: bool,
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut world = World::new();
        let mut chance = Chance::new(seed);
        world.options.cache.memory = chance.pick(&[2_000, 20_000, 16 << 20]);
        world.options.wal.max_unshipped = chance.pick(&[256 << 10, 1 << 30]);
        world.options.wal.in_bucket = chance.pick(&[false, true]);
        world.options.wal.object_interval = Duration::from_millis(chance.pick(&[1, 20]));
        world.options.shutdown_timeout = Duration::from_millis(300);
        world.options.segment.merge_bytes = chance.pick(&[0, 1 << 20, 1 << 20]);
        let node = world.start();
        let max_bytes = chance.pick(&["1024", "4096", "1048576"]);
        let delay = chance.pick(&["0", "60000"]);
        node.create("t", PARTITIONS, &[("runnel.segment.max_bytes", max_bytes), ("file.delete.delay.ms", delay)]);
        let clients = Clients::new("t", PARTITIONS);
        Self { world, node: Some(node), chance, clients, outage: false, faulty: true }
    }

    fn node(&self) -> &Node {
        self.node.as_ref().unwrap()
    }

    fn step(&mut self) {
        match self.chance.below(100) {
            0..40 => self.append(),
            40..65 => self.append_idempotent(),
            65..75 => self.read_somewhere(),
            75..80 => self.world.clock.advance(30_000),
            80..84 => {
                self.outage = !self.outage;
                self.world.faults.outage(self.outage);
            }
            84..90 => self.inject(),
            90..93 => self.end(|world, node, _| world.kill(node)),
            93..96 => self.end(|world, node, seed| world.cut_power(node, seed)),
            96..98 => {
                self.end(|_, node, _| {
                    node.stop();
                });
            }
            98 => self.change_durability(),
            _ => self.check(),
        }
    }

    /// Whatever becomes of the request: an outage may refuse it, or lose its answer.
    fn change_durability(&mut self) {
        let (resource, value) = (ConfigResource::Topic("t".to_owned()), self.chance.pick(&["local", "object"]));
        let set = ConfigChange { name: "runnel.durability".into(), op: AlterConfigOp::Set, value: Some(value.into()) };
        let node = self.node();
        if let Err(error) = node.run(node.broker().alter_configs(&resource, &[set], false)) {
            assert!(self.faulty && error.kind == ErrorKind::StorageError, "{error}");
        }
    }

    fn values(&mut self, by: By) -> Vec<String> {
        let (count, bytes) = (1 + self.chance.below(4), self.chance.pick(&[0, 100, 1_500]));
        self.clients.values(by, count, bytes)
    }

    fn send(&self, partition: i32, records: bytes::Bytes) -> Result<i64, ErrorKind> {
        let node = self.node();
        let broker = node.broker();
        let produced = node.run(produce(&broker, name("t"), partition, records, Duration::from_millis(200)));
        produced.map(|produced| produced.base_offset.0).map_err(|error| error.kind)
    }

    fn append(&mut self) {
        let partition = self.partition();
        self.append_to(partition);
    }

    /// One attempt, without a producer id; the offset if it was acknowledged.
    fn append_to(&mut self, partition: i32) -> Option<i64> {
        let values = self.values(By::Plain);
        self.clients.send(partition, &values);
        match self.send(partition, batch(&values)) {
            Ok(base) => {
                self.clients.acked(partition, base, &values);
                Some(base)
            }
            Err(ErrorKind::Throttled | ErrorKind::StorageError) => {
                self.clients.refused(partition, &values);
                None
            }
            Err(ErrorKind::TimedOut | ErrorKind::NotLeader) => None,
            Err(other) => panic!("{other:?}"),
        }
    }

    fn append_idempotent(&mut self) {
        let partition = self.partition();
        let at = usize::try_from(partition).unwrap();
        if self.clients.producers[at].is_none() {
            let node = self.node();
            let Ok(identity) = node.run(runnel_api::Produce::init_producer_id(&*node.broker(), None)) else { return };
            self.clients.producers[at] = Some(Producer { identity, sequence: 0, open: None });
        }
        let fresh = self.values(By::Idempotent);
        let producer = self.clients.producers[at].as_ref().unwrap();
        let values = producer.open.clone().unwrap_or(fresh);
        let records = idempotent(&values, producer.identity, producer.sequence);
        self.clients.send(partition, &values);
        let outcome = self.send(partition, records.clone());
        let producer = self.clients.producers[at].as_mut().unwrap();
        match outcome {
            Ok(base) => {
                producer.sequence += i32::try_from(values.len()).unwrap();
                producer.open = None;
                self.clients.acked(partition, base, &values);
                // Half of the acknowledged batches are sent again later, as if the answer had been lost.
                if self.chance.below(2) == 0 {
                    self.clients.send(partition, &values);
                    if let Ok(again) = self.send(partition, records) {
                        self.clients.acked(partition, again, &values);
                    }
                }
            }
            Err(ErrorKind::Throttled | ErrorKind::StorageError | ErrorKind::TimedOut | ErrorKind::NotLeader) => {
                producer.open = Some(values);
            }
            Err(other) => panic!("{other:?} for an idempotent producer that did nothing wrong"),
        }
    }

    fn partition(&mut self) -> i32 {
        i32::try_from(self.chance.below(u64::try_from(PARTITIONS).unwrap())).unwrap()
    }

    /// A fetch at a random offset, for what it finds there.
    fn read_somewhere(&mut self) {
        let partition = self.partition();
        let Ok(Some(end)) = self.node().list("t", partition, OffsetSpec::Latest) else { return };
        if end.offset.0 == 0 {
            return;
        }
        let at = i64::try_from(self.chance.below(u64::try_from(end.offset.0).unwrap())).unwrap();
        match self.node().fetch_at("t", partition, at) {
            Ok(found) => {
                assert!(found.iter().any(|(offset, _)| *offset == at), "nothing at {at}, below the end {}", end.offset);
                let found: Vec<_> = found.into_iter().filter(|(offset, _)| *offset >= at).collect();
                self.clients.read(partition, at, &found);
            }
            Err(error) => assert!(self.faulty && error.kind == ErrorKind::StorageError, "{error}"),
        }
    }

    fn inject(&mut self) {
        let late = Fault::ApplyLater(Duration::from_millis(50));
        match self.chance.below(7) {
            0 => self.world.faults.once(
                Op::Put,
                "topics/",
                self.chance.pick(&[Fault::FailBefore, Fault::LoseAnswer, late]),
            ),
            1 => self.world.faults.once(
                Op::Create,
                "/root",
                self.chance.pick(&[Fault::FailBefore, Fault::LoseAnswer, late]),
            ),
            2 => self.world.faults.once(
                Op::Replace,
                "/root",
                self.chance.pick(&[Fault::Conflict, Fault::LoseAnswer, late]),
            ),
            3 => self.world.faults.once(Op::Get, "", Fault::FailBefore),
            4 => self.world.faults.once(
                Op::Create,
                "wal/",
                self.chance.pick(&[Fault::FailBefore, Fault::LoseAnswer, Fault::Conflict, late]),
            ),
            5 => self.world.faults.once(
                Op::Replace,
                "/hdr",
                self.chance.pick(&[Fault::FailBefore, Fault::LoseAnswer, Fault::Conflict, late]),
            ),
            _ => {
                self.world.fail.arm(self.chance.pick(&POINTS), FailAction::Error);
            }
        }
    }

    fn end(&mut self, end: impl FnOnce(&mut World, Node, u64)) {
        let seed = self.chance.next();
        let node = self.node.take().unwrap();
        end(&mut self.world, node, seed);
        // A fault of the last session may fall on the start, which may be tried again then.
        let started = (0..4).find_map(|_| self.world.try_start().ok());
        self.node = Some(started.expect("four starts failed"));
        if self.chance.below(4) == 0 && !self.outage {
            // An idempotent producer begins anew now and then.
            let at = usize::try_from(self.partition()).unwrap();
            let done = self.clients.producers[at].as_ref().is_some_and(|producer| producer.open.is_none());
            if done {
                self.clients.producers[at] = None;
            }
        }
    }

    /// Every partition from the start, as far as the bucket allows.
    fn check(&mut self) {
        for partition in 0..PARTITIONS {
            let node = self.node();
            let read = node.run(read_from(&node.broker(), "t", partition, 0, self.max_bytes()));
            match read {
                Ok(read) => self.clients.read_whole(partition, &read),
                Err(error) => assert!(self.faulty && error.kind == ErrorKind::StorageError, "{error}"),
            }
        }
    }

    /// What was sent and never answered becomes durable before what is sent now, or never.
    fn settle(&mut self) {
        for partition in 0..PARTITIONS {
            crate::support::eventually("an acknowledgement", || self.append_to(partition));
        }
    }

    fn max_bytes(&self) -> usize {
        [1, 3_000, 1 << 20][usize::try_from(self.clients.sent() % 3).unwrap()]
    }

    /// Everything heals; everything ships; everything is there; the bucket and its copy agree.
    fn finish(mut self) {
        self.world.faults.clear();
        (self.outage, self.faulty) = (false, false);
        POINTS.iter().for_each(|point| self.world.fail.disarm(point));
        self.node().wait_agreed();
        self.settle();
        self.check();
        self.world.age();
        let ends: Vec<_> = (0..PARTITIONS).map(|partition| self.node().log_end("t", partition)).collect();
        for (partition, end) in (0..).zip(&ends) {
            self.node().wait_shipped("t", partition, *end);
        }
        self.check();
        // From here on nothing is merged any more, so that the bucket comes to rest.
        self.world.options.segment.merge_bytes = 0;
        self.end(|world, node, _| world.kill(node));
        self.check();
        let id = self.node().topic_id("t").unwrap();
        for (partition, end) in (0..).zip(&ends).filter(|(_, end)| **end > 0) {
            crate::support::eventually("the sweep", || {
                // What was merged has its grace.
                self.world.clock.advance(60_001);
                self.world.orphans(self.node(), "t", tp(id, partition)).is_empty().then_some(())
            });
            let (root, _) = self.world.root(self.node(), "t", tp(id, partition));
            assert_eq!(root.end.0, *end);
        }
        self.end(|world, node, _| {
            node.stop();
            world.lose_metadata();
        });
        self.check();
        self.clients.judge();
        self.node.take().unwrap().stop();
    }
}

const STEPS: u32 = 150;

fn run(seed: u64) {
    let mut run = Run::new(seed);
    for _ in 0..STEPS {
        run.step();
    }
    run.finish();
}

#[test]
fn random_work_with_crashes_and_outages() {
    // `RUNNEL_TEST_SEED` replays one, `RUNNEL_TEST_SEEDS` tries so many.
    if let Ok(seed) = std::env::var("RUNNEL_TEST_SEED") {
        return run(seed.parse().unwrap());
    }
    let seeds: u64 = std::env::var("RUNNEL_TEST_SEEDS").map_or(4, |seeds| seeds.parse().unwrap());
    let all: Vec<u64> = (1..=seeds).collect();
    // They mostly wait, so a few at once.
    for some in all.chunks(4) {
        let runs: Vec<_> = some
            .iter()
            .map(|seed| {
                (
                    *seed,
                    std::thread::spawn({
                        let seed = *seed;
                        move || run(seed)
                    }),
                )
            })
            .collect();
        for (seed, run) in runs {
            assert!(run.join().is_ok(), "replay this with RUNNEL_TEST_SEED={seed}");
        }
    }
}
