//! Sessions: what a partition may expect of the one that leads it, or is to lead it.

use std::collections::BTreeMap;

use runnel_format::meta::SessionState;
use uuid::Uuid;

use crate::{BrokerView, SessionView};

/// A session as a leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It may lead: its place among those that may.
    Able(usize),
    /// It leads what it has until it has handed it over.
    Draining,
    /// Its broker is alive, and the store was read before it was there: nothing is taken from it nor given to it.
    New,
    /// Nobody hears of it, and it may still write: it must be fenced.
    Silent,
    /// It writes no more, or cannot without being noticed.
    Over,
}

/// All sessions.
pub(crate) struct Roster<'a> {
    /// Brokers that may lead, by number.
    pub(crate) able: Vec<&'a BrokerView>,
    standing: BTreeMap<u64, Standing>,
    disks: BTreeMap<Uuid, usize>,
    /// The sessions of brokers that leave and may write, by disk.
    leaving: BTreeMap<Uuid, u64>,
}

impl<'a> Roster<'a> {
    pub(crate) fn new(brokers: &'a [BrokerView], sessions: &[SessionView]) -> Self {
        let states: BTreeMap<u64, SessionState> = sessions.iter().map(|one| (one.session, one.state)).collect();
        let active = |broker: &&BrokerView| states.get(&broker.session) == Some(&SessionState::Active);
        let mut able: Vec<&BrokerView> = brokers.iter().filter(|one| !one.draining).filter(active).collect();
        able.sort_by_key(|broker| (broker.id, broker.session));

        // What each line says of a session is overruled by the next: a fenced session is over, however alive its broker.
        let mut standing: BTreeMap<u64, Standing> = states.keys().map(|session| (*session, Standing::Silent)).collect();
        standing.extend(
            brokers.iter().map(|one| (one.session, if one.draining { Standing::Draining } else { Standing::New })),
        );
        standing.extend(able.iter().enumerate().map(|(at, one)| (one.session, Standing::Able(at))));
        let over = states.iter().filter(|(_, state)| **state != SessionState::Active);
        standing.extend(over.map(|(session, _)| (*session, Standing::Over)));

        let disks = able.iter().enumerate().map(|(at, one)| (one.disk, at)).collect();
        let leaving = brokers.iter().filter(|one| one.draining).filter(active);
        let leaving = leaving.map(|one| (one.disk, one.session)).collect();
        Self { able, standing, disks, leaving }
    }

    pub(crate) fn standing(&self, session: u64) -> Standing {
        self.standing.get(&session).copied().unwrap_or(Standing::Over)
    }

    /// The place of the broker that may lead and has a disk.
    pub(crate) fn with_disk(&self, disk: Uuid) -> Option<usize> {
        self.disks.get(&disk).copied()
    }

    /// The session of the broker that leaves with a disk.
    pub(crate) fn leaving_with_disk(&self, disk: Uuid) -> Option<u64> {
        self.leaving.get(&disk).copied()
    }

    /// Sessions that must be fenced, in their order.
    pub(crate) fn silent(&self) -> impl Iterator<Item = u64> {
        self.standing.iter().filter(|(_, standing)| **standing == Standing::Silent).map(|(session, _)| *session)
    }
}
