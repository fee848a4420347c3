//! Several brokers on one bucket and one metadata store, each with a disk and with faults of its own.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use runnel_api::{Cluster as _, Produced};
use runnel_blob::testing::Faults;
use runnel_broker::{
    AdoptProgress, Adopted, BalanceOptions, Broker, ClusterOptions, HostPort, Options, Ports, Restore, RestoreError,
    Restored, StartError, StopReport,
};
use runnel_metastore::{Embedded, MetaStore};
use runnel_record::TopicId;
use runnel_runtime::FailPoints;
use runnel_runtime::disk::SimDisk;

use super::client::{Record, name};
use super::store::Store;
use super::{Node, PATIENCE, World, eventually, make_durable_dir};

/// After so long without a sign of life a broker is taken for dead.
pub(crate) const TTL: Duration = Duration::from_millis(1_000);

/// Where the others find a broker. Nobody listens there.
pub(crate) fn grpc_port(number: i32) -> u16 {
    2 + u16::try_from(number).unwrap()
}

/// A machine for a broker.
pub(crate) struct Machine {
    pub(crate) disk: SimDisk,
    pub(crate) faults: Faults,
    pub(crate) fail: FailPoints,
    pub(crate) options: Options,
    pub(crate) store: Store,
    node: Option<Node>,
}

/// The cluster. Objects are acknowledged in the bucket, unless a topic says otherwise.
pub(crate) struct Cluster {
    pub(crate) world: World,
    pub(crate) meta: Arc<Embedded>,
    pub(crate) machines: Vec<Machine>,
    pub(crate) balance: BalanceOptions,
    stores: usize,
}

impl Cluster {
    /// `count` brokers, started.
    pub(crate) fn start(count: i32) -> Self {
        let mut cluster = Self::without_brokers(count);
        (0..cluster.machines.len()).for_each(|at| cluster.start_one(at));
        cluster
    }

    pub(crate) fn without_brokers(count: i32) -> Self {
        let mut world = World::new();
        world.options.wal.in_bucket = true;
        world.options.wal.object_interval = Duration::from_millis(1);
        let meta = Arc::new(Embedded::open(&world.path("shared.redb")).unwrap());
        let machines = (0..count).map(|number| Machine::new(&world, &meta, number)).collect();
        Self { world, meta, machines, balance: BalanceOptions::default(), stores: 1 }
    }

    /// Another machine, whose broker has this number.
    pub(crate) fn add_machine(&mut self, number: i32) {
        let mut machine = Machine::new(&self.world, &self.meta, i32::try_from(self.machines.len()).unwrap());
        machine.options.node_number = Some(number);
        self.machines.push(machine);
    }

    pub(crate) fn start_one(&mut self, at: usize) {
        self.try_start_one(at).unwrap();
    }

    pub(crate) fn try_start_one(&mut self, at: usize) -> Result<(), StartError> {
        let machine = &mut self.machines[at];
        let nowhere = |port| HostPort { host: "localhost".to_owned(), port };
        let grpc = nowhere(grpc_port(machine.options.node_number.unwrap_or(i32::try_from(at).unwrap())));
        let cluster = ClusterOptions { lease_ttl: TTL, kafka: nowhere(1), grpc, balance: self.balance };
        let ports = Ports { disk: Arc::new(machine.disk.clone()), fail: machine.fail.clone(), ..self.world.ports() };
        let bucket = self.world.bucket.behind(&machine.faults);
        let join = Broker::join_on(bucket, Arc::new(machine.store.clone()), machine.options.clone(), cluster, ports);
        machine.node = Some(Node::start(join)?);
        Ok(())
    }

    /// Ships what the disk of a broker that is down holds, from another machine. It may fail there.
    pub(crate) fn adopt(&self, at: usize, fail: &FailPoints) -> Result<Adopted, StartError> {
        self.adopt_telling(at, fail, |_| {})
    }

    /// The same, and tells how far it is.
    pub(crate) fn adopt_telling(
        &self,
        at: usize,
        fail: &FailPoints,
        told: impl FnMut(AdoptProgress) + Send,
    ) -> Result<Adopted, StartError> {
        let machine = &self.machines[at];
        let store = Arc::new(Store::new(Arc::clone(&self.meta)));
        let ports = Ports { disk: Arc::new(machine.disk.clone()), fail: fail.clone(), ..self.world.ports() };
        let bucket = self.world.bucket.behind(&Faults::new());
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let options = Options { node_number: Some(0), ..machine.options.clone() };
        let adopted = runtime.block_on(Broker::adopt_on(bucket, store, options, TTL, ports, told));
        runtime.shutdown_timeout(PATIENCE);
        adopted
    }

    /// The process dies, and its lease ends.
    pub(crate) fn kill(&mut self, at: usize) {
        self.kill_unnoticed(at);
        self.expire(at);
    }

    /// The process dies, and its lease goes on for now.
    pub(crate) fn kill_unnoticed(&mut self, at: usize) {
        let machine = &mut self.machines[at];
        machine.disk = machine.disk.kill();
        machine.node.take().unwrap().end();
    }

    /// The power of a machine fails: of what was not synced, `seed` decides.
    pub(crate) fn cut_power(&mut self, at: usize, seed: u64) {
        let machine = &mut self.machines[at];
        machine.disk = machine.disk.crash(seed);
        machine.node.take().unwrap().end();
    }

    /// The lease of a broker ends, whatever the broker does.
    pub(crate) fn expire(&self, at: usize) {
        tokio::runtime::Runtime::new().unwrap().block_on(self.machines[at].store.expire());
    }

    pub(crate) fn stop(&mut self, at: usize) -> StopReport {
        self.machines[at].node.take().unwrap().stop()
    }

    pub(crate) fn stop_all(mut self) {
        for at in 0..self.machines.len() {
            if let Some(node) = self.machines[at].node.take() {
                node.stop();
            }
        }
    }

    pub(crate) fn node(&self, at: usize) -> &Node {
        self.machines[at].node.as_ref().unwrap()
    }

    /// The brokers that run, with their numbers.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = (usize, &Node)> {
        self.machines.iter().enumerate().filter_map(|(at, machine)| Some((at, machine.node.as_ref()?)))
    }

    fn any(&self) -> &Node {
        self.nodes().next().unwrap().1
    }

    /// Creates a topic and waits until every broker knows who leads it.
    pub(crate) fn create(&self, topic: &str, partitions: i32, configs: &[(&str, &str)]) -> TopicId {
        let id = self.any().create(topic, partitions, configs);
        for partition in 0..partitions {
            self.leader(topic, partition);
        }
        id
    }

    /// The leader of a partition, once all brokers agree on one that runs.
    pub(crate) fn leader(&self, topic: &str, partition: i32) -> usize {
        let of = |node: &Node| {
            let found = node.run(node.broker().describe_topic(&name(topic), false)).ok()?;
            usize::try_from(found.partitions.get(usize::try_from(partition).ok()?)?.leader?).ok()
        };
        eventually("a leader", || {
            let mut told: Vec<Option<usize>> = self.nodes().map(|(_, node)| of(node)).collect();
            told.dedup();
            match told[..] {
                [Some(leader)] => self.machines[leader].node.is_some().then_some(leader),
                _ => None,
            }
        })
    }

    /// Appends as a client does: to whoever leads, again if that is answered with a change of leaders.
    pub(crate) fn append(&self, topic: &str, partition: i32, records: &Bytes) -> Produced {
        eventually("an append", || {
            let leader = self.leader(topic, partition);
            self.node(leader).produce(topic, partition, records.clone()).ok()
        })
    }

    /// Everything in a partition.
    pub(crate) fn read(&self, topic: &str, partition: i32) -> Vec<Record> {
        eventually("a read", || self.try_read(topic, partition))
    }

    pub(crate) fn try_read(&self, topic: &str, partition: i32) -> Option<Vec<Record>> {
        let leader = self.leader(topic, partition);
        self.node(leader).try_read(topic, partition).ok()
    }

    pub(crate) fn read_values(&self, topic: &str, partition: i32) -> Vec<String> {
        self.read(topic, partition).into_iter().map(|(_, value)| String::from_utf8(value).unwrap()).collect()
    }

    /// The metadata store is gone, and an empty one in its place. Brokers that run still have the old one.
    pub(crate) fn lose_store(&mut self) {
        let path = self.world.path(&format!("shared-{}.redb", self.stores));
        self.stores += 1;
        self.meta = Arc::new(Embedded::open(&path).unwrap());
        let down = (0..self.machines.len()).filter(|at| self.machines[*at].node.is_none());
        down.collect::<Vec<_>>().into_iter().for_each(|at| self.follow_store(at));
    }

    /// A broker that does not run is told of the metadata store that there is now.
    pub(crate) fn follow_store(&mut self, at: usize) {
        self.machines[at].store = Store::new(Arc::clone(&self.meta));
    }

    /// Restores the cluster into the metadata store.
    pub(crate) fn restore(&self, discard: bool, fail: &FailPoints) -> Result<Restored, RestoreError> {
        let restore = self.restorer(discard, fail);
        run(restore.run(&|_| ()))
    }

    pub(crate) fn restorer(&self, discard: bool, fail: &FailPoints) -> Restore {
        let meta = Arc::clone(&self.meta) as _;
        Restore::on(self.world.bucket.clone(), self.world.options.clone(), meta, discard, fail.clone())
    }

    /// Keys of the metadata store below a prefix.
    pub(crate) fn keys(&self, prefix: &str) -> Vec<String> {
        let found = self.any().run(self.meta.range(prefix)).unwrap();
        found.into_iter().map(|(key, _)| key).collect()
    }
}

/// Does something while no broker need run.
pub(crate) fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap().block_on(work)
}

impl Machine {
    fn new(world: &World, meta: &Arc<Embedded>, number: i32) -> Self {
        let mut options = world.options.clone();
        options.node_number = Some(number);
        options.node_name = format!("node-{number}");
        options.data_dir = world.path(&format!("data-{number}"));
        let disk = SimDisk::new(u64::try_from(number).unwrap());
        make_durable_dir(&disk, &options.data_dir);
        Self {
            disk,
            faults: Faults::new(),
            fail: FailPoints::default(),
            options,
            store: Store::new(Arc::clone(meta)),
            node: None,
        }
    }
}
