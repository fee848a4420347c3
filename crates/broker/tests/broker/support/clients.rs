//! What the clients of random work see, for the judge.

use runnel_api::ProducerIdentity;
use runnel_judge::{Event, History, Poll, judge, to_text};

use super::client::Record;

/// An idempotent producer of one partition and the batch whose outcome it does not know.
pub(crate) struct Producer {
    pub(crate) identity: ProducerIdentity,
    pub(crate) sequence: i32,
    pub(crate) open: Option<Vec<String>>,
}

/// Who writes a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    /// Without a producer id, and once.
    Plain,
    /// The idempotent producer of the partition.
    Idempotent,
}

impl By {
    fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Idempotent => "idempotent",
        }
    }
}

/// Clients of a topic that do one thing after the other.
pub(crate) struct Clients {
    history: History,
    topic: &'static str,
    now: u64,
    numbered: u64,
    /// Of each partition, the idempotent producer that there is now.
    pub(crate) producers: Vec<Option<Producer>>,
    /// Behind what was acknowledged or read of each partition.
    ends: Vec<i64>,
}

impl Clients {
    pub(crate) fn new(topic: &'static str, partitions: i32) -> Self {
        let producers = (0..partitions).map(|_| None).collect();
        let ends = vec![0; usize::try_from(partitions).unwrap()];
        Self { history: History::default(), topic, now: 0, numbered: 0, producers, ends }
    }

    /// Values that nobody has sent yet: who writes them, a number, and so many bytes more.
    pub(crate) fn values(&mut self, by: By, count: u64, bytes: usize) -> Vec<String> {
        let first = self.numbered;
        self.numbered += count;
        (first..self.numbered).map(|number| format!("{}:{number}:{}", by.name(), "x".repeat(bytes))).collect()
    }

    /// How many values there are.
    pub(crate) fn sent(&self) -> u64 {
        self.numbered
    }

    fn tick(&mut self) -> u64 {
        self.now += 1;
        self.now
    }

    /// They are about to be sent. Unless more is told, nobody knows what became of them.
    pub(crate) fn send(&mut self, partition: i32, values: &[String]) {
        for (client, value) in values.iter().map(|value| parse(value.as_bytes())) {
            let (at, topic) = (self.tick(), self.topic);
            self.history.push(Event::Send { at, client, topic, partition, value });
        }
    }

    pub(crate) fn acked(&mut self, partition: i32, base: i64, values: &[String]) {
        for (offset, value) in (base..).zip(values) {
            let (at, topic, (client, value)) = (self.tick(), self.topic, parse(value.as_bytes()));
            self.history.push(Event::Acked { at, client, topic, partition, value, offset });
            self.reached(partition, offset + 1);
        }
    }

    /// Nothing was stored.
    pub(crate) fn refused(&mut self, partition: i32, values: &[String]) {
        for (client, value) in values.iter().map(|value| parse(value.as_bytes())) {
            let (at, topic) = (self.tick(), self.topic);
            self.history.push(Event::Refused { at, client, topic, partition, value });
        }
    }

    /// What somebody read who began there.
    pub(crate) fn read(&mut self, partition: i32, from: i64, records: &[Record]) {
        let (at, client, topic) = (self.tick(), "reader", self.topic);
        self.history.push(Event::Seek { at, client, topic, partition, offset: Some(from) });
        let records: Box<[_]> = records
            .iter()
            .map(|(offset, bytes)| {
                let (producer, value) = parse(bytes);
                runnel_judge::Record(*offset, producer, value, crc32c::crc32c(bytes))
            })
            .collect();
        self.reached(partition, records.last().map_or(from, |last| last.0 + 1));
        let poll = Poll { at, client, topic, partition, high_watermark: None, log_start: None, epoch: None, records };
        self.history.push(Event::Poll(Box::new(poll)));
    }

    /// The whole of a partition, from which nothing may be missing any more.
    pub(crate) fn read_whole(&mut self, partition: i32, records: &[Record]) {
        let (begin, at, client, topic) = (self.tick(), self.tick(), "reader", self.topic);
        let (log_start, end) = (Some(0), Some(i64::try_from(records.len()).unwrap()));
        self.history.push(Event::Offsets { begin, at, client, topic, partition, log_start, end });
        self.read(partition, 0, records);
    }

    fn reached(&mut self, partition: i32, end: i64) {
        let known = &mut self.ends[usize::try_from(partition).unwrap()];
        *known = end.max(*known);
    }

    /// Behind the last record of a partition that anybody knows of.
    pub(crate) fn end(&self, partition: i32) -> i64 {
        self.ends[usize::try_from(partition).unwrap()]
    }

    /// The verdict on all of it.
    pub(crate) fn judge(&self) {
        let anomalies = judge(&self.history).unwrap();
        assert!(anomalies.is_empty(), "{}", to_text(&self.history, &anomalies));
    }
}

/// Who wrote a value, and its number.
fn parse(value: &[u8]) -> (&'static str, u64) {
    let mut parts = std::str::from_utf8(value).unwrap().split(':');
    let (name, number) = (parts.next().unwrap(), parts.next().unwrap());
    let by = [By::Plain, By::Idempotent].into_iter().find(|by| by.name() == name).unwrap();
    (by.name(), number.parse().unwrap())
}
