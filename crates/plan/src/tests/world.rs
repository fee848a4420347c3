//! A cluster that carries steps out: brokers that die, come back, leave and stay; partitions that are written and shipped.

use std::collections::BTreeMap;

use super::*;

/// A step comes into effect in the partition's record.
pub(super) fn apply(partition: &mut PartitionView, step: Step) {
    match step {
        Step::Fence { .. } => {}
        Step::Assign { epoch, to, .. } => {
            let local = partition.record.take().map_or_else(Vec::new, |led| led.local);
            partition.record = Some(Led { epoch, leader: Some(to), move_to: None, local });
        }
        Step::Unmove { .. } => partition.record.as_mut().unwrap().move_to = None,
        Step::Move { to, .. } => partition.record.as_mut().unwrap().move_to = Some(to),
    }
}

/// The leader hands over, if it was asked to: everything is shipped.
pub(super) fn arrive(partition: &mut PartitionView) {
    if let Some(led) = &mut partition.record
        && let Some(to) = led.move_to.take()
    {
        *led = Led { epoch: LeaderEpoch(led.epoch.0 + 1), leader: Some(to), move_to: None, local: Vec::new() };
    }
}

/// A broker, alive or not.
#[derive(Debug)]
struct Broker {
    view: BrokerView,
    alive: bool,
}

#[derive(Debug)]
pub(super) struct World {
    brokers: Vec<Broker>,
    sessions: BTreeMap<u64, SessionView>,
    pub(super) partitions: Vec<PartitionView>,
    next_session: u64,
}

impl World {
    pub(super) fn new(brokers: i32) -> Self {
        let brokers = (0..brokers).map(|id| {
            let zone = [Some("a"), Some("b"), None][usize::try_from(id).unwrap() % 3].map(str::to_owned);
            Broker { view: BrokerView { zone, ..broker(id) }, alive: false }
        });
        Self { brokers: brokers.collect(), sessions: BTreeMap::new(), partitions: Vec::new(), next_session: 1 }
    }

    pub(super) fn alive(&self) -> Vec<BrokerView> {
        self.brokers.iter().filter(|broker| broker.alive).map(|broker| broker.view.clone()).collect()
    }

    pub(super) fn sessions(&self) -> Vec<SessionView> {
        self.sessions.values().copied().collect()
    }

    pub(super) fn decide(&self, limits: Limits) -> Decision {
        decide(&self.alive(), &self.sessions(), &self.partitions, limits)
    }

    /// Brokers that may lead.
    pub(super) fn able(&self) -> Vec<BrokerView> {
        let able = |broker: &BrokerView| !broker.draining && self.is_active(broker.session);
        self.alive().into_iter().filter(able).collect()
    }

    pub(super) fn is_able(&self, session: u64) -> bool {
        let leaves = |broker: &Broker| broker.view.session == session && broker.view.draining;
        self.is_alive(session) && self.is_active(session) && !self.brokers.iter().any(leaves)
    }

    pub(super) fn is_alive(&self, session: u64) -> bool {
        self.brokers.iter().any(|broker| broker.alive && broker.view.session == session)
    }

    pub(super) fn is_active(&self, session: u64) -> bool {
        self.sessions.get(&session).is_some_and(|one| one.state == SessionState::Active)
    }

    /// A broker starts, or starts again, in a new session.
    pub(super) fn start(&mut self, broker: usize) {
        let count = self.brokers.len();
        let Broker { view, alive } = &mut self.brokers[broker % count];
        if !*alive {
            (view.session, *alive) = (self.next_session, true);
            self.next_session += 1;
            let record = SessionView { session: view.session, disk: view.disk, state: SessionState::Active };
            self.sessions.insert(view.session, record);
        }
    }

    pub(super) fn kill(&mut self, broker: usize) {
        let count = self.brokers.len();
        self.brokers[broker % count].alive = false;
    }

    pub(super) fn drain(&mut self, broker: usize, leaves: bool) {
        let count = self.brokers.len();
        self.brokers[broker % count].view.draining = leaves;
    }

    pub(super) fn create(&mut self, topic: u128, traffic: u64) {
        let n = i32::try_from(self.partitions.len()).unwrap();
        self.partitions.push(PartitionView { tp: tp(topic, n), record: None, traffic, settled: true });
    }

    /// A step takes effect, if the world has not moved on.
    pub(super) fn carry_out(&mut self, step: Step) {
        match step {
            Step::Fence { session } => self.sessions.get_mut(&session).unwrap().state = SessionState::Fencing,
            Step::Assign { tp, .. } | Step::Move { tp, .. } | Step::Unmove { tp } => {
                apply(self.partitions.iter_mut().find(|one| one.tp == tp).unwrap(), step);
            }
        }
    }

    /// All lanes of sessions that are fenced are sealed; what is over and not needed is forgotten.
    pub(super) fn seal(&mut self, forget: bool) {
        let fenced = self.sessions.values_mut().filter(|one| one.state == SessionState::Fencing);
        fenced.for_each(|one| one.state = SessionState::Sealed);
        if forget {
            self.sessions.retain(|_, one| one.state == SessionState::Active);
        }
    }

    /// A leader writes to its own disk.
    pub(super) fn write(&mut self, one: usize) {
        let disks: BTreeMap<u64, Uuid> = self.alive().iter().map(|broker| (broker.session, broker.disk)).collect();
        let Some(led) = self.pick(one).and_then(|one| one.record.as_mut()) else { return };
        if let Some(disk) = led.leader.and_then(|leader| disks.get(&leader)) {
            led.local.push(*disk);
        }
    }

    /// A leader ships what it has.
    pub(super) fn ship(&mut self, one: usize) {
        if self.is_led_alive(one) {
            self.pick(one).unwrap().record.as_mut().unwrap().local.clear();
        }
    }

    /// A leader that was asked to hands over, if there is somebody who takes it.
    pub(super) fn hand_over(&mut self, one: usize) -> bool {
        let to = self.pick(one).and_then(|one| one.record.as_ref()?.move_to);
        let moves = self.is_led_alive(one) && to.is_some_and(|to| self.is_alive(to) && self.is_active(to));
        if moves {
            arrive(self.pick(one).unwrap());
        }
        moves
    }

    /// A leader stops, and nobody leads.
    pub(super) fn resign(&mut self, one: usize) {
        if let Some(led) = self.pick(one).and_then(|one| one.record.as_mut()) {
            (led.leader, led.move_to) = (None, None);
        }
    }

    pub(super) fn set_traffic(&mut self, one: usize, traffic: u64) {
        if let Some(one) = self.pick(one) {
            one.traffic = traffic;
        }
    }

    fn is_led_alive(&mut self, one: usize) -> bool {
        let leader = self.pick(one).and_then(|one| one.record.as_ref()?.leader);
        leader.is_some_and(|leader| self.is_alive(leader) && self.is_active(leader))
    }

    fn pick(&mut self, one: usize) -> Option<&mut PartitionView> {
        let count = self.partitions.len();
        self.partitions.get_mut(one % count.max(1))
    }
}
