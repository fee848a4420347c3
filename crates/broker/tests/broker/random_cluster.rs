//! Random work on a cluster, judged: what was acknowledged is there, once, at its offset, whoever leads, and
//! whatever happens to brokers, to their disks, and to their ways to the bucket and to the metadata store.

use std::time::Duration;

use runnel_api::{Admin, AlterConfigOp, Cluster as _, ConfigChange, ConfigResource, Error, ErrorKind, Produce as _};
use runnel_blob::testing::{Fault, Op};
use runnel_runtime::FailAction;

use crate::support::chance::Chance;
use crate::support::client::{name, produce, read_from};
use crate::support::clients::{By, Clients, Producer};
use crate::support::cluster::Cluster;
use crate::support::store::Way;
use crate::support::{eventually, idempotent};

const BROKERS: usize = 3;
const PARTITIONS: i32 = 4;
const STEPS: u32 = 120;

/// Steps that may be cut off.
const POINTS: [&str; 12] = [
    "ship.put",
    "ship.after_root_cas",
    "ship.committed",
    "open.root_taken",
    "open.recorded",
    "move.emptied",
    "move.given",
    "session.ended",
    "session.lane.recorded",
    "wal.object.header.created",
    "wal.object.seal.placed",
    "wal.object.retire.recorded",
];

struct Run {
    cluster: Cluster,
    chance: Chance,
    clients: Clients,
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut chance = Chance::new(seed);
        let mut cluster = Cluster::without_brokers(i32::try_from(BROKERS).unwrap());
        let interval = Duration::from_millis(chance.pick(&[1, 20]));
        for machine in &mut cluster.machines {
            machine.options.wal.object_interval = interval;
            machine.options.shutdown_timeout = Duration::from_millis(500);
        }
        (0..BROKERS).for_each(|at| cluster.start_one(at));
        let max_bytes = chance.pick(&["1024", "4096", "1048576"]);
        cluster.create("t", PARTITIONS, &[("runnel.segment.max_bytes", max_bytes)]);
        Self { cluster, chance, clients: Clients::new("t", PARTITIONS) }
    }

    fn step(&mut self) {
        self.restart_failed();
        match self.chance.below(100) {
            0..58 => self.append(),
            58..70 => self.read(),
            70..74 => self.cluster.world.clock.advance(30_000),
            74..80 => self.inject(),
            80..82 => self.toggle_bucket(),
            82..85 => self.toggle_store(),
            85..89 => self.end_one(),
            89..93 => self.start_one(),
            93..95 => {
                // Taken for dead, and alive.
                let at = self.broker();
                self.cluster.expire(at);
            }
            95..97 => self.change_durability(),
            _ => {
                self.heal();
                self.check();
            }
        }
    }

    fn broker(&mut self) -> usize {
        usize::try_from(self.chance.below(BROKERS as u64)).unwrap()
    }

    fn partition(&mut self) -> i32 {
        i32::try_from(self.chance.below(u64::try_from(PARTITIONS).unwrap())).unwrap()
    }

    /// A broker that cannot go on is started anew by whoever watches its process.
    fn restart_failed(&mut self) {
        let failed: Vec<usize> = self.cluster.nodes().filter(|(_, node)| node.has_failed()).map(|(at, _)| at).collect();
        for at in failed {
            self.cluster.kill_unnoticed(at);
            self.start(at);
        }
    }

    fn start(&mut self, at: usize) {
        self.open_ways(at);
        self.cluster.start_one(at);
    }

    /// A start waits for bucket and store, so the test would.
    fn open_ways(&mut self, at: usize) {
        self.cluster.machines[at].faults.clear();
        self.cluster.machines[at].store.set(Way::Open);
        POINTS.iter().for_each(|point| self.cluster.machines[at].fail.disarm(point));
    }

    fn end_one(&mut self) {
        let (at, how) = (self.broker(), self.chance.below(4));
        if self.cluster.nodes().count() < 2 || self.cluster.nodes().all(|(running, _)| running != at) {
            return;
        }
        match how {
            0 => {
                self.open_ways(at);
                self.cluster.stop(at);
            }
            1 => self.cluster.kill_unnoticed(at),
            2 => self.cluster.cut_power(at, self.chance.next()),
            _ => self.cluster.kill(at),
        }
    }

    fn start_one(&mut self) {
        let at = self.broker();
        if self.cluster.nodes().all(|(running, _)| running != at) {
            self.start(at);
        }
    }

    fn toggle_bucket(&mut self) {
        let (at, on) = (self.broker(), self.chance.below(2) == 0);
        self.cluster.machines[at].faults.outage(on);
    }

    fn toggle_store(&mut self) {
        let (at, way) = (self.broker(), self.chance.pick(&[Way::Open, Way::Cut, Way::Deaf]));
        self.cluster.machines[at].store.set(way);
    }

    fn inject(&mut self) {
        let at = self.broker();
        let late = Fault::ApplyLater(Duration::from_millis(50));
        let (faults, chance) = (&self.cluster.machines[at].faults, &mut self.chance);
        match chance.below(6) {
            0 => faults.once(Op::Put, "topics/", chance.pick(&[Fault::FailBefore, Fault::LoseAnswer, late])),
            1 => faults.once(Op::Replace, "/root", chance.pick(&[Fault::Conflict, Fault::LoseAnswer, late])),
            2 => faults.once(Op::Get, "", Fault::FailBefore),
            3 => faults.once(
                Op::Create,
                "wal/",
                chance.pick(&[Fault::FailBefore, Fault::LoseAnswer, Fault::Conflict, late]),
            ),
            4 => faults.once(
                Op::Replace,
                "/hdr",
                chance.pick(&[Fault::FailBefore, Fault::LoseAnswer, Fault::Conflict, late]),
            ),
            _ => self.cluster.machines[at].fail.arm(chance.pick(&POINTS), FailAction::Error),
        }
    }

    /// Whatever becomes of the request.
    fn change_durability(&mut self) {
        let (at, value) = (self.broker(), self.chance.pick(&["local", "object"]));
        let Some((_, node)) = self.cluster.nodes().find(|(running, _)| *running == at) else { return };
        let set = ConfigChange { name: "runnel.durability".into(), op: AlterConfigOp::Set, value: Some(value.into()) };
        let broker = node.broker();
        let (resource, sets) = (ConfigResource::Topic("t".to_owned()), [set]);
        let changed = broker.alter_configs(&resource, &sets, false);
        drop(node.run(async { tokio::time::timeout(Duration::from_secs(2), changed).await }));
    }

    fn values(&mut self) -> Vec<String> {
        let (count, bytes) = (1 + self.chance.below(4), self.chance.pick(&[0, 100, 1_500]));
        self.clients.values(By::Idempotent, count, bytes)
    }

    /// Sends to the leader that some broker names, as a client with old metadata does.
    fn send(&mut self, partition: i32, records: bytes::Bytes) -> Result<i64, Error> {
        let nobody = || Error::new(ErrorKind::LeaderNotAvailable, "no leader");
        let asked = usize::try_from(self.chance.below(BROKERS as u64)).unwrap();
        let leader = {
            let running = self.cluster.nodes().count();
            let (_, node) = self.cluster.nodes().nth(asked % running.max(1)).ok_or_else(nobody)?;
            let topic = node.run(node.broker().describe_topic(&name("t"), false))?;
            topic.partitions[usize::try_from(partition).unwrap()].leader.ok_or_else(nobody)?
        };
        let leader = usize::try_from(leader).unwrap();
        let (_, node) = self.cluster.nodes().find(|(at, _)| *at == leader).ok_or_else(nobody)?;
        let broker = node.broker();
        let produced = node.run(produce(&broker, name("t"), partition, records, Duration::from_millis(300)));
        Ok(produced?.base_offset.0)
    }

    fn append(&mut self) {
        let partition = self.partition();
        self.try_append(partition);
    }

    /// One attempt with what the producer of a partition has to send.
    fn try_append(&mut self, partition: i32) -> Option<()> {
        let at = usize::try_from(partition).unwrap();
        if self.clients.producers[at].is_none() {
            let (_, node) = self.cluster.nodes().next()?;
            let identity = node.run(node.broker().init_producer_id(None)).ok()?;
            self.clients.producers[at] = Some(Producer { identity, sequence: 0, open: None });
        }
        let fresh = self.values();
        let producer = self.clients.producers[at].as_ref().unwrap();
        let values = producer.open.clone().unwrap_or(fresh);
        let records = idempotent(&values, producer.identity, producer.sequence);
        self.clients.send(partition, &values);
        let outcome = self.send(partition, records);
        let producer = self.clients.producers[at].as_mut().unwrap();
        match outcome {
            Ok(base) => {
                producer.sequence += i32::try_from(values.len()).unwrap();
                producer.open = None;
                self.clients.acked(partition, base, &values);
                Some(())
            }
            Err(error) => {
                assert!(may_be_retried(&error), "{:?} for a producer that did nothing wrong: {error}", error.kind);
                tracing::debug!(partition, %error, "an append failed");
                producer.open = Some(values);
                None
            }
        }
    }

    /// What any broker says is in a partition is there, if it says anything.
    fn read(&mut self) {
        let (partition, at) = (self.partition(), self.broker());
        let Some((_, node)) = self.cluster.nodes().find(|(running, _)| *running == at) else { return };
        let broker = node.broker();
        let read = read_from(&broker, "t", partition, 0, 1 << 20);
        let read = node.run(async { tokio::time::timeout(Duration::from_secs(2), read).await });
        match read {
            Ok(Ok(found)) => self.clients.read(partition, 0, &found),
            Ok(Err(error)) => assert!(may_be_retried(&error), "{error}"),
            Err(_) => {}
        }
    }

    /// Everybody runs and reaches everything.
    fn heal(&mut self) {
        (0..BROKERS).for_each(|at| self.open_ways(at));
        self.restart_failed();
        for at in 0..BROKERS {
            if self.cluster.nodes().all(|(running, _)| running != at) {
                self.start(at);
            }
        }
    }

    /// Every partition goes on, and holds what it must.
    fn check(&mut self) {
        for partition in 0..PARTITIONS {
            eventually("an acknowledgement", || {
                self.restart_failed();
                self.try_append(partition)
            });
            let read = eventually("a read", || {
                self.restart_failed();
                let read = self.cluster.try_read("t", partition)?;
                // A broker that was replaced and does not know it yet may answer with less.
                let end = read.last().map_or(0, |(offset, _)| offset + 1);
                (end >= self.clients.end(partition)).then_some(read)
            });
            self.clients.read_whole(partition, &read);
        }
    }

    fn finish(mut self) {
        self.heal();
        self.check();
        self.cluster.world.age();
        eventually("only sessions that are alive have records", || {
            self.restart_failed();
            (self.cluster.keys("s/").len() == BROKERS).then_some(())
        });
        self.check();
        (0..BROKERS).for_each(|at| self.cluster.kill(at));
        self.heal();
        self.check();
        self.clients.judge();
        self.cluster.stop_all();
    }
}

fn may_be_retried(error: &Error) -> bool {
    // Some points are in layers that know nothing of clients.
    if error.kind == ErrorKind::Internal && error.message.contains("fail point") {
        return true;
    }
    matches!(
        error.kind,
        ErrorKind::NotLeader
            | ErrorKind::LeaderNotAvailable
            | ErrorKind::StorageError
            | ErrorKind::TimedOut
            | ErrorKind::ShuttingDown
            | ErrorKind::Throttled
    )
}

fn run(seed: u64) {
    let mut run = Run::new(seed);
    for _ in 0..STEPS {
        run.step();
    }
    run.finish();
}

#[test]
fn random_work_while_brokers_come_go_and_die() {
    // `RUNNEL_TEST_SEED` replays one, `RUNNEL_TEST_SEEDS` tries so many.
    if let Ok(seed) = std::env::var("RUNNEL_TEST_SEED") {
        return run(seed.parse().unwrap());
    }
    let seeds: u64 = std::env::var("RUNNEL_TEST_SEEDS").map_or(2, |seeds| seeds.parse().unwrap());
    for seed in 1..=seeds {
        let ran = std::thread::spawn(move || run(seed)).join();
        assert!(ran.is_ok(), "replay this with RUNNEL_TEST_SEED={seed}");
    }
}
