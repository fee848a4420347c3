//! The committed offset of a group in a partition is a register: what is read was written last, or about then.

use std::collections::HashMap;

use crate::anomaly::{Anomaly, Finding};
use crate::event::{Event, Outcome};
use crate::history::EventId;
use crate::index::{Index, Log, Place, Register};

#[derive(Clone, Copy)]
struct Commit {
    event: EventId,
    offset: i64,
    begin: u64,
    /// By when it was in force, if anybody knows.
    end: Option<u64>,
    outcome: Outcome,
}

pub(super) fn check(index: &Index<'_>, found: &mut Vec<Anomaly>) {
    for ((group, place), register) in &index.registers {
        let mut findings = Vec::new();
        one(index, register, &mut findings);
        beyond_end(index, *place, register, &mut findings);
        found.extend(findings.into_iter().map(|(finding, events)| Anomaly {
            topic: Some(index.history.name(place.topic).to_owned()),
            partition: Some(place.partition),
            group: Some(index.history.name(*group).to_owned()),
            finding,
            events,
        }));
    }
}

type Findings = Vec<(Finding, Vec<EventId>)>;

fn one(index: &Index<'_>, register: &Register, found: &mut Findings) {
    let mut commits: Vec<Commit> = register.commits.iter().filter_map(|id| commit(index, *id)).collect();
    confirm(index, register, &mut commits);
    let mut by_offset: HashMap<i64, Vec<Commit>> = HashMap::new();
    for commit in &commits {
        by_offset.entry(commit.offset).or_default().push(*commit);
    }
    let mut ended: Vec<(u64, Commit)> = commits.iter().filter_map(|commit| Some((commit.end?, *commit))).collect();
    ended.sort_unstable_by_key(|(end, commit)| (*end, commit.event));
    // The commit that began last, of all that had ended by then.
    let mut latest: Vec<Commit> = Vec::with_capacity(ended.len());
    for (_, commit) in &ended {
        let last = latest.last().filter(|last| last.begin > commit.begin);
        latest.push(*last.unwrap_or(commit));
    }
    for &read in &register.reads {
        let Event::Committed { begin, at, offset, .. } = index.history.get(read) else { continue };
        let before = ended.partition_point(|(end, _)| end < begin).checked_sub(1).map(|at| latest[at]);
        let Some(offset) = offset else {
            if let Some(lost) = before {
                found.push((Finding::LostCommit { committed: lost.offset, offset: None }, vec![lost.event, read]));
            }
            continue;
        };
        let written = by_offset.get(offset).into_iter().flatten().filter(|commit| commit.begin <= *at);
        let (refused, possible): (Vec<&Commit>, Vec<&Commit>) =
            written.partition(|commit| commit.outcome == Outcome::Refused);
        if possible.is_empty() {
            found.push(match refused.first() {
                Some(refused) => (Finding::RefusedCommit { offset: *offset }, vec![refused.event, read]),
                None => (Finding::PhantomCommit { offset: *offset }, vec![read]),
            });
        } else if let Some(lost) =
            before.filter(|lost| possible.iter().all(|it| it.end.is_some_and(|end| end < lost.begin)))
        {
            let mut events: Vec<EventId> = possible.last().map(|commit| commit.event).into_iter().collect();
            events.extend([lost.event, read]);
            found.push((Finding::LostCommit { committed: lost.offset, offset: Some(*offset) }, events));
        }
    }
}

fn commit(index: &Index<'_>, id: EventId) -> Option<Commit> {
    match *index.history.get(id) {
        Event::Commit { begin, at, offset, outcome, .. } => {
            Some(Commit { event: id, offset, begin, end: (outcome == Outcome::Ok).then_some(at), outcome })
        }
        _ => None,
    }
}

/// A commit that was read, and that alone can have been, was in force by then.
fn confirm(index: &Index<'_>, register: &Register, commits: &mut [Commit]) {
    let mut alone: HashMap<i64, Option<usize>> = HashMap::new();
    for (at, commit) in commits.iter().enumerate().filter(|(_, commit)| commit.outcome != Outcome::Refused) {
        alone.entry(commit.offset).and_modify(|one| *one = None).or_insert(Some(at));
    }
    for read in &register.reads {
        let Event::Committed { at, offset: Some(offset), .. } = index.history.get(*read) else { continue };
        if let Some(Some(one)) = alone.get(offset) {
            let end = &mut commits[*one].end;
            *end = Some(end.map_or(*at, |end| end.min(*at)));
        }
    }
}

/// Nobody commits what he has not read, so the log goes as far.
fn beyond_end(index: &Index<'_>, place: Place, register: &Register, found: &mut Findings) {
    let Some(end) = index.logs.get(&place).and_then(known_end) else { return };
    for &read in &register.reads {
        if let Event::Committed { offset: Some(offset), .. } = *index.history.get(read)
            && offset > end
        {
            found.push((Finding::CommitBeyondEnd { offset, end }, vec![read]));
        }
    }
}

/// The furthest that anybody knows of a log.
fn known_end(log: &Log<'_>) -> Option<i64> {
    let seen = log.sightings.iter().map(|sighting| sighting.spot.offset + 1);
    let acked = log.values.iter().filter_map(|value| Some(value.ack?.spot.offset + 1));
    let told = log.readers.values().flatten().filter_map(|id| match log.event(*id) {
        Event::Poll(poll) => poll.high_watermark,
        Event::Offsets { end, .. } => *end,
        _ => None,
    });
    seen.chain(acked).chain(told).max()
}
