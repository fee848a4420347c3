//! A machine with a broker on it, or without one.

mod trouble;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use runnel_blob::Bucket;
use runnel_blob::testing::Faults;
use runnel_broker::{
    BalanceOptions, Broker, CacheOptions, ClusterOptions, GroupOptions, HostPort, Options, Ports, SegmentOptions,
    StartError, StopReport, TopicOptions, WalOptions,
};
use runnel_runtime::disk::{Disk, SimDisk};
use runnel_runtime::simulation::Chance;
use runnel_runtime::{FailPoints, ManualClock};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

pub(crate) use trouble::{FAIL_POINTS, FAIL_POINTS_OF_A_RESTORE};

use crate::ambush::Trap;
use crate::directory::Directory;
use crate::host::Host;
use crate::network::Network;
use crate::store::{Access, Store};
use crate::swarm::{Rates, Swarm};
use crate::trace::Trace;

/// After so long without a sign of life a broker is taken for dead.
const TTL: Duration = Duration::from_secs(1);

/// What all machines share.
#[derive(Clone)]
pub(crate) struct Surroundings {
    pub(crate) bucket: Bucket,
    pub(crate) store: Store,
    pub(crate) network: Network,
    pub(crate) directory: Directory,
    pub(crate) trace: Trace,
    /// Where requests go on that outlive their sender.
    pub(crate) outside: Handle,
    /// Nothing goes wrong any more.
    pub(crate) calm: Arc<AtomicBool>,
}

impl Surroundings {
    /// The ways of somebody who is no broker, to the bucket and to the store.
    pub(crate) fn ways_of_an_operator(&self, rates: Rates, chance: &mut Chance) -> (Bucket, Access) {
        let (name, faults, mut luck) = ("operator".to_owned(), Faults::new(), Chance::new(chance.next()));
        let trace = self.trace.clone();
        let rates = if self.calm.load(Ordering::SeqCst) { Rates::NONE } else { rates };
        faults.decide(move |op, path| {
            let (fault, _) = trouble::fault(&mut luck, &rates, false, op);
            trace.note("operator", format_args!("bucket {op:?} {path} {fault:?}"));
            Some(fault)
        });
        let told = (self.trace.clone(), Trap::default());
        let luck = (Chance::new(chance.next()), Rates::NONE);
        (self.bucket.behind(&faults), Access::new(&self.store, name, told, self.outside.clone(), luck))
    }
}

/// The machine. What of it outlives its broker is its disk.
pub(crate) struct Machine {
    number: usize,
    around: Surroundings,
    options: Options,
    disk: SimDisk,
    clock: Arc<ManualClock>,
    faults: Faults,
    /// Requests to the bucket take long.
    is_slow: Arc<AtomicBool>,
    pub(crate) access: Access,
    pub(crate) fail: FailPoints,
    pub(crate) trap: Trap,
    /// Steps that its process sleeps through, and how long it has.
    paused: u64,
    slept: Duration,
    /// Steps without the bucket, and without the store; with slow ones.
    outage: u64,
    cut: u64,
    slow_bucket: u64,
    slow_store: u64,
    /// Steps with a full disk.
    full: u64,
    /// Steps in which it can change no record of a partition.
    obstructed: u64,
    /// Steps until it is taken for dead and sleeps, and for how long.
    nap: Option<(u64, u64)>,
    /// Steps until the power fails, and what then becomes of the disk.
    doom: Option<(u64, u64)>,
    /// The power may have failed in the middle of a write: what becomes of the disk at the next start.
    torn: Option<u64>,
    /// What its clock is ahead.
    skew_ms: i64,
    state: State,
}

enum State {
    Down,
    Starting(Host, JoinHandle<Result<Arc<Broker>, StartError>>),
    /// With what ends when the broker cannot go on.
    Up(Host, Arc<Broker>, JoinHandle<String>),
    Stopping(Host, JoinHandle<StopReport>),
}

impl Machine {
    pub(crate) fn new(
        number: usize,
        around: &Surroundings,
        data_dir: PathBuf,
        swarm: &Swarm,
        chance: &mut Chance,
    ) -> Self {
        let options = options(number, data_dir, swarm);
        let disk = SimDisk::new(chance.next());
        let name = format!("broker-{number}");
        let trap = Trap::default();
        let told = (around.trace.clone(), trap.clone());
        let luck = (Chance::new(chance.next()), swarm.rates);
        let access = Access::new(&around.store, name, told, around.outside.clone(), luck);
        let faults = Faults::new();
        faults.carry_with(around.outside.clone());
        let machine = Self {
            number,
            around: around.clone(),
            options,
            disk,
            clock: Arc::default(),
            faults,
            is_slow: Arc::default(),
            access,
            fail: FailPoints::default(),
            trap,
            paused: 0,
            slept: Duration::ZERO,
            outage: 0,
            cut: 0,
            slow_bucket: 0,
            slow_store: 0,
            full: 0,
            obstructed: 0,
            nap: None,
            doom: None,
            torn: None,
            skew_ms: 0,
            state: State::Down,
        };
        machine.make_data_dir();
        machine.disturb(swarm.rates, Chance::new(chance.next()));
        machine
    }

    pub(crate) fn name(&self) -> String {
        format!("broker-{}", self.number)
    }

    fn port(&self) -> u16 {
        u16::try_from(self.number).unwrap_or(0) + 1
    }

    fn make_data_dir(&self) {
        let made = self.disk.create_dir(&self.options.data_dir);
        let synced = made.and_then(|()| self.options.data_dir.ancestors().try_for_each(|dir| self.disk.sync_dir(dir)));
        if let Err(error) = synced {
            self.around.trace.note(&self.name(), format_args!("no data directory: {error}"));
        }
    }

    /// What its broker is set to.
    pub(crate) fn options(&self) -> Options {
        self.options.clone()
    }

    pub(crate) const fn is_down(&self) -> bool {
        matches!(self.state, State::Down)
    }

    pub(crate) const fn is_up(&self) -> bool {
        matches!(self.state, State::Up(..))
    }

    /// Whether it serves, and does not sleep.
    pub(crate) const fn is_well(&self) -> bool {
        self.is_up() && self.paused == 0
    }

    /// Begins to start a broker. It serves some steps later.
    pub(crate) fn start(&mut self) -> std::io::Result<()> {
        let host = Host::new()?;
        let nowhere = |port| HostPort { host: "127.0.0.1".to_owned(), port };
        let (kafka, grpc) = (nowhere(self.port()), nowhere(self.port()));
        let cluster = ClusterOptions { lease_ttl: TTL, kafka, grpc, balance: BalanceOptions::default() };
        let ports = Ports {
            clock: Arc::clone(&self.clock) as _,
            disk: Arc::new(self.disk.clone()),
            dial: Arc::new(self.around.network.clone()),
            fail: self.fail.clone(),
        };
        let bucket = self.around.bucket.behind(&self.faults);
        let join = Broker::join_on(bucket, Arc::new(self.access.clone()), self.options.clone(), cluster, ports);
        self.around.trace.note(&self.name(), format_args!("starts"));
        let starting = host.handle().spawn(join);
        self.state = State::Starting(host, starting);
        Ok(())
    }

    /// The process dies. Without power so does what the disk had not synced, as `seed` has it.
    pub(crate) fn kill(&mut self, power: Option<u64>) {
        self.around.trace.note(&self.name(), format_args!("dies, power {power:?}"));
        let power = power.or(self.torn.take());
        self.disk = power.map_or_else(|| self.disk.kill(), |seed| self.disk.crash(seed));
        self.torn = None;
        self.end();
    }

    fn end(&mut self) {
        self.around.directory.remove(self.number);
        self.around.network.hang_up(self.port());
        (self.paused, self.slept) = (0, Duration::ZERO);
        self.state = State::Down;
    }

    /// Begins a clean stop, if there is a broker to stop.
    pub(crate) fn stop(&mut self) -> bool {
        let is_up = self.is_up();
        self.state = match std::mem::replace(&mut self.state, State::Down) {
            State::Up(host, broker, failed) => {
                self.around.trace.note(&self.name(), format_args!("is stopped"));
                failed.abort();
                let stopping = host.handle().spawn(async move { broker.stop().await });
                State::Stopping(host, stopping)
            }
            other => other,
        };
        is_up
    }

    /// Lets the process live for a step, unless it sleeps; then sees what has become of it.
    pub(crate) fn live(&mut self, time: Duration, now_ms: i64) {
        self.clock.set(now_ms + self.skew_ms);
        self.go_by();
        let host = match &self.state {
            State::Down => return,
            State::Starting(host, _) | State::Up(host, ..) | State::Stopping(host, _) => host,
        };
        if self.paused > 0 {
            self.paused -= 1;
            self.slept += time;
            return;
        }
        if !self.slept.is_zero() {
            host.oversleep(std::mem::take(&mut self.slept));
        }
        host.live(time);
        self.state = match std::mem::replace(&mut self.state, State::Down) {
            State::Starting(host, starting) if starting.is_finished() => match host.wait(starting) {
                Some(Ok(broker)) => {
                    self.around.trace.note(&self.name(), format_args!("serves"));
                    self.around.network.listen(self.port());
                    self.around.directory.add(self.number, &broker, host.handle());
                    let watched = Arc::clone(&broker);
                    let failed = host.handle().spawn(async move { watched.failed().await.to_string() });
                    State::Up(host, broker, failed)
                }
                Some(Err(error)) => {
                    let folder = self.options.data_dir.display().to_string();
                    let why = error.to_string().replace(&folder, "");
                    self.around.trace.note(&self.name(), format_args!("does not start: {why}"));
                    State::Down
                }
                None => State::Down,
            },
            State::Up(host, broker, failed) if failed.is_finished() => {
                let why = host.wait(failed).unwrap_or_default();
                self.around.trace.note(&self.name(), format_args!("cannot go on: {why}"));
                self.kill(None);
                drop((broker, host));
                State::Down
            }
            State::Stopping(host, stopping) if stopping.is_finished() => {
                self.around.trace.note(&self.name(), format_args!("has stopped"));
                self.end();
                drop(host);
                State::Down
            }
            other => other,
        };
    }
}

fn options(number: usize, data_dir: PathBuf, swarm: &Swarm) -> Options {
    let mut storage = runnel_blob::Options::new("memory:");
    storage.request_timeout = Duration::from_millis(800);
    let wal = WalOptions::new(64 << 20, swarm.unshipped_bytes);
    Options {
        node_name: format!("broker-{number}"),
        node_number: i32::try_from(number).ok(),
        zone: None,
        data_dir,
        storage,
        wal: WalOptions {
            in_bucket: true,
            object_interval: swarm.object_interval,
            object_trim_every: swarm.trim_every,
            file_bytes: swarm.file_bytes,
            ..wal
        },
        segment: SegmentOptions {
            max_bytes: swarm.segment_bytes,
            max_age: swarm.segment_age,
            merge_bytes: swarm.merge_bytes,
            merge_after: Duration::ZERO,
        },
        cache: CacheOptions { memory: 64 << 20, disk: 0 },
        groups: groups(),
        topics: TopicOptions {
            auto_create: false,
            default_partitions: 1,
            default_retention_ms: -1,
            retention_check: Duration::from_millis(500),
            producer_expiration: Duration::from_secs(24 * 60 * 60),
        },
        shutdown_timeout: Duration::from_secs(3),
    }
}

/// Members are missed soon, so that they are within a run.
fn groups() -> GroupOptions {
    let mut groups = GroupOptions { offsets_partitions: 1, ..GroupOptions::default() };
    groups.coordinator.initial_rebalance_delay = Duration::from_millis(100);
    groups.coordinator.min_session_timeout = Duration::from_millis(100);
    groups
}
