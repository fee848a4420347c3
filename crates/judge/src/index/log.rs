//! One partition: what was sent to it, and what was seen of it.

use std::collections::{BTreeMap, HashMap};

use super::Place;
use crate::anomaly::{Anomaly, Finding};
use crate::event::Event;
use crate::history::{Error, EventId, History, Name};

/// A place for a record. Offsets that were given up may be given anew: `loss` is the last time that this one was, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Spot {
    pub(crate) loss: u32,
    pub(crate) offset: i64,
}

/// A value of this partition, by its position in `Log::values`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ValueId(pub(crate) u32);

/// How often a producer may write a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repeats {
    Never,
    EachAttempt,
    Whenever,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Ack {
    pub(crate) event: EventId,
    pub(crate) at: u64,
    pub(crate) spot: Spot,
}

pub(crate) struct Value {
    pub(crate) producer: Name,
    pub(crate) number: u64,
    pub(crate) repeats: Repeats,
    /// The first attempt to send it, and when; nobody sent it if there is none.
    pub(crate) sent: Option<(EventId, u64)>,
    pub(crate) attempts: u32,
    pub(crate) refusals: u32,
    /// The first acknowledgement.
    pub(crate) ack: Option<Ack>,
}

impl Value {
    /// It was sent, and is nowhere.
    pub(crate) fn is_refused(&self) -> bool {
        self.sent.is_some() && self.ack.is_none() && self.refusals >= self.attempts
    }

    /// In how many places it may be.
    pub(crate) fn may_be_in(&self) -> usize {
        match self.repeats {
            Repeats::Never => 1,
            Repeats::EachAttempt => (self.attempts - self.refusals.min(self.attempts)).max(1) as usize,
            Repeats::Whenever => usize::MAX,
        }
    }
}

/// A record that somebody read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Sighting {
    pub(crate) spot: Spot,
    pub(crate) event: EventId,
    pub(crate) value: ValueId,
    pub(crate) content: u32,
    /// The epoch it was written in; -1 if that is not known.
    pub(crate) epoch: i32,
}

pub(crate) struct Log<'a> {
    history: &'a History,
    pub(crate) place: Place,
    /// In the order in which they were first sent, as far as their producers told it.
    pub(crate) values: Vec<Value>,
    /// Acknowledgements of what was acknowledged before.
    pub(crate) more_acks: Vec<(ValueId, Ack)>,
    /// By spot, then in the order in which they were told.
    pub(crate) sightings: Vec<Sighting>,
    /// Of each client, what it read and where it was sent to, in its order.
    pub(crate) readers: BTreeMap<Name, Vec<EventId>>,
    /// When somebody asked for records to go, and below which offset.
    pub(super) trims: Vec<(u64, i64)>,
    /// When an operator gave records up, and from which offset on.
    pub(super) losses: Vec<(u64, i64)>,
    pub(super) expires: bool,
    /// The largest log start that anybody was told.
    pub(super) latest_start: i64,
}

type Values = HashMap<(Place, Name, u64), ValueId>;

impl<'a> Log<'a> {
    pub(super) fn new(history: &'a History, place: Place) -> Self {
        Self {
            history,
            place,
            values: Vec::new(),
            more_acks: Vec::new(),
            sightings: Vec::new(),
            readers: BTreeMap::new(),
            trims: Vec::new(),
            losses: Vec::new(),
            expires: false,
            latest_start: 0,
        }
    }

    pub(super) fn add(
        &mut self,
        id: EventId,
        event: &Event<Name>,
        values: &mut Values,
        repeats: &HashMap<Name, Repeats>,
    ) -> Result<(), Error> {
        let repeats = |producer: Name| repeats.get(&producer).copied().unwrap_or(Repeats::Never);
        match *event {
            Event::Send { at, client, value, .. } => {
                let value = self.value(client, value, values, repeats(client));
                let value = &mut self.values[value.0 as usize];
                value.sent = value.sent.or(Some((id, at)));
                value.attempts += 1;
            }
            Event::Acked { at, client, value, offset, .. } => {
                let found = self.sent(id, client, value, values)?;
                let ack = Ack { event: id, at, spot: self.spot(offset, at) };
                match &mut self.values[found.0 as usize].ack {
                    first @ None => *first = Some(ack),
                    Some(_) => self.more_acks.push((found, ack)),
                }
            }
            Event::Refused { client, value, .. } => {
                let found = self.sent(id, client, value, values)?;
                self.values[found.0 as usize].refusals += 1;
            }
            Event::Poll(ref poll) => {
                for record in &poll.records {
                    let value = self.value(record.1, record.2, values, repeats(record.1));
                    let (spot, epoch) = (self.spot(record.0, poll.at), poll.epoch.unwrap_or(-1));
                    self.sightings.push(Sighting { spot, event: id, value, content: record.3, epoch });
                }
                self.readers.entry(poll.client).or_default().push(id);
            }
            Event::Seek { client, .. } | Event::Offsets { client, .. } => {
                self.readers.entry(client).or_default().push(id);
            }
            _ => {}
        }
        Ok(())
    }

    fn value(&mut self, producer: Name, number: u64, values: &mut Values, repeats: Repeats) -> ValueId {
        *values.entry((self.place, producer, number)).or_insert_with(|| {
            let id = ValueId(u32::try_from(self.values.len()).unwrap_or(u32::MAX));
            self.values.push(Value { producer, number, repeats, sent: None, attempts: 0, refusals: 0, ack: None });
            id
        })
    }

    fn sent(&self, event: EventId, client: Name, value: u64, values: &Values) -> Result<ValueId, Error> {
        let found = values.get(&(self.place, client, value)).copied();
        found.filter(|found| self.values[found.0 as usize].sent.is_some()).ok_or_else(|| Error::NeverSent {
            event: event.number(),
            client: self.history.name(client).to_owned(),
            value,
        })
    }

    pub(super) fn sort(&mut self) {
        self.sightings.sort_unstable();
    }

    /// The place that an offset was at a time.
    pub(crate) fn spot(&self, offset: i64, at: u64) -> Spot {
        let loss = self.losses.iter().rposition(|(lost, from)| *lost <= at && *from <= offset);
        Spot { loss: loss.map_or(0, |loss| u32::try_from(loss + 1).unwrap_or(u32::MAX)), offset }
    }

    /// The places of the offsets from one to another, in runs of the same loss: where each begins, and before which it ends.
    pub(crate) fn runs(&self, from: i64, to: i64, at: u64) -> Vec<(Spot, i64)> {
        let (mut runs, mut next) = (Vec::new(), from);
        while next < to {
            let end = self.losses.iter().map(|(_, from)| *from).filter(|from| *from > next).fold(to, i64::min);
            runs.push((self.spot(next, at), end));
            next = end;
        }
        runs
    }

    /// Whether what is there was never given up.
    pub(crate) fn is_kept(&self, spot: Spot) -> bool {
        self.spot(spot.offset, u64::MAX) == spot
    }

    /// Records below this offset may be gone by then.
    pub(crate) fn may_start_at(&self, at: u64) -> i64 {
        let asked = self.trims.iter().filter(|(asked, _)| *asked <= at).map(|(_, before)| *before).max().unwrap_or(0);
        if self.expires { asked.max(self.latest_start) } else { asked }
    }

    /// Whether the log start moves by itself.
    pub(crate) fn expires(&self) -> bool {
        self.expires
    }

    /// What was read at places from one to another of the same loss, the latter excluded.
    pub(crate) fn seen(&self, from: Spot, to: i64) -> &[Sighting] {
        let begin = self.sightings.partition_point(|sighting| sighting.spot < from);
        let end = self.sightings.partition_point(|sighting| sighting.spot < Spot { offset: to, ..from });
        &self.sightings[begin..end.max(begin)]
    }

    pub(crate) fn event(&self, id: EventId) -> &Event<Name> {
        self.history.get(id)
    }

    /// A value as people are told of it.
    pub(crate) fn label(&self, value: ValueId) -> String {
        let value = &self.values[value.0 as usize];
        format!("{}:{}", self.history.name(value.producer), value.number)
    }

    /// What was found in this partition.
    pub(crate) fn anomaly(&self, finding: Finding, events: Vec<EventId>) -> Anomaly {
        Anomaly {
            topic: Some(self.history.name(self.place.topic).to_owned()),
            partition: Some(self.place.partition),
            group: None,
            finding,
            events,
        }
    }
}
