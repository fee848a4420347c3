//! A group of the consumer protocol (KIP-848): the coordinator decides who reads what, and members come to it one by one.
//!
//! The group has an epoch, which anything raises that changes who should read what: members, subscriptions, topics. The
//! target assignment has the epoch that it was made for, and each member the epoch of the target that it has come to. A
//! member first lets go what is not its any more, then moves to the epoch of the target, and is given each partition once
//! nobody else has it. So nothing is read twice, and nobody waits for the slowest.
//!
//! `admit` decides what a heartbeat may do and changes nothing, `beat` does it; then a file for each of its steps. `classic`
//! and `convert` are for groups on their way from the classic protocol, or back.

mod admit;
mod beat;
mod classic;
mod commit;
mod convert;
mod leave;
mod log;
mod member;
mod reconcile;
mod restore;
mod show;
mod subscribed;
mod target;
mod timers;
mod topics;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use runnel_record::TopicId;

use crate::partitions::Partitions;
use member::Member;
use subscribed::Subscribed;

pub(crate) use admit::check;
pub(crate) use convert::Carried;

/// Most different regular expressions of one group: each is compared with every topic when topics change.
const MAX_PATTERNS: usize = 100;

/// A group of the consumer protocol.
#[derive(Debug)]
pub(crate) struct ConsumerGroup {
    id: String,
    epoch: i32,
    /// The epoch that the target assignment was made for.
    target_epoch: i32,
    /// When it was made; none since the start.
    targeted: Option<Duration>,
    /// What each member is to have.
    target: BTreeMap<String, Partitions>,
    members: BTreeMap<String, Member>,
    /// Static members: instance id and member id.
    instances: BTreeMap<String, String>,
    /// Who holds each partition, those that are to be let go included.
    owners: BTreeMap<(TopicId, i32), String>,
    /// The topics that members subscribe to by name.
    subscribed: Subscribed,
    /// The topics that members read, as they were when the group last looked.
    topics: BTreeMap<String, (TopicId, i32)>,
    /// The regular expressions of the members and the topics that they stand for.
    patterns: BTreeMap<String, BTreeSet<String>>,
    /// Version of the topics that it last looked at; none since the start.
    seen: Option<u64>,
    /// Bytes that members' settings take.
    bytes: usize,
    /// When it wants to be looked at.
    due: Option<Duration>,
}

impl ConsumerGroup {
    pub(crate) fn new(id: String) -> Self {
        Self {
            id,
            epoch: 0,
            target_epoch: 0,
            targeted: None,
            target: BTreeMap::new(),
            members: BTreeMap::new(),
            instances: BTreeMap::new(),
            owners: BTreeMap::new(),
            subscribed: Subscribed::default(),
            topics: BTreeMap::new(),
            patterns: BTreeMap::new(),
            seen: None,
            bytes: 0,
            due: None,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.members.len()
    }

    /// How many partitions its members hold.
    pub(crate) fn held(&self) -> usize {
        self.owners.len()
    }

    /// Bytes that its members' settings take.
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Nothing would be lost if it were not there.
    pub(crate) fn is_trivial(&self) -> bool {
        self.is_empty() && self.epoch == 0
    }

    /// When it wants to be looked at.
    pub(crate) fn due(&self) -> Option<Duration> {
        self.due
    }

    /// Whether a member may be reading the topic.
    pub(crate) fn reads(&self, topic: &str) -> bool {
        self.members.values().any(|member| self.subscribes(member, topic))
    }

    fn subscribes(&self, member: &Member, topic: &str) -> bool {
        let matched = member.pattern.as_ref().and_then(|pattern| self.patterns.get(pattern));
        member.topics.binary_search_by(|name| name.as_str().cmp(topic)).is_ok()
            || matched.is_some_and(|topics| topics.contains(topic))
    }

    /// Takes a member in, or its new state.
    fn put(&mut self, id: &str, member: Member) {
        self.take(id);
        for partition in member.holds() {
            self.owners.insert(partition, id.to_owned());
        }
        if let Some(instance) = &member.instance_id {
            self.instances.insert(instance.clone(), id.to_owned());
        }
        self.bytes += member.bytes();
        self.subscribed.add(&member.topics);
        self.members.insert(id.to_owned(), member);
    }

    /// Takes a member out; what it held is free.
    fn take(&mut self, id: &str) -> Option<Member> {
        let member = self.members.remove(id)?;
        for partition in member.holds() {
            if self.owners.get(&partition).is_some_and(|owner| owner == id) {
                self.owners.remove(&partition);
            }
        }
        if let Some(instance) = &member.instance_id
            && self.instances.get(instance).is_some_and(|owner| owner == id)
        {
            self.instances.remove(instance);
        }
        self.bytes = self.bytes.saturating_sub(member.bytes());
        self.subscribed.remove(&member.topics);
        Some(member)
    }

    fn wake_by(&mut self, at: Duration) {
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }
}
