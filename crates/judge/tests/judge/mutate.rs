//! Finding and changing things in a history.

use std::collections::BTreeMap;

use runnel_judge::{Event, Poll, Record};

use crate::generate::{Events, Name, PRODUCERS, TOPIC, WHOLE};

/// A value that was acknowledged in the partition that is never cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Acked {
    pub(crate) client: Name,
    pub(crate) value: u64,
    pub(crate) offset: i64,
    pub(crate) begin: u64,
    pub(crate) end: u64,
}

impl Acked {
    pub(crate) fn is_idempotent(&self) -> bool {
        PRODUCERS[..2].contains(&self.client)
    }
}

/// By offset; of each value the first acknowledgement.
pub(crate) fn acked(events: &Events) -> Vec<Acked> {
    let (mut begun, mut found) = (BTreeMap::new(), BTreeMap::new());
    for event in events {
        match *event {
            Event::Send { at, client, partition: WHOLE, value, .. } => {
                begun.entry((client, value)).or_insert(at);
            }
            Event::Acked { at, client, partition: WHOLE, value, offset, .. } => {
                let begin = begun[&(client, value)];
                found.entry(offset).or_insert(Acked { client, value, offset, begin, end: at });
            }
            _ => {}
        }
    }
    found.into_values().collect()
}

pub(crate) fn polls(events: &mut Events, partition: i32) -> impl Iterator<Item = &mut Poll<Name>> {
    events.iter_mut().filter_map(move |event| match event {
        Event::Poll(poll) if poll.partition == partition => Some(&mut **poll),
        _ => None,
    })
}

/// Everything that was read there, by offset.
pub(crate) fn log(events: &mut Events) -> BTreeMap<i64, Record<Name>> {
    polls(events, WHOLE).flat_map(|poll| poll.records.iter().map(|record| (record.0, *record))).collect()
}

/// Positions of the polls of a client that got something.
pub(crate) fn polls_of(events: &Events, clients: &[Name]) -> Vec<usize> {
    let of = |event: &Event<Name>| match event {
        Event::Poll(poll) => poll.partition == WHOLE && clients.contains(&poll.client) && poll.records.len() > 2,
        _ => false,
    };
    (0..events.len()).filter(|at| of(&events[*at])).collect()
}

pub(crate) fn poll_at(events: &mut Events, at: usize) -> &mut Poll<Name> {
    let Event::Poll(poll) = &mut events[at] else { unreachable!("no poll") };
    poll
}

/// Nobody sees what is at an offset.
pub(crate) fn hide(events: &mut Events, offset: i64) {
    for poll in polls(events, WHOLE) {
        poll.records = poll.records.iter().copied().filter(|record| record.0 != offset).collect();
    }
}

/// Everybody who has read the last record reads another behind it.
pub(crate) fn extend(events: &mut Events, producer: Name, value: u64) -> Option<()> {
    let last = *log(events).keys().last()?;
    for poll in polls(events, WHOLE) {
        if poll.records.last().is_some_and(|record| record.0 == last) {
            poll.records = poll.records.iter().copied().chain([Record(last + 1, producer, value, 3)]).collect();
        }
        if poll.high_watermark == Some(last + 1) {
            poll.high_watermark = Some(last + 2);
        }
    }
    Some(())
}

/// In acknowledgements and in reads, each has the place of the other.
pub(crate) fn exchange(events: &mut Events, a: Acked, b: Acked) {
    for event in &mut *events {
        if let Event::Acked { client, partition: WHOLE, value, offset, .. } = event {
            if (*client, *value) == (a.client, a.value) {
                *offset = b.offset;
            } else if (*client, *value) == (b.client, b.value) {
                *offset = a.offset;
            }
        }
    }
    exchange_reads(events, a, b);
}

pub(crate) fn exchange_reads(events: &mut Events, a: Acked, b: Acked) {
    let read = log(events);
    for poll in polls(events, WHOLE) {
        for record in &mut poll.records {
            let other = match record.0 {
                offset if offset == a.offset => read[&b.offset],
                offset if offset == b.offset => read[&a.offset],
                _ => continue,
            };
            *record = Record(record.0, other.1, other.2, other.3);
        }
    }
}

/// Acknowledged commits of the group there: position, begin, end and offset.
pub(crate) fn commits(events: &Events) -> Vec<(usize, u64, u64, i64, runnel_judge::Outcome)> {
    let all = events.iter().enumerate().filter_map(|(at, event)| match *event {
        Event::Commit { begin, at: end, partition: WHOLE, offset, outcome, .. } => {
            Some((at, begin, end, offset, outcome))
        }
        _ => None,
    });
    all.collect()
}

/// The last look at the committed offset there: when it began, and what it said.
pub(crate) fn last_committed(events: &mut Events) -> Option<(u64, &mut Option<i64>)> {
    events.iter_mut().rev().find_map(|event| match event {
        Event::Committed { begin, partition: WHOLE, offset, .. } => Some((*begin, offset)),
        _ => None,
    })
}

/// Behind everything that was told.
pub(crate) fn later(events: &Events) -> u64 {
    let at = events.iter().rev().find_map(|event| match event {
        Event::Patience { at, .. } => Some(*at),
        _ => None,
    });
    at.unwrap() + 10
}

pub(crate) fn offsets(at: u64, partition: i32, log_start: i64) -> Event<Name> {
    let (client, topic) = ("admin", TOPIC);
    Event::Offsets { begin: at, at: at + 1, client, topic, partition, log_start: Some(log_start), end: None }
}
