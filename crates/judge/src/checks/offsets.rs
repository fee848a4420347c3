//! What is at an offset: one record, for everybody and for ever.

use crate::anomaly::{Anomaly, Finding};
use crate::index::{Ack, Log, Sighting, ValueId};

pub(super) fn check(log: &Log<'_>, found: &mut Vec<Anomaly>) {
    for at_one in log.sightings.chunk_by(|a, b| a.spot == b.spot) {
        two_contents(log, at_one, found);
    }
    epochs(log, found);
    given_twice(log, found);
}

fn two_contents(log: &Log<'_>, at_one: &[Sighting], found: &mut Vec<Anomaly>) {
    let first = &at_one[0];
    let differs = |other: &&Sighting| {
        let known = first.content != 0 && other.content != 0;
        other.value != first.value || known && other.content != first.content
    };
    if let Some(other) = at_one.iter().find(differs) {
        let (value, other_value) = (log.label(first.value), log.label(other.value));
        let finding = Finding::TwoContents { offset: first.spot.offset, value, other: other_value };
        found.push(log.anomaly(finding, vec![first.event, other.event]));
    }
}

/// Epochs never fall from one record to the next, and a record has one.
fn epochs(log: &Log<'_>, found: &mut Vec<Anomaly>) {
    let mut last: Option<&Sighting> = None;
    for sighting in log.sightings.iter().filter(|sighting| sighting.epoch >= 0) {
        if let Some(last) = last.filter(|last| last.epoch > sighting.epoch) {
            let (offset, epoch, before) = (sighting.spot.offset, sighting.epoch, last.epoch);
            found.push(log.anomaly(Finding::EpochBack { offset, epoch, before }, vec![last.event, sighting.event]));
        }
        last = Some(sighting);
    }
}

fn given_twice(log: &Log<'_>, found: &mut Vec<Anomaly>) {
    let mut acks: Vec<(Ack, ValueId)> =
        (0..).map(ValueId).zip(&log.values).filter_map(|(id, value)| Some((value.ack?, id))).collect();
    acks.sort_unstable_by_key(|(ack, id)| (ack.spot, *id));
    for pair in acks.windows(2).filter(|pair| pair[0].0.spot == pair[1].0.spot) {
        let [(first, value), (second, other)] = pair else { continue };
        let (value, other) = (log.label(*value), log.label(*other));
        let finding = Finding::OffsetGivenTwice { offset: first.spot.offset, value, other };
        found.push(log.anomaly(finding, vec![first.event, second.event]));
    }
}
