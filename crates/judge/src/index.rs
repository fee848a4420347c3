//! The history by partition, by group, and by client, as the checks want it.

mod log;

use std::collections::{BTreeMap, HashMap};

pub(crate) use log::{Ack, Log, Repeats, Sighting, Spot, Value, ValueId};

use crate::event::Event;
use crate::history::{Error, EventId, History, Name};

/// A partition of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Place {
    pub(crate) topic: Name,
    pub(crate) partition: i32,
}

/// The committed offset of a group in a partition.
#[derive(Default)]
pub(crate) struct Register {
    pub(crate) commits: Vec<EventId>,
    pub(crate) reads: Vec<EventId>,
}

/// A member of a group while it is one.
pub(crate) struct Member {
    pub(crate) client: Name,
    pub(crate) topic: Name,
    pub(crate) from: u64,
    pub(crate) until: u64,
}

#[derive(Default)]
pub(crate) struct Group {
    pub(crate) members: Vec<Member>,
    pub(crate) patience: Vec<EventId>,
}

pub(crate) struct Index<'a> {
    pub(crate) history: &'a History,
    pub(crate) logs: BTreeMap<Place, Log<'a>>,
    pub(crate) registers: BTreeMap<(Name, Place), Register>,
    pub(crate) groups: BTreeMap<Name, Group>,
}

impl<'a> Index<'a> {
    pub(crate) fn new(history: &'a History) -> Result<Self, Error> {
        let mut index = Self { history, logs: declared(history), registers: BTreeMap::new(), groups: BTreeMap::new() };
        let repeats = repeats(history);
        // Values by partition, producer and number: as they are found while the events are gone through, and no longer.
        let mut values = HashMap::new();
        for (id, event) in history.ids() {
            if let Some(place) = place(event) {
                let log = index.logs.entry(place).or_insert_with(|| Log::new(history, place));
                log.add(id, event, &mut values, &repeats)?;
            }
            index.add_to_groups(id, event);
        }
        index.logs.values_mut().for_each(Log::sort);
        Ok(index)
    }

    fn add_to_groups(&mut self, id: EventId, event: &Event<Name>) {
        match *event {
            Event::Commit { group, topic, partition, .. } => {
                self.registers.entry((group, Place { topic, partition })).or_default().commits.push(id);
            }
            Event::Committed { group, topic, partition, .. } => {
                self.registers.entry((group, Place { topic, partition })).or_default().reads.push(id);
            }
            Event::Subscribe { at, client, group, topic } => {
                let member = Member { client, topic, from: at, until: u64::MAX };
                self.groups.entry(group).or_default().members.push(member);
            }
            Event::Close { at, client } => {
                let members = self.groups.values_mut().flat_map(|group| &mut group.members);
                members.filter(|member| member.client == client).for_each(|member| member.until = at.min(member.until));
            }
            Event::Patience { group, .. } => self.groups.entry(group).or_default().patience.push(id),
            _ => {}
        }
    }
}

/// What holds for whole logs must be known before the first record of one is looked at, wherever it is told.
fn declared(history: &History) -> BTreeMap<Place, Log<'_>> {
    let mut logs: BTreeMap<Place, Log<'_>> = BTreeMap::new();
    let mut expiring = Vec::new();
    for (_, event) in history.ids() {
        if let Event::Expires { topic } = event {
            expiring.push(*topic);
        }
        if let Some(place) = place(event) {
            let log = logs.entry(place).or_insert_with(|| Log::new(history, place));
            match *event {
                Event::Loss { at, from, .. } => log.losses.push((at, from)),
                Event::Trim { at, before, .. } => log.trims.push((at, before)),
                Event::Offsets { log_start: Some(start), .. } => log.latest_start = log.latest_start.max(start),
                Event::Poll(ref poll) => log.latest_start = log.latest_start.max(poll.log_start.unwrap_or(0)),
                _ => {}
            }
        }
    }
    for log in logs.values_mut() {
        log.expires = expiring.contains(&log.place.topic);
        log.losses.sort_unstable();
    }
    logs
}

fn repeats(history: &History) -> HashMap<Name, Repeats> {
    let told = history.ids().filter_map(|(_, event)| match *event {
        Event::Repeats { client, retries: true } => Some((client, Repeats::Whenever)),
        Event::Repeats { client, retries: false } => Some((client, Repeats::EachAttempt)),
        _ => None,
    });
    told.collect()
}

/// The partition whose log an event is about.
fn place(event: &Event<Name>) -> Option<Place> {
    match *event {
        Event::Send { topic, partition, .. }
        | Event::Acked { topic, partition, .. }
        | Event::Refused { topic, partition, .. }
        | Event::Seek { topic, partition, .. }
        | Event::Offsets { topic, partition, .. }
        | Event::Trim { topic, partition, .. }
        | Event::Loss { topic, partition, .. } => Some(Place { topic, partition }),
        Event::Poll(ref poll) => Some(Place { topic: poll.topic, partition: poll.partition }),
        Event::Expires { .. }
        | Event::Repeats { .. }
        | Event::Subscribe { .. }
        | Event::Close { .. }
        | Event::Commit { .. }
        | Event::Committed { .. }
        | Event::Patience { .. } => None,
    }
}
