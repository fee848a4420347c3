//! One group of the classic protocol: its members, its generation, its offsets.
//!
//! The verbs are in files of their own; this one has what they share. Kafka's *Dead* has no value here: a group of which
//! nothing is left is not there.

mod commit;
mod heartbeat;
mod join;
mod leave;
mod log;
mod modern;
mod rebalance;
mod show;
mod subscription;
mod sync;
mod timers;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use runnel_guard::{Guard, holds};

use crate::consumer::ConsumerGroup;
use crate::error::Error;
use crate::offsets::Offsets;
use crate::requests::{GroupState, Membership};
use crate::shard::Token;
use crate::weight;

/// A rebalance waits at least this long, whatever its members ask for: less would be over before anyone can answer.
const MIN_REBALANCE: Duration = Duration::from_secs(1);

/// A member.
#[derive(Debug)]
struct Member {
    instance_id: Option<String>,
    client_id: String,
    client_host: String,
    session_timeout: Duration,
    rebalance_timeout: Duration,
    /// What it supports, best first: name and metadata.
    protocols: Vec<(String, Bytes)>,
    assignment: Bytes,
    /// The order in which members came; the oldest leads.
    number: u64,
    /// Its join request, while that waits.
    joining: Option<Token>,
    /// Its sync request, while that waits.
    syncing: Option<Token>,
    /// It has asked for its assignment in this generation.
    synced: bool,
    /// It has not been in a generation yet: nobody knows whether its client has heard of it.
    new: bool,
    /// When it is removed unless it gives a sign of life.
    deadline: Duration,
}

impl Member {
    fn supports(&self, name: &str) -> bool {
        self.protocols.iter().any(|(protocol, _)| protocol == name)
    }

    fn metadata(&self, name: &str) -> Bytes {
        self.protocols.iter().find(|(protocol, _)| protocol == name).map(|(_, m)| m.clone()).unwrap_or_default()
    }

    fn bytes(&self) -> usize {
        self.client_id.len() + self.assignment.len() + bytes_of(&self.protocols)
    }
}

/// Bytes that a member's protocols take.
fn bytes_of(protocols: &[(String, Bytes)]) -> usize {
    protocols.iter().map(|(name, metadata)| size_of::<(String, Bytes)>() + name.len() + metadata.len()).sum()
}

/// A rebalance that waits for members.
#[derive(Debug)]
struct Rebalance {
    /// When it goes on without those that are missing.
    deadline: Duration,
    /// For a group's first members: how much longer it may be put off if more come (KIP-134).
    initial: Option<Duration>,
    /// A member came since the deadline was set.
    grew: bool,
}

/// A group.
#[derive(Debug)]
pub(crate) struct Group {
    id: String,
    state: GroupState,
    /// When it came into its state, ms since the Unix epoch.
    since: i64,
    generation: i32,
    protocol_type: Option<String>,
    protocol: Option<String>,
    leader: Option<String>,
    members: BTreeMap<String, Member>,
    /// Member ids of static members, by instance id.
    instances: BTreeMap<String, String>,
    /// Members that were given an id and have not come back with it, and until when they may.
    pending: BTreeMap<String, Duration>,
    rebalance: Option<Rebalance>,
    /// When members that did not ask for their assignment are removed.
    sync_deadline: Option<Duration>,
    next_number: u64,
    pub(crate) offsets: Offsets,
    /// What it is in the consumer protocol: while there is this, all of the above but the offsets is that of a group that
    /// nobody has joined.
    pub(crate) consumer: Option<Box<ConsumerGroup>>,
    /// When it wants to be looked at, or earlier.
    pub(crate) wake: Option<Duration>,
    /// When the coordinator will look at it.
    pub(crate) scheduled: Option<Duration>,
    /// What its members took when they were weighed last.
    pub(crate) members_weight: usize,
    /// What it takes as the coordinator has counted it.
    pub(crate) counted: usize,
}

impl Group {
    pub(crate) fn new(id: String) -> Self {
        Self {
            id,
            state: GroupState::Empty,
            since: -1,
            generation: 0,
            protocol_type: None,
            protocol: None,
            leader: None,
            members: BTreeMap::new(),
            instances: BTreeMap::new(),
            pending: BTreeMap::new(),
            rebalance: None,
            sync_deadline: None,
            next_number: 0,
            offsets: Offsets::default(),
            consumer: None,
            wake: None,
            scheduled: None,
            members_weight: 0,
            counted: 0,
        }
    }

    /// Nothing would be lost if it were not there.
    pub(crate) fn is_trivial(&self) -> bool {
        self.members.is_empty()
            && self.pending.is_empty()
            && self.generation == 0
            && self.rebalance.is_none()
            && self.offsets.is_empty()
            && self.consumer.as_ref().is_none_or(|consumer| consumer.is_trivial())
    }

    fn is(&self, state: GroupState) -> bool {
        self.state == state
    }

    /// The member, if both names agree on it (KIP-345).
    fn authenticate(&mut self, member_id: &str, instance_id: Option<&str>) -> Result<&mut Member, Error> {
        if let Some(instance_id) = instance_id {
            match self.instances.get(instance_id) {
                None => return Err(Error::UnknownMemberId),
                Some(current) if current != member_id => return Err(Error::FencedInstanceId),
                Some(_) => {}
            }
        }
        self.members.get_mut(member_id).ok_or(Error::UnknownMemberId)
    }

    /// The member that somebody says to be, if it is in the current generation.
    fn current(&mut self, claim: &Membership) -> Result<&mut Member, Error> {
        let generation = self.generation;
        let member = self.authenticate(&claim.member_id, claim.instance_id.as_deref())?;
        let is_current = claim.generation == generation || !holds(Guard::CurrentGeneration);
        if is_current { Ok(member) } else { Err(Error::IllegalGeneration) }
    }

    /// Asks to be looked at by `at`.
    fn wake_by(&mut self, at: Duration) {
        self.wake = Some(self.wake.map_or(at, |wake| wake.min(at)));
    }

    /// Bytes that its members' metadata and assignments take.
    fn bytes(&self) -> usize {
        self.members.values().map(Member::bytes).sum()
    }

    /// Finds out what its members take.
    pub(crate) fn weigh_members(&mut self) {
        let ids: usize = self.members.keys().map(String::len).sum();
        let each = weight::MEMBER * (self.members.len() + self.pending.len());
        self.members_weight = self.bytes() + ids + each;
    }

    /// How long a rebalance may take.
    fn rebalance_timeout(&self) -> Duration {
        self.members.values().map(|m| m.rebalance_timeout).max().unwrap_or_default().max(MIN_REBALANCE)
    }
}
