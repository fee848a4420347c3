//! One decision, from everything that is known.

use runnel_record::{LeaderEpoch, TopicPartition};
use uuid::Uuid;

use crate::case::Case;
use crate::place::Placement;
use crate::roster::Roster;
use crate::{BrokerView, Limits, PartitionView, SessionView};

/// Something to be done; each may fail, be late or be left out: the next decision sees what became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// A session that is not alive shall add no lanes any more, and its lanes be sealed.
    Fence {
        /// The session.
        session: u64,
    },
    /// A partition that nobody leads, or somebody who is over, gets a leader. A move that was asked for is void.
    Assign {
        /// The partition.
        tp: TopicPartition,
        /// The epoch of the new leader.
        epoch: LeaderEpoch,
        /// The new leader's session.
        to: u64,
    },
    /// What a leader was asked to hand over stays with it.
    Unmove {
        /// The partition.
        tp: TopicPartition,
    },
    /// A leader is asked to hand over, whatever it was asked before.
    Move {
        /// The partition.
        tp: TopicPartition,
        /// The leader's session.
        from: u64,
        /// The session that shall lead.
        to: u64,
    },
}

/// A partition that cannot be led: a part of it lies on a disk alone, and no broker that is alive has that disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Waiting {
    /// The partition.
    pub tp: TopicPartition,
    /// The disk.
    pub disk: Uuid,
}

/// What is to be done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Decision {
    /// In the order in which it should be done, at most one for a partition.
    pub steps: Vec<Step>,
    /// In the order of the partitions.
    pub waiting: Vec<Waiting>,
}

/// Decides. `sessions` and `partitions` are all there are; the order of what is given does not matter.
pub fn decide(
    brokers: &[BrokerView],
    sessions: &[SessionView],
    partitions: &[PartitionView],
    limits: Limits,
) -> Decision {
    let roster = Roster::new(brokers, sessions);
    let cases: Vec<Case> = partitions.iter().map(|one| Case::of(one.record.as_ref(), &roster)).collect();
    let mut placement = Placement::new(&roster.able, partitions, &cases);
    placement.lead_the_leaderless();
    // What has no leader comes first; where it ends up is not known before it has one.
    if cases.iter().all(|case| matches!(case, Case::Led { .. } | Case::Waits(_) | Case::Fixed)) {
        placement.even_out(limits);
    }

    let fences = roster.silent().take(limits.fences.max(1)).map(|session| Step::Fence { session });
    let places = partitions.iter().zip(&cases).zip(placement.places());
    let mut steps: Vec<Step> =
        fences.chain(places.filter_map(|((one, case), to)| step(one, *case, to, &roster))).collect();
    let mut waiting: Vec<Waiting> =
        partitions.iter().zip(&cases).filter_map(|(one, case)| case.waits_for(one.tp)).collect();
    steps.sort_unstable();
    waiting.sort_unstable();
    Decision { steps, waiting }
}

/// What brings a partition to where it shall be.
fn step(partition: &PartitionView, case: Case, to: Option<usize>, roster: &Roster<'_>) -> Option<Step> {
    let tp = partition.tp;
    let session = to.map(|to| roster.able[to].session);
    match case {
        Case::Open | Case::Pinned(_) => {
            let epoch = partition.record.as_ref().map_or(LeaderEpoch::ZERO, |led| LeaderEpoch(led.epoch.0 + 1));
            session.map(|to| Step::Assign { tp, epoch, to })
        }
        Case::Returns(to) => {
            let epoch = LeaderEpoch(partition.record.as_ref()?.epoch.0 + 1);
            Some(Step::Assign { tp, epoch, to })
        }
        Case::Led { home, .. } => {
            let led = partition.record.as_ref()?;
            let wanted = if to == home { None } else { session };
            match (wanted, led.move_to) {
                (wanted, asked) if wanted == asked => None,
                (Some(to), _) => led.leader.map(|from| Step::Move { tp, from, to }),
                (None, _) => Some(Step::Unmove { tp }),
            }
        }
        Case::Waits(_) | Case::Silent | Case::Fixed => None,
    }
}
