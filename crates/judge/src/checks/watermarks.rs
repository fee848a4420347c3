//! Where a log ends and begins, as each client sees it: neither goes back.

use crate::anomaly::{Anomaly, Finding};
use crate::event::Event;
use crate::history::EventId;
use crate::index::{Log, Spot};

pub(super) fn check(log: &Log<'_>, found: &mut Vec<Anomaly>) {
    for events in log.readers.values() {
        // What comes with records may be older than what was asked for.
        let (mut of_polls, mut of_requests) = (Bounds::default(), Bounds::default());
        for &id in events {
            match log.event(id) {
                Event::Poll(poll) => {
                    if let Some(high_watermark) = poll.high_watermark {
                        if let Some(record) = poll.records.iter().find(|record| record.0 >= high_watermark) {
                            let finding = Finding::AboveWatermark { offset: record.0, high_watermark };
                            found.push(log.anomaly(finding, vec![id]));
                        }
                        of_polls.end(log, id, high_watermark, poll.at, found);
                    }
                    if let Some(start) = poll.log_start {
                        of_polls.start(log, id, start, poll.at, found);
                    }
                }
                Event::Offsets { at, log_start, end, .. } => {
                    if let Some(end) = end {
                        of_requests.end(log, id, *end, *at, found);
                    }
                    if let Some(start) = log_start {
                        of_requests.start(log, id, *start, *at, found);
                    }
                }
                _ => {}
            }
        }
    }
}

/// What a client was told last.
#[derive(Default)]
struct Bounds {
    end: Option<(Spot, EventId)>,
    start: Option<(i64, EventId)>,
}

impl Bounds {
    fn end(&mut self, log: &Log<'_>, id: EventId, offset: i64, at: u64, found: &mut Vec<Anomaly>) {
        let before = self.end.replace((log.spot(offset, at), id));
        // Unless what was there has been given up meanwhile.
        let before = before.filter(|(before, _)| before.offset > offset && log.spot(before.offset, at) == *before);
        if let Some((before, since)) = before {
            let finding = Finding::WatermarkBack { before: before.offset, offset };
            found.push(log.anomaly(finding, vec![since, id]));
        }
    }

    fn start(&mut self, log: &Log<'_>, id: EventId, offset: i64, at: u64, found: &mut Vec<Anomaly>) {
        let before = self.start.replace((offset, id));
        if let Some((before, since)) = before.filter(|(before, _)| *before > offset) {
            found.push(log.anomaly(Finding::LogStartBack { before, offset }, vec![since, id]));
        }
        let allowed = log.may_start_at(at);
        if offset > allowed && !log.expires() {
            found.push(log.anomaly(Finding::LogStartAhead { offset, allowed }, vec![id]));
        }
    }
}
