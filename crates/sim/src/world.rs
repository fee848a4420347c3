//! The whole: machines, what lies between them, clients, and time.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use runnel_api::{Admin as _, CreateTopic};
use runnel_blob::Bucket;
use runnel_blob::testing::Faults;
use runnel_runtime::FailPoints;
use runnel_runtime::simulation::Chance;
use tokio::task::JoinHandle;

use crate::auditor;
use crate::clients::{self, GROUP, Log, MEMBERS, Shared, TOPIC};
use crate::directory::Directory;
use crate::faults;
use crate::host::Host;
use crate::kinds::Fault;
use crate::machine::{Machine, Surroundings};
use crate::network::Network;
use crate::operator;
use crate::store::Store;
use crate::swarm::Swarm;
use crate::trace::Trace;
use crate::{Error, Failure};

/// Simulated time from one step to the next.
pub(crate) const STEP: Duration = Duration::from_millis(5);

/// 2026-11-23, noon, UTC.
const NOON: i64 = 1_795_435_200_000;

/// Steps after which a cluster that nothing disturbs must have done what it has to.
const PATIENCE: u64 = 24_000;

/// Steps after which whoever writes and reads would have said that a disk is damaged.
const QUIET: u64 = 1_000;

/// A simulated cluster with its clients.
pub(crate) struct World {
    pub(crate) chance: Chance,
    pub(crate) swarm: Swarm,
    pub(crate) machines: Vec<Machine>,
    around: Surroundings,
    clients: Host,
    /// Where requests go on whose senders have given up, or are gone.
    outside: Host,
    shared: Shared,
    working: Vec<JoinHandle<()>>,
    /// Members of the group, who stay when others are through.
    members: Vec<JoinHandle<()>>,
    /// A restore that is under way.
    restoring: Option<JoinHandle<()>>,
    /// A broker that is down while what is on its disk alone is given up.
    writing_off: Option<(usize, JoinHandle<()>)>,
    /// How often everything was read.
    audits: u32,
    now_ms: u64,
    suffered: u64,
    /// Brokers that are down are started again, as whoever watches over processes does.
    restarts: bool,
    _dir: tempfile::TempDir,
}

impl World {
    pub(crate) fn new(seed: u64, off: &[Fault]) -> Result<Self, Error> {
        let mut chance = Chance::new(seed);
        let swarm = Swarm::of(&mut chance, off);
        // Only locks lie in files of their own.
        let dir = tempfile::tempdir()?;
        let mut storage = runnel_blob::Options::new("memory:");
        storage.request_timeout = Duration::from_millis(800);
        let bucket = Bucket::open_with_faults(&storage, FailPoints::default(), &Faults::new())?;
        let (directory, trace) = (Directory::default(), Trace::default());
        let shared = Shared::new(directory.clone(), trace.clone(), swarm.rots);
        let (network, outside) = (Network::default(), Host::new()?);
        let (store, carrier) = (Store::new(), outside.handle());
        let around = Surroundings { bucket, store, network, directory, trace, outside: carrier, calm: Arc::default() };
        around.trace.note("world", format_args!("{swarm:?}"));
        let machine =
            |number: usize| Machine::new(number, &around, dir.path().join(format!("{number}")), &swarm, &mut chance);
        let machines = (0..swarm.brokers).map(machine).collect();
        let (clients, working, members, audits) = (Host::new()?, Vec::new(), Vec::new(), 0);
        let (restoring, writing_off) = (None, None);
        let (now_ms, suffered, restarts, _dir) = (0, 0, true, dir);
        Ok(Self {
            chance,
            swarm,
            machines,
            around,
            clients,
            outside,
            shared,
            working,
            members,
            restoring,
            writing_off,
            audits,
            now_ms,
            suffered,
            restarts,
            _dir,
        })
    }

    /// The number of a machine.
    pub(crate) fn any(&mut self) -> usize {
        usize::try_from(self.chance.below(self.machines.len() as u64)).unwrap_or(0)
    }

    pub(crate) fn any_machine(&mut self) -> &mut Machine {
        let at = self.any();
        &mut self.machines[at]
    }

    pub(crate) fn store(&self) -> Store {
        self.around.store.clone()
    }

    pub(crate) fn trace(&self) -> &Trace {
        &self.around.trace
    }

    pub(crate) fn directory(&self) -> Directory {
        self.around.directory.clone()
    }

    /// Lets a client do something.
    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        drop(self.clients.handle().spawn(work));
    }

    /// The store loses everything or what is new, and somebody begins to make the cluster again. Not while somebody is at it.
    pub(crate) fn restore(&mut self, all: bool) -> bool {
        if self.restoring.is_some() {
            return false;
        }
        self.around.trace.note("operator", format_args!("the store is lost, all of it: {all}"));
        self.around.store.lose(all);
        self.machines.iter().for_each(|machine| machine.access.keep_out(true));
        let (around, options) = (self.around.clone(), self.machines[0].options());
        let work = operator::restore(around, options, self.swarm.rates, Chance::new(self.chance.next()));
        self.restoring = Some(self.clients.handle().spawn(work));
        true
    }

    /// Once a restore is through, brokers may find the store.
    fn see_restore_through(&mut self) {
        if self.restoring.take_if(|restoring| restoring.is_finished()).is_some() {
            self.machines.iter().for_each(|machine| machine.access.keep_out(false));
            self.around.store.keep();
        }
    }

    /// A broker is down, and an operator gives up what is on its disk alone. Not while somebody is at it.
    pub(crate) fn write_off(&mut self, at: usize) {
        if self.writing_off.is_some() {
            return;
        }
        self.around.trace.count_fault(Fault::WriteOff);
        let machine = &mut self.machines[at];
        if !machine.is_down() {
            machine.kill(None);
        }
        machine.access.expire();
        let (shared, chance) = (self.shared.clone(), Chance::new(self.chance.next()));
        let work = self.clients.handle().spawn(operator::write_off(shared, machine.name(), chance));
        self.writing_off = Some((at, work));
    }

    /// Once what a disk held is given up, its broker may come back with it. Whoever says that its disk is damaged is next.
    fn see_write_off_through(&mut self) {
        drop(self.writing_off.take_if(|(_, work)| work.is_finished()));
        if self.writing_off.is_none()
            && let Some(at) = self.shared.take_damaged()
        {
            self.write_off(at);
        }
    }

    /// Begins the work: all brokers, a topic, those who use it.
    pub(crate) fn begin(&mut self) -> Result<(), Failure> {
        self.until("all brokers", |world| world.machines.iter().all(Machine::is_up))?;
        let wanted = self.topic();
        let (directory, mut chance) = (self.directory(), Chance::new(self.chance.next()));
        let created = self.clients.handle().spawn(async move {
            loop {
                if let Some(at) = directory.any(&mut chance) {
                    let wanted = wanted.clone();
                    let asked = directory.ask(at, |broker| async move { broker.create_topic(wanted, false).await });
                    let exists = |error: &runnel_api::Error| error.kind == runnel_api::ErrorKind::TopicExists;
                    if asked.await.is_some_and(|done| done.is_ok() || done.is_err_and(|error| exists(&error))) {
                        return;
                    }
                }
                tokio::time::sleep(STEP).await;
            }
        });
        self.until("the topic", |_| created.is_finished())?;
        self.around.store.keep();
        self.set_to_work();
        Ok(())
    }

    /// The lasting topic.
    fn topic(&self) -> CreateTopic {
        let set = |name: &str, value: String| (name.to_owned(), Some(value));
        let durability = self.swarm.is_local.then(|| set("runnel.durability", "local".to_owned()));
        let retention = self.swarm.retention_bytes.map(|bytes| set("retention.bytes", bytes.to_string()));
        let times = self.swarm.append_time.then(|| set("message.timestamp.type", "LogAppendTime".to_owned()));
        let grace = set("file.delete.delay.ms", "500".to_owned());
        CreateTopic {
            name: TOPIC.to_owned(),
            partitions: Some(self.swarm.partitions),
            replication_factor: None,
            assignments: Vec::new(),
            configs: durability.into_iter().chain(retention).chain(times).chain([grace]).collect(),
        }
    }

    fn set_to_work(&mut self) {
        let Swarm {
            producers, batch, renews, partitions, retention_bytes, trims, topics, commits, members, asks, ..
        } = self.swarm;
        if retention_bytes.is_some() {
            self.shared.told.expires(TOPIC);
        }
        for number in 0..producers {
            self.work(|shared, chance| clients::produce(shared, (number, batch, renews), partitions, chance));
        }
        for partition in 0..partitions {
            self.work(|shared, chance| clients::consume(shared, Log::lasting(partition), chance));
        }
        if trims {
            self.work(|shared, chance| clients::trim(shared, partitions, chance));
        }
        if topics {
            self.work(clients::come_and_go);
        }
        if commits {
            self.work(clients::commit);
        }
        if asks {
            self.work(|shared, chance| clients::ask_for_times(shared, partitions, chance));
        }
        for number in 0..members {
            let member = self.client(|shared, chance| clients::belong(shared, number, partitions, chance));
            self.members.push(member);
        }
    }

    fn work<F>(&mut self, client: impl FnOnce(Shared, Chance) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let work = self.client(client);
        self.working.push(work);
    }

    fn client<F>(&mut self, client: impl FnOnce(Shared, Chance) -> F) -> JoinHandle<()>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let work = client(self.shared.clone(), Chance::new(self.chance.next()));
        self.clients.handle().spawn(work)
    }

    /// So many steps in which things go wrong.
    pub(crate) fn suffer(&mut self, steps: u64) -> Result<(), Failure> {
        for _ in 0..steps {
            self.suffered += 1;
            faults::strike(self);
            self.restarts = self.chance.permille(10);
            self.step()?;
        }
        self.restarts = true;
        Ok(())
    }

    /// Steps so far in which things went wrong.
    pub(crate) const fn suffered(&self) -> u64 {
        self.suffered
    }

    /// Everything works again: all work must end well, and everything that was acknowledged be there.
    pub(crate) fn recover(&mut self) -> Result<(), Failure> {
        self.around.calm.store(true, Ordering::SeqCst);
        for machine in &mut self.machines {
            machine.heal(Chance::new(self.chance.next()));
        }
        self.until("the end of a restore", |world| world.restoring.is_none())?;
        self.see_damage_through()?;
        self.shared.end();
        self.until("the end of all that was begun", |world| world.working.iter().all(JoinHandle::is_finished))?;
        self.see_group_through()?;
        self.check()?;
        if self.swarm.rots {
            // Damage that hides whom it hit is told of at every start, until somebody says that it does not matter.
            return Ok(());
        }
        let sessions = format!("the end of all sessions but those of {} brokers", self.machines.len());
        self.until(&sessions, |world| world.around.store.keys("s/").len() == world.machines.len())
    }

    /// All start once more and read what their disks hold; what is damaged there is given up.
    fn see_damage_through(&mut self) -> Result<(), Failure> {
        if !self.swarm.rots {
            return Ok(());
        }
        self.machines.iter_mut().filter(|machine| !machine.is_down()).for_each(|machine| machine.kill(None));
        let mut quiet = 0;
        self.until("the end of what is done about disks", |world| {
            quiet = if world.writing_off.is_none() { quiet + 1 } else { 0 };
            quiet > QUIET
        })
    }

    /// A group gets all that was written, shared among all of its members, and commits it.
    fn see_group_through(&mut self) -> Result<(), Failure> {
        let Swarm { members, partitions, .. } = self.swarm;
        if members == 0 {
            return Ok(());
        }
        let since = self.shared.told.moment();
        let through = self.until("a group that has read and committed all", |world| {
            world.shared.is_group_through(members, partitions)
        });
        self.shared.told.patience(MEMBERS, since);
        through?;
        self.shared.dismiss();
        self.until("the end of all members", |world| world.members.iter().all(JoinHandle::is_finished))
    }

    /// All die at once, and everything is there afterwards.
    pub(crate) fn die_and_check(&mut self) -> Result<(), Failure> {
        for machine in &mut self.machines {
            machine.kill(None);
        }
        self.check()
    }

    /// What an auditor finds in the bucket.
    pub(crate) fn audit(&self) -> Result<(), Failure> {
        let bucket = self.around.bucket.clone();
        let looked = self.clients.handle().spawn(async move { auditor::look(&bucket).await });
        match self.clients.wait(looked) {
            Some(Ok((seen, wrong))) if wrong.is_empty() => {
                self.around.trace.note("auditor", format_args!("{seen:?}"));
                Ok(())
            }
            Some(Ok((_, wrong))) => Err(Failure::Wrong(format!("the bucket: {}", wrong.join("\n")))),
            Some(Err(error)) => Err(Failure::Wrong(error.to_string())),
            None => self.judge(),
        }
    }

    /// What the judge finds in all that clients were told.
    pub(crate) fn verdict(&self) -> Option<String> {
        self.shared.told.verdict()
    }

    /// Everything is read once more, also what is committed.
    fn check(&mut self) -> Result<(), Failure> {
        self.audits += 1;
        let (audit, first) = (self.audits, self.working.len());
        for partition in 0..self.swarm.partitions {
            let name = format!("audit-{audit}-{partition}");
            self.work(|shared, chance| clients::audit(shared, name, Log::lasting(partition), chance));
        }
        if self.swarm.commits {
            self.work(|shared, chance| clients::read_committed(shared, GROUP, 0, chance));
        }
        if self.swarm.members > 0 {
            for partition in 0..self.swarm.partitions {
                self.work(|shared, chance| clients::read_committed(shared, MEMBERS, partition, chance));
            }
        }
        self.until("a read of everything", |world| world.working[first..].iter().all(JoinHandle::is_finished))
    }

    fn until(&mut self, what: &str, mut done: impl FnMut(&mut Self) -> bool) -> Result<(), Failure> {
        for _ in 0..PATIENCE {
            if done(self) {
                return Ok(());
            }
            self.step()?;
        }
        Err(Failure::Stuck { what: what.to_owned(), steps: PATIENCE })
    }

    /// Everybody lives for a moment, in an order that the seed decides.
    fn step(&mut self) -> Result<(), Failure> {
        self.now_ms += u64::try_from(STEP.as_millis()).unwrap_or(0);
        self.around.trace.set_now(self.now_ms);
        if self.restarts {
            let gone = self.writing_off.as_ref().map(|(at, _)| *at);
            let down =
                self.machines.iter_mut().enumerate().filter(|(at, machine)| machine.is_down() && gone != Some(*at));
            for (_, machine) in down {
                machine.start()?;
            }
        }
        self.see_restore_through();
        self.see_write_off_through();
        self.around.store.advance(self.now_ms);
        let now_ms = NOON + i64::try_from(self.now_ms).unwrap_or(0);
        let (count, clients) = (self.machines.len() + 2, self.machines.len());
        let mut order: Vec<usize> = (0..count).collect();
        for at in (1..order.len()).rev() {
            order.swap(at, usize::try_from(self.chance.below(at as u64 + 1)).unwrap_or(0));
        }
        for at in order {
            match self.machines.get_mut(at) {
                Some(machine) => machine.live(STEP, now_ms),
                None if at == clients => self.clients.live(STEP),
                None => self.outside.live(STEP),
            }
        }
        self.judge()
    }

    fn judge(&self) -> Result<(), Failure> {
        if let Some(panic) = crate::trace::panicked() {
            return Err(Failure::Panic(panic));
        }
        self.shared.verdict().map_or(Ok(()), |why| Err(Failure::Wrong(why)))
    }
}
