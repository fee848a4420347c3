//! What may become of a partition, by its record and by who is alive.

use runnel_record::TopicPartition;
use uuid::Uuid;

use crate::roster::{Roster, Standing};
use crate::{Led, Waiting};

/// What may become of a partition. Brokers are places among those that may lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Case {
    /// Nobody leads it, and anyone may.
    Open,
    /// Nobody leads it, and only this broker may.
    Pinned(usize),
    /// Nobody leads it, and only this session may, whose broker leaves: it ships what only its disk holds, then hands over.
    Returns(u64),
    /// Nobody leads it, and nobody may before this disk is back.
    Waits(Uuid),
    /// Its leader is to be fenced.
    Silent,
    /// It has a leader that not much is known of, and keeps it.
    Fixed,
    /// It has a leader.
    Led {
        /// The leader, if it may go on leading.
        home: Option<usize>,
        /// Whom the partition is on its way to.
        asked: Option<usize>,
    },
}

impl Case {
    pub(crate) fn of(record: Option<&Led>, roster: &Roster<'_>) -> Self {
        let Some(led) = record else { return Self::Open };
        let home = match led.leader.map_or(Standing::Over, |leader| roster.standing(leader)) {
            Standing::Able(home) => Some(home),
            Standing::Draining => None,
            Standing::New => return Self::Fixed,
            Standing::Silent => return Self::Silent,
            Standing::Over => return Self::leaderless(&led.local, roster),
        };
        // A move to somebody who is gone, or who leaves, is none.
        let asked = led.move_to.and_then(|to| match roster.standing(to) {
            Standing::Able(to) => Some(to),
            Standing::Draining | Standing::New | Standing::Silent | Standing::Over => None,
        });
        Self::Led { home, asked }
    }

    /// It goes where the disk is that it needs. If it needs several, nobody can read them all.
    fn leaderless(local: &[Uuid], roster: &Roster<'_>) -> Self {
        let Some(first) = local.first() else { return Self::Open };
        if local.iter().all(|disk| disk == first) {
            let leaves = || roster.leaving_with_disk(*first).map(Self::Returns);
            return roster.with_disk(*first).map(Self::Pinned).or_else(leaves).unwrap_or(Self::Waits(*first));
        }
        Self::Waits(*local.iter().find(|disk| roster.with_disk(**disk).is_none()).unwrap_or(first))
    }

    pub(crate) fn waits_for(self, tp: TopicPartition) -> Option<Waiting> {
        match self {
            Self::Waits(disk) => Some(Waiting { tp, disk }),
            Self::Open | Self::Pinned(_) | Self::Returns(_) | Self::Silent | Self::Fixed | Self::Led { .. } => None,
        }
    }
}
