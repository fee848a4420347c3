//! Retention: how much of a log has had its time, and which objects that leaves behind.
//!
//! The log start moves by a root commit ([`crate::manifest::Commit::trim`]), which drops the references below it. What
//! may be deleted then follows from names alone: the log start never falls, so no root will ever refer to a segment
//! that ends below it again, whoever wrote it. Nothing is concluded from a reference that is absent.

use std::collections::VecDeque;

use runnel_blob::{Key, segment_prefix};
use runnel_format::manifest::{ChunkRef, Root};
use runnel_record::ids::{Offset, TimestampMs};

use crate::Error;
use crate::manifest::Snapshot;
use crate::manifest::snapshot::Node;

/// Names listed at a time.
const PAGE: usize = 1000;

/// How long, and how much of, a log is kept. `None` keeps everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Policy {
    /// Milliseconds since the largest timestamp of a segment.
    pub ms: Option<u64>,
    /// Bytes of segment objects that stay at least.
    pub bytes: Option<u64>,
}

impl Policy {
    /// Whether nothing is ever given up.
    pub const fn keeps_everything(&self) -> bool {
        self.ms.is_none() && self.bytes.is_none()
    }

    /// Whether all of `node`, the oldest of a log of `total` bytes, has had its time. As in Kafka the timestamps of
    /// the records decide, and where there are none the time of the last append.
    fn gives_up(&self, node: &Node, now: TimestampMs, total: u64) -> bool {
        let newest = match node {
            // One segment with timestamps must not speak for those that have none: the chunk is opened instead.
            Node::Chunk(_) => node.max_timestamp().max(node.last_append_time()),
            Node::Segment(_) if node.max_timestamp().0 >= 0 => node.max_timestamp(),
            Node::Segment(_) => node.last_append_time(),
        };
        let age = now.0.saturating_sub(newest.0);
        let old = self.ms.is_some_and(|ms| u64::try_from(age).is_ok_and(|age| age > ms));
        old || self.bytes.is_some_and(|bytes| total.saturating_sub(node.bytes()) >= bytes)
    }
}

impl Snapshot {
    /// Where the log should start by `policy`: behind the segments at its head that have had their time. `None` if it
    /// starts there already. Chunks are opened along the head only.
    pub async fn expired_upto(&self, policy: Policy, now: TimestampMs) -> Result<Option<Offset>, Error> {
        if policy.keeps_everything() {
            return Ok(None);
        }
        let log_start = self.root().log_start;
        let mut open: VecDeque<Node> = self.top().collect();
        let mut total: u64 = open.iter().map(Node::bytes).sum();
        let mut upto = None;
        while let Some(node) = open.pop_front() {
            if node.next() <= log_start {
                total = total.saturating_sub(node.bytes());
            } else if policy.gives_up(&node, now, total) {
                total = total.saturating_sub(node.bytes());
                upto = Some(node.next());
            } else if let Node::Chunk(chunk) = &node {
                self.below(chunk).await?.into_iter().rev().for_each(|node| open.push_front(node));
            } else {
                break;
            }
        }
        Ok(upto)
    }
}

/// Segment objects that end below `below`, at most about a thousand of them: more are found once these are gone.
/// `below` is not above the log start of a root that was committed.
pub async fn find_retired(snapshot: &Snapshot, below: Offset) -> Result<Vec<Key>, Error> {
    let tp = snapshot.root().tp;
    let prefix = segment_prefix(snapshot.topic_name(), tp.partition);
    let (mut retired, mut after) = (Vec::new(), String::new());
    loop {
        let page = snapshot.bucket().list_after(&prefix, &after, PAGE).await.map_err(|e| Error::bucket(tp, e))?;
        for key in page.iter().filter_map(|listed| Key::parse_segment(&listed.path)) {
            // Incarnations of the topic share the folder: its id comes first.
            let Key::Segment { tp: of, base, last, .. } = &key else { continue };
            if *of != tp {
                continue;
            }
            // Names rise by day and base offset, and days with the offsets: what follows is younger.
            if *base >= below {
                return Ok(retired);
            }
            if *last < below {
                retired.push(key);
            }
        }
        match page.last() {
            Some(last) if page.len() == PAGE && retired.len() < PAGE => after.clone_from(&last.path),
            _ => return Ok(retired),
        }
    }
}

/// The chunk objects that `before` refers to and its successor does not, because they lie below the log start; those
/// inside of chunks come too. Only of a commit that is done, and by its own committer.
pub async fn retired_chunks(before: &Snapshot, after: &Root) -> Result<Vec<Key>, Error> {
    let tp = after.tp;
    let mut open: Vec<ChunkRef> =
        before.root().chunks.iter().filter(|chunk| chunk.next <= after.log_start).cloned().collect();
    let mut keys = Vec::new();
    while let Some(chunk) = open.pop() {
        if chunk.level > 0 {
            let below = before.below(&chunk).await?;
            open.extend(below.into_iter().filter_map(|node| match node {
                Node::Chunk(chunk) => Some(chunk),
                Node::Segment(_) => None,
            }));
        }
        keys.push(Key::Chunk { tp, epoch: chunk.epoch, id: chunk.id });
    }
    Ok(keys)
}

#[cfg(test)]
mod tests;
