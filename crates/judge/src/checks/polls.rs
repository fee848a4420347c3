//! How a consumer gets on: each record follows the one before it, unless it was sent elsewhere.

use std::collections::BTreeSet;

use crate::anomaly::{Anomaly, Finding};
use crate::event::Event;
use crate::history::EventId;
use crate::index::{Log, Spot};

/// A consumer that was at `from` got the record at `to` next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Jump {
    pub(super) from: Spot,
    pub(super) to: i64,
    /// What took it to `from`, and what it got.
    pub(super) events: (EventId, EventId),
}

/// Also returns over what consumers jumped, by where they were.
pub(super) fn check(log: &Log<'_>, found: &mut Vec<Anomaly>) -> Vec<Jump> {
    let mut jumps = Vec::new();
    for events in log.readers.values() {
        follow(log, events, &mut jumps, found);
    }
    jumps.sort_unstable();
    let acked = if jumps.is_empty() { Vec::new() } else { acknowledged(log) };
    let mut holes = BTreeSet::new();
    for jump in &jumps {
        let finding = if !log.seen(jump.from, jump.to).is_empty() {
            Finding::PollSkip { expected: jump.from.offset, offset: jump.to }
        } else if !is_any_in(&acked, jump) && holes.insert((jump.from, jump.to)) {
            Finding::Hole { from: jump.from.offset, to: jump.to }
        } else {
            continue; // what was acknowledged there is lost, which is found by its values
        };
        found.push(log.anomaly(finding, vec![jump.events.0, jump.events.1]));
    }
    jumps
}

/// Where a consumer is, and what took it there.
struct Position {
    next: Spot,
    since: EventId,
}

fn follow(log: &Log<'_>, events: &[EventId], jumps: &mut Vec<Jump>, found: &mut Vec<Anomaly>) {
    let mut position: Option<Position> = None;
    for &id in events {
        match log.event(id) {
            Event::Seek { at, offset, .. } => {
                position = offset.map(|offset| Position { next: log.spot(offset, *at), since: id });
            }
            Event::Poll(poll) => {
                for record in &poll.records {
                    let got = log.spot(record.0, poll.at);
                    // What was given up since has taken its place along.
                    let known = position.filter(|known| log.spot(known.next.offset, poll.at) == known.next);
                    if let Some(Position { next, since }) = known {
                        if got.offset < next.offset {
                            let finding = Finding::NonmonotonicPoll { expected: next.offset, offset: got.offset };
                            found.push(log.anomaly(finding, vec![since, id]));
                        } else if got.offset > next.offset {
                            let from = next.offset.max(log.may_start_at(poll.at));
                            let runs = log.runs(from, got.offset, poll.at).into_iter();
                            jumps.extend(runs.map(|(from, to)| Jump { from, to, events: (since, id) }));
                        }
                    }
                    position = Some(Position { next: log.spot(got.offset + 1, poll.at), since: id });
                }
            }
            _ => {}
        }
    }
}

/// Every place that was acknowledged, in order.
fn acknowledged(log: &Log<'_>) -> Vec<Spot> {
    let mut acked: Vec<Spot> = log.values.iter().filter_map(|value| Some(value.ack?.spot)).collect();
    acked.sort_unstable();
    acked
}

fn is_any_in(acked: &[Spot], jump: &Jump) -> bool {
    let next = acked.get(acked.partition_point(|spot| *spot < jump.from));
    next.is_some_and(|spot| *spot < Spot { offset: jump.to, ..jump.from })
}
