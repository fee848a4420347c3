//! The latest changes, kept in memory for watches.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use tokio::sync::watch;

use crate::error::Error;
use crate::options::Options;
use crate::watch::{Change, Changes, Event, Watch};

/// The latest durable changes, bounded in count and bytes, with a bell for those who wait.
///
/// Watchers read from here at their own pace, so a slow one costs nothing: it is told that the changes are gone.
#[derive(Debug)]
pub(super) struct History {
    ring: Mutex<Ring>,
    bell: watch::Sender<()>,
}

#[derive(Debug)]
struct Ring {
    changes: VecDeque<Arc<Changes>>,
    bytes: usize,
    max_changes: usize,
    max_bytes: usize,
    /// Every change from this revision on is in `changes`.
    oldest: u64,
    closed: bool,
}

impl History {
    /// An empty history of a store that stands at `revision`.
    pub(super) fn new(revision: u64, options: &Options) -> Arc<Self> {
        let ring = Ring {
            changes: VecDeque::new(),
            bytes: 0,
            max_changes: options.history_changes,
            max_bytes: options.history_bytes,
            oldest: revision + 1,
            closed: false,
        };
        Arc::new(Self { ring: Mutex::new(ring), bell: watch::Sender::new(()) })
    }

    /// Adds changes that are durable, in the order of their revisions.
    pub(super) fn publish(&self, changes: impl IntoIterator<Item = Changes>) {
        let mut ring = self.ring();
        for changes in changes {
            ring.push(changes);
        }
        drop(ring);
        self.bell.send_replace(());
    }

    /// Ends every watch, once it has handed out what is here.
    pub(super) fn close(&self) {
        self.ring().closed = true;
        self.bell.send_replace(());
    }

    /// Follows `prefix` from `from_revision` on.
    pub(super) fn watch(self: &Arc<Self>, prefix: &str, from_revision: u64) -> Box<dyn Watch> {
        let bell = self.bell.subscribe();
        Box::new(Follower { history: Arc::clone(self), bell, prefix: prefix.to_owned(), next: from_revision })
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ring {
    fn push(&mut self, changes: Changes) {
        self.bytes += weight(&changes);
        self.changes.push_back(Arc::new(changes));
        while self.changes.len() > self.max_changes || self.bytes > self.max_bytes {
            let Some(gone) = self.changes.pop_front() else { break };
            self.bytes -= weight(&gone);
            self.oldest = gone.revision + 1;
        }
    }

    /// The first transaction at or after `from` that touched `prefix`, or `None` if there is none yet.
    fn first(&self, prefix: &str, from: u64) -> Result<Option<Changes>, Error> {
        if from < self.oldest {
            return Err(Error::Compacted { requested: from, oldest: self.oldest });
        }
        let start = self.changes.partition_point(|c| c.revision < from);
        for changes in self.changes.range(start..) {
            let events: Vec<Event> = changes.events.iter().filter(|e| e.key.starts_with(prefix)).cloned().collect();
            if !events.is_empty() {
                return Ok(Some(Changes { revision: changes.revision, events }));
            }
        }
        if self.closed { Err(Error::Closed) } else { Ok(None) }
    }

    /// The revision of the newest change here.
    fn newest(&self) -> u64 {
        self.changes.back().map_or(self.oldest - 1, |c| c.revision)
    }
}

fn weight(changes: &Changes) -> usize {
    let event = |e: &Event| {
        let value = if let Change::Put(v) = &e.change { v.value.len() } else { 0 };
        size_of::<Event>() + e.key.len() + value
    };
    changes.events.iter().map(event).sum()
}

struct Follower {
    history: Arc<History>,
    bell: watch::Receiver<()>,
    prefix: String,
    next: u64,
}

#[async_trait]
impl Watch for Follower {
    async fn next(&mut self) -> Result<Changes, Error> {
        loop {
            // Marked as seen before looking, so that what is published after the look rings again.
            self.bell.borrow_and_update();
            {
                let ring = self.history.ring();
                if let Some(changes) = ring.first(&self.prefix, self.next)? {
                    self.next = changes.revision + 1;
                    return Ok(changes);
                }
                // What was looked through and did not match need not be kept for this watch.
                self.next = self.next.max(ring.newest() + 1);
            }
            if self.bell.changed().await.is_err() {
                return Err(Error::Closed);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use bytes::Bytes;

    use super::*;
    use crate::store::Versioned;

    fn changes(revision: u64, bytes: usize) -> Changes {
        let value = Versioned { value: Bytes::from(vec![0; bytes]), revision, created: revision };
        Changes { revision, events: vec![Event { key: "k".to_owned(), change: Change::Put(value) }] }
    }

    #[tokio::test]
    async fn the_history_is_bounded_in_count_and_in_bytes() {
        for (options, kept) in [
            (Options { history_changes: 3, ..Options::default() }, 3),
            (Options { history_bytes: 25_000, ..Options::default() }, 2),
            (Options { history_bytes: 9_000, ..Options::default() }, 0),
            (Options { history_changes: 0, ..Options::default() }, 0),
        ] {
            let history = History::new(100, &options);
            history.publish((101..=110).map(|revision| changes(revision, 10_000)));
            let oldest = 111 - kept;
            let error = history.watch("", oldest - 1).next().await.unwrap_err();
            assert!(matches!(error, Error::Compacted { oldest: o, .. } if o == oldest), "{error}");
            let mut watch = history.watch("", oldest);
            for revision in oldest..=110 {
                assert_eq!(watch.next().await.unwrap().revision, revision);
            }
            history.close();
            assert!(matches!(watch.next().await, Err(Error::Closed)));
        }
    }

    #[tokio::test]
    async fn a_watch_that_nothing_matched_does_not_fall_behind() {
        let history = History::new(0, &Options { history_changes: 2, ..Options::default() });
        let mut watch = history.watch("other", 1);
        for revision in 1..=10 {
            history.publish([changes(revision, 1)]);
            // Looks, finds nothing for its prefix and is dropped: it need not look there again.
            let look = tokio::time::timeout(std::time::Duration::ZERO, watch.next());
            assert!(look.await.is_err());
        }
    }
}
