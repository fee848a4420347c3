//! In which order values are: that in which an idempotent producer sent them, and for all that in which they did not overlap.

use std::collections::BTreeMap;

use crate::anomaly::{Anomaly, Finding};
use crate::history::{EventId, Name};
use crate::index::{Ack, Log, Repeats, Spot, ValueId};

/// A value that is somewhere, and what shows that.
#[derive(Clone, Copy)]
struct Placed {
    value: ValueId,
    sent: EventId,
    begin: u64,
    /// The first place, if there are several.
    spot: Spot,
    shown: EventId,
    /// The place that was acknowledged, unless it is another's.
    ack: Option<Ack>,
}

pub(super) fn check(log: &Log<'_>, found: &mut Vec<Anomaly>) {
    let placed = placed(log);
    by_producer(log, &placed, found);
    by_time(log, placed, found);
}

/// What is known to be somewhere, in the order in which it was sent.
fn placed(log: &Log<'_>) -> Vec<Placed> {
    let mut seen: Vec<Option<(Spot, EventId)>> = vec![None; log.values.len()];
    let mut seen_at_ack = vec![false; log.values.len()];
    for sighting in &log.sightings {
        let at = sighting.value.0 as usize;
        seen[at].get_or_insert((sighting.spot, sighting.event));
        seen_at_ack[at] |= log.values[at].ack.is_some_and(|ack| ack.spot == sighting.spot);
    }
    let mut placed = Vec::new();
    for (((id, value), seen), at_ack) in (0..).map(ValueId).zip(&log.values).zip(seen).zip(seen_at_ack) {
        let ack = value.ack.filter(|_| at_ack || seen.is_none());
        let place = seen.or(ack.map(|ack| (ack.spot, ack.event)));
        if let (Some((sent, begin)), Some((spot, shown))) = (value.sent, place) {
            placed.push(Placed { value: id, sent, begin, spot, shown, ack });
        }
    }
    placed.sort_unstable_by_key(|one| one.sent);
    placed
}

fn by_producer(log: &Log<'_>, placed: &[Placed], found: &mut Vec<Anomaly>) {
    let mut last: BTreeMap<Name, &Placed> = BTreeMap::new();
    for one in placed {
        let value = &log.values[one.value.0 as usize];
        if value.repeats != Repeats::Never {
            continue;
        }
        let before = last.insert(value.producer, one);
        if let Some(before) = before.filter(|before| before.spot.loss == one.spot.loss && before.spot > one.spot) {
            let (earlier, first) = (log.label(before.value), before.spot.offset);
            let finding = Finding::Reordered { earlier, first, value: log.label(one.value), offset: one.spot.offset };
            found.push(log.anomaly(finding, vec![before.sent, one.sent, before.shown, one.shown]));
        }
    }
}

/// What was sent when another was acknowledged comes behind it.
fn by_time(log: &Log<'_>, mut placed: Vec<Placed>, found: &mut Vec<Anomaly>) {
    let mut ended: Vec<(Ack, Placed)> = placed.iter().filter_map(|one| Some((one.ack?, *one))).collect();
    ended.sort_unstable_by_key(|(ack, one)| (ack.at, one.value));
    placed.sort_unstable_by_key(|one| (one.begin, one.value));
    let mut ended = ended.into_iter().peekable();
    let mut highest: Option<(Ack, Placed)> = None;
    for one in placed {
        while let Some(before) = ended.next_if(|(ack, _)| ack.at < one.begin) {
            highest = highest.filter(|highest| highest.0.spot > before.0.spot).or(Some(before));
        }
        if let Some((ack, before)) = highest.filter(|(ack, _)| ack.spot > one.spot) {
            let (earlier, first) = (log.label(before.value), ack.spot.offset);
            let finding = Finding::Overtaken { earlier, first, value: log.label(one.value), offset: one.spot.offset };
            found.push(log.anomaly(finding, vec![before.sent, ack.event, one.sent, one.shown]));
        }
    }
}
