//! What a heartbeat may do. Nothing changes here: one that is refused leaves no trace.

use std::collections::BTreeSet;

use super::member::Member;
use super::{ConsumerGroup, MAX_PATTERNS};
use crate::assignor::Assignor;
use crate::error::Error;
use crate::pattern;
use crate::requests::{ConsumerHeartbeat, JOIN, LEAVE, LEAVE_FOR_NOW};
use crate::shard::{Context, MAX_NAME};
use crate::weight;

/// Whether a heartbeat makes sense by itself.
pub(crate) fn check(beat: &ConsumerHeartbeat) -> Result<(), Error> {
    let empty = |value: &Option<String>| value.as_deref().is_some_and(|value| value.trim().is_empty());
    let invalid = |what| Err(Error::InvalidHeartbeat(what));
    if beat.group.trim().is_empty() {
        return invalid("the group id is empty");
    }
    if empty(&beat.instance_id) || empty(&beat.rack) {
        return invalid("an instance id or a rack is empty");
    }
    if beat.member_id.is_empty() && (beat.chooses_id || beat.epoch != JOIN) {
        return invalid("the member id is empty");
    }
    match beat.epoch {
        JOIN if beat.rebalance_timeout.is_none() => return invalid("one that joins says its rebalance timeout"),
        JOIN if beat.owned.as_ref().is_none_or(|owned| !owned.is_empty()) => {
            return invalid("one that joins holds no partitions");
        }
        JOIN if beat.topics.is_none() && beat.pattern.is_none() => return invalid("one that joins subscribes"),
        LEAVE_FOR_NOW if beat.instance_id.is_none() => return invalid("only static members come back"),
        LEAVE | LEAVE_FOR_NOW | JOIN.. => {}
        _ => return invalid("there is no such member epoch"),
    }
    if beat.assignor.as_deref().is_some_and(|name| Assignor::named(name).is_none()) {
        return Err(Error::UnsupportedAssignor);
    }
    let texts = [Some(&beat.member_id), beat.instance_id.as_ref(), beat.rack.as_ref(), Some(&beat.client_host)];
    let names = beat.topics.iter().flatten().chain(texts.into_iter().flatten());
    if beat.group.len() > MAX_NAME || names.map(String::len).any(|length| length > MAX_NAME) {
        return invalid("a name is too long");
    }
    Ok(())
}

/// A heartbeat that may go on.
pub(crate) struct Admission {
    /// The member as it was, without its assignment where that does not go on; none for one that is new.
    pub(super) before: Option<Member>,
    /// With what the heartbeat says.
    pub(super) after: Member,
    /// The static member whose place it takes.
    pub(super) replaces: Option<String>,
    /// The topics of a regular expression that nobody had before.
    pub(super) matched: Option<(String, BTreeSet<String>)>,
}

/// Whose place a member takes.
enum Place {
    New,
    Own,
    Of(String),
}

impl ConsumerGroup {
    pub(crate) fn admit(&self, ctx: &Context<'_>, beat: &ConsumerHeartbeat) -> Result<Admission, Error> {
        let (before, replaces) = match self.place(beat)? {
            Place::New if self.members.len() >= ctx.options.max_size => return Err(Error::GroupMaxSizeReached),
            Place::New => (None, None),
            Place::Own => (self.members.get(&beat.member_id).cloned(), None),
            Place::Of(id) => {
                // It goes on where the one before it left off, from the beginning of epochs.
                let before = self.members.get(&id).map(|m| Member { epoch: 0, previous_epoch: 0, ..m.clone() });
                (before, Some(id))
            }
        };
        let mut after = before.clone().unwrap_or_default();
        after.hear(beat);
        self.admit_member(ctx, before, after, replaces)
    }

    /// Whether there is room for the member, and its subscription is one.
    pub(super) fn admit_member(
        &self,
        ctx: &Context<'_>,
        before: Option<Member>,
        after: Member,
        replaces: Option<String>,
    ) -> Result<Admission, Error> {
        let had = before.as_ref().map_or(0, Member::bytes);
        let kept = self.bytes - had.min(self.bytes);
        // Who asks for no more than it has stays in a group that is too large, because the limit was lowered say.
        if after.bytes() > had && kept.saturating_add(after.bytes()) > ctx.options.max_group_bytes {
            return Err(Error::GroupTooLarge);
        }
        let more = if before.is_some() { 0 } else { weight::MEMBER };
        if after.bytes().saturating_sub(had) + more > ctx.room {
            return Err(Error::TooManyGroups);
        }
        let matched = match after.pattern.as_ref().filter(|pattern| !self.patterns.contains_key(*pattern)) {
            None => None,
            Some(_) if self.patterns.len() >= MAX_PATTERNS => return Err(Error::GroupTooLarge),
            Some(new) => Some((new.clone(), pattern::matching(new, ctx.topics)?)),
        };
        Ok(Admission { before, after, replaces, matched })
    }

    fn place(&self, beat: &ConsumerHeartbeat) -> Result<Place, Error> {
        let joins = beat.epoch == JOIN;
        let same = self.members.get(&beat.member_id);
        let current = beat.instance_id.as_ref().map(|instance| self.instances.get(instance));
        match current {
            // A dynamic member, or the first with its instance id.
            None | Some(None) if joins || current.is_none() => match same {
                None if joins => Ok(Place::New),
                None => Err(Error::UnknownMemberId),
                Some(member) => member.check_epoch(beat.epoch, beat.owned.as_ref()).map(|()| Place::Own),
            },
            None | Some(None) => Err(Error::UnknownMemberId),
            Some(Some(current)) if joins => {
                let other = self.members.get(current).ok_or(Error::UnknownMemberId)?;
                // The same client, which did not hear that it has joined.
                if *current == beat.member_id && other.check_epoch(beat.epoch, beat.owned.as_ref()).is_ok() {
                    return Ok(Place::Own);
                }
                if other.classic.is_none() && other.epoch != LEAVE_FOR_NOW {
                    return Err(Error::UnreleasedInstanceId);
                }
                if *current != beat.member_id && same.is_some() {
                    return Err(Error::InvalidHeartbeat("the member id is that of another member"));
                }
                Ok(Place::Of(current.clone()))
            }
            Some(Some(current)) if *current != beat.member_id => Err(Error::FencedInstanceId),
            Some(Some(_)) => {
                let member = same.ok_or(Error::UnknownMemberId)?;
                member.check_epoch(beat.epoch, beat.owned.as_ref()).map(|()| Place::Own)
            }
        }
    }
}

impl Member {
    /// Takes in what a heartbeat says of the member itself.
    fn hear(&mut self, beat: &ConsumerHeartbeat) {
        if let Some(instance) = &beat.instance_id {
            self.instance_id = Some(instance.clone());
        }
        if let Some(rack) = &beat.rack {
            self.rack = Some(rack.clone());
        }
        if let Some(timeout) = beat.rebalance_timeout {
            self.rebalance_timeout = timeout;
        }
        if let Some(topics) = &beat.topics {
            let distinct: BTreeSet<_> = topics.iter().cloned().collect();
            self.topics = distinct.into_iter().collect();
        }
        if let Some(pattern) = &beat.pattern {
            self.pattern = Some(pattern.clone()).filter(|pattern| !pattern.is_empty());
        }
        if let Some(assignor) = &beat.assignor {
            self.assignor = Some(assignor.clone());
        }
        self.client_id.clone_from(&beat.client_id);
        self.client_host.clone_from(&beat.client_host);
        // Whoever speaks the consumer protocol speaks the classic one no more.
        self.classic = None;
        (self.timers.join, self.timers.sync) = (None, None);
    }
}
