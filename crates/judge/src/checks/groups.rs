//! A group with members gets on.

use std::collections::BTreeMap;

use crate::anomaly::{Anomaly, Finding};
use crate::event::{Event, Outcome};
use crate::history::{EventId, Name};
use crate::index::{Ack, Group, Index, Log, Place};

pub(super) fn check(index: &Index<'_>, found: &mut Vec<Anomaly>) {
    for (name, group) in &index.groups {
        for &id in &group.patience {
            if let Event::Patience { since, at, .. } = *index.history.get(id) {
                let moment = Moment { id, since, at };
                stuck(index, *name, group, moment, found);
            }
        }
    }
}

/// From `since` to `at` there was time.
#[derive(Clone, Copy)]
struct Moment {
    id: EventId,
    since: u64,
    at: u64,
}

/// It has got nothing more, and there was more.
fn stuck(index: &Index<'_>, name: Name, group: &Group, moment: Moment, found: &mut Vec<Anomaly>) {
    let present = group.members.iter().filter(|member| member.from <= moment.since && member.until >= moment.at);
    let topics: Vec<Name> = present.map(|member| member.topic).collect();
    let (before, after) = (committed(index, name, moment.since), committed(index, name, moment.at));
    for (place, log) in index.logs.iter().filter(|(place, _)| topics.contains(&place.topic)) {
        // What nobody else read either is lost or unseen, and not for the group.
        let is_there = |ack: &Ack| log.is_kept(ack.spot) && !log.seen(ack.spot, ack.spot.offset + 1).is_empty();
        let acks = log.values.iter().filter_map(|value| value.ack).filter(|ack| ack.at <= moment.since);
        let Some(due) = acks.filter(is_there).max_by_key(|ack| ack.spot) else { continue };
        let reached = |committed: &BTreeMap<Place, (i64, EventId)>, by: u64| {
            let read = group.members.iter().filter_map(|member| position(log, member.client, by)).max();
            read.max(committed.get(place).copied()).unwrap_or((0, moment.id))
        };
        let (offset, last) = reached(&after, moment.at);
        if offset <= due.spot.offset && offset <= reached(&before, moment.since).0 {
            let finding = Finding::StuckGroup { offset, acknowledged: due.spot.offset };
            let mut anomaly = log.anomaly(finding, vec![due.event, last, moment.id]);
            anomaly.events.dedup();
            anomaly.group = Some(index.history.name(name).to_owned());
            found.push(anomaly);
        }
    }
}

/// Behind the last record that a consumer had got by then.
fn position(log: &Log<'_>, client: Name, by: u64) -> Option<(i64, EventId)> {
    let polls = log.readers.get(&client)?.iter().filter_map(|id| match log.event(*id) {
        Event::Poll(poll) if poll.at <= by => Some((poll.records.iter().map(|record| record.0 + 1).max()?, *id)),
        _ => None,
    });
    polls.max()
}

/// The largest offsets that the group had committed by then.
fn committed(index: &Index<'_>, name: Name, by: u64) -> BTreeMap<Place, (i64, EventId)> {
    let mut found = BTreeMap::new();
    for ((_, place), register) in index.registers.iter().filter(|((group, _), _)| *group == name) {
        let commits = register.commits.iter().filter_map(|id| match *index.history.get(*id) {
            Event::Commit { at, offset, outcome: Outcome::Ok, .. } if at <= by => Some((offset, *id)),
            _ => None,
        });
        if let Some(last) = commits.max() {
            found.insert(*place, last);
        }
    }
    found
}
