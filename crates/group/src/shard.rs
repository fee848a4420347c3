//! The coordinator of one partition of `__consumer_offsets`: finds the group, keeps the timers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use runnel_format::groups::{
    ConsumerMemberValue, CurrentAssignmentValue, EpochValue, GroupKey, GroupMetadataValue, OffsetCommitValue,
    PatternValue, SubscribedTopics, TargetMemberValue,
};

use crate::consumer::{self, ConsumerGroup};
use crate::error::Error;
use crate::group::Group;
use crate::options::{GroupTimes, Options};
use crate::requests::{ConsumerHeartbeat, FetchOffsets, JOIN, JoinGroup, LeaveGroup, Reply, Request};
use crate::topics::Topics;
use crate::weight::Weight;

/// Names a request until it is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// The time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Since some moment of this process; it never goes back. Timers follow it.
    pub elapsed: Duration,
    /// Milliseconds since the Unix epoch. What is written, and offsets that expire, follow it.
    pub wall_ms: i64,
}

/// What the caller must do, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Append a record to the log; `None` is a tombstone.
    Write {
        /// What it is about.
        key: GroupKey,
        /// Its value.
        value: Option<Bytes>,
    },
    /// Answer a request, once every record written before is durable.
    Reply {
        /// The request.
        token: Token,
        /// The answer.
        outcome: Result<Reply, Error>,
    },
}

/// Longest name of anything: group, instance, protocol. Kafka's format ends at 32 KiB.
pub(crate) const MAX_NAME: usize = 4096;

/// Most protocols that a member may support; clients have a handful.
const MAX_PROTOCOLS: usize = 64;

/// What a group needs besides itself.
pub(crate) struct Context<'a> {
    pub(crate) now: Now,
    pub(crate) options: &'a Options,
    pub(crate) topics: &'a Topics,
    times: &'a BTreeMap<String, GroupTimes>,
    /// Bytes that may be taken besides those that are.
    pub(crate) room: usize,
    pub(crate) effects: &'a mut Vec<Effect>,
}

impl Context<'_> {
    pub(crate) fn reply(&mut self, token: Token, outcome: Result<Reply, Error>) {
        self.effects.push(Effect::Reply { token, outcome });
    }

    /// When a member of a group is missed that is silent.
    pub(crate) fn session_of(&self, group: &str) -> Duration {
        self.times.get(group).and_then(|times| times.session).unwrap_or(self.options.consumer_session_timeout)
    }

    /// How often the members of a group give a sign of life.
    pub(crate) fn heartbeat_of(&self, group: &str) -> Duration {
        self.times.get(group).and_then(|times| times.heartbeat).unwrap_or(self.options.consumer_heartbeat_interval)
    }

    pub(crate) fn write(&mut self, key: GroupKey, value: Option<Bytes>) {
        self.effects.push(Effect::Write { key, value });
    }
}

/// The groups of one partition.
#[derive(Debug)]
pub struct Shard {
    options: Options,
    topics: Arc<Topics>,
    times: BTreeMap<String, GroupTimes>,
    groups: BTreeMap<String, Group>,
    /// What they take.
    bytes: usize,
    /// What the groups of other coordinators take.
    elsewhere: Weight,
    /// When each group with a timer wants to be looked at.
    timers: BTreeSet<(Duration, String)>,
    next_expiry: Duration,
}

impl Shard {
    /// A coordinator without groups.
    pub fn new(options: Options) -> Self {
        let next_expiry = options.expiry_interval;
        let (topics, times, groups, elsewhere) = Default::default();
        Self { options, topics, times, groups, bytes: 0, elsewhere, timers: BTreeSet::new(), next_expiry }
    }

    /// The topics that it was told last.
    pub fn topics(&self) -> &Topics {
        &self.topics
    }

    /// The topics that there are now. Groups look at them when a member comes next.
    pub fn set_topics(&mut self, topics: Arc<Topics>) {
        self.topics = topics;
    }

    /// The times of the groups that have their own.
    pub fn set_times(&mut self, times: BTreeMap<String, GroupTimes>) {
        self.times = times;
    }

    /// What its groups take.
    pub fn weight(&self) -> Weight {
        Weight { groups: self.groups.len(), bytes: self.bytes }
    }

    /// What the groups of the broker's other coordinators take: the limits are for all together.
    pub fn set_elsewhere(&mut self, elsewhere: Weight) {
        self.elsewhere = elsewhere;
    }

    fn room(&self) -> usize {
        self.options.max_bytes.saturating_sub(self.weight().plus(self.elsewhere).bytes)
    }

    /// Takes in a record of the log, in order, before anything is asked. Kinds of records that this release does not know
    /// are passed over; one that it knows and cannot read is an error.
    pub fn load(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<(), runnel_format::Error> {
        let Some(key) = GroupKey::decode(key)? else { return Ok(()) };
        match (key, value) {
            (GroupKey::Offset { group, topic, partition }, Some(value)) => {
                let value = OffsetCommitValue::decode(value)?;
                self.group(group).restore_offset(&topic, partition, Some(value));
            }
            (GroupKey::Offset { group, topic, partition }, None) => {
                if let Some(group) = self.groups.get_mut(&group) {
                    group.restore_offset(&topic, partition, None);
                }
            }
            (GroupKey::Group { group }, Some(value)) => {
                let value = GroupMetadataValue::decode(value)?;
                self.group(group).restore(value);
            }
            // Offsets that were committed from outside may outlive the members.
            (GroupKey::Group { group }, None) => {
                if let Some(group) = self.groups.get_mut(&group) {
                    group.restore_absent();
                }
            }
            (key, value) => self.load_consumer(key, value)?,
        }
        Ok(())
    }

    /// Takes in a record of a group in the consumer protocol.
    fn load_consumer(&mut self, key: GroupKey, value: Option<&[u8]>) -> Result<(), runnel_format::Error> {
        match key {
            GroupKey::Epoch { group } => {
                let value = value.map(EpochValue::decode).transpose()?;
                self.consumer(group).restore_epoch(value);
            }
            GroupKey::TargetEpoch { group } => {
                let value = value.map(EpochValue::decode).transpose()?;
                self.consumer(group).restore_target_epoch(value);
            }
            GroupKey::Topics { group } => {
                let value = value.map(SubscribedTopics::decode).transpose()?;
                self.consumer(group).restore_topics(value);
            }
            GroupKey::Member { group, member } => {
                let value = value.map(ConsumerMemberValue::decode).transpose()?;
                self.consumer(group).restore_member(member, value);
            }
            GroupKey::TargetMember { group, member } => {
                let value = value.map(TargetMemberValue::decode).transpose()?;
                self.consumer(group).restore_target(member, value);
            }
            GroupKey::Current { group, member } => {
                let value = value.map(CurrentAssignmentValue::decode).transpose()?;
                self.consumer(group).restore_current(member, value);
            }
            GroupKey::Pattern { group, pattern } => {
                let value = value.map(PatternValue::decode).transpose()?;
                self.consumer(group).restore_pattern(pattern, value);
            }
            GroupKey::Offset { .. } | GroupKey::Group { .. } => {}
        }
        Ok(())
    }

    fn consumer(&mut self, id: String) -> &mut ConsumerGroup {
        self.group(id.clone()).consumer.get_or_insert_with(|| Box::new(ConsumerGroup::new(id)))
    }

    /// Everything is loaded: from now on members must give signs of life.
    pub fn loaded(&mut self, now: Now) {
        for (id, group) in &mut self.groups {
            let own = self.times.get(id).and_then(|times| times.session);
            group.restored(now, own.unwrap_or(self.options.consumer_session_timeout));
        }
        self.groups.retain(|_, group| !group.is_trivial());
        self.next_expiry = now.elapsed + self.options.expiry_interval;
        let ids: Vec<String> = self.groups.keys().cloned().collect();
        for id in ids {
            if let Some(group) = self.groups.get_mut(&id) {
                group.start_timers(now);
                group.weigh_members();
            }
            self.settle(&id);
        }
    }

    /// How many groups there are.
    pub fn len(&self) -> usize {
        self.groups.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// When [`Shard::tick`] has something to do.
    pub fn next_tick(&self) -> Duration {
        self.timers.first().map_or(self.next_expiry, |(at, _)| self.next_expiry.min(*at))
    }

    /// Does what time makes due.
    pub fn tick(&mut self, now: Now, effects: &mut Vec<Effect>) {
        // Each group once: what it wants next comes with the next tick.
        let later = self.timers.split_off(&(now.elapsed + Duration::from_nanos(1), String::new()));
        for (_, id) in std::mem::replace(&mut self.timers, later) {
            self.visit(now, &id, effects, |group, ctx| {
                group.scheduled = None;
                group.tick(ctx);
                group.weigh_members();
            });
        }
        if now.elapsed >= self.next_expiry {
            self.next_expiry = now.elapsed + self.options.expiry_interval;
            self.visit_all(now, effects, Group::expire_offsets);
        }
    }

    /// Handles a request. Its answer is among the effects of this call or of a later one.
    pub fn on(&mut self, now: Now, token: Token, request: Request, effects: &mut Vec<Effect>) {
        let answer = |effects: &mut Vec<Effect>, outcome| effects.push(Effect::Reply { token, outcome });
        match request {
            Request::ConsumerHeartbeat(beat, fresh_id) => self.consumer_beat(now, token, beat, fresh_id, effects),
            Request::DescribeConsumer(id) => {
                let found = self.groups.get(&id).and_then(|group| group.consumer.as_ref());
                let described = found.map(|group| Reply::DescribedConsumer(group.described(&self.topics)));
                answer(effects, described.ok_or(Error::GroupIdNotFound));
            }
            Request::Join(join, fresh_id) => self.join(now, token, join, fresh_id, effects),
            Request::Sync(sync) => {
                let id = sync.group.clone();
                self.with(now, &id, token, Error::UnknownMemberId, effects, |group, ctx| {
                    group.sync(ctx, token, sync);
                    group.weigh_members();
                });
            }
            Request::Heartbeat(beat) => {
                self.with(now, &beat.group, token, Error::UnknownMemberId, effects, |group, ctx| {
                    let outcome = group.heartbeat(ctx, &beat);
                    ctx.reply(token, outcome.map(|()| Reply::Done));
                });
            }
            Request::Leave(leave) => self.leave(now, token, &leave, effects),
            Request::Commit(commit) => {
                if commit.member.generation < 0
                    && let Err(error) = self.make_room(&commit.group)
                {
                    return answer(effects, Err(error));
                }
                let absent = if commit.knows_epochs { Error::GroupIdNotFound } else { Error::IllegalGeneration };
                self.with(now, &commit.group, token, absent, effects, |group, ctx| {
                    let outcome = group.commit(ctx, &commit);
                    ctx.reply(token, outcome.map(Reply::Each));
                });
            }
            Request::FetchOffsets(fetch) => answer(effects, self.fetch_offsets(&fetch)),
            Request::DeleteOffsets(delete) => {
                self.with(now, &delete.group, token, Error::GroupIdNotFound, effects, |group, ctx| {
                    let outcome = group.delete_offsets(ctx, &delete);
                    ctx.reply(token, outcome.map(Reply::Each));
                });
            }
            Request::List => {
                let listed = self.groups.values().map(Group::listed).collect();
                answer(effects, Ok(Reply::Listed(listed)));
            }
            Request::Describe(id) => {
                let found = self.groups.get(&id).filter(|group| group.consumer.is_none());
                let found = found.ok_or(Error::GroupIdNotFound);
                answer(effects, found.map(|group| Reply::Described(group.described())));
            }
            Request::Delete(id) => {
                self.with(now, &id, token, Error::GroupIdNotFound, effects, |group, ctx| {
                    let outcome = group.delete(ctx);
                    ctx.reply(token, outcome.map(|()| Reply::Done));
                });
            }
            Request::ForgetTopic(topic) => {
                self.visit_all(now, effects, |group, ctx| group.forget_topic(ctx, &topic));
                answer(effects, Ok(Reply::Done));
            }
        }
    }

    fn consumer_beat(
        &mut self,
        now: Now,
        token: Token,
        mut beat: ConsumerHeartbeat,
        fresh_id: String,
        effects: &mut Vec<Effect>,
    ) {
        let room =
            consumer::check(&beat).and_then(|()| if beat.epoch == JOIN { self.make_room(&beat.group) } else { Ok(()) });
        if let Err(error) = room {
            return effects.push(Effect::Reply { token, outcome: Err(error) });
        }
        if beat.member_id.is_empty() {
            beat.member_id = fresh_id;
        }
        let id = beat.group.clone();
        self.with(now, &id, token, Error::GroupIdNotFound, effects, |group, ctx| {
            let outcome = group.consumer_beat(ctx, &beat);
            group.weigh_members();
            ctx.reply(token, outcome.map(Reply::ConsumerBeat));
        });
    }

    fn fetch_offsets(&self, fetch: &FetchOffsets) -> Result<Reply, Error> {
        let nothing = crate::offsets::Offsets::default();
        let group = self.groups.get(&fetch.group);
        if let (Some(consumer), Some((id, epoch))) = (group.and_then(|g| g.consumer.as_ref()), &fetch.member) {
            consumer.may_fetch(id, *epoch)?;
        }
        let offsets = group.map_or(&nothing, |group| &group.offsets);
        Ok(Reply::Offsets(offsets.fetch(fetch.topics.as_deref(), &self.topics)))
    }

    fn join(&mut self, now: Now, token: Token, join: JoinGroup, fresh_id: String, effects: &mut Vec<Effect>) {
        let id = join.group.clone();
        let room = check_join(&join, &self.options)
            .and_then(|()| if join.member_id.is_empty() { self.make_room(&id) } else { Ok(()) });
        if let Err(error) = room {
            return effects.push(Effect::Reply { token, outcome: Err(error) });
        }
        self.with(now, &id, token, Error::UnknownMemberId, effects, |group, ctx| {
            if let Err(error) = group.join(ctx, token, join, fresh_id) {
                ctx.reply(token, Err(error));
            }
            group.weigh_members();
        });
    }

    fn leave(&mut self, now: Now, token: Token, leave: &LeaveGroup, effects: &mut Vec<Effect>) {
        if !self.groups.contains_key(&leave.group) {
            let each = leave.members.iter().map(|_| Err(Error::UnknownMemberId)).collect();
            return effects.push(Effect::Reply { token, outcome: Ok(Reply::Each(each)) });
        }
        self.with(now, &leave.group, token, Error::UnknownMemberId, effects, |group, ctx| {
            let each = group.leave(ctx, leave);
            group.weigh_members();
            ctx.reply(token, Ok(Reply::Each(each)));
        });
    }

    /// Hands a request to its group, or answers `absent`.
    fn with(
        &mut self,
        now: Now,
        id: &str,
        token: Token,
        absent: Error,
        effects: &mut Vec<Effect>,
        handle: impl FnOnce(&mut Group, &mut Context<'_>),
    ) {
        if !self.visit(now, id, effects, handle) {
            effects.push(Effect::Reply { token, outcome: Err(absent) });
        }
    }

    /// Gives a group something to do; whether it is there.
    fn visit(
        &mut self,
        now: Now,
        id: &str,
        effects: &mut Vec<Effect>,
        handle: impl FnOnce(&mut Group, &mut Context<'_>),
    ) -> bool {
        let room = self.room();
        let Self { options, topics, times, groups, .. } = self;
        let Some(group) = groups.get_mut(id) else { return false };
        handle(group, &mut Context { now, options, topics, times, room, effects });
        self.settle(id);
        true
    }

    fn visit_all(&mut self, now: Now, effects: &mut Vec<Effect>, handle: impl Fn(&mut Group, &mut Context<'_>)) {
        let ids: Vec<String> = self.groups.keys().cloned().collect();
        for id in ids {
            self.visit(now, &id, effects, &handle);
        }
    }

    /// Makes the group if it is not there.
    fn make_room(&mut self, id: &str) -> Result<(), Error> {
        // Kafka takes commits for the empty group id from consumers of old.
        if id.len() > MAX_NAME {
            return Err(Error::InvalidGroupId);
        }
        if !self.groups.contains_key(id) {
            if self.weight().plus(self.elsewhere).groups >= self.options.max_groups {
                return Err(Error::TooManyGroups);
            }
            self.group(id.to_owned());
        }
        Ok(())
    }

    fn group(&mut self, id: String) -> &mut Group {
        self.groups.entry(id).or_insert_with_key(|id| Group::new(id.clone()))
    }

    /// After a group changed: its timer, and whether anything is left of it.
    fn settle(&mut self, id: &str) {
        let Some(group) = self.groups.get_mut(id) else { return };
        let wanted = if group.is_trivial() { None } else { group.due() };
        if wanted != group.scheduled {
            if let Some(at) = group.scheduled {
                self.timers.remove(&(at, id.to_owned()));
            }
            if let Some(at) = wanted {
                self.timers.insert((at, id.to_owned()));
            }
            group.scheduled = wanted;
        }
        let weight = if group.is_trivial() { 0 } else { group.weight() };
        self.bytes = self.bytes.saturating_sub(group.counted) + weight;
        group.counted = weight;
        if group.is_trivial() {
            self.groups.remove(id);
        }
    }
}

fn check_join(join: &JoinGroup, options: &Options) -> Result<(), Error> {
    if join.group.is_empty() || join.group.len() > MAX_NAME {
        return Err(Error::InvalidGroupId);
    }
    if !(options.min_session_timeout..=options.max_session_timeout).contains(&join.session_timeout) {
        return Err(Error::InvalidSessionTimeout);
    }
    let too_long = |name: &str| name.len() > MAX_NAME;
    let too_many = !(1..=MAX_PROTOCOLS).contains(&join.protocols.len());
    let bad_protocols = too_many || join.protocols.iter().any(|(name, _)| too_long(name));
    if join.protocol_type.is_empty() || too_long(&join.protocol_type) || bad_protocols {
        return Err(Error::InconsistentGroupProtocol);
    }
    // A group of the consumer protocol takes a member in by the id that it brings.
    if too_long(&join.member_id) || join.instance_id.as_deref().is_some_and(too_long) {
        return Err(Error::UnknownMemberId);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
