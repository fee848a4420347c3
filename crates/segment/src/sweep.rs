//! The sweep of orphans: objects that a crash left between their PUT and the root commit.
//!
//! The rule (protocol §8, G2) needs no clock and forgives a zombie: an object is referred to only by a commit of the
//! epoch in its name. So what an earlier epoch wrote and a root *of epoch e* does not refer to, no root ever will,
//! whoever commits next. Objects of epoch *e* itself may be about to be committed and stay. Topics that were created
//! again under the same name share the folder of segments, so the topic id in the name is compared first.

use std::collections::BTreeSet;

use runnel_blob::{Key, chunk_prefix, producer_prefix, segment_prefix};
use runnel_record::ids::LeaderEpoch;
use uuid::Uuid;

use crate::Error;
use crate::manifest::Snapshot;

/// Names listed at a time.
const PAGE: usize = 1000;

/// Deletes the orphans of earlier epochs of a partition; returns their names.
///
/// `epoch` is the sweeping leader's own. The root must have been committed in that epoch: before that, an earlier
/// leader can still commit, and nothing may be deleted ([`Error::SweepTooEarly`]).
pub async fn sweep_orphans(snapshot: &Snapshot, epoch: LeaderEpoch) -> Result<Vec<String>, Error> {
    let root = snapshot.root();
    let tp = root.tp;
    if root.epoch != epoch {
        return Err(Error::SweepTooEarly { tp, mine: epoch, root: root.epoch });
    }
    let mut deleted = Vec::new();
    for key in find_orphans(snapshot, epoch).await? {
        snapshot.bucket().delete(&key).await.map_err(|e| Error::bucket(tp, e))?;
        let object = key.path();
        tracing::info!(%tp, object, "deleted an orphan of an earlier epoch");
        deleted.push(object);
    }
    Ok(deleted)
}

/// The objects that epochs before `epoch` left and that the root at hand does not refer to. Until the root was
/// committed in `epoch`, an earlier leader may still come to refer to them.
pub async fn find_orphans(snapshot: &Snapshot, epoch: LeaderEpoch) -> Result<Vec<Key>, Error> {
    let tp = snapshot.root().tp;
    let referenced: BTreeSet<Uuid> = snapshot.referenced_ids().await?.into_iter().collect();
    let log_start = snapshot.root().log_start;
    let orphan = |key: &Key| match key {
        // Below the log start nothing is referred to; retention deletes it, and gives readers time.
        Key::Segment { last, .. } if *last < log_start => false,
        Key::Segment { tp: of, epoch: of_epoch, id, .. }
        | Key::Chunk { tp: of, epoch: of_epoch, id }
        | Key::ProducerState { tp: of, epoch: of_epoch, id } => {
            *of == tp && *of_epoch < epoch && !referenced.contains(id)
        }
        _ => false,
    };
    let mut orphans = Vec::new();
    for prefix in [segment_prefix(snapshot.topic_name(), tp.partition), chunk_prefix(tp), producer_prefix(tp)] {
        let mut after = String::new();
        loop {
            let page = snapshot.bucket().list_after(&prefix, &after, PAGE).await;
            let page = page.map_err(|e| Error::bucket(tp, e))?;
            // A name that we would not write is not ours to delete.
            let keys = page.iter().filter_map(|listed| {
                Key::parse_segment(&listed.path).or_else(|| Key::parse_partition_object(tp, &listed.path))
            });
            orphans.extend(keys.filter(orphan));
            match page.last() {
                Some(last) if page.len() == PAGE => after.clone_from(&last.path),
                _ => break,
            }
        }
    }
    Ok(orphans)
}

#[cfg(test)]
mod tests;
