//! The records of a coordinator's partition that still count, and when to write them anew.
//!
//! Nothing compacts `__consumer_offsets`. Instead its coordinator, its only writer, writes now and then what counts
//! once more, at the end of the log, and gives up what lies in front of it: a checkpoint in the log. What a start has
//! to read is so bounded by what counts, whatever was written before.

use std::collections::BTreeMap;
use std::ops::Range;

use bytes::Bytes;
use runnel_record::Offset;

/// A checkpoint comes after so many records for each one that counts, and not before so many.
const RECORDS_PER_LIVE: u64 = 4;
const FEWEST: u64 = 10_000;

/// The last record of every key.
#[derive(Debug, Default)]
pub(super) struct Live {
    by_key: BTreeMap<Bytes, Bytes>,
    /// Records since the last checkpoint began, or since the log starts.
    since: u64,
}

impl Live {
    /// A record that follows those before; without a value it ends its key.
    pub(super) fn note(&mut self, key: Bytes, value: Option<Bytes>) {
        self.since += 1;
        match value {
            Some(value) => self.by_key.insert(key, value),
            None => self.by_key.remove(&key),
        };
    }

    /// Whether a checkpoint is worth its while.
    pub(super) fn is_due(&self) -> bool {
        self.since >= RECORDS_PER_LIVE.saturating_mul(self.by_key.len() as u64).max(FEWEST)
    }

    /// Everything that counts, for a checkpoint that begins now.
    pub(super) fn begin(&mut self) -> impl Iterator<Item = (Bytes, Option<Bytes>)> {
        self.since = 0;
        self.by_key.iter().map(|(key, value)| (key.clone(), Some(value.clone())))
    }
}

/// A checkpoint on its way to the log.
#[derive(Debug)]
pub(super) struct Checkpoint {
    /// Its records among all that the coordinator wrote.
    records: Range<u64>,
    /// Where the first one stands, once it is durable.
    start: Option<Offset>,
}

impl Checkpoint {
    /// A checkpoint of these records.
    pub(super) const fn new(records: Range<u64>) -> Self {
        Self { records, start: None }
    }

    /// The records `written` are durable, from offset `base` on. Where the log may start, once the checkpoint is whole.
    pub(super) fn on_written(&mut self, written: Range<u64>, base: Offset) -> Option<Offset> {
        if written.contains(&self.records.start) {
            let ahead = i64::try_from(self.records.start - written.start).unwrap_or(i64::MAX);
            self.start = Some(base.plus(ahead));
        }
        self.start.filter(|_| written.end >= self.records.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(i: u64) -> Bytes {
        i.to_be_bytes().to_vec().into()
    }

    #[test]
    fn what_counts_is_the_last_record_of_each_key() {
        let mut live = Live::default();
        for (k, value) in [(1, Some("a")), (2, Some("b")), (1, Some("c")), (3, Some("d")), (2, None), (9, None)] {
            live.note(key(k), value.map(|v| Bytes::from_static(v.as_bytes())));
        }
        let found: Vec<_> = live.begin().collect();
        assert_eq!(found, [(key(1), Some("c".into())), (key(3), Some("d".into()))]);
    }

    #[test]
    fn a_checkpoint_is_due_when_the_log_is_many_times_what_counts() {
        let mut live = Live::default();
        (0..FEWEST).for_each(|i| {
            assert!(!live.is_due());
            live.note(key(i), Some(Bytes::new()));
        });
        assert!(!live.is_due(), "everything counts");
        (0..3 * FEWEST).for_each(|i| live.note(key(i % FEWEST), Some(Bytes::new())));
        assert!(live.is_due());
        assert_eq!(live.begin().count() as u64, FEWEST);
        assert!(!live.is_due());
        (0..FEWEST).for_each(|i| live.note(key(i), None));
        assert!(live.is_due(), "nothing counts any more");
    }

    #[test]
    fn the_log_starts_at_a_checkpoint_once_that_is_whole() {
        let mut checkpoint = Checkpoint::new(5..9);
        assert_eq!(checkpoint.on_written(0..3, Offset(100)), None);
        assert_eq!(checkpoint.on_written(3..6, Offset(103)), None);
        assert_eq!(checkpoint.on_written(6..8, Offset(110)), None);
        assert_eq!(checkpoint.on_written(8..12, Offset(112)), Some(Offset(105)));
        assert_eq!(Checkpoint::new(5..9).on_written(5..9, Offset(7)), Some(Offset(7)));
    }
}
