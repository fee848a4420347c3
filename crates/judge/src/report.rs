//! What was found, for people and for programs.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;

use crate::anomaly::Anomaly;
use crate::event::{Event, Outcome, Record};
use crate::history::{EventId, History};

/// Of one kind, so many are shown to people; there is always the JSON.
const SHOWN: usize = 5;

/// How much there was to judge: a verdict on nothing is worth nothing.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Events.
    pub events: usize,
    /// Attempts to send something.
    pub sent: usize,
    /// Those that were acknowledged.
    pub acknowledged: usize,
    /// Those that were refused.
    pub refused: usize,
    /// Records that were read, by anybody.
    pub read: usize,
    /// Commits that were acknowledged.
    pub committed: usize,
}

impl Summary {
    /// Of a history.
    pub fn of(history: &History) -> Self {
        let mut summary = Self { events: history.len(), ..Self::default() };
        for (_, event) in history.ids() {
            match event {
                Event::Send { .. } => summary.sent += 1,
                Event::Acked { .. } => summary.acknowledged += 1,
                Event::Refused { .. } => summary.refused += 1,
                Event::Poll(poll) => summary.read += poll.records.len(),
                Event::Commit { outcome: Outcome::Ok, .. } => summary.committed += 1,
                _ => {}
            }
        }
        summary
    }
}

#[derive(Serialize)]
struct Report<'a> {
    #[serde(flatten)]
    summary: Summary,
    anomalies: Vec<Shown<'a>>,
}

#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    anomaly: &'a Anomaly,
    says: String,
    shown_by: Vec<Event<&'a str>>,
}

/// One object, with the events of each anomaly.
pub fn to_json(history: &History, anomalies: &[Anomaly]) -> Result<String, serde_json::Error> {
    let anomalies = anomalies
        .iter()
        .map(|anomaly| Shown {
            anomaly,
            says: anomaly.finding.to_string(),
            shown_by: anomaly.events.iter().map(|id| history.event(*id)).collect(),
        })
        .collect();
    serde_json::to_string(&Report { summary: Summary::of(history), anomalies })
}

/// A paragraph for each anomaly, with its events in the order of their times, and a line about all of it.
pub fn to_text(history: &History, anomalies: &[Anomaly]) -> String {
    let mut by_kind: BTreeMap<&str, Vec<&Anomaly>> = BTreeMap::new();
    for anomaly in anomalies {
        by_kind.entry(anomaly.finding.kind()).or_default().push(anomaly);
    }
    let mut text = String::new();
    for (kind, found) in &by_kind {
        for anomaly in found.iter().take(SHOWN) {
            paragraph(&mut text, history, anomaly);
        }
        if found.len() > SHOWN {
            line(&mut text, &format!("… {} more of kind {kind}", found.len() - SHOWN));
        }
    }
    let Summary { events, sent, acknowledged, refused, read, committed } = Summary::of(history);
    line(
        &mut text,
        &format!(
            "{} in {events} events: {sent} sent, {acknowledged} acknowledged, {refused} refused, {read} read, \
             {committed} committed",
            match anomalies.len() {
                0 => "no anomalies".to_owned(),
                1 => "1 anomaly".to_owned(),
                n => format!("{n} anomalies"),
            }
        ),
    );
    text
}

fn paragraph(text: &mut String, history: &History, anomaly: &Anomaly) {
    let group = anomaly.group.as_ref().map(|group| format!("group {group}, "));
    let place = match (&anomaly.topic, anomaly.partition) {
        (Some(topic), Some(partition)) => format!("{topic}-{partition}: "),
        _ => String::new(),
    };
    let (kind, finding) = (anomaly.finding.kind(), &anomaly.finding);
    line(text, &format!("{kind}: {}{place}{finding}", group.unwrap_or_default()));
    let mut events: Vec<(u64, EventId)> = anomaly.events.iter().map(|id| (history.get(*id).at(), *id)).collect();
    events.sort_unstable();
    events.dedup();
    for (at, id) in events {
        let (client, what) = describe(&history.event(id), &offsets(anomaly));
        let (seconds, micros) = (at / 1_000_000, at % 1_000_000);
        line(text, &format!("  {:>6}  {seconds:>8}.{micros:06}  {client:<12}  {what}", id.number()));
    }
    text.push('\n');
}

fn line(text: &mut String, line: &str) {
    text.push_str(line.trim_end());
    text.push('\n');
}

/// The offsets that an anomaly is about: of a long poll, the records around these are shown.
fn offsets(anomaly: &Anomaly) -> Vec<i64> {
    let fields = serde_json::to_value(&anomaly.finding).unwrap_or_default();
    let numbers = fields.as_object().into_iter().flatten().filter_map(|(_, field)| field.as_i64());
    numbers.collect()
}

/// Who tells it, and what.
fn describe<'a>(event: &Event<&'a str>, around: &[i64]) -> (&'a str, String) {
    match event {
        Event::Expires { topic } => ("", format!("{topic} expires")),
        Event::Repeats { client, .. } => (client, "may write a value again".to_owned()),
        Event::Send { client, topic, partition, value, .. } => {
            (client, format!("sends {value} to {topic}-{partition}"))
        }
        Event::Acked { client, topic, partition, value, offset, .. } => {
            (client, format!("{value} is at {topic}-{partition} offset {offset}"))
        }
        Event::Refused { client, topic, partition, value, .. } => {
            (client, format!("{value} to {topic}-{partition} is refused"))
        }
        Event::Seek { client, topic, partition, offset, .. } => match offset {
            Some(offset) => (client, format!("goes to {topic}-{partition} offset {offset}")),
            None => (client, format!("goes to {topic}-{partition}, somewhere")),
        },
        Event::Poll(poll) => {
            let mut what = format!("reads {}-{}:", poll.topic, poll.partition);
            describe_records(&mut what, &poll.records, around);
            let bounds = [("high watermark", poll.high_watermark), ("log start", poll.log_start)];
            for (name, offset) in bounds.into_iter().filter_map(|(name, offset)| Some((name, offset?))) {
                append(&mut what, format_args!(", {name} {offset}"));
            }
            if let Some(epoch) = poll.epoch {
                append(&mut what, format_args!(", epoch {epoch}"));
            }
            (poll.client, what)
        }
        Event::Offsets { client, topic, partition, log_start, end, .. } => {
            let shown = |offset: &Option<i64>| offset.map_or("?".to_owned(), |offset| offset.to_string());
            (client, format!("is told that {topic}-{partition} has {}..{}", shown(log_start), shown(end)))
        }
        Event::Subscribe { client, group, topic, .. } => (client, format!("joins {group} for {topic}")),
        Event::Close { client, .. } => (client, "closes".to_owned()),
        Event::Commit { client, group, topic, partition, offset, outcome, .. } => {
            let outcome = match outcome {
                Outcome::Ok => "",
                Outcome::Refused => ", refused",
                Outcome::Unknown => ", without an answer",
            };
            (client, format!("commits {offset} of {topic}-{partition} for {group}{outcome}"))
        }
        Event::Committed { client, group, topic, partition, offset, .. } => {
            let offset = offset.map_or("nothing".to_owned(), |offset| offset.to_string());
            (client, format!("is told that {group} has committed {offset} of {topic}-{partition}"))
        }
        Event::Trim { client, topic, partition, before, .. } => {
            (client, format!("asks to delete {topic}-{partition} before {before}"))
        }
        Event::Loss { client, topic, partition, from, .. } => {
            (client, format!("gives up {topic}-{partition} from {from} on"))
        }
        Event::Patience { client, group, .. } => (client, format!("has waited for {group}")),
    }
}

fn describe_records(what: &mut String, records: &[Record<&str>], around: &[i64]) {
    let (Some(first), Some(last)) = (records.first(), records.last()) else { return what.push_str(" nothing") };
    append(what, format_args!(" {} records, {} to {}", records.len(), first.0, last.0));
    let near = |record: &&Record<&str>| around.iter().any(|offset| record.0.abs_diff(*offset) <= 1);
    for Record(offset, producer, value, _) in records.iter().filter(near).take(6) {
        append(what, format_args!(", {offset} = {producer}:{value}"));
    }
}

fn append(what: &mut String, more: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    what.write_fmt(more).unwrap_or_default();
}
