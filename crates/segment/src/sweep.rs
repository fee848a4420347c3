//! The sweep of orphans: objects that a crash left between their PUT and the root commit.
//!
//! The rule (protocol §8, G2) needs no clock and forgives a zombie: an object is referred to only by a commit of the
//! epoch in its name. So what an earlier epoch wrote and a root *of epoch e* does not refer to, no root ever will,
//! whoever commits next. Objects of epoch *e* itself may be about to be committed and stay. Topics that were created
//! again under the same name share the folder of segments, so the topic id in the name is compared first.
//!
//! What a merge replaced is no orphan of a crash: somebody may have it in a list of files. It is told apart by its
//! name, whose offsets lie within those of a larger segment, and left to the caller.

use std::collections::BTreeSet;

use runnel_blob::{Key, chunk_prefix, producer_prefix, segment_prefix};
use runnel_format::manifest::SegmentRef;
use runnel_guard::{Guard, holds};
use runnel_record::ids::LeaderEpoch;
use uuid::Uuid;

use crate::Error;
use crate::manifest::Snapshot;

/// Names listed at a time.
const PAGE: usize = 1000;

/// What earlier epochs left in the bucket and no root will refer to.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Orphans {
    /// Left by a crash: nobody ever saw them.
    pub unseen: Vec<Key>,
    /// Replaced by a merge: they want their grace.
    pub replaced: Vec<Key>,
}

impl Orphans {
    /// Whether there is nothing.
    pub const fn is_empty(&self) -> bool {
        self.unseen.is_empty() && self.replaced.is_empty()
    }
}

/// Deletes the orphans of earlier epochs of a partition, but for those that want their grace; returns all of them.
///
/// `epoch` is the sweeping leader's own. The root must have been committed in that epoch: before that, an earlier
/// leader can still commit, and nothing may be deleted ([`Error::SweepTooEarly`]).
pub async fn sweep_orphans(snapshot: &Snapshot, epoch: LeaderEpoch) -> Result<Orphans, Error> {
    let root = snapshot.root();
    let tp = root.tp;
    if root.epoch != epoch {
        return Err(Error::SweepTooEarly { tp, mine: epoch, root: root.epoch });
    }
    let orphans = find_orphans(snapshot, epoch).await?;
    for key in &orphans.unseen {
        snapshot.bucket().delete(key).await.map_err(|e| Error::bucket(tp, e))?;
        tracing::info!(%tp, object = key.path(), "deleted an orphan of an earlier epoch");
    }
    Ok(orphans)
}

/// The objects that epochs before `epoch` left and that the root at hand does not refer to. Until the root was
/// committed in `epoch`, an earlier leader may still come to refer to them.
pub async fn find_orphans(snapshot: &Snapshot, epoch: LeaderEpoch) -> Result<Orphans, Error> {
    let tp = snapshot.root().tp;
    let referenced: BTreeSet<Uuid> = snapshot.referenced_ids().await?.into_iter().collect();
    let segments = snapshot.all_segments().await?;
    let log_start = snapshot.root().log_start;
    let orphan = |key: &Key| match key {
        // Below the log start nothing is referred to; retention deletes it, and gives readers time.
        Key::Segment { last, .. } if *last < log_start => false,
        Key::Segment { tp: of, epoch: of_epoch, id, .. }
        | Key::Chunk { tp: of, epoch: of_epoch, id }
        | Key::ProducerState { tp: of, epoch: of_epoch, id } => {
            *of == tp && (*of_epoch < epoch || !holds(Guard::OrphansByEpoch)) && !referenced.contains(id)
        }
        _ => false,
    };
    let mut orphans = Orphans::default();
    for prefix in [segment_prefix(snapshot.topic_name(), tp.partition), chunk_prefix(tp), producer_prefix(tp)] {
        let mut after = String::new();
        loop {
            let page = snapshot.bucket().list_after(&prefix, &after, PAGE).await;
            let page = page.map_err(|e| Error::bucket(tp, e))?;
            // A name that we would not write is not ours to delete.
            let keys = page.iter().filter_map(|listed| {
                Key::parse_segment(&listed.path).or_else(|| Key::parse_partition_object(tp, &listed.path))
            });
            for key in keys.filter(orphan) {
                let list = if was_merged(&key, &segments) { &mut orphans.replaced } else { &mut orphans.unseen };
                list.push(key);
            }
            match page.last() {
                Some(last) if page.len() == PAGE => after.clone_from(&last.path),
                _ => break,
            }
        }
    }
    Ok(orphans)
}

/// Whether a larger one of `segments` holds all offsets of this object.
fn was_merged(key: &Key, segments: &[SegmentRef]) -> bool {
    let Key::Segment { base, last, .. } = key else { return false };
    let around = segments.partition_point(|segment| segment.next <= *base);
    segments.get(around).is_some_and(|segment| {
        let (whole, part) = (segment.next.0 - segment.base.0, last.0 - base.0 + 1);
        segment.base <= *base && segment.next > *last && part < whole
    })
}

#[cfg(test)]
mod tests;
