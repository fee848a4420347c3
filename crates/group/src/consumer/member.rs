//! A member: what it asks for, and how far it has come.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use runnel_record::TopicId;

use crate::error::Error;
use crate::partitions::Partitions;

/// How far a member is on its way to the target; the numbers are those of its record.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum MemberState {
    /// It has what it was to have at its epoch.
    #[default]
    Stable = 0,
    /// It has to let partitions go first.
    Unrevoked = 1,
    /// It waits for partitions that others still have.
    Unreleased = 2,
}

impl MemberState {
    /// A state that a later release wrote is one to go on from: what is missing is found anew.
    pub(super) const fn from_record(state: i8) -> Self {
        match state {
            0 => Self::Stable,
            1 => Self::Unrevoked,
            _ => Self::Unreleased,
        }
    }
}

/// What a member of the classic protocol brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Classic {
    pub(super) session_timeout: Duration,
    /// What it supports, best first: name and metadata.
    pub(super) protocols: Vec<(String, Bytes)>,
}

/// When a member is removed that does not do what it should by then.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Timers {
    /// Give a sign of life.
    pub(super) session: Duration,
    /// Let partitions go, while it is at this epoch.
    pub(super) rebalance: Option<(Duration, i32)>,
    /// Of the classic protocol: rejoin, having been told to.
    pub(super) join: Option<Duration>,
    /// Of the classic protocol: fetch the assignment, having joined.
    pub(super) sync: Option<Duration>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Member {
    pub(super) instance_id: Option<String>,
    pub(super) rack: Option<String>,
    pub(super) client_id: String,
    pub(super) client_host: String,
    /// In order, each once.
    pub(super) topics: Vec<String>,
    pub(super) pattern: Option<String>,
    pub(super) rebalance_timeout: Duration,
    pub(super) assignor: Option<String>,
    pub(super) classic: Option<Classic>,

    pub(super) epoch: i32,
    /// The epoch before, in case that the member did not hear of the present one.
    pub(super) previous_epoch: i32,
    pub(super) state: MemberState,
    /// What it may read.
    pub(super) assigned: Partitions,
    /// What it has to let go.
    pub(super) revoking: Partitions,
    /// The epoch at which it was given each partition that it holds: what it commits for one is its own from then on.
    pub(super) since: BTreeMap<(TopicId, i32), i32>,

    pub(super) timers: Timers,
}

impl Member {
    /// What it holds as far as anyone knows.
    pub(super) fn holds(&self) -> impl Iterator<Item = (TopicId, i32)> {
        self.assigned.iter().chain(self.revoking.iter())
    }

    pub(super) fn bytes(&self) -> usize {
        let names = self.topics.iter().map(|name| size_of::<String>() + name.len()).sum::<usize>();
        let optional = [&self.instance_id, &self.rack, &self.pattern, &self.assignor];
        let optional = optional.into_iter().flatten().map(String::len).sum::<usize>();
        let protocols = self.classic.iter().flat_map(|classic| &classic.protocols);
        let protocols = protocols.map(|(name, metadata)| name.len() + metadata.len()).sum::<usize>();
        names + optional + protocols + self.client_id.len() + self.client_host.len()
    }

    /// Whether what its record says of it, its assignment aside, is the same.
    pub(super) fn has_settings_of(&self, other: &Self) -> bool {
        let settings = |m: &Self| (m.rebalance_timeout, m.instance_id.clone(), m.rack.clone(), m.assignor.clone());
        self.reads_as(other)
            && settings(self) == settings(other)
            && (&self.client_id, &self.client_host, &self.classic)
                == (&other.client_id, &other.client_host, &other.classic)
    }

    /// Whether it subscribes to the same.
    pub(super) fn reads_as(&self, other: &Self) -> bool {
        (&self.topics, &self.pattern) == (&other.topics, &other.pattern)
    }

    /// Whether its assignment, as its record has it, is the same.
    pub(super) fn stands_as(&self, other: &Self) -> bool {
        (self.epoch, self.previous_epoch, self.state) == (other.epoch, other.previous_epoch, other.state)
            && (&self.assigned, &self.revoking) == (&other.assigned, &other.revoking)
            && self.since == other.since
    }

    /// Whether it has all that it is to have.
    pub(super) fn is_at(&self, target_epoch: i32) -> bool {
        self.state == MemberState::Stable && self.epoch == target_epoch
    }

    /// Whether one that comes with this epoch is the member. It may not have heard of its present one; then it must hold
    /// nothing that it does not have by now.
    pub(super) fn check_epoch(&self, epoch: i32, owned: Option<&Partitions>) -> Result<(), Error> {
        let deaf = epoch == self.previous_epoch && owned.is_some_and(|owned| owned.is_subset(&self.assigned));
        if epoch == self.epoch || (epoch < self.epoch && deaf) { Ok(()) } else { Err(Error::FencedMemberEpoch) }
    }

    /// Moves to an epoch.
    pub(super) fn move_to(&mut self, epoch: i32) {
        self.previous_epoch = self.epoch;
        self.epoch = epoch;
    }
}
