//! Where each partition stands, so that a session can be opened anew.

use std::collections::BTreeMap;

use runnel_proto::consume::v1::position::Position as At;
use runnel_proto::consume::v1::read_session_response::Start;
use runnel_proto::consume::v1::{Position, ReadRange};

/// One partition.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Cursor {
    next: i64,
    /// Exclusive.
    stop: Option<i64>,
    /// Records that may still come.
    remaining: Option<u64>,
}

impl Cursor {
    fn is_finished(&self) -> bool {
        self.remaining == Some(0) || self.stop.is_some_and(|stop| self.next >= stop)
    }
}

/// Every partition of a consumer.
#[derive(Debug)]
pub(super) struct Cursors {
    /// As asked for: good until the first session has said what that means.
    asked: Vec<ReadRange>,
    known: BTreeMap<(String, i32), Cursor>,
}

impl Cursors {
    pub(super) fn new(asked: Vec<ReadRange>) -> Self {
        Self { asked, known: BTreeMap::new() }
    }

    /// What the next session is to read.
    pub(super) fn ranges(&self) -> Vec<ReadRange> {
        if self.known.is_empty() {
            return self.asked.clone();
        }
        let at = |offset| Position { position: Some(At::Offset(offset)) };
        let unfinished = self.known.iter().filter(|(_, cursor)| !cursor.is_finished());
        unfinished
            .map(|((topic, partition), cursor)| ReadRange {
                topic: topic.clone(),
                partitions: vec![*partition],
                start: Some(at(cursor.next)),
                stop: cursor.stop.map(at),
                max_records: cursor.remaining,
            })
            .collect()
    }

    /// A session says where it begins and ends.
    pub(super) fn opened(&mut self, starts: Vec<Start>) {
        for start in starts {
            let limit = self.asked.iter().find(|range| {
                range.topic == start.topic
                    && (range.partitions.is_empty() || range.partitions.contains(&start.partition))
            });
            let fresh =
                Cursor { next: 0, stop: start.stop_offset, remaining: limit.and_then(|range| range.max_records) };
            let cursor = self.known.entry((start.topic, start.partition)).or_insert(fresh);
            cursor.next = start.offset;
        }
    }

    /// `count` records of a partition were received.
    pub(super) fn read(&mut self, topic: &str, partition: i32, count: usize, next_offset: i64) {
        if let Some(cursor) = self.known.get_mut(&(topic.to_owned(), partition)) {
            cursor.next = next_offset;
            cursor.remaining = cursor.remaining.map(|left| left.saturating_sub(count as u64));
        }
    }

    /// Whether nothing is left to read.
    pub(super) fn are_finished(&self) -> bool {
        !self.known.is_empty() && self.known.values().all(Cursor::is_finished)
    }

    pub(super) fn positions(&self) -> impl Iterator<Item = (&str, i32, i64)> {
        self.known.iter().map(|((topic, partition), cursor)| (topic.as_str(), *partition, cursor.next))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(partition: i32, offset: i64, stop_offset: Option<i64>) -> Start {
        Start { topic: "t".to_owned(), partition, offset, stop_offset }
    }

    #[test]
    fn a_new_session_goes_on_where_the_last_one_stopped() {
        let asked = ReadRange { topic: "t".to_owned(), max_records: Some(10), ..ReadRange::default() };
        let mut cursors = Cursors::new(vec![asked.clone()]);
        assert_eq!(cursors.ranges(), [asked]);
        cursors.opened(vec![start(0, 5, Some(9)), start(1, 0, None), start(2, 3, Some(3))]);
        cursors.read("t", 0, 2, 7);
        cursors.read("t", 1, 10, 10);
        let ranges = cursors.ranges();
        assert_eq!(ranges.len(), 1, "partition 1 has had its 10 records, partition 2 was at its stop: {ranges:?}");
        let offset = |offset| Some(Position { position: Some(At::Offset(offset)) });
        assert_eq!((ranges[0].start, ranges[0].stop), (offset(7), offset(9)));
        assert_eq!((ranges[0].partitions.as_slice(), ranges[0].max_records), ([0].as_slice(), Some(8)));
        cursors.opened(vec![start(0, 7, Some(9))]);
        cursors.read("t", 0, 2, 9);
        assert!(cursors.are_finished());
    }
}
