//! What clients are told, in the judge's words (docs/formats/history.md).

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use runnel_judge::{Event, History, Outcome, Poll, judge, to_text};

use crate::trace::Trace;

/// A partition, by the name that the judge knows its topic by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) topic: String,
    pub(crate) partition: i32,
}

/// A record that somebody read.
#[derive(Debug, Clone)]
pub(crate) struct Read {
    pub(crate) offset: i64,
    pub(crate) producer: String,
    pub(crate) number: u64,
    /// Of all that a reader sees of it.
    pub(crate) digest: u32,
}

/// Records of one epoch that came at once, with what the broker said of the log.
#[derive(Debug)]
pub(crate) struct Polled {
    pub(crate) records: Vec<Read>,
    pub(crate) epoch: Option<i32>,
    /// None where damage that is told of may take it back.
    pub(crate) high_watermark: Option<i64>,
    pub(crate) log_start: i64,
}

/// The history of a run. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    trace: Trace,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    history: History,
    now: u64,
    /// Behind the last record of each partition that anybody was told of.
    ends: BTreeMap<Place, i64>,
}

impl State {
    fn reached(&mut self, place: &Place, end: i64) {
        let known = self.ends.entry(place.clone()).or_default();
        *known = end.max(*known);
    }
}

impl Told {
    pub(crate) fn new(trace: Trace) -> Self {
        Self { trace, state: Arc::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// This moment, which is behind all before. In the judge's microseconds, so that a verdict can be found in the trace.
    pub(crate) fn moment(&self) -> u64 {
        let mut state = self.state();
        state.now = (state.now + 1).max(self.trace.now_ms() * 1_000);
        state.now
    }

    fn push(&self, event: Event<&str>) {
        self.state().history.push(event);
    }

    /// The log start of a topic moves by itself.
    pub(crate) fn expires(&self, topic: &str) {
        self.push(Event::Expires { topic });
    }

    /// A producer begins to write its values of these numbers.
    pub(crate) fn send(&self, client: &str, place: &Place, numbers: Range<u64>) {
        for value in numbers {
            let at = self.moment();
            self.push(Event::Send { at, client, topic: &place.topic, partition: place.partition, value });
        }
    }

    /// They are written from an offset on.
    pub(crate) fn acked(&self, client: &str, place: &Place, numbers: Range<u64>, base: i64) {
        for (offset, value) in (base..).zip(numbers) {
            let at = self.moment();
            self.push(Event::Acked { at, client, topic: &place.topic, partition: place.partition, value, offset });
            self.state().reached(place, offset + 1);
        }
    }

    /// A consumer goes on from an offset.
    pub(crate) fn seek(&self, client: &str, place: &Place, offset: i64) {
        let (at, offset) = (self.moment(), Some(offset));
        self.push(Event::Seek { at, client, topic: &place.topic, partition: place.partition, offset });
    }

    /// A consumer got records.
    pub(crate) fn poll(&self, client: &str, place: &Place, polled: &Polled) {
        let records: Box<[_]> = polled
            .records
            .iter()
            .map(|read| runnel_judge::Record(read.offset, read.producer.as_str(), read.number, read.digest))
            .collect();
        let poll = Poll {
            at: self.moment(),
            client,
            topic: &place.topic,
            partition: place.partition,
            high_watermark: polled.high_watermark,
            log_start: Some(polled.log_start),
            epoch: polled.epoch,
            records,
        };
        self.push(Event::Poll(Box::new(poll)));
        if let Some(last) = polled.records.last() {
            self.state().reached(place, last.offset + 1);
        }
    }

    /// A client asked, at `begin`, where a log begins and ends.
    pub(crate) fn offsets(&self, client: &str, place: &Place, begin: u64, log_start: Option<i64>, end: Option<i64>) {
        let (at, topic, partition) = (self.moment(), place.topic.as_str(), place.partition);
        self.push(Event::Offsets { begin, at, client, topic, partition, log_start, end });
    }

    /// Somebody asks for records to be deleted.
    pub(crate) fn trim(&self, client: &str, place: &Place, before: i64) {
        let at = self.moment();
        self.push(Event::Trim { at, client, topic: &place.topic, partition: place.partition, before });
    }

    /// An operator gave up what there was from an offset on, at that moment or later.
    pub(crate) fn loss(&self, client: &str, place: &Place, at: u64, from: i64) {
        self.push(Event::Loss { at, client, topic: &place.topic, partition: place.partition, from });
        let mut state = self.state();
        let known = state.ends.entry(place.clone()).or_default();
        *known = from.min(*known);
    }

    /// A consumer becomes a member of a group.
    pub(crate) fn subscribe(&self, client: &str, group: &str, topic: &str) {
        self.push(Event::Subscribe { at: self.moment(), client, group, topic });
    }

    /// It is none any more.
    pub(crate) fn close(&self, client: &str) {
        self.push(Event::Close { at: self.moment(), client });
    }

    /// From that moment to now there was time for a group to get all that there was.
    pub(crate) fn patience(&self, group: &str, since: u64) {
        self.push(Event::Patience { since, at: self.moment(), client: group, group });
    }

    /// What became of a commit by a client for a group, which was begun then.
    pub(crate) fn commit(
        &self,
        (client, group): (&str, &str),
        place: &Place,
        begin: u64,
        offset: i64,
        outcome: Outcome,
    ) {
        let (at, topic, partition) = (self.moment(), place.topic.as_str(), place.partition);
        self.push(Event::Commit { begin, at, client, group, topic, partition, offset, outcome });
    }

    /// What a group was told to have committed, to a client who asked then.
    pub(crate) fn committed(&self, (client, group): (&str, &str), place: &Place, begin: u64, offset: Option<i64>) {
        let (at, topic, partition) = (self.moment(), place.topic.as_str(), place.partition);
        self.push(Event::Committed { begin, at, client, group, topic, partition, offset });
    }

    /// Behind the last record of a partition that anybody was told of.
    pub(crate) fn end(&self, place: &Place) -> i64 {
        self.state().ends.get(place).copied().unwrap_or(0)
    }

    /// What the judge finds, if anything.
    pub(crate) fn verdict(&self) -> Option<String> {
        let state = self.state();
        match judge(&state.history) {
            Ok(anomalies) if anomalies.is_empty() => None,
            Ok(anomalies) => Some(to_text(&state.history, &anomalies)),
            Err(error) => Some(format!("the history cannot be judged: {error}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_judge_hears_all_of_it() {
        let told = Told::new(Trace::default());
        let place = Place { topic: "t".into(), partition: 0 };
        told.send("p", &place, 0..2);
        told.acked("p", &place, 0..2, 0);
        assert_eq!(told.end(&place), 2);
        let read = |offset: i64, number| Read { offset, producer: "p".into(), number, digest: 1 };
        let poll = |records: Vec<Read>| {
            let polled = Polled { records, epoch: Some(1), high_watermark: Some(2), log_start: 0 };
            told.seek("c", &place, 0);
            told.poll("c", &place, &polled);
        };
        poll(vec![read(0, 0), read(1, 1)]);
        assert_eq!(told.verdict(), None);
        poll(vec![read(0, 0), read(1, 7)]);
        assert!(told.verdict().is_some_and(|found| found.contains("phantom")));
    }
}
