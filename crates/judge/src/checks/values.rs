//! Where a value is: in one place, the one that was acknowledged, if it may be anywhere at all.

use super::polls::Jump;
use crate::anomaly::{Anomaly, Finding};
use crate::event::Event;
use crate::history::EventId;
use crate::index::{Ack, Log, Repeats, Spot, Value, ValueId};

/// A place in which a value was seen, and who saw it first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    value: ValueId,
    spot: Spot,
    event: EventId,
}

pub(super) fn check(log: &Log<'_>, jumps: &[Jump], found: &mut Vec<Anomaly>) {
    let mut places: Vec<Place> = log
        .sightings
        .iter()
        .map(|sighting| Place { value: sighting.value, spot: sighting.spot, event: sighting.event })
        .collect();
    places.sort_unstable();
    places.dedup_by_key(|place| (place.value, place.spot));
    let absences = Absences::new(log, jumps);
    let mut rest = places.as_slice();
    for (id, value) in (0..).map(ValueId).zip(&log.values) {
        let (here, others) = rest.split_at(rest.partition_point(|place| place.value <= id));
        rest = others;
        origin(log, value, here, found);
        places_of(log, value, here, found);
        if let Some(ack) = value.ack {
            acknowledged(log, id, ack, here, &absences, found);
        }
    }
    for (id, again) in &log.more_acks {
        let value = &log.values[id.0 as usize];
        let changed = value.ack.filter(|first| first.spot != again.spot && value.repeats == Repeats::Never);
        if let Some(first) = changed.filter(|first| log.is_kept(first.spot)) {
            let (offset, first_offset) = (again.spot.offset, first.spot.offset);
            let finding = Finding::AckChanged { value: log.label(*id), first: first_offset, offset };
            found.push(log.anomaly(finding, vec![first.event, again.event]));
        }
    }
}

/// What is read was sent, and not refused.
fn origin(log: &Log<'_>, value: &Value, here: &[Place], found: &mut Vec<Anomaly>) {
    let Some(place) = here.first() else { return };
    let (offset, label) = (place.spot.offset, log.label(place.value));
    match value.sent {
        None => found.push(log.anomaly(Finding::Phantom { value: label, offset }, vec![place.event])),
        Some((sent, _)) if value.is_refused() => {
            let finding = Finding::RefusedRead { value: label, offset };
            found.push(log.anomaly(finding, vec![sent, place.event]));
        }
        Some(_) => {}
    }
}

/// A value is in as many places as it may be: among those that are left, and among those of one time.
fn places_of(log: &Log<'_>, value: &Value, here: &[Place], found: &mut Vec<Anomaly>) {
    if here.len() <= value.may_be_in() {
        return;
    }
    let too_many = |places: &[Place]| match *places {
        [first, .., last] if places.len() > value.may_be_in() => Some((first, last)),
        _ => None,
    };
    let kept: Vec<Place> = here.iter().copied().filter(|place| log.is_kept(place.spot)).collect();
    let of_one_time = || here.chunk_by(|a, b| a.spot.loss == b.spot.loss).find_map(too_many);
    if let Some((first, other)) = too_many(&kept).or_else(of_one_time) {
        let (first_offset, offset) = (first.spot.offset, other.spot.offset);
        let finding = Finding::Duplicate { value: log.label(first.value), first: first_offset, offset };
        found.push(log.anomaly(finding, vec![first.event, other.event]));
    }
}

/// What was acknowledged is where it was said to be, unless it was given up since.
fn acknowledged(
    log: &Log<'_>,
    id: ValueId,
    ack: Ack,
    here: &[Place],
    absences: &Absences<'_>,
    found: &mut Vec<Anomaly>,
) {
    let given_up = !log.is_kept(ack.spot) || ack.spot.offset < log.may_start_at(u64::MAX);
    if given_up || here.iter().any(|place| place.spot == ack.spot) {
        return;
    }
    let (value, offset) = (log.label(id), ack.spot.offset);
    if let Some(elsewhere) = here.iter().find(|place| log.is_kept(place.spot)) {
        let finding = Finding::Moved { value, acknowledged: offset, offset: elsewhere.spot.offset };
        return found.push(log.anomaly(finding, vec![ack.event, elsewhere.event]));
    }
    let (finding, mut events) = match absences.of(ack) {
        Some(shown) => (Finding::Lost { value, offset }, shown),
        None => (Finding::Unseen { value, offset }, log.sightings.last().map(|last| last.event).into_iter().collect()),
    };
    events.insert(0, ack.event);
    found.push(log.anomaly(finding, events));
}

/// What shows that a place is empty, or another's.
struct Absences<'a> {
    log: &'a Log<'a>,
    jumps: &'a [Jump],
    /// For each of the jumps, which of it and those before it, of the same loss, reaches furthest.
    furthest: Vec<usize>,
    /// What clients were told of the end of the log, by when they asked.
    ends: Vec<(u64, i64, EventId)>,
    /// For each of these, which of it and those behind it is the least.
    least: Vec<usize>,
}

impl<'a> Absences<'a> {
    fn new(log: &'a Log<'a>, jumps: &'a [Jump]) -> Self {
        let mut furthest: Vec<usize> = (0..jumps.len()).collect();
        for at in 1..jumps.len() {
            let before = furthest[at - 1];
            if jumps[before].from.loss == jumps[at].from.loss && jumps[before].to > jumps[at].to {
                furthest[at] = before;
            }
        }
        let asked = log.readers.values().flatten().filter_map(|id| match log.event(*id) {
            Event::Offsets { begin, end: Some(end), .. } => Some((*begin, *end, *id)),
            _ => None,
        });
        let mut ends: Vec<_> = asked.collect();
        ends.sort_unstable();
        let mut least: Vec<usize> = (0..ends.len()).collect();
        for at in (1..ends.len()).rev() {
            if ends[least[at]].1 < ends[at - 1].1 {
                least[at - 1] = least[at];
            }
        }
        Self { log, jumps, furthest, ends, least }
    }

    fn of(&self, ack: Ack) -> Option<Vec<EventId>> {
        let Spot { loss, offset } = ack.spot;
        if let Some(other) = self.log.seen(ack.spot, offset + 1).first() {
            return Some(vec![other.event]);
        }
        let before = self.jumps.partition_point(|jump| jump.from <= ack.spot);
        if let Some(at) = before.checked_sub(1) {
            let jump = &self.jumps[self.furthest[at]];
            if jump.from.loss == loss && jump.to > offset {
                return Some(vec![jump.events.0, jump.events.1]);
            }
        }
        let later = self.ends.partition_point(|(begin, ..)| *begin <= ack.at);
        let (_, end, event) = self.ends.get(*self.least.get(later)?)?;
        (*end <= offset).then(|| vec![*event])
    }
}
